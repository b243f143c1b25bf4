"""One ingestion at work: which journals to read and from where, which batches are written, and what was done."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb

from rashomon.errors import DamagedData, ForeignFile, NewerFormat, RashomonError, UsageError
from rashomon.journal import checksum
from rashomon.store import bodies, compaction, crew, ingestion, ledger, memory, merging, restored
from rashomon.store import connection as connections
from rashomon.store.anew import Portions, Remaking
from rashomon.store.arrival import Arrival
from rashomon.store.engine import full, is_no_room
from rashomon.store.known_parts import KnownParts
from rashomon.store.lease import GivenUp, Lease
from rashomon.store.ledger import NOTHING, READER, About, Entry, Known, Stat, read_known
from rashomon.store.pace import Pace, Weight, weight
from rashomon.store.portions import Parts, Portion
from rashomon.store.pricing import pricing as pricing
from rashomon.store.told import Member, Resume
from rashomon.store.writing import Conflict, Numbers, Writing, Written

_SHORT_S = 0.5
"""So long the store is waited for to put a log into it that a killed process left: with it, each command would look at
all journals again."""

_DONE = Entry("", 0, 0, READER, "read", None, 0, 0, (), True, ())
"""Stands for the entry of a journal that this ingestion has done with: nothing of it is asked any more, and there may
be tens of thousands."""

Item = tuple[Portion, Numbers] | Entry
"""What is to be written: a portion with the numbers of its parts, or the entry of a journal that brings nothing."""


class Source(NamedTuple):
    """A journal to be read: from where, with what it told before, and bodies that later ones build on."""

    name: str
    resume: Resume
    members: dict[str, Member]
    bases: dict[int, bytes | None]
    about: About

    @property
    def whole(self) -> bool:
        """True when it is read from its beginning."""
        return self.resume.offset == 0


def _another_wrote(error: BaseException) -> bool:
    """Whether another thread of this process wrote meanwhile. What finds a full disk at its end fails alike."""
    text = str(error)
    return isinstance(error, duckdb.TransactionException) and ("Conflict" in text or "constraint" in text)


class _Generation(Exception):
    """Somebody else wrote: what we know is out of date."""


class Taking:
    """One ingestion."""

    def __init__(
        self,
        folder: Path,
        store: Path,
        found: dict[str, Stat],
        progress: Callable[[int, int], None] | None,
        wait_s: float,
        home: Path | str | None,
    ) -> None:
        self.folder, self.store, self.found, self.wait_s = folder, store, found, wait_s
        self.progress = progress
        self.known: Known = NOTHING
        self.done: set[str] = set()
        self.odd: dict[str, Entry] = {}
        self.unreadable: dict[str, str] = {}
        self.new: dict[str, None] = {}
        self.updated: dict[str, None] = {}
        self.kept: dict[str, str] = {}
        self.skipped: set[tuple[str, str]] = set()
        self.steps = 0
        self.home = Path(home) if home is not None else folder.parent
        self.price = pricing(self.home)
        self.crew = True
        self.begun: dict[str, Entry] = {}
        self.logged = False
        self.tight = 0
        self.pace = Pace()
        self.lease = Lease(store, wait_s, self.pace)
        self.parts, self.parts_of = KnownParts(), ""

    def run(self) -> None:
        """Until every journal that was found is in the store."""
        self.known = self.look()
        try:
            while todo := self.todo():
                try:
                    self.take(todo)
                except _Generation:
                    pass
                self.known = NOTHING  # not twice in memory
                if all(name in self.done or name in self.unreadable for name in todo):
                    break
                self.known = self.look()
        finally:
            self.lease.end()
        if self.logged:
            connections.open_writer(self.store, self.wait_s).close()
        elif self.store.with_name(f"{self.store.name}.wal").exists():
            with contextlib.suppress(UsageError):  # somebody is writing; else the log is a killed process's
                connections.open_writer(self.store, min(self.wait_s, _SHORT_S)).close()
        compaction.sweep(self.store)
        if self.done:
            compaction.tighten(self.store, self.tight)

    def look(self) -> Known:
        """What the store holds."""
        if not self.store.exists():
            return NOTHING
        self.lease.release()
        with connections.open_reader(self.store, self.wait_s) as reader:
            self.tight = compaction.tightened(reader)
            return read_known(reader)

    def todo(self) -> list[str]:
        """Names of the journals to read. They begin with the time they were opened."""
        entries = self.known.entries
        return sorted(
            name
            for name, stat in self.found.items()
            if name not in self.unreadable
            and name not in self.done
            and not (name in entries and entries[name].is_of(stat))
        )

    def tell(self, todo: int) -> None:
        """Tell who watches."""
        if self.progress is not None:
            done = len(self.done) + len(self.unreadable)
            self.progress(done, max(done, todo))

    # ------------------------------------------------------------------------------------------ reading

    def take(self, todo: list[str]) -> None:
        """Read and write these journals, batch by batch."""
        batch: list[Item] = []
        weights: list[Weight] = []
        size = steps = 0
        for item in self.arrivals(todo):
            batch.append(item)
            weights.append(_weight(item))
            size, steps = size + weights[-1].size, steps + weights[-1].steps
            if self.pace.is_full(size, steps):
                self.put(batch, weights, len(todo), more=True)
                batch, weights, size, steps = [], [], 0, 0
        self.put(batch, weights, len(todo))

    def put(self, items: list[Item], weights: list[Weight], todo: int, more: bool = False) -> None:
        """Write what has arrived, in one go or, where others wait for the store, in several."""
        done = 0
        while done < len(items):
            behind = done + self.pace.fitting(weights[done:])
            last = not more and behind == len(items)
            with contextlib.suppress(GivenUp):  # the same again, in smaller pieces
                self.write(items[done:behind], weights[done:behind], more=not last)
                done = behind
        self.tell(todo)

    def arrivals(self, todo: list[str]) -> Iterator[Item]:
        """What these journals bring, one after another; an entry for each that brings nothing.

        Many that are read from their beginning are read by other processes, before the others.
        """
        fresh = [name for name in todo if name not in self.known.entries]
        hands = crew.size() if self.crew and sum(self.found[name].size for name in fresh) >= crew.LEAST_BYTES else 0
        if hands > 1:
            yield from self.by_crew(fresh, hands)
            todo = [name for name in todo if name in self.known.entries and name not in fresh]
        yield from self.by_oneself(todo)

    def by_crew(self, names: list[str], hands: int) -> Iterator[Item]:
        """What journals bring that other processes read."""
        try:
            for item in crew.arrivals(self.folder, self.home, names, hands):
                if not isinstance(item, crew.Done):
                    yield item
                elif isinstance(item.error, (ForeignFile, NewerFormat, OSError)):
                    entry = self.refused(item.name, item.error)
                    if entry is not None:
                        yield entry
                elif item.error is not None:
                    raise item.error
        except crew.Lost:  # no process can be started here, or memory is short: slower, then
            self.crew = False
            raise _Generation from None

    def by_oneself(self, todo: list[str]) -> Iterator[Item]:
        """What journals bring that this process reads."""
        parts, memory, numbers = Parts(), bodies.Memory(), Numbers()
        for name in todo:
            try:
                source = self.source(name)
                arrival = Arrival(self.folder / name, parts, memory, self.price)
                arrival.bases, arrival.process, arrival.closed = source.bases, source.about.process, source.about.closed
                for portion in arrival.portions(source.resume, source.members):
                    numbers = numbers.for_portion(portion)
                    yield portion, numbers
            except (ForeignFile, NewerFormat, OSError) as error:
                entry = self.refused(name, error)
                if entry is not None:
                    yield entry

    def refused(self, name: str, error: Exception) -> Entry | None:
        """The entry of a file that is no journal of ours; None for one that is to be tried again."""
        stat = self.found[name]
        entry = Entry(name, stat.size, stat.mtime_ns, READER, "read", None, 0, 0, (), False, ())
        if isinstance(error, ForeignFile):
            return entry._replace(state="foreign", reason=error.problem)
        if isinstance(error, NewerFormat):
            return entry._replace(state="newer", reason=str(error))
        self.unreadable[name] = f"{name} cannot be read: {getattr(error, 'strerror', error)}."
        return None

    def source(self, name: str) -> Source:
        """Where to begin with a journal."""
        whole = Source(name, Resume(), {}, {}, About())
        entry = self.known.entries.get(name)
        if entry is None or entry.reader != READER or entry.state != "read":
            return whole
        self.lease.release()
        with connections.open_reader(self.store, self.wait_s) as reader:
            found = ledger.read_resume(reader, name)
            if found is None or found[0].tape or not self.continues(name, found[0]):
                return whole
            resume, members = found
            about = ledger.read_about(reader, [name]).get(name, About())
            bases = restored.bases(reader, about.process, resume.bases, list(members))
            return whole if bases is None else Source(name, resume, members, {**bases}, about)

    def continues(self, name: str, resume: Resume) -> bool:
        """True when a journal has only grown since."""
        with (self.folder / name).open("rb") as file:
            return self.found[name].size >= resume.offset and checksum(file, resume.offset) == resume.check

    def entry(self, portion: Portion, before: Entry | None) -> Entry:
        """The ledger's entry of a journal, when this portion is written."""
        stat = self.found[portion.name]
        if before is None and not portion.begins:
            before = self.begun.get(portion.name)
        if before is None and portion.start:
            before = self.known.entries.get(portion.name)
            if before is not None:
                before = before._replace(damage=tuple(one for one in before.damage if one.offset < portion.start))
        damage, traces = (before.damage, before.traces) if before is not None else ((), ())
        ids = tuple(sorted({*traces, *portion.members}))
        last = portion.ends
        return Entry(
            portion.name, stat.size if last else portion.whole, stat.mtime_ns if last else 0, READER, "read", None,
            portion.whole, max(0, stat.size - portion.whole), (*damage, *portion.damage), portion.closed, ids,
        )  # fmt: skip

    # ------------------------------------------------------------------------------------------ writing

    def write(self, items: list[Item], weights: list[Weight], more: bool = False) -> None:
        """Write a batch. Raises `_Generation` when the store is not as it was, `GivenUp` when somebody else wants it.

        Where `more` follow, the store's log of changes may stay beside it, which is read with it: putting it into the
        file at each batch would write the ends of all tables again and again.
        """
        batch, entries = self.batch(items)
        size, steps = sum([one.size for one in weights]), sum([one.steps for one in weights])
        following = str(int(self.known.generation) + 1)
        if self.parts_of != self.known.generation:
            self.parts.forget()
        if self.parts.worth_reading:
            self.lease.release()
            self.parts.read_from(self.store, self.known.generation, self.wait_s)
        if size > 2 * ingestion.BATCH_BYTES:  # one portion with more in it than a batch has
            self.lease.unbind()
        before = dict(self.kept), set(self.skipped)
        expected_s = self.pace.expected_s(size)
        try:
            with self.lease.writing(more) as writer:
                self.logged = more
                written = self.transaction(writer, following, batch, entries, expected_s)
        except BaseException as error:
            self.parts.undo()
            self.kept, self.skipped = before
            if _another_wrote(error):
                raise _Generation from None
            if memory.is_short(error) and self.lease.widen():
                raise GivenUp from None
            if isinstance(error, duckdb.Error):
                raise self.unwritable(error) from error
            raise
        self.parts.keep()
        self.pace.took(size, steps, self.lease.took_s, long=expected_s is not None)
        self.parts_of = following
        self.learn(following, entries, {portion.name for portion, _ in batch if portion.ends})
        self.count(written)

    def learn(self, generation: str, entries: dict[str, Entry], ended: set[str]) -> None:
        """A batch is written: what the ledger knows now, and which journals are done with."""
        ended = {name for name in entries if name in ended or entries[name].state != "read"}
        now_known = entries | dict.fromkeys(ended, _DONE)
        self.known = Known(generation, {**now_known} if self.known is NOTHING else self.known.entries)
        self.known.entries.update(now_known)
        self.done |= ended
        self.odd |= {name: entry for name, entry in entries.items() if name in ended and (entry.damage or entry.reason)}
        self.begun = {name: entry for name, entry in entries.items() if name not in ended}

    def count(self, written: Written) -> None:
        """A batch is written: which traces it made or changed, and how many steps."""
        for trace, steps in written.new.items():
            self.new[trace] = None
            self.steps += steps
        for trace, steps in written.updated.items():
            if trace not in self.new:
                self.updated[trace] = None
            self.steps += steps

    def batch(self, items: list[Item]) -> tuple[Portions, dict[str, Entry]]:
        """Some items as portions, and the entries of the ledger when they are written."""
        batch: Portions = []
        entries: dict[str, Entry] = {}
        for item in items:
            if isinstance(item, Entry):
                entries[item.name] = item
            else:
                batch.append(item)
                name = sys.intern(item[0].name)  # one that another process read has its own
                entries[name] = self.entry(item[0], entries.get(name))
        return batch, entries

    def unwritable(self, error: duckdb.Error) -> RashomonError:
        """What to say when the database cannot write."""
        if is_no_room(error):
            return full(self.store)
        said = f"{self.store} cannot be written: {connections.first_line(error)}."
        return DamagedData(said, "Check the disk; what was ingested before is still there, and so are the journals.")

    def transaction(
        self,
        writer: duckdb.DuckDBPyConnection,
        following: str,
        batch: Portions,
        entries: dict[str, Entry],
        expected_s: float | None,
    ) -> Written:
        """Write a batch, and traces anew where that is needed."""
        removed: set[str] = set()
        extra: Portions = []
        with connections.transaction(writer), self.lease.giving_way(expected_s) as pause:
            claimed = writer.execute(
                "UPDATE meta SET value = ? WHERE key = 'generation' AND value = ? RETURNING 1",
                [following, self.known.generation],
            ).fetchall()
            if not claimed:
                raise _Generation
            unmerged = merging.read(writer)
            again = self.again(writer, batch)
            remaking = Remaking(writer, batch, self.folder, self.found, self.price)
            while True:
                told, remade = self.remake(remaking, again - removed)
                extra, removed = extra + told, removed | remade
                portions, names, price = [*extra, *batch], self.known.entries, self.price
                writing = Writing(writer, portions, removed, self.skipped, entries, price, names, self.parts, pause)
                try:
                    written = writing.write()
                except Conflict as conflict:
                    again = conflict.traces
                    continue
                merging.note(writer, unmerged, *writing.added, self.lease.merges)
                return written

    def again(self, writer: duckdb.DuckDBPyConnection, batch: Portions) -> set[str]:
        """The traces in the store that journals which are read from their beginning told of before."""
        names = [portion.name for portion, _ in batch
                 if portion.begins and not portion.start and portion.name in self.known.entries]  # fmt: skip
        if not names:
            return set()
        found = writer.execute(
            "SELECT trace FROM members WHERE journal IN (SELECT unnest($1::VARCHAR[]))"
            " UNION SELECT unnest(traces) FROM journals WHERE name IN (SELECT unnest($1::VARCHAR[]))", [names]
        ).fetchall()  # fmt: skip
        known = writer.execute("SELECT id FROM traces WHERE id IN (SELECT unnest(?::VARCHAR[]))",
                               [[row[0] for row in found]]).fetchall()  # fmt: skip
        return {row[0] for row in known}

    def remake(self, remaking: Remaking, traces: set[str]) -> tuple[Portions, set[str]]:
        """What journals that are not in the batch tell of traces that are made anew, and which are. Those that would
        lose something are left alone."""
        told: Portions = []
        remade = set[str]()
        for trace in sorted(traces):
            found = remaking.of(trace)
            if found.left:
                self.leave(trace, found.journals, found.left)
            else:
                told += found.told
                remade.add(trace)
        return told, remade

    def leave(self, trace: str, names: set[str], reason: str) -> None:
        """Leave a trace as it is."""
        self.kept[trace] = reason
        self.skipped |= {(name, trace) for name in names}

    def report(self) -> ingestion.IngestReport:
        """What was done."""
        entries = [self.odd[name] for name in sorted(self.odd)]
        skipped = [(entry.name, entry.reason) for entry in entries if entry.state != "read" and entry.reason]
        return ingestion.IngestReport(
            tuple(self.new),
            tuple(self.updated),
            self.steps,
            len(self.done),
            tuple((entry.name, damage) for entry in entries for damage in entry.damage),
            (*skipped, *sorted(self.unreadable.items())),
            tuple(sorted(self.kept.items())),
        )


def _weight(item: Item) -> Weight:
    return Weight() if isinstance(item, Entry) else weight(item[0])
