"""What a journal brings, in portions: rows of the store's tables as far as one journal tells them by itself.

A journal of any size is read once, in pieces; memory holds one portion, the steps that are still open, and the bodies
that later ones may build on. Where reading ended can be kept (`Resume`), and another reading goes on from there.
Steps of a portion are numbered as their process numbered them; `rashomon.store.writing` knows what they are called in
their trace, and applies what came `late`: frames for steps of an earlier portion.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from rashomon import frame_shapes as shapes
from rashomon.errors import DamagedData
from rashomon.journal import BASE_WINDOW, DELTA_MIN, Code, Scan
from rashomon.journal_parts import HANDLERS, NOT_UNDERSTOOD, Reader, kind_of
from rashomon.model import End, Kind, Launched, Piece, Point, Read, Request, Site
from rashomon.store import bodies, columns, forgotten, points, step_rows, surroundings
from rashomon.store.arriving_steps import ArrivingStep, Steps
from rashomon.store.beginnings import NO_BEGINNING, Beginnings
from rashomon.store.growing import grown
from rashomon.store.heads import Headed, Heads, Odd
from rashomon.store.portions import Chunk, Parts, Place, Portion, Price, Tables
from rashomon.store.step_rows import Asked, Row
from rashomon.store.told import MARKS, Member, Resume

PORTION_BYTES = 2 << 20
"""A portion ends behind so many bytes of the journal, or of bodies that had to be kept whole."""

PORTION_STEPS = 4096
"""Or behind so many steps, reads of surroundings counted as a quarter."""

_BEGINNING = Resume()
_LLM = Kind.LLM
_new = tuple.__new__
"""Makes a named tuple in a third of the time that its class takes: there are several for each step."""
_NAMES_TRACE = {Code.TRACE: 1, Code.CONNECT: 1, Code.TRACE_END: 1, Code.DIVERGENCE: 1, Code.READ: 1, Code.POINT: 1,
                Code.UNCONTROLLED: 1, Code.LAUNCHED: 1}  # fmt: skip


class Arrival(Reader):
    """Reads one journal, portion by portion. Parts and memory may be shared with others that are read before."""

    def __init__(
        self,
        path: Path,
        parts: Parts,
        memory: bodies.Memory,
        price: Price | None = None,
        tables: Tables = columns.table_of,
    ) -> None:
        super().__init__()
        self.tables = tables
        self.path, self.parts, self.memory, self.price = path, parts, memory, price
        self.members: dict[int, Member] = {}
        self.steps: dict[int, ArrivingStep] = {}  # type: ignore[assignment]  # of this journal, while they may change
        self.heads = Heads(self.headers)
        self.apart: dict[int, tuple[bodies.Apart, int]] = {}
        self.beginnings = Beginnings(parts)
        self.emitted: set[int] = set()
        self.ids: dict[str, str] = {}
        self.tape = False
        self.highest = 0
        self.mark = 0
        self.marks: dict[int, int] = {}
        """Of each trace that something was told of since the last portion."""
        self.kept_bytes = self.start = 0
        self.late_frames: list[tuple[int, list[Any], str | None]] = []
        self.step_traces: dict[int, int] = {}
        self.forgotten: dict[int, str] = {}
        """Traces that were forgotten here, by their numbers: what the list of such says of them."""
        self.left_out: set[int] = set()
        """Steps of these."""
        self.last_trace: int | None = None

    # ------------------------------------------------------------------------------------------ reading

    def portions(
        self, start: Resume = _BEGINNING, members: dict[str, Member] | None = None, limit: int | None = None
    ) -> Iterator[Portion]:
        """Everything from `start` on, up to `limit` bytes. `members` is what was told before of the same traces.

        The last portion `ends`; there is always one. Raises as `rashomon.journal.read` does.
        """
        self.take_up(start, members or {})
        with self.path.open("rb") as file:
            self.scan = scan = Scan(file, str(self.path), start.offset, limit)
            seen, frames, begins = start.offset, 0, True
            for elements in scan:
                self.mark = mark = scan.mark
                self.last_trace = None
                frames += 1
                try:
                    code = elements[0]
                    handler = _HANDLERS.get(code)
                    if handler is not None:
                        handler(self, elements)
                    trace = elements[1] if code in _NAMES_TRACE else self.last_trace
                    if trace is not None:
                        self.marks[trace] = self.marks.get(trace, 0) + mark * mark
                except NOT_UNDERSTOOD as error:
                    self.odd(elements, error)
                # a frame brings one step or one read at most, so few of them are never heavy
                if scan.end - seen + self.kept_bytes > PORTION_BYTES or (frames > PORTION_STEPS and self.heavy()):
                    yield self.portion(scan, begins, False)
                    seen, frames, begins = scan.end, 0, False
            yield self.portion(scan, begins, True)

    def heavy(self) -> bool:
        """True when there is enough for a portion, however few bytes of the journal it was."""
        weight = len(self.steps) + (len(self.reads) + len(self.points)) // 4
        return weight > PORTION_STEPS + len(self.emitted)

    def take_up(self, start: Resume, members: dict[str, Member]) -> None:
        """Go on where another reading ended."""
        self.start = start.offset
        self.headers = dict(start.headers)
        self.heads = Heads(self.headers)
        self.sites = {number: Site(*site) for number, site in start.sites.items()}
        self.highest = start.steps
        for number, trace in start.traces.items():
            if trace in members:
                self.members[number] = members[trace]
                self.traces[number] = members[trace].info
            elif forgotten.is_mark(trace):
                self.forgotten[number] = trace

    def step(self, elements: list[Any], head: dict[str, Any] | None = None) -> ArrivingStep | None:
        """The step that a frame is about; `head` is the frame's own, with whole headers."""
        step = self.steps.get(elements[1])
        if step is None:
            if elements[1].__class__ is not int:
                shapes.refuse("its step's number is none")
            self.late(elements if head is None else [*elements[:3], head])
        else:
            step.changed = True
            self.last_trace = step.call[2]
        return step

    def late(self, elements: list[Any]) -> None:
        """Have it applied to the step in the store, if that is one of this journal."""
        if isinstance(elements[1], int) and elements[1] < self.highest and elements[1] not in self.left_out:
            if elements[0] == Code.HEAD and "headers" in elements[3]:
                headers = [[None, *pair] for pair in elements[3]["headers"]]  # defined by nobody else
                elements = [*elements[:3], {**elements[3], "headers": headers}]
            self.late_frames.append((self.mark, elements, self.trace(self.step_traces.get(elements[1]))))

    def on_trace(self, elements: list[Any]) -> None:
        """A trace begins: what was told of it under this number before, stays."""
        named = elements[2].get("id") if elements[2].__class__ is dict else None
        if isinstance(named, str):
            if not is_id(named):
                shapes.refuse(f"a trace has the id {named!r}")
            known = forgotten.read(self.path.parent.parent)
            if forgotten.among(known, {named: forgotten.kin(elements[2])}):
                self.forgotten[elements[1]] = forgotten.mark(named)
                return  # `rashomon verify` names it
        super().on_trace(elements)
        number = elements[1]
        info = self.traces[number]
        before = self.members.get(number)
        self.members[number] = before._replace(info=info) if before else Member(info)

    def on_call(self, elements: list[Any]) -> None:
        """A step begins. One that cannot be is none."""
        number, written = elements[1], elements[9]
        headed, whole = self.headed(shapes.head(elements[8]))
        if self.forgotten and elements[2] in self.forgotten:
            self.left_out.add(number)
            with contextlib.suppress(DamagedData):  # nothing of it is kept but what later steps may build on
                self.body(number, written)
            return
        plain = isinstance(written, bytes)
        try:
            body = self.body(number, written)
        except DamagedData:
            body, whole = b"", False
        if odd := shapes.mend_call(elements):
            self.without("CALL", odd)
        marks = () if whole else ("damaged-request",)
        base = (written[0], written[1]) if whole and not plain else None
        step = self.steps[number] = ArrivingStep(elements, _new(Request, (headed.head, body)), marks, base)
        try:
            step.asked, step.asked_text = self.ask(elements, step, headed), headed.text
        except BaseException:
            del self.steps[number]
            raise

    def on_head(self, elements: list[Any]) -> None:
        """An answer begins."""
        head = elements[3]
        if head.__class__ is not dict:
            shapes.refuse("its head is no map")
        headed, whole = self.headed(head)  # also of a step that is not there: it may define headers
        if elements[2].__class__ is not int:
            shapes.refuse("its time is no integer")
        step = self.step(elements, headed.head)
        if step is not None:
            step.head, step.head_text = headed.head, headed.text
            kind, encoding = headed.type, headed.encoding
            if headed.text is not None and kind is not None and encoding is not None:
                step.content = encoding.lower(), kind.lower()
            else:
                step.content = None
            if not whole:
                step.marks = (*step.marks, "damaged-response")

    def on_piece(self, elements: list[Any]) -> None:
        """More of an answer."""
        step = self.steps.get(elements[1])
        if step is None or len(elements) != 4 or elements[3].__class__ is not bytes or elements[2].__class__ is not int:
            super().on_piece(elements)
            return
        step.changed, call = True, step.call
        self.last_trace = call[2]
        step.pieces.append(_new(Piece, (elements[2] - call[6], elements[3])))

    def headed(self, head: Any) -> tuple[Headed, bool]:
        """A head with its headers, and whether all of them are known."""
        if "headers" not in head:
            return Headed(head, None, "", ""), True
        try:
            return self.heads.headed(head), True
        except (Odd, KeyError, TypeError, ValueError):
            self.heads.forget()
        found, whole = self.head(head)
        return Headed(found, None, *step_rows.content_headers(found)), whole

    def ask(self, elements: list[Any], step: ArrivingStep, headed: Headed) -> Asked:
        """Take a request apart."""
        number, trace = elements[1], elements[2]
        self.last_trace = self.step_traces[number] = trace
        if number >= self.highest:
            self.highest = number + 1
        if len(elements) > 10:
            self.tape = True
            self.ids[str(number)] = elements[10] if "." in elements[10] else f"0.{elements[10]}"
        kind, request = kind_of(elements[3]), step.request
        head, body = request
        size = len(body)
        apart, frame = self.take_apart(number, step, body)
        named = step_rows.digest_as(kind, elements[4], request, apart, headed.type)
        begin, values = NO_BEGINNING, None
        if kind is _LLM:
            begin = self.beginnings.find(number, None if step.base is None else step.base[0], apart, body)
            values = step_rows.asked_values(head, apart, headed.type, headed.encoding)
        if values is not None:
            step.request = _new(Request, (head, b""))  # it is in the parts, and views need only its values
        else:
            self.kept_bytes += size
        return _new(Asked, (apart.holes, frame, apart.parts, size, named, *begin, values))

    def take_apart(self, number: int, step: ArrivingStep, body: bytes) -> tuple[bodies.Apart, int]:
        """A body taken apart, and the number of its frame as a part. It goes on from the one that it is a delta of."""
        apart, frame, known, prefix = None, None, None, 0
        if step.base is not None:
            base = self.apart.get(step.base[0])
            if base is not None:
                known, prefix = base[0].known, step.base[1]
                apart, frame = grown(body, self.parts.number, self.memory, base[0], prefix), base[1]
        if apart is None or frame is None:
            apart = bodies.take_apart(body, self.parts.keep, self.memory, known, prefix)
            frame = self.parts.named(apart.frame)[0]
        if len(body) >= DELTA_MIN:
            self.apart[number] = apart, frame
            while len(self.apart) > BASE_WINDOW:
                gone = next(iter(self.apart))
                del self.apart[gone]
                self.beginnings.forget(gone)
        return apart, frame

    # ----------------------------------------------------------------------------------------- portions

    def portion(self, scan: Scan, begins: bool, ends: bool) -> Portion:
        """What was read since the last one."""
        steps = Steps(self)
        for number, step in self.steps.items():
            if step.changed:
                steps.add(number, step)
                step.changed = False
                self.emitted.add(number)
        places, tables = self.surroundings()
        chunks = self.chunks()
        members = self.told(steps, places, chunks)
        self.drop()
        first, new = self.parts.take()
        late, self.late_frames, self.kept_bytes = self.late_frames, [], 0
        damage, self.damage = (*scan.damage, *self.damage), []
        scan.damage.clear()
        return Portion(
            self.path.name, scan.size, self.process, self.closed, scan.loss, damage, scan.end, scan.torn, members,
            steps.heads, self.tables("steps", steps.rows), steps.parts, steps.lengths, steps.tool_requests,
            steps.step_values, places, tables, chunks, first, new, late, self.resumption(scan),
            self.start, begins, ends,
        )  # fmt: skip

    def drop(self) -> None:
        """Let go of steps that have ended."""
        for number in [number for number, step in self.steps.items() if step.end != End.OPEN]:
            del self.steps[number]
            self.emitted.discard(number)
        if self.parts.full and not self.steps:  # an open step will be written again, under the numbers it has
            self.parts.forget()
            self.memory.clear()
            self.apart.clear()
            self.beginnings.clear()

    def resumption(self, scan: Scan) -> Resume:
        """Where to go on."""
        traces = {number: info["id"] for number, info in self.traces.items() if number in self.members}
        traces |= self.forgotten
        sites = {number: list(site) for number, site in self.sites.items()}
        return Resume(
            scan.end, scan.check(), self.highest, dict(self.headers), sites, traces, list(self.bases), self.tape
        )

    def trace(self, number: Any) -> str | None:
        """The id of a trace; None for one that this journal has not named."""
        try:
            member = self.members.get(number)
        except TypeError:  # a frame names it by what is no number
            return None
        return None if member is None else member.info["id"]

    def inside(self, within: str | None, place: list[str]) -> str | None:
        """What encloses something: another process's step (noted in `place`), an id, or a number of this process."""
        if within is not None and "#" in within:
            place.append(within.partition("#")[0])
            return within
        return within if within is None or "." in within else self.ids.get(within, within)

    def surroundings(self) -> tuple[dict[str, list[Place]], dict[str, pa.Table]]:
        """Reads and launched subprocesses."""
        places: dict[str, list[Place]] = {"ambient": [], "launched": []}
        rows: dict[str, list[Row]] = {"ambient": [], "launched": []}
        for number, read in self.reads:
            self.put(places["ambient"], rows["ambient"], number, read, surroundings.read_row(read))
        for number, one in self.launched:
            self.put(places["launched"], rows["launched"], number, one, surroundings.launched_row(one))
        self.reads, self.launched = [], []
        return places, {table: self.tables(table, found) for table, found in rows.items() if found}

    def put(self, places: list[Place], rows: list[Row], number: int, what: Read | Launched, row: Row) -> None:
        """Add a row, unless nobody knows which trace it is of."""
        trace, foreign = self.trace(number), list[str]()
        if trace is None:
            return
        process, t_us = (what.process, what.at_us) if isinstance(what, Read) else (0, 0)
        numbered = "processes" in self.members[number].info
        within = self.inside(what.within, foreign)
        places.append(Place(trace, process if numbered else -1, t_us, within, tuple(foreign)))
        rows.append(row)

    def chunks(self) -> list[Chunk]:
        """Points, by trace."""
        found: dict[int, list[Point]] = {}
        for number, point in self.points:
            if number in self.members:
                found.setdefault(number, []).append(point)
        self.points = []
        made = []
        for number, listed in found.items():
            member, foreign = self.members[number], list[str]()
            placed = tuple(point._replace(step=self.inside(point.step, foreign),
                                          within=self.inside(point.within, foreign)) for point in listed)  # fmt: skip
            packed = points.rows_of(placed, member.points)
            made.append(Chunk(member.info["id"], member.points, packed, "processes" in member.info, tuple(foreign)))
            self.members[number] = member._replace(points=member.points + len(placed))
        return made

    def told(self, steps: Steps, places: dict[str, list[Place]], chunks: list[Chunk]) -> dict[str, Member]:
        """What is known by now of the traces that something was told of."""
        foreign: dict[str, dict[str, None]] = {}
        counts: dict[tuple[str, str], int] = {}
        for table, found in places.items():
            for place in found:
                foreign.setdefault(place.trace, {}).update(dict.fromkeys(place.foreign))
                counts[place.trace, table] = counts.get((place.trace, table), 0) + 1
        for chunk in chunks:
            foreign.setdefault(chunk.trace, {}).update(dict.fromkeys(chunk.foreign))
        for trace, names in steps.foreign.items():
            foreign.setdefault(trace, {}).update(names)
        self.account()
        members = {}
        for number in self.marks:
            member = self.members.get(number)
            if member is None:
                continue
            trace = member.info["id"]
            member = member._replace(
                mark=(member.mark + self.marks[number]) % MARKS,
                foreign=tuple(dict.fromkeys((*member.foreign, *foreign.get(trace, ())))),
                reads=member.reads + counts.get((trace, "ambient"), 0),
                launched=member.launched + counts.get((trace, "launched"), 0),
            )
            self.members[number] = members[trace] = member
        self.marks = {}
        return members

    def account(self) -> None:
        """Connections, divergences, ends, and what nobody controls, of each trace."""
        for elements in self.connects:
            number, peer = elements[1], elements[3]
            if number in self.members:
                member = self.members[number]
                missed = (*member.missed, peer) if elements[4] is None else member.missed
                self.members[number] = member._replace(connections=member.connections + 1, missed=missed)
        for number, divergence in self.divergences:
            if number in self.members:
                member = self.members[number]
                self.members[number] = member._replace(divergences=(*member.divergences, divergence))
        for number, source in self.uncontrolled:
            if number in self.members and source not in self.members[number].uncontrolled:
                member = self.members[number]
                self.members[number] = member._replace(uncontrolled=(*member.uncontrolled, source))
        for number, (end_us, end) in self.ends.items():
            if number in self.members:
                self.members[number] = self.members[number]._replace(end=end, end_us=end_us)
        self.connects, self.divergences, self.uncontrolled, self.ends = [], [], [], {}


_HANDLERS = {int(code): getattr(Arrival, name) for code, name in HANDLERS.items()}
"""What takes a frame, by its code. Not bound to an object, which would then hold itself."""


def is_id(trace: object) -> bool:
    """True for an id that can be typed: a short text without spaces."""
    return isinstance(trace, str) and trace.isprintable() and 0 < len(trace) <= 200 and " " not in trace
