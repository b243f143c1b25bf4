"""`rashomon grep`: a regular expression over everything that was said."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from rashomon.commands import filtering, options
from rashomon.commands.declared import typer

if TYPE_CHECKING:
    from rashomon.filters import Query
    from rashomon.model import Json, Step
    from rashomon.store import TraceStore
    from rashomon.store.filtering import Place

EXAMPLE = "Example: rashomon grep 'refund.*window' kind:llm since:7d"

_AT_FIRST, _AT_ONCE = 32, 256
"""So many steps are fetched together: each time, all numbers of parts are gone through once."""

_SHOWN = 160
"""A line is cut to about so many characters around the match, in a terminal."""


class Hit(NamedTuple):
    """A line that matches: the step, where in what it said, who said it, the line, and the match in it."""

    trace: str
    step: Step
    path: str
    role: str
    line: str
    start: int
    end: int


def grep(
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="A regular expression; with -F a plain text.")],
    terms: filtering.Terms = None,
    ignore_case: Annotated[bool, typer.Option("--ignore-case", "-i", help="Capital letters or not.")] = False,
    fixed: Annotated[bool, typer.Option("--fixed-strings", "-F", help="PATTERN is a text, not an expression.")] = False,
    count: Annotated[bool, typer.Option("--count", "-c", help="Only the number of lines in each trace.")] = False,
    names: Annotated[bool, typer.Option("--traces-with-matches", "-l", help="Only the ids of traces.")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many lines (or traces).")] = None,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> int:
    """Search everything that was said: requests, answers, arguments and results of tools.

    Prints trace@step, the path and who said it, and the line. What requests send again, as a conversation is with
    each call, is printed where it is said first. A FILTER chooses steps. Exit code: 0 found, 1 not.
    """
    options.begin(home, options.TO_SEARCH)
    from rashomon import filter_regex
    from rashomon.commands import terminal

    query = _query(pattern, filtering.query_of(terms), ignore_case, fixed)
    flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0)
    search = filter_regex.compiled(re.escape(pattern) if fixed else pattern, flags)
    found = 0
    with options.reading(home) as store:
        with closing(_hits(store, query, search, once=names, limit=limit)) as hits:
            if as_json:
                listed = [_facts(hit) for hit in _first(hits, limit)]
                terminal.print_json({"format": "rashomon.grep/1", "pattern": pattern, "matches": listed})
                found = len(listed)
            elif count or names:
                found = _print_traces(hits, limit, with_counts=count)
            else:
                for hit in _first(hits, limit):
                    found += 1
                    _print(hit)
        options.tell_damage(store)
        store.leave()
    return 0 if found else 1


def _query(pattern: str, chosen: Query, ignore_case: bool, fixed: bool) -> Query:
    """The filter that finds steps with the pattern among the chosen ones."""
    from rashomon import filter_regex
    from rashomon.filters import FilterError, Form, Op, Term, Value

    if not pattern:
        raise FilterError("The pattern is empty.", "Write a text or a regular expression to search for.")
    if fixed:
        value, op = Value(Form.TEXT, pattern), Op.HAS if ignore_case else Op.EQUAL
    else:
        wrong = filter_regex.trouble(pattern)
        if wrong is not None:
            problem, at = wrong
            remedy = "Mend it, or search for plain text with -F."
            raise FilterError(f"Column {at + 1}: the regular expression {problem}.", remedy, pattern, at)
        value, op = Value(Form.REGEX, filter_regex.ignoring_case(pattern) if ignore_case else pattern), Op.REGEX
    body = Term("body", op, (value,))
    return chosen._replace(terms=(*chosen.terms, body), spans=(*chosen.spans,))


def _hits(
    store: TraceStore, query: Query, search: re.Pattern[str], once: bool, limit: int | None = None
) -> Generator[Hit, None, None]:
    """Lines that match, newest trace first; with `once`, one of each trace. More than `limit` may not be wanted."""
    with closing(store.saying_steps(query, limit)) as portions:
        for places in portions:  # no trace is in two of these
            yield from _hits_in(_Chosen(store, places), search, once)


def _hits_in(chosen: _Chosen, search: re.Pattern[str], once: bool) -> Iterator[Hit]:
    trace, seen = "", set[str]()
    for place, step in chosen.steps():
        if place.trace != trace:
            trace, seen = place.trace, set()
        found = step_hits(trace, step, search)
        hits = [hit for hit in found if not (_repeats(hit) and hit.line in seen)]
        seen.update(hit.line for hit in hits)
        yield from hits[:1] if once else hits
        if once and hits:
            chosen.done = trace
        chosen.told(place, any(hit.path.startswith(("request.", "request[")) for hit in found))


class _Chosen:
    """The steps in which something was found, but for those that can only repeat what an earlier one has said.

    A call of a conversation sends all of it again. Where the same messages of two requests hold the pattern, and
    nothing else of the later one does, its lines are those of the earlier one. `done` is a trace to go on from.
    """

    def __init__(self, store: TraceStore, places: Sequence[Place]) -> None:
        self._store, self._places = store, places
        self._told: dict[tuple[str, str], bool] = {}
        self._each = False
        self.done = ""

    def told(self, place: Place, lines: bool) -> None:
        """Whether a step showed `lines` of its request. Where one has none, what is alike may have others."""
        if place.asked:
            self._told[place.trace, place.asked] = lines
            self._each = self._each or not lines

    def steps(self) -> Iterator[tuple[Place, Step]]:
        """The steps with their places, in the order of these."""
        start, stop = 0, _AT_FIRST
        while start < len(self._places):
            chunk = self._places[start:stop]
            start, stop = stop, stop + _AT_ONCE
            there: dict[Place, Step] = {}
            for at, place in enumerate(chunk):
                if place.trace == self.done or self._told.get((place.trace, place.asked)):
                    continue
                if place not in there:
                    wanted = self._wanted(chunk[at:])
                    there = dict(zip(wanted, self._store.steps_of(wanted), strict=True))
                yield place, there[place]

    def _wanted(self, places: Sequence[Place]) -> list[Place]:
        """Those of the places that are looked at for certain, by what is known so far; the first one is."""
        first: dict[Any, Place] = {}
        for place in places:
            alike = (place.trace, place.asked)
            if place.trace != self.done and not self._told.get(alike):
                first.setdefault(alike if place.asked and not self._each else place, place)
        return list(first.values())


def _repeats(hit: Hit) -> bool:
    """True in a request that may send again what was said before. Answers, and what tools get, are each their own."""
    return hit.step.kind in ("llm", "http") and hit.path.startswith("request")


def step_hits(trace: str, step: Step, search: re.Pattern[str]) -> list[Hit]:
    """The lines of a step that match. A match that no text of it holds by itself is shown in its JSON.

    And what is there only in the texts of a JSON document that is a text itself, as arguments of tools are, in these.
    """
    from rashomon import views
    from rashomon.store.filter_paths import texts

    view = views.step_view(step)
    told = [found for side in ("request", "response") for found in texts(view[side], side)]
    for places in (told, [(side, _json(view[side])) for side in ("request", "response")], _inside(told)):
        found = [
            Hit(trace, step, path, _role(step, view, path), line, start, end)
            for path, text in places
            for line, start, end in _lines(text, search)
        ]
        if found:
            return found
    return []


def _inside(told: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The texts in those that are JSON documents, and these with nothing escaped that need not be."""
    from rashomon.store.filter_paths import texts
    from rashomon.streams import event_data

    for path, text in told:
        document = event_data(text)
        if not isinstance(document, str):
            yield from texts(document, path)
            yield path, _json(document)


def _lines(text: str, search: re.Pattern[str]) -> Iterator[tuple[str, int, int]]:
    """Each line with a match once, with where its first match is."""
    behind = -1
    for match in search.finditer(text):
        start = text.rfind("\n", 0, match.start()) + 1
        if start <= behind:
            continue
        stop = text.find("\n", start)
        stop = len(text) if stop < 0 else stop
        yield text[start:stop], match.start() - start, min(match.end(), stop) - start
        behind = stop


def _role(step: Step, view: dict[str, Json], path: str) -> str:
    """Who said it, where that is known: the role of the message around it."""
    side, rest = view[path.partition(".")[0].partition("[")[0]], path
    found = re.match(r"request\.(messages|input|contents)\[(\d+)\]", rest)
    if found is not None and isinstance(side, dict):
        message = side[found[1]][int(found[2])]
        if isinstance(message, dict):
            return str(message.get("role") or message.get("type") or "")
    if path.startswith("response"):
        return "model" if step.kind == "llm" else "result"
    return "arguments" if step.kind in ("tool", "mcp") else ""


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


# ---------------------------------------------------------------------------------------------- output


def _first(hits: Iterator[Hit], limit: int | None) -> Iterator[Hit]:
    import sys
    from itertools import islice

    return islice(hits, None if limit is None else min(limit, sys.maxsize))


def _print_traces(hits: Iterator[Hit], limit: int | None, with_counts: bool) -> int:
    from itertools import groupby

    from rashomon.commands import terminal

    found = 0
    for trace, group in groupby(hits, key=lambda hit: hit.trace):
        found += 1
        terminal.print_text(f"{trace} {sum(1 for _ in group)}" if with_counts else trace)
        if found == limit:
            break
    return found


def _print(hit: Hit) -> None:
    from rashomon.commands import terminal

    place = f"{hit.trace}@{hit.step.index}"
    where = f"{hit.path} ({hit.role})" if hit.role else hit.path
    if not terminal.in_terminal():
        terminal.print_text(f"{place} {where}: {hit.line}")
        return
    line, start, end = cut(hit.line, hit.start, hit.end)
    shown = terminal.styled(place, "bold")
    shown.append_text(terminal.styled(f" {where}: ", "dim"))
    shown.append_text(terminal.styled(line[:start]))
    shown.append_text(terminal.styled(line[start:end], "bold red underline"))
    shown.append_text(terminal.styled(line[end:]))
    terminal.console().print(shown, soft_wrap=True)


def cut(line: str, start: int, end: int, width: int = _SHOWN) -> tuple[str, int, int]:
    """A line around its match, and where the match is in it."""
    first = max(0, start - width // 3)
    last = max(end, first + width)
    lead, tail = "…" if first else "", "…" if last < len(line) else ""
    shift = len(lead) - first
    return f"{lead}{line[first:last]}{tail}", start + shift, end + shift


def _facts(hit: Hit) -> dict[str, Json]:
    step = hit.step
    return {
        "trace": hit.trace,
        "step": step.index,
        "id": step.id,
        "kind": step.kind.value,
        "name": step.name,
        "path": hit.path,
        "role": hit.role or None,
        "line": hit.line,
        "start": hit.start,
        "end": hit.end,
    }
