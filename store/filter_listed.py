"""A filter against the list of traces beside the store: the same traces as the store finds, or none of its business.

Only terms are answered here that mean the same in Python as in the database, letter for letter: on numbers, words, and
plain texts; beyond ASCII, capital letters are the database's. A test holds both together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, islice
from typing import TYPE_CHECKING, Any

from rashomon.store.listed import FIRST_SORT, Column, Line, Listed, Sort

if TYPE_CHECKING:
    from rashomon.filters import Query, Term, Value

Holds = Callable[[Any], bool]


class Beyond(Exception):
    """The list cannot answer it: it is for the store."""


def traces(
    listed: Listed,
    query: Query | None = None,
    since_ns: int | None = None,
    name: str | None = None,
    limit: int | None = None,
    now_ns: int | None = None,
) -> list[Line]:
    """Traces, newest first, as `TraceStore.traces` finds them. Raises `Beyond` and `Unusable`."""
    masks: list[Iterable[object]] = []
    if since_ns is not None:
        masks.append(_mask(listed.column("started_ns"), lambda at: at >= since_ns))
    if name is not None:
        masks.append(_mask(listed.column("name"), lambda one: one == name))
    if query is not None and query.terms:
        masks += _masks(listed, query, now_ns)
    places: Iterator[int] = iter(range(listed.count))
    if masks:
        places = compress(places, map(all, zip(*masks, strict=True)))
    return listed.lines(list(islice(places, limit)))


def _mask(column: Column, holds: Holds) -> Iterator[bool]:
    """For each trace whether its value holds; of few values each is looked at once, of many as it is needed."""
    if len(column.values) * 4 < len(column.numbers):
        return map([holds(value) for value in column.values].__getitem__, column.numbers)
    return map(holds, map(column.values.__getitem__, column.numbers))


def _masks(listed: Listed, query: Query, now_ns: int | None) -> Iterator[Iterator[bool]]:
    from rashomon.store.filter_columns import about, check

    check(query, "trace")
    steps: list[Term] = []
    for term in query.terms:
        if about(term, "trace") == "step":
            steps.append(term)
        else:
            yield _trace_mask(listed, term, now_ns)
    if not steps:
        return
    sorts = listed.sorts()
    if sorts is None:
        raise Beyond
    column = listed.column("sorts")
    if all(term.negated for term in steps):
        for term in steps:
            some = _of_sorts(sorts, [_step_test(sorts, term._replace(negated=False))])
            yield _mask(column, some.isdisjoint)
    else:
        some = _of_sorts(sorts, [_step_test(sorts, term) for term in steps])
        yield _mask(column, lambda found: not some.isdisjoint(found))


def _of_sorts(sorts: Sequence[Sort], tests: Sequence[Callable[[Sort], bool]]) -> frozenset[str]:
    """The sorts, as characters, for which all of these hold."""
    return frozenset(
        [chr(FIRST_SORT + number) for number, sort in enumerate(sorts) if all(test(sort) for test in tests)]
    )


# --------------------------------------------------------------------------------------------------- values


def _numbers(term: Term) -> Holds:
    """As `filter_columns.numbers`."""
    from rashomon.filters import Form, Op

    def one(value: Value) -> Holds:
        low: Any = value.low
        high: Any = value.high
        if term.op is Op.GREATER:
            return lambda found: found > low
        if term.op is Op.AT_LEAST:
            return lambda found: found >= low
        if term.op is Op.LESS:
            return lambda found: found < low
        if term.op is Op.AT_MOST:
            return lambda found: found <= low
        if value.form is Form.NUMBER:
            return lambda found: found == low
        return lambda found: (low is None or found >= low) and (high is None or found <= high)

    holds = [one(value) for value in term.values]
    return lambda found: found is not None and any(one(found) for one in holds)


def _texts(term: Term, among: Iterable[str | None]) -> Holds:
    """As `filter_text.column`, for what is among these texts."""
    from rashomon.filters import Form, Op
    from rashomon.store.filter_text import test

    if term.op is not Op.EQUAL:
        ascii_only = all(value.text.isascii() for value in term.values) and all(
            text.isascii() for text in among if text
        )
        if not ascii_only or any(value.form is Form.REGEX for value in term.values):
            raise Beyond
    holds = test(term.op, term.values)
    return lambda found: found is not None and holds(found)


def _words(term: Term) -> Holds:
    words = {value.text for value in term.values}
    return lambda found: found in words


# --------------------------------------------------------------------------------------------------- traces

_NUMBERS = {
    "ms": "duration_us",
    "tok": "tokens",
    "in": "input_tokens",
    "out": "output_tokens",
    "steps": "steps",
    "cost": "cost",
    "failures": "failures",
}


_SUMMED = ("tok", "in", "out", "steps", "cost", "failures", "model", "has")
"""Fields that the store judges, and then shows, by what it adds up over a trace and those within it."""


def _trace_mask(listed: Listed, term: Term, now_ns: int | None) -> Iterator[bool]:
    """A term about traces: as `filter_columns.trace_condition`, and negated where it is."""
    column, holds = _trace_test(listed, term, now_ns)
    return _mask(column, (lambda found: not holds(found)) if term.negated else holds)


def _trace_test(listed: Listed, term: Term, now_ns: int | None) -> tuple[Column, Holds]:
    field = term.field
    if field in _SUMMED and not listed.agree:
        raise Beyond
    if field in _NUMBERS:
        return listed.column(_NUMBERS[field]), _numbers(term)
    if field in ("since", "until"):
        return listed.column("started_ns"), _moments(term, now_ns)
    if field in ("name", "error"):
        column = listed.column(field)
        return column, _texts(term, column.values)
    if field == "model":
        column = listed.column("models")
        holds = _texts(term, {model for models in column.values for model in models})
        return column, lambda models: any(holds(model) for model in models)
    if field == "outcome":
        return listed.column("outcome"), _words(term)
    if field == "status":
        outcomes = {"err": ("error", "killed"), "open": ("open",), "ok": ("ok",)}
        wanted = {outcome for value in term.values for outcome in outcomes[value.text]}
        return listed.column("outcome"), wanted.__contains__
    if field == "trace":
        column = listed.column("id")
        return column, _ids(term, column)
    if field == "has":
        return listed.column("has"), _has(term)
    raise Beyond


def _moments(term: Term, now_ns: int | None) -> Holds:
    import time

    from rashomon.filter_fields import moment_ns

    now = time.time_ns() if now_ns is None else now_ns
    moments = [moment_ns(value.text, now) for value in term.values]
    if term.field == "since":
        return lambda started: started >= min(moments)
    return lambda started: started < max(moments)


def _ids(term: Term, column: Column) -> Holds:
    from rashomon.filters import Form, Op

    if term.op is Op.HAS and all(value.form is Form.TEXT for value in term.values):
        return lambda own: own.startswith(tuple([value.text for value in term.values]))
    if term.op is Op.EQUAL or all(value.form is Form.GLOB for value in term.values):
        return _texts(term, column.values)
    raise Beyond


def _has(term: Term) -> Holds:
    from rashomon.store.listed import HAS

    wanted = {value.text for value in term.values}
    if not wanted <= HAS.keys():
        raise Beyond
    return lambda found: not wanted.isdisjoint(found.split(" "))


# ---------------------------------------------------------------------------------------------------- steps


def _step_test(sorts: Sequence[Sort], term: Term) -> Callable[[Sort], bool]:
    """A term about steps: as `filter_columns.step_condition`, and negated where it is."""
    holds = _sort_test(sorts, term)
    return (lambda sort: not holds(sort)) if term.negated else holds


def _sort_test(sorts: Sequence[Sort], term: Term) -> Callable[[Sort], bool]:
    field = {"end": "ended", "tool": "name"}.get(term.field, term.field)
    if field == "status":
        return _status(term)
    if field == "has":
        return _step_has(term)
    if field not in ("kind", "ended", "grade", "name", "model", "dialect", "finish"):
        raise Beyond
    at = Sort._fields.index(field)
    if field in ("kind", "ended", "grade"):
        words = _words(term)
        return lambda sort: words(sort[at])
    holds = _texts(term, {getattr(sort, field) for sort in sorts})
    if term.field == "tool":
        return lambda sort: sort.kind in ("tool", "mcp") and holds(sort.name)
    return lambda sort: holds(sort[at])


def _status(term: Term) -> Callable[[Sort], bool]:
    from rashomon.filters import Form

    tests: list[Callable[[Sort], bool]] = []
    for value in term.values:
        if value.form is not Form.WORD:
            number = _numbers(term._replace(values=(value,)))
            tests.append(lambda sort, number=number: number(sort.status))  # type: ignore[misc]
        elif value.text == "err":
            tests.append(lambda sort: sort.failed)
        elif value.text == "open":
            tests.append(lambda sort: sort.ended == "open")
        else:
            tests.append(lambda sort: sort.ended != "open" and not sort.failed)
    return lambda sort: any(test(sort) for test in tests)


_STEP_HAS: dict[str, Callable[[Sort], bool]] = {
    "error": lambda sort: sort.failed,
    "model": lambda sort: sort.model is not None,
}


def _step_has(term: Term) -> Callable[[Sort], bool]:
    if any(value.text not in _STEP_HAS for value in term.values):
        raise Beyond
    return lambda sort: any(_STEP_HAS[value.text](sort) for value in term.values)
