"""A filter against a store: which steps, and which traces, it means.

Terms on light columns are one condition in SQL and decide first. Bodies are searched once for each distinct part, and
only those of the steps that are left where these are few; what was found is judged where its spelling cannot tell, and
then joined to the steps. JSON paths are judged last, on the steps themselves, as `rashomon show` shows them.
`docs/filter.md` says what each term means.

A trace matches when its own terms hold and one of its steps satisfies all step terms together. Where all step terms
are negated, it matches when no step satisfies any of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from rashomon.filters import FilterError, Form, Query, Term, Value
from rashomon.store import filter_columns as columns
from rashomon.store.connection import first_line
from rashomon.store.engine import duckdb
from rashomon.store.filter_text import Where, all_of, any_of, column, opposite

FEW = 0.2
"""Bodies of chosen steps only are searched when these are at most this share of all steps."""

_MANY, _PORTIONS = 1000, 16
"""Of so many traces, the newest sixteenth is searched first where that may be enough."""

_AT_ONCE = 512
"""So many steps are put together at a time where a term needs the steps themselves."""

_REQUEST_PARTS = (
    "frame_part", "lead_part", "unnest(other_parts)", "unnest(range(parts_from, parts_to + 1))::INTEGER"
)  # fmt: skip
"""The parts of requests from the columns that are stored, in a third of the time that `request_parts` takes."""

_CONTENT_ENCODED = "(?i)content-encoding"
_SAID = ("s.text", "s.reasoning", "s.refusal", "s.failure_message", "s.error_message")
"""What is decoded of an answer and searched with it: a stream's text is in none of its pieces."""


class Place(NamedTuple):
    """A step in the store: the id of its trace, and its position there.

    `asked`, where it was asked for and only messages of its request hold a text: who is asked, and their parts.
    """

    trace: str
    position: int
    asked: str = ""


class Search:
    """One filter against one open store. Temporary tables keep what was found; `close` drops them."""

    def __init__(self, reader: duckdb.DuckDBPyConnection, query: Query, listed: str, now_ns: int | None = None) -> None:
        columns.check(query, listed)
        self.reader, self.query, self.listed = reader, query, listed
        self._now_ns = time.time_ns() if now_ns is None else now_ns
        self._tables: list[str] = []
        self._found_in: dict[Term, str] = {}
        self._hits: dict[Term, str] = {}
        self._check_patterns()

    def __enter__(self) -> Search:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop the temporary tables."""
        for table in self._tables:
            self.reader.execute(f"DROP TABLE IF EXISTS temp.{table}")
        self._tables.clear()

    def _check_patterns(self) -> None:
        """Refuse what is too large for the database, or has a sign that only one of it and Python knows."""
        for term in self.query.terms:
            for value in term.values:
                if value.form is Form.REGEX and term.field != "$":
                    sql, bound = self._asked(term, value)
                    try:
                        self.reader.execute(f"SELECT {sql} FROM (SELECT '' AS text)", bound).fetchall()
                    except duckdb.Error as error:
                        raise self.query.error(
                            term, f"The regular expression cannot be used: {first_line(error)}.", "Mend it."
                        ) from error

    @staticmethod
    def _asked(term: Term, value: Value) -> Where:
        if columns.is_light(term):
            return column("text", term.op, [value])
        from rashomon.store.filter_bodies import body_column  # with all that judges: light terms need nothing of it

        return all_of(body_column("text", term.op, [value], binary) for binary in (False, True))

    # ------------------------------------------------------------------------------------------ results

    def steps(self) -> list[Place]:
        """The steps that match, newest trace first, in their order."""
        terms = self.query.terms
        about_traces = [term for term in terms if columns.about(term, "step") == "trace"]
        about_steps = [term for term in terms if columns.about(term, "step") == "step"]
        conditions = [self._trace_term(term) for term in about_traces]
        within = list[Where]()
        if conditions:
            sql, bound = all_of(conditions)
            within.append((f"s.trace IN (SELECT trace_list.id FROM trace_list WHERE {sql})", bound))
        return list(self._places(about_steps, within))

    def told(self, places: Sequence[Place], term: Term) -> list[Place]:
        """The places that `steps` has just found, with what calls `asked` that hold the text of a term on bodies."""
        table = self._found_in.get(term)
        if table is None:
            return list(places)
        rows = self._rows(
            "SELECT s.trace, s.position, concat(s.kind, ' ', s.name, ' ', found.parts::VARCHAR) FROM ("
            f"SELECT place, list(DISTINCT part ORDER BY part) AS parts FROM {table} GROUP BY place"
            " HAVING bool_and(part IS NOT NULL)) AS found"
            " JOIN steps AS s ON s.rowid = found.place WHERE s.kind = 'llm' AND s.ended = 'complete'"
            " AND s.failure_type IS NULL AND NOT list_contains(found.parts, s.frame_part)",
            [],
        )
        asked = {(trace, position): text for trace, position, text in rows}
        return [place._replace(asked=asked.get(place[:2], "")) for place in places]

    def told_newest_first(self, limit: int | None) -> Iterator[list[Place]]:
        """All that `told` gives for a filter whose last term is on bodies: newest trace first, in portions.

        Where so many parts hold the text that the newest traces will have more than `limit` steps with it, those come
        first: who needs no more is spared the search in all others. To find the parts takes the most time, and is done
        once. Where other terms choose the traces, all come at once.
        """
        term = self.query.terms[-1]
        if limit is None or len(self.query.terms) > 1:
            yield self.told(self.steps(), term)
            return
        hits = self._hits[term] = self._parts_with(term, "")
        (found,), (traces,) = self._rows(f"SELECT count(*) FROM {hits} UNION ALL SELECT count(*) FROM traces", [])
        newest = set[str]()
        if traces >= _MANY and found // _PORTIONS >= limit:
            since = "(SELECT started_ns FROM traces ORDER BY started_ns DESC LIMIT 1 OFFSET ?)"
            sql, bound = f"SELECT id FROM traces WHERE started_ns >= {since}", [traces // _PORTIONS]
            newest = {trace for (trace,) in self._rows(sql, bound)}
            yield self.told(list(self._places([term], [(f"s.trace IN ({sql})", bound)])), term)
        places = self.told(self.steps(), term)
        yield [place for place in places if place.trace not in newest] if newest else places

    def traces(self) -> Where:
        """The traces that match, as a condition on `trace_list`."""
        terms = self.query.terms
        about_traces = [term for term in terms if columns.about(term, "trace") == "trace"]
        about_steps = [term for term in terms if columns.about(term, "trace") == "step"]
        conditions = [self._trace_term(term) for term in about_traces]
        if all(term.negated for term in about_steps):
            for term in about_steps:
                conditions.append(opposite(self._some_step([term._replace(negated=False)], all_of(conditions))))
        else:
            conditions.append(self._some_step(about_steps, all_of(conditions)))
        return all_of(conditions)

    def _trace_term(self, term: Term) -> Where:
        condition = columns.trace_condition(term, self._now_ns)
        return opposite(condition) if term.negated else condition

    # ------------------------------------------------------------------------------------------- steps

    def _some_step(self, terms: list[Term], traces: Where) -> Where:
        """Traces with a step that satisfies all of these, as a condition on `trace_list`."""
        if all(columns.is_light(term) for term in terms):
            sql, bound = all_of(self._light(term) for term in terms)
            return f"trace_list.id IN (SELECT s.trace FROM steps AS s WHERE {sql})", bound
        sql, bound = traces
        within = [(f"s.trace IN (SELECT trace_list.id FROM trace_list WHERE {sql})", bound)] if sql != "true" else []
        table = self._table("trace VARCHAR")
        found = {place.trace: None for place in self._places(terms, within, one_of_each=True)}
        if found:
            self.reader.execute(f"INSERT INTO {table} SELECT unnest(?)", [list(found)])
        condition: Where = (f"trace_list.id IN (SELECT found.trace FROM {table} AS found)", [])
        positive = [term for term in terms if not term.negated]
        if all(term.field == "text" for term in positive):  # a trace without steps can still be called so
            own = all_of(columns.own_texts(term.values[0]) for term in positive)
            return any_of([condition, all_of([("trace_list.steps = 0", []), own])])
        return condition

    def _light(self, term: Term) -> Where:
        condition = columns.step_condition(term)
        return opposite(condition) if term.negated else condition

    def _places(self, terms: list[Term], within: list[Where], one_of_each: bool = False) -> Iterator[Place]:
        """Steps that satisfy all terms. With `one_of_each`, a trace's later ones may be left out."""
        light = [*within, *(self._light(term) for term in terms if columns.is_light(term))]
        late = [term for term in terms if term.field == "$"]
        texts = [term for term in terms if not columns.is_light(term) and term.field != "$"]
        if texts:
            chosen = self._chosen(light)
            light += [self._found(term, chosen) for term in texts]
        sql, bound = all_of(light)
        if one_of_each and not late:
            rows = self._rows(f"SELECT DISTINCT s.trace, 0 FROM steps AS s WHERE {sql}", bound)
            return (Place(*row) for row in rows)
        ordered = (
            f"SELECT s.trace, s.position, s.rowid FROM steps AS s JOIN traces ON traces.id = s.trace WHERE {sql}"
            " ORDER BY traces.started_ns DESC, traces.id DESC, s.position"
        )
        if late:
            return self._verified(self._rows(ordered, bound), late, one_of_each)
        return (Place(trace, position) for trace, position, _ in self._rows(ordered, bound))

    def _rows(self, sql: str, bound: list[Any]) -> list[tuple[Any, ...]]:
        try:
            return self.reader.execute(sql, bound).fetchall()
        except duckdb.OutOfMemoryException as error:
            raise _too_large() from error

    def _verified(self, places: list[tuple[Any, ...]], terms: list[Term], one_of_each: bool) -> Iterator[Place]:
        """Those of the steps for which the terms hold that need the steps themselves."""
        from rashomon.store import filter_whole  # with all that decodes: terms on light columns need nothing of it

        asks = any(term.path[0] == "request" for term in terms)
        done = ""
        for start in range(0, len(places), _AT_ONCE):
            batch = [place for place in places[start : start + _AT_ONCE] if place[0] != done]
            steps = filter_whole.steps(self.reader, [place[2] for place in batch], asks)
            for trace, position, _ in batch:
                if one_of_each and trace == done:
                    continue
                if filter_whole.hold(terms, steps[trace, position], asks):
                    yield Place(trace, position)
                    done = trace if one_of_each else ""

    # ------------------------------------------------------------------------------------------- texts

    def _table(self, columns_sql: str) -> str:
        name = f"filter_{len(self._tables)}_{id(self):x}"
        self.reader.execute(f"CREATE TEMP TABLE {name} ({columns_sql})")
        self._tables.append(name)
        return name

    def _chosen(self, light: list[Where]) -> str | None:
        """A table of the steps that light terms leave; None when these are not few."""
        if not light:
            return None
        sql, bound = all_of(light)
        table = self._table("place BIGINT")
        self._rows(f"INSERT INTO {table} SELECT s.rowid FROM steps AS s WHERE {sql}", bound)
        counted = self._rows(f"SELECT (SELECT count(*) FROM {table}), (SELECT count(*) FROM steps)", [])
        chosen, total = counted[0]
        return table if chosen <= FEW * total else None

    def _found(self, term: Term, chosen: str | None) -> Where:
        """The steps with a text, as a condition on `steps AS s`."""
        table = self._found_in[term] = self._table("place BIGINT, part INTEGER")
        steps = "(SELECT *, rowid AS place FROM steps)"
        if chosen:
            (low, high) = self._rows(f"SELECT coalesce(min(place), 0), coalesce(max(place), 0) FROM {chosen}", [])[0]
            near = f"rowid BETWEEN {low:d} AND {high:d}"
            steps = f"(SELECT *, rowid AS place FROM steps WHERE {near} AND rowid IN (SELECT place FROM {chosen}))"
        for sql, bound in self._searches(term, steps, chosen is not None):
            self._rows(f"INSERT INTO {table} {sql}", bound)
        condition: Where = (f"s.rowid IN (SELECT found.place FROM {table} AS found)", [])
        if term.field == "text" and self.listed == "trace":
            own, bound = columns.own_texts(term.values[0])
            named = f"s.trace IN (SELECT trace_list.id FROM trace_list WHERE {own})"
            condition = any_of([condition, (named, bound)])
        return opposite(condition) if term.negated else condition

    def _searches(self, term: Term, steps: str, few: bool) -> Iterator[Where]:
        """Queries that give the places of steps with the text, and the part of the request that has it, or NULL.

        `steps` are those that may.
        """
        yield from self._in_parts(term, steps, few)
        if term.field != "request":
            yield self._judged(term, f"SELECT s.place, {{}} FROM {steps} AS s", _SAID)
            asked = f"{steps} AS s JOIN tool_requests AS asked ON asked.trace = s.trace AND asked.step = s.position"
            near: Where = ("true", [])
            if few:  # ids of traces begin with their time: what lies beside these is not read
                ends = self._rows(f"SELECT min(s.trace), max(s.trace) FROM {steps} AS s", [])[0]
                near = ("asked.trace BETWEEN ? AND ?", list(ends))
            texts = ("CAST(asked.arguments AS VARCHAR)", "asked.name")
            yield self._judged(term, f"SELECT s.place, {{}} FROM {asked}", texts, near, sent=1)
            yield self._in_encoded(term, steps)
        if term.field == "text":
            yield self._judged(term, f"SELECT s.place, {{}} FROM {steps} AS s", ("s.name", "s.title"))

    def _judged(
        self, term: Term, select: str, texts: Sequence[str], also: Where = ("true", []), sent: int = 0
    ) -> Where:
        """A query for the places where one of some columns of text has it; of these, the first `sent` are JSON."""
        from rashomon.store.filter_bodies import body_column, finder

        may, bound = all_of([also, any_of(body_column(one, term.op, term.values) for one in texts)])
        finds = finder(term.op, term.values)
        if not finds.judges:
            return f"{select.format('NULL')} WHERE {may}", bound
        found = [
            place
            for place, *told in self._each(f"{select.format(', '.join(texts))} WHERE {may}", bound)
            if any(map(finds.sent, filter(None, told[:sent]))) or any(map(finds.said, filter(None, told[sent:])))
        ]
        return "SELECT unnest(?::BIGINT[]), NULL", [found]

    def _each(self, sql: str, bound: list[Any]) -> Iterator[tuple[Any, ...]]:
        """Rows as they are found: bodies may be many."""
        try:
            cursor = self.reader.execute(sql, bound)
            while rows := cursor.fetchmany(_AT_ONCE):
                yield from rows
        except duckdb.OutOfMemoryException as error:
            raise _too_large() from error

    def _in_parts(self, term: Term, steps: str, few: bool) -> Iterator[Where]:
        """Each distinct part is searched once, and joined to the steps by its number."""
        asked = " UNION ALL ".join(f"SELECT place, {part} AS part FROM {steps}" for part in _REQUEST_PARTS)
        answered = f"SELECT place, response_part AS part FROM {steps} WHERE response_part IS NOT NULL"
        sides = [asked] * (term.field != "response") + [answered] * (term.field != "request")
        only = f" AND part.id IN (SELECT part FROM ({' UNION ALL '.join(sides)}))" if few else ""
        hits = self._hits.get(term) or self._parts_with(term, only)
        if not self._rows(f"SELECT 1 FROM {hits} LIMIT 1", []):
            return
        if term.field != "response":
            yield f"SELECT place, part FROM ({asked}) WHERE part IN (SELECT hit.part FROM {hits} AS hit)", []
        if term.field != "request":
            yield f"SELECT place, NULL FROM ({answered}) WHERE part IN (SELECT hit.part FROM {hits} AS hit)", []

    def _parts_with(self, term: Term, only: str) -> str:
        """A table of the parts with a text: in one statement with the join, the search takes half as long again."""
        from rashomon.store.filter_bodies import body_column, finder

        hits = self._table("part INTEGER")
        finds = finder(term.op, term.values)
        for own, shown, binary in (("text", "part.text", False), ("body", "CAST(part.body AS VARCHAR)", True)):
            may, bound = body_column(shown, term.op, term.values, binary)
            rest = f"FROM parts AS part WHERE part.{own} IS NOT NULL AND {may}{only}"
            if finds.judges:
                rows = self._each(f"SELECT part.id, part.{own} {rest}", bound)
                found = [number for number, content in rows if finds.sent(content)]
                self._rows(f"INSERT INTO {hits} SELECT unnest(?::INTEGER[])", [found])
            else:
                self._rows(f"INSERT INTO {hits} SELECT part.id {rest}", bound)
        return hits

    def _in_encoded(self, term: Term, steps: str) -> Where:
        """Compressed answers that nothing else was decoded of are unpacked here, each once."""
        table = self._table("place BIGINT")
        self._rows(  # first by columns that are quick to read: most stores have none of these
            f"INSERT INTO {table} SELECT s.place FROM {steps} AS s WHERE (s.kind IN ('http', 'mcp')"
            " OR s.kind = 'llm' AND coalesce(s.decoded, 'raw') = 'raw') AND s.response_part IS NOT NULL",
            [],
        )
        rows = []
        if self._rows(f"SELECT 1 FROM {table} LIMIT 1", []):
            rows = self._rows(
                f"SELECT s.response_part, any_value(s.response_head) FROM {steps} AS s"
                f" WHERE s.place IN (SELECT able.place FROM {table} AS able)"
                " AND regexp_matches(CAST(s.response_head AS VARCHAR), ?) GROUP BY s.response_part",
                [_CONTENT_ENCODED],
            )
        found = [-1]
        if rows:
            from rashomon.store import filter_whole
            from rashomon.store.filter_bodies import finder

            holds = finder(term.op, term.values).sent
            for start in range(0, len(rows), _AT_ONCE):
                found += filter_whole.encoded(self.reader, dict(rows[start : start + _AT_ONCE]), holds)
        return f"SELECT place, NULL FROM {steps} WHERE response_part IN (SELECT unnest(?))", [found]


def _too_large() -> FilterError:
    return FilterError("The filter needs more memory than there is.", "Add a term such as since:1d.")
