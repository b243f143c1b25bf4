"""Portions of journals into the store: in a transaction of the caller's, whole or not at all.

A trace is what all its journals tell together. Here is decided what a step of a journal is called in its trace and
where it stands; a trace that is there already is added to. Where something new changes what was written before (an
earlier process of the trace turns up, or the process that a step names), `Conflict` says so, and the trace has to be
made anew from its journals.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import duckdb  # the whole of it: the engine alone does not take Arrow
import msgpack
import pyarrow as pa

from rashomon import tapes
from rashomon.canonical import digest
from rashomon.journal import Damage
from rashomon.journal_parts import ProcessPart
from rashomon.model import Step
from rashomon.store import columns, late, ledger, other_writing, rows, step_writing
from rashomon.store.known_parts import KnownParts
from rashomon.store.ledger import About, Entry
from rashomon.store.migrate import UNPRICED
from rashomon.store.portions import Chunk, Head, Place, Portion, Price
from rashomon.store.told import MARKS, Member
from rashomon.tapes import Placement

BY_TRACE_ALONE = ("processes", "losses", "divergences", "uncontrolled")
"""Tables that are made anew whenever something is told of a trace."""


class Conflict(Exception):
    """Traces that cannot be added to: they have to be made anew."""

    def __init__(self, traces: set[str]) -> None:
        super().__init__(", ".join(sorted(traces)))
        self.traces = traces


class Written(NamedTuple):
    """What was written: the traces that are new and those that were there, and the number of steps of each."""

    new: dict[str, int]
    updated: dict[str, int]
    faulty: dict[str, str]
    """Traces that could not be put together, and why."""


class Numbers:
    """The numbers in the store of the parts that one reader has numbered."""

    def __init__(self) -> None:
        self.known: array[int] = array("i")

    def for_portion(self, portion: Portion) -> Numbers:
        """These; others for a portion with which its reader numbers from 0 again, so that the former can go."""
        return Numbers() if portion.first_part == 0 else self

    def of(self, values: array[int]) -> array[int]:
        """The numbers in the store."""
        if len(values) < 2:
            return array("i", [self.known[value] for value in values])
        return array("i", itemgetter(*values)(self.known))  # in half the time of a loop: a request has dozens


class Writing:
    """One batch: portions, in the order in which they were read, each with the numbers of its reader's parts."""

    def __init__(
        self,
        writer: duckdb.DuckDBPyConnection,
        portions: Sequence[tuple[Portion, Numbers]],
        removed: set[str],
        skipped: set[tuple[str, str]],
        entries: dict[str, Entry],
        price: Price | None = None,
        known: Collection[str] | None = None,
        parts: KnownParts | None = None,
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        """`known` are the journals of which the store has something; None: it may be any.

        `pause` is called now and then, and may raise to have the batch given up.
        """
        self.writer, self.portions, self.removed = writer, portions, removed
        self.known, self.parts = known, KnownParts() if parts is None else parts
        self.skipped, self.entries, self.pricing, self.pause = skipped, entries, price, pause
        self.resumes = {portion.name: portion.resume for portion, _ in portions if portion.name in entries}
        self.queue: dict[str, list[pa.Table]] = {}
        self.following = 0
        self.loose: set[int] = set()
        self.about: dict[str, About] = {}
        self.members: dict[str, dict[str, Member]] = {}
        self.stored: dict[str, dict[str, Member]] = {}
        self.placements: dict[str, Placement] = {}
        self.faulty: dict[str, str] = {}
        self.marked: set[tuple[str, str]] = set()
        self.found: set[str] = set()
        self.altered: set[str] = set()
        self.arrived: list[pa.Table] = []
        self.added = 0, 0
        """How many parts were added, and their bytes."""

    def write(self) -> Written:
        """Do it. Raises `Conflict` before anything is changed."""
        self.look()
        self.place()
        if self.removed:
            self.remove()
        self.pause()
        self.add_parts()
        self.pause()
        step_writing.add_steps(self)
        self.pause()
        other_writing.add_others(self)
        other_writing.add_points(self)
        late.apply(self)
        self.flush("parts", "steps", "tool_requests", "step_values", "ambient", "launched")
        self.add_traces(set(self.placements))
        self.drop_loose()
        self.add_entries()
        return self.report(self.found)

    # ------------------------------------------------------------------------------------------- looking

    def wanted(self, portion: Portion, trace: str) -> bool:
        """False for a trace that this journal must not add to."""
        return (portion.name, trace) not in self.skipped and trace not in self.faulty

    def look(self) -> None:
        """What the store has of the traces that something is told of."""
        for portion, _ in self.portions:
            if portion.name in self.entries:
                damage = len(self.entries[portion.name].damage)
                self.about[portion.name] = About(portion.process, portion.closed, portion.loss, damage)
        told = {trace for portion, _ in self.portions for trace in portion.members if self.wanted(portion, trace)}
        before_now = {name: about for name, about in self.about.items() if self.knows(name)}
        if before_now:
            told |= ledger.traces_of_changed(self.writer, before_now)
        self.found = {row[0] for row in self.rows("SELECT id FROM traces WHERE id IN (SELECT unnest(?))", sorted(told))}
        for trace in told:
            self.members[trace], self.stored[trace] = {}, {}
        applied: dict[tuple[str, str], int] = {}
        for trace, journal, packed in self.rows(
            "SELECT trace, journal, told FROM members WHERE trace IN (SELECT unnest(?)) ORDER BY journal", sorted(told)
        ):
            member = ledger.unpack_member(packed)
            applied[trace, journal] = member.late
            if trace not in self.removed:
                self.stored[trace][journal] = self.members[trace][journal] = member
        for portion, _ in self.portions:
            for trace, member in portion.members.items():
                if self.wanted(portion, trace):
                    # who reads on knows of no frames that were applied to steps; who reads anew places them
                    late = applied.get((trace, portion.name), 0) if portion.start else 0
                    self.members[trace][portion.name] = member._replace(late=late)
        others = {journal for found in self.members.values() for journal in found} - self.about.keys()
        if others:
            self.about |= ledger.read_about(self.writer, others)

    def knows(self, journal: str) -> bool:
        """False for a journal of which the store has nothing."""
        return self.known is None or journal in self.known

    def rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        """What a query gives for a list of values."""
        return self.writer.execute(sql, [list(values)]).fetchall() if values else []

    def place(self) -> None:
        """What every journal's steps are called in each trace, and whether that is what the store has."""
        conflicts = set()
        for trace, members in self.members.items():
            if not members:
                continue
            try:
                self.placements[trace] = self.placement(trace, members)
                stored = self.stored[trace]
                before = self.placement(trace, stored) if stored else None
            except Exception as error:  # frames that are whole and say what cannot be: named, and the rest goes on
                self.placements.pop(trace, None)
                self.faulty[trace] = f"trace {trace} cannot be put together: {type(error).__name__}: {error}"[:300]
                continue
            now = self.placements[trace]
            if before is None:
                if trace in self.found and trace not in self.removed:
                    conflicts.add(trace)
            elif any(_moved(before, now, journal, member) for journal, member in stored.items()):
                conflicts.add(trace)
        if conflicts:
            raise Conflict(conflicts)

    def placement(self, trace: str, members: dict[str, Member]) -> Placement:
        """Where the processes of a trace stand in it, by their journals."""
        return tapes.placement(trace, [self.process_part(trace, name, members[name]) for name in sorted(members)])

    def process_part(self, trace: str, name: str, member: Member) -> ProcessPart:
        """What a journal says of a trace, as `rashomon.tapes` knows it."""
        about = self.about.get(name, About())
        damage = (ledger.SOME_DAMAGE,) * about.damage
        return ProcessPart(name, about.process, about.closed, {trace: member.part()}, damage, about.loss, 0)

    # ------------------------------------------------------------------------------------------ removing

    def remove(self) -> None:
        """Delete traces with everything of theirs."""
        names = sorted(self.removed)
        self.loose |= {row[0] for row in self.rows(_PARTS_OF, names)}
        for table in (*rows.BY_TRACE, "members"):
            self.rows(f"DELETE FROM {table} WHERE trace IN (SELECT unnest(?))", names)
        self.rows("DELETE FROM traces WHERE id IN (SELECT unnest(?))", names)

    def drop_loose(self) -> None:
        """Delete the parts that nothing needs any more."""
        if self.loose:
            self.writer.execute(
                "CREATE OR REPLACE TEMP TABLE loose AS SELECT unnest(?::INTEGER[]) AS id", [list(self.loose)]
            )
            self.writer.execute(_DROP_LOOSE)
            self.writer.execute("DROP TABLE loose")
            self.parts.dropped()

    # -------------------------------------------------------------------------------------------- adding

    def add_parts(self) -> None:
        """Add the parts that the store does not have, and learn the numbers of all."""
        contents: dict[str, bytes] = {}
        for portion, _ in self.portions:
            contents.update(portion.in_order())
        following = self.writer.execute("SELECT coalesce(max(id) + 1, 0) FROM parts").fetchall()[0][0]
        ids = self.parts.find(self.writer, list(contents), following)
        new = [name for name in contents if name not in ids]
        numbered = dict(zip(new, range(following, following + len(new)), strict=True))
        ids |= numbered
        self.parts.add(numbered)
        for portion, numbers in self.portions:
            del numbers.known[portion.first_part :]  # of a batch that was not written
            numbers.known.extend([ids[name] for name, _ in portion.parts])
        self.following = following + len(new)
        self.added = len(new), sum([len(contents[name]) for name in new])
        self.insert("parts", columns.of_parts([(name, contents[name], ids[name]) for name in new]))

    def part(self, content: bytes) -> int:
        """Have one more part stored; its number."""
        name = digest(content)
        self.flush("parts")
        found = self.parts.find(self.writer, [name], self.following).get(name)
        if found is None:
            found, self.following = self.following, self.following + 1
            self.parts.add({name: found})
            self.insert("parts", columns.of_parts([(name, content, found)]))
        return found

    def price(self, step: Step, said: Any, trace: str) -> float | None:
        """The price of a call, if it has one."""
        started_ns = self.placements[trace].trace.started_ns + step.started_us * 1000
        return None if self.pricing is None else self.pricing(step, said, started_ns)

    def know(self, journal: str) -> None:
        """Find out about all traces of a journal, not only those that a portion tells of."""
        self.flush("parts", "steps", "tool_requests", "step_values")
        names = {row[0] for row in self.rows(_TRACES_OF, [journal])}
        for trace in sorted(names - self.members.keys()):
            found = self.rows("SELECT journal, told FROM members WHERE trace IN (SELECT unnest(?)) ORDER BY 1", [trace])
            self.members[trace] = {name: ledger.unpack_member(told) for name, told in found}
            self.stored[trace] = dict(self.members[trace])
            self.about |= ledger.read_about(self.writer, self.members[trace].keys() - self.about.keys())
            self.placements[trace] = self.placement(trace, self.members[trace])
            self.found.add(trace)

    def mark(self, trace: str, journal: str, mark: int) -> None:
        """Note that frames about a trace have been applied."""
        member = self.members[trace][journal]
        self.members[trace][journal] = member._replace(late=(member.late + mark) % MARKS)
        self.marked.add((trace, journal))

    def insert(self, table: str, found: pa.Table) -> None:
        """Append rows to a table, at the next `flush`."""
        if len(found):
            self.queue.setdefault(table, []).append(found)

    def flush(self, *tables: str) -> None:
        """Append what waits for it, in this order."""
        for table in tables:
            self.pause()
            waiting = self.queue.pop(table, None)
            if waiting:
                arriving = pa.concat_tables(waiting) if len(waiting) > 1 else waiting[0]
                if table == "steps":
                    self.arrived.append(arriving.select(["trace", *rows.SUMMED]))
                names = ", ".join(f'"{name}"' for name in arriving.column_names)
                # DuckDB finds the variable by its name, in half the time that registering the table takes
                self.writer.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM arriving")

    def within(self, journal: str, head: Head | Place) -> str | None:
        """The id in the trace of what encloses a step or a read."""
        return None if head.within is None else self.placements[head.trace].id(journal, head.within)

    def placed(self, portion: Portion, head: Head | Place | Chunk) -> bool:
        """True for a row of a trace that this journal adds to, as one of its processes."""
        place = self.placements.get(head.trace)
        return place is not None and portion.name in place.shifts and self.wanted(portion, head.trace)

    # -------------------------------------------------------------------------------------------- traces

    def add_traces(self, touched: set[str]) -> None:
        """Write what is to be said of the traces as a whole."""
        names = sorted(touched)
        there = sorted(touched & self.found)
        for table, column in (("traces", "id"), *((table, "trace") for table in BY_TRACE_ALONE)):
            self.rows(f"DELETE FROM {table} WHERE {column} IN (SELECT unnest(?))", there)
        sums = self.sums(names)
        found = rows.Rows()
        for name in names:
            marks = [(self.members[name][journal].whole_mark, _plain(self.about[journal]))
                     for journal in sorted(self.members[name]) if journal in self.about]  # fmt: skip
            mark = digest(msgpack.packb(marks, use_bin_type=True, unicode_errors="surrogatepass", default=str))
            found.add(self.placements[name].trace, mark, sums.get(name, rows.NO_SUMS))
        for table, listed in found.tables.items():
            _append(self.writer, table, listed)

    def sums(self, names: list[str]) -> dict[str, columns.Row]:
        """What the steps of traces add up to. All of a new one are at hand; those of others are sought in the store."""
        sought = [name for name in names if name in self.found or name in self.altered]
        found = self.rows(_SUMS.format("steps"), sought)
        if self.arrived:
            arrived = pa.concat_tables(self.arrived)  # noqa: F841  # DuckDB finds it by its name
            fresh = [[name for name in names if name not in self.found and name not in self.altered]]
            found += self.writer.execute(_SUMS.format("arrived"), fresh).fetchall()
        return {row[0]: row[1:] for row in found}

    def add_entries(self) -> None:
        """Write the ledger: what was told of each trace, and how far each journal was read."""
        told = self.marked | {(trace, portion.name) for portion, _ in self.portions for trace in portion.members
                              if self.wanted(portion, trace)}  # fmt: skip
        listed = [(trace, journal, ledger.pack_member(self.members[trace][journal])) for trace, journal in sorted(told)]
        table = pa.table({"trace": columns.texts([row[0] for row in listed]),
                          "journal": columns.texts([row[1] for row in listed]),
                          "told": pa.array([row[2] for row in listed], pa.binary())})  # fmt: skip
        if any(journal in self.stored[trace] for trace, journal in told):
            self.writer.register("telling", table)
            self.writer.execute(
                "DELETE FROM members USING telling"
                " WHERE members.trace = telling.trace AND members.journal = telling.journal"
            )
            self.writer.unregister("telling")
        self.insert("members", table)
        self.flush("members")
        names = sorted(self.entries)
        self.rows("DELETE FROM journals WHERE name IN (SELECT unnest(?))", [name for name in names if self.knows(name)])
        made = []
        for name in names:
            entry = self.entries[name]
            entry = self.entries[name] = entry._replace(damage=(*entry.damage, *self.faults(name)))
            about = self.about[name].pack() if name in self.about else None
            resume = ledger.pack_resume(self.resumes[name]) if name in self.resumes else None
            made.append((*entry.row(), about, resume))
        _append(self.writer, "journals", made)

    def faults(self, journal: str) -> list[Damage]:
        """What is to be said of traces of a journal that could not be put together."""
        told = {trace for portion, _ in self.portions if portion.name == journal for trace in portion.members}
        return [Damage(0, 0, reason) for trace, reason in sorted(self.faulty.items()) if trace in told]

    def report(self, before: set[str]) -> Written:
        """What was done."""
        new: dict[str, int] = {}
        updated: dict[str, int] = {}
        for portion, _ in self.portions:
            for trace in portion.members:
                if trace in self.placements:
                    (updated if trace in before else new).setdefault(trace, 0)
            for trace, count in Counter([head.trace for head in portion.heads if not head.again]).items():
                if trace in self.placements and self.wanted(portion, trace):
                    (updated if trace in before else new)[trace] += count
        return Written(new, updated, self.faulty)


def _moved(before: Placement, now: Placement, journal: str, member: Member) -> bool:
    """True when what the store has of a journal is called otherwise by now."""
    return (
        before.number(journal) != now.number(journal)
        or before.shift_us(journal) != now.shift_us(journal)
        or any(before.names.get(name) != now.names.get(name) for name in member.foreign)
    )


def _plain(about: About) -> list[Any]:
    return [about.process, about.closed, about.loss, about.damage]


def _append(writer: duckdb.DuckDBPyConnection, table: str, found: list[tuple[object, ...]]) -> None:
    if found:
        with writer.appender(table) as appender:
            appender.append_rows(found)


_TRACES_OF = "SELECT DISTINCT trace FROM members WHERE journal IN (SELECT unnest(?))"
_PARTS_OF = """
    SELECT unnest(request_parts) FROM steps WHERE trace IN (SELECT unnest($1))
    UNION SELECT response_part FROM steps WHERE response_part IS NOT NULL AND trace IN (SELECT unnest($1))
    UNION SELECT prompt_part FROM steps WHERE prompt_part IS NOT NULL AND trace IN (SELECT unnest($1))
"""
# what is needed is sought among the loose ones: a list of everything that is needed would not fit into memory
_DROP_LOOSE = """
    DELETE FROM parts WHERE id IN (
        SELECT id FROM loose
        EXCEPT (
            SELECT response_part FROM steps WHERE response_part IN (SELECT id FROM loose)
            UNION ALL SELECT prompt_part FROM steps WHERE prompt_part IN (SELECT id FROM loose)
            UNION ALL SELECT frame_part FROM steps WHERE frame_part IN (SELECT id FROM loose)
            UNION ALL SELECT lead_part FROM steps WHERE lead_part IN (SELECT id FROM loose)
            UNION ALL SELECT id FROM (SELECT unnest(other_parts) AS id FROM steps) WHERE id IN (SELECT id FROM loose)
            UNION ALL SELECT id FROM (
                SELECT unnest(range(parts_from, parts_to + 1)) AS id FROM steps
                WHERE parts_to >= (SELECT min(id) FROM loose) AND parts_from <= (SELECT max(id) FROM loose)
            ) WHERE id IN (SELECT id FROM loose)
        )
    )
"""
_SUMS = f"""
    SELECT
        trace,
        count(*),
        count(*) FILTER (kind = 'llm'),
        count(*) FILTER (kind IN ('tool', 'mcp')),
        count(*) FILTER (
            failure_type IS NOT NULL OR status >= 400 OR error_type IS NOT NULL OR error_message IS NOT NULL
        ),
        coalesce(sum(input_tokens), 0)::BIGINT,
        coalesce(sum(output_tokens), 0)::BIGINT,
        sum(cost),
        count(*) FILTER ({UNPRICED}),
        list_sort(coalesce(list(DISTINCT model) FILTER (model IS NOT NULL), []))
    FROM {{}} WHERE trace IN (SELECT unnest(?)) GROUP BY trace
"""
