"""What one journal says: its frames, understood as one process's part of the traces that it took part in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from rashomon import frame_shapes as shapes
from rashomon.errors import DamagedData
from rashomon.journal import BASE_WINDOW, DELTA_MIN, Code, Damage, Delta, Journal, Scan
from rashomon.model import (
    Divergence,
    End,
    Event,
    Failure,
    Grade,
    Kind,
    Launched,
    Loss,
    Match,
    Piece,
    Point,
    Read,
    Request,
    Response,
    Site,
    Step,
    Uncontrolled,
)

T = TypeVar("T")
_OPEN = End.OPEN  # an enumeration looks it up for longer than a call takes
_new = tuple.__new__
"""Makes a named tuple in a third of the time that its class takes."""


class OpenStep:
    """A step while its frames are being read. `base` names the body that its own is a delta of, and the prefix kept."""

    __slots__ = ("base", "call", "changed", "end", "failure", "head", "marks", "match", "pieces", "request", "t_end")

    def __init__(
        self, call: list[Any], request: Request, marks: tuple[str, ...], base: tuple[int, int] | None = None
    ) -> None:
        self.call, self.request, self.marks, self.base, self.changed = call, request, marks, base, True
        self.pieces: list[Piece] = []
        self.end, self.t_end = _OPEN, 0
        self.head: dict[str, Any] | None = None
        self.failure: Failure | None = None
        self.match: Match | None = None


class TracePart(NamedTuple):
    """What one process wrote under one trace id."""

    info: dict[str, Any]
    end: dict[str, Any] | None
    end_us: int
    steps: tuple[Step, ...]
    connections: int
    missed: tuple[str, ...]
    divergences: tuple[Divergence, ...]
    reads: tuple[Read, ...] = ()
    points: tuple[Point, ...] = ()
    launched: tuple[Launched, ...] = ()
    uncontrolled: tuple[Uncontrolled, ...] = ()


class ProcessPart(NamedTuple):
    """One journal, understood: the process, and its part of every trace it took part in."""

    path: str
    process: dict[str, Any]
    closed: bool
    parts: dict[str, TracePart]
    damage: tuple[Damage, ...]
    loss: Loss | None
    end: int


class Reader:
    """The state of reading one journal, frame by frame.

    What it collects grows with the journal; who reads in portions takes it away in between, and is told by `late` of
    frames for steps that are not there any more.
    """

    def __init__(self) -> None:
        self.process: dict[str, Any] = {}
        self.traces: dict[int, dict[str, Any]] = {}
        self.ends: dict[int, tuple[int, dict[str, Any]]] = {}
        self.steps: dict[int, OpenStep] = {}
        self.connects: list[list[Any]] = []
        self.divergences: list[tuple[int, Divergence]] = []
        self.headers: dict[int, list[str]] = {}
        self.bases: dict[int, bytes | None] = {}
        self.sites: dict[int, Site] = {}
        self.reads: list[tuple[int, Read]] = []
        self.points: list[tuple[int, Point]] = []
        self.launched: list[tuple[int, Launched]] = []
        self.uncontrolled: list[tuple[int, Uncontrolled]] = []
        self.closed = False
        self.damage: list[Damage] = []
        self.scan: Scan | None = None
        """What gives the frames: it knows where the last one is."""

    def take(self, elements: list[Any]) -> None:
        """Take one frame. One that contradicts the format is named as damage, with its place."""
        try:
            self.frame(elements)
        except NOT_UNDERSTOOD as error:
            self.odd(elements, error)

    def frame(self, elements: list[Any]) -> None:
        """Take one frame. Raises IndexError, KeyError, TypeError or ValueError for one that contradicts the format."""
        handler = HANDLERS.get(elements[0])
        if handler is not None:
            getattr(self, handler)(elements)

    def odd(self, elements: list[Any], error: Exception) -> None:
        """Name a frame that cannot be understood."""
        why = str(error) if isinstance(error, ValueError) else type(error).__name__
        self.damaged(f"frame {elements[:1]} cannot be understood: {why}")

    def damaged(self, reason: str) -> None:
        """Name what cannot be understood of the last frame."""
        offset, size = (0, 0) if self.scan is None else self.scan.place()
        self.damage.append(Damage(offset, size, reason.encode("utf-8", "replace").decode()[:300]))

    def usable(self, name: str, written: Any, fields: shapes.Fields) -> dict[str, Any]:
        """What can be used of a frame's map. The rest is named."""
        found, odd = shapes.usable(written, fields)
        if odd:
            self.without(name, odd)
        return found

    def without(self, name: str, odd: list[str]) -> None:
        """Name what was left out of a frame."""
        self.damaged(f"frame {name} is of use without what is of a wrong type: {', '.join(odd)}")

    def late(self, elements: list[Any]) -> None:
        """A frame for a step that is not among `steps`. Its headers are whole."""

    def step(self, elements: list[Any]) -> OpenStep | None:
        """The step that a frame is about, which changes it."""
        step = self.steps.get(elements[1])
        if step is None:
            if elements[1].__class__ is not int:
                shapes.refuse("its step's number is none")
            self.late(elements)
        else:
            step.changed = True
        return step

    def on_process(self, elements: list[Any]) -> None:
        self.process = self.usable("PROCESS", elements[1], shapes.PROCESS)

    def on_trace(self, elements: list[Any]) -> None:
        number, info = shapes.number(elements[1]), self.usable("TRACE", elements[2], shapes.TRACE)
        if info.get("id") is None:
            shapes.refuse("a trace without an id")
        self.traces[number] = info

    def on_call(self, elements: list[Any]) -> None:
        number, body = elements[1], elements[9]
        marks = []
        head, whole = self.head(shapes.head(elements[8]))  # first: later frames may build on what it defines
        try:
            content = self.body(number, body)
        except DamagedData:
            content, whole = b"", False
        if odd := shapes.mend_call(elements):
            self.without("CALL", odd)
        kind_of(elements[3])
        if not whole:
            marks.append("damaged-request")
        base = (body[0], body[1]) if whole and not isinstance(body, bytes) else None
        self.steps[number] = OpenStep(elements, Request(head, content), tuple(marks), base)

    def head(self, head: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """A head with its interned headers put back, and whether all of them are known."""
        if "headers" not in head:
            return head, True
        pairs, whole, known, items = list[Any](), True, self.headers, head["headers"]
        if items.__class__ is not list:
            self.damaged("headers that are no list")
            whole, items = False, []
        for item in items:
            if isinstance(item, int):
                pair = known.get(item)
                if pair is None:
                    whole, pair = False, ["?", "?"]
            elif shapes.is_header(item):
                pair = [item[1], item[2]]
                if item[0] is not None:
                    known[item[0]] = pair
            else:
                self.damaged("a header that is none")
                whole, pair = False, ["?", "?"]
            pairs.append(pair)
        return {**head, "headers": pairs}, whole

    def body(self, number: int, body: Any) -> bytes:
        if isinstance(body, bytes):
            content = body
        else:
            if body.__class__ is not list:
                shapes.refuse("its body is none")
            delta = Delta(*body)
            base = self.bases.get(delta.base)
            if base is None:
                raise DamagedData(f"The request of step {number} builds on step {delta.base}, which is damaged.")
            content = delta.apply(base)
        if len(content) >= DELTA_MIN:
            self.bases[number] = content
            while len(self.bases) > BASE_WINDOW:
                del self.bases[next(iter(self.bases))]
        return content

    def on_head(self, elements: list[Any]) -> None:
        head, whole = self.head(shapes.head(elements[3]))  # also of a step that is not there: it may define headers
        shapes.number(elements[2])
        step = self.step([*elements[:3], head])
        if step is not None:
            step.head = head
            if not whole:
                step.marks = (*step.marks, "damaged-response")

    def on_piece(self, elements: list[Any]) -> None:
        if elements[3].__class__ is not bytes or elements[2].__class__ is not int:
            shapes.refuse("its time is no integer, or its piece no bytes")
        if (step := self.step(elements)) is None:
            return
        if len(elements) > 4:  # the rest of an earlier piece
            piece = step.pieces[elements[4]]
            step.pieces[elements[4]] = piece._replace(data=piece.data + elements[3])
        else:
            step.pieces.append(Piece(elements[2] - step.call[6], elements[3]))

    def on_end(self, elements: list[Any]) -> None:
        t_end, end = shapes.number(elements[2]), _end(elements[3])
        failure = shapes.failure(elements[4]) if elements[4] else None
        step = self.step(elements)
        if step is not None:
            step.t_end, step.end, step.failure = t_end, end, failure

    def on_match(self, elements: list[Any]) -> None:
        match = Match(Grade(elements[2]), shapes.text_or_none(elements[3]), shapes.text(elements[4]))
        step = self.step(elements)
        if step is not None:
            step.match = match

    def on_connect(self, elements: list[Any]) -> None:
        if elements[1] is not None:
            shapes.number(elements[1])
        if len(elements) < 5:
            shapes.refuse("it says not inside of which step")
        shapes.text(elements[3])
        self.connects.append(elements)

    def on_trace_end(self, elements: list[Any]) -> None:
        number, end_us = shapes.number(elements[1]), shapes.time(elements[2])
        self.ends[number] = (end_us, self.usable("TRACE_END", elements[3], shapes.TRACE_END))

    def on_divergence(self, elements: list[Any]) -> None:
        number, content = shapes.number(elements[1]), self.usable("DIVERGENCE", elements[2], shapes.DIVERGENCE)
        self.divergences.append((number, divergence_from_map(content)))

    def on_mark(self, elements: list[Any]) -> None:
        shapes.text(elements[2])
        step = self.step(elements)
        if step is not None:
            step.marks = (*step.marks, elements[2])

    def site(self, written: Any) -> Site | None:
        if written is None:
            return None
        if isinstance(written, int):
            return self.sites.get(written, Site("?", 0, "?"))
        number, file, line, function = written
        if not (file.__class__ is function.__class__ is str and line.__class__ is int):
            shapes.refuse("its site is none")
        site = Site(file, line, function)
        if number is not None:
            self.sites[number] = site
        return site

    def on_read(self, elements: list[Any]) -> None:
        _, trace, kind, what, value, lane, t_us, within, site = elements[:9]
        process = elements[9] if len(elements) > 9 else 0  # a tape file tells of several processes
        found = self.site(site) or Site("?", 0, "?")  # first: later frames may name it by its number
        numbers = trace.__class__ is t_us.__class__ is process.__class__ is int
        if not (numbers and kind.__class__ is what.__class__ is str and shapes.is_place(t_us, process)):
            shapes.refuse("a read's numbers, kind or name are none")
        where, inside = shapes.lane(lane), None if within is None else shapes.step(within)
        self.reads.append((trace, Read(process, where, kind, what, value, found, t_us, inside)))

    def on_point(self, elements: list[Any]) -> None:
        _, trace, event, step, lane, number, loop, epoch, tick, t_us, within = elements[:11]
        delay_us = elements[11] if len(elements) > 11 else 0
        process = elements[12] if len(elements) > 12 else 0
        numbers = trace.__class__ is number.__class__ is loop.__class__ is epoch.__class__ is tick.__class__ is int
        if not (numbers and t_us.__class__ is delay_us.__class__ is process.__class__ is int):
            shapes.refuse("a point's numbers are none")
        own, inside = shapes.step(step), None if within is None else shapes.step(within)
        where = () if lane == [] else shapes.lane(lane)
        point = Point(process, Event(event), own, where, number, loop, epoch, tick, t_us, inside, delay_us)
        self.points.append((trace, point))

    def on_launched(self, elements: list[Any]) -> None:
        _, trace, argv, lane, within, site = elements[:6]
        place = self.site(site)
        if argv.__class__ is not list or not all(isinstance(word, str) for word in argv):
            shapes.refuse("its arguments are no list of texts")
        found = Launched(tuple(argv), shapes.lane(lane), place, shapes.step(within))
        self.launched.append((shapes.number(trace), found))

    def on_uncontrolled(self, elements: list[Any]) -> None:
        _, trace, what, reason, site = elements[:5]
        place = self.site(site)
        self.uncontrolled.append((shapes.number(trace), Uncontrolled(shapes.text(what), shapes.text(reason), place)))

    def on_close(self, elements: list[Any]) -> None:
        self.closed = True


NOT_UNDERSTOOD = (IndexError, KeyError, TypeError, ValueError)
"""What a frame raises that contradicts the format."""

HANDLERS = {
    Code.PROCESS: "on_process",
    Code.TRACE: "on_trace",
    Code.CALL: "on_call",
    Code.HEAD: "on_head",
    Code.PIECE: "on_piece",
    Code.END: "on_end",
    Code.MATCH: "on_match",
    Code.CONNECT: "on_connect",
    Code.TRACE_END: "on_trace_end",
    Code.DIVERGENCE: "on_divergence",
    Code.CLOSE: "on_close",
    Code.MARK: "on_mark",
    Code.READ: "on_read",
    Code.POINT: "on_point",
    Code.LAUNCHED: "on_launched",
    Code.UNCONTROLLED: "on_uncontrolled",
}
"""The method of a `Reader` that takes a frame, by the frame's code."""


def divergence_from_map(content: dict[str, Any]) -> Divergence:
    """A divergence as the journal holds it."""
    return Divergence(
        content.get("kind", ""),
        content.get("summary", ""),
        content.get("step"),
        content.get("recorded"),
        tuple(content.get("paths", ())),
        tuple(content.get("detail", ())),
    )


def understand(journal: Journal) -> ProcessPart:
    """What one journal says. Frames that contradict the format are skipped and named as damage."""
    reading = Reader()
    for elements in journal.frames:
        reading.take(elements)
    return part_of(reading, journal._replace(frames=(), damage=(*journal.damage, *reading.damage)))


def part_of(reading: Reader, journal: Journal) -> ProcessPart:
    """What a reader has collected of a journal so far."""
    parts = {info["id"]: _part(reading, number, info) for number, info in reading.traces.items() if "id" in info}
    return ProcessPart(journal.path, reading.process, reading.closed, parts, journal.damage, journal.loss, journal.end)


def _part(reading: Reader, trace_number: int, info: dict[str, Any]) -> TracePart:
    steps = tuple(step_of(open_step) for open_step in reading.steps.values() if open_step.call[2] == trace_number)
    connects = [elements for elements in reading.connects if elements[1] == trace_number]
    end_us, end = reading.ends.get(trace_number, (0, None))
    return TracePart(
        info,
        end,
        end_us,
        steps,
        len(connects),
        tuple(elements[3] for elements in connects if elements[4] is None),
        _of_trace(reading.divergences, trace_number),
        _of_trace(reading.reads, trace_number),
        _of_trace(reading.points, trace_number),
        _of_trace(reading.launched, trace_number),
        _of_trace(reading.uncontrolled, trace_number),
    )


def _of_trace(numbered: list[tuple[int, T]], trace_number: int) -> tuple[T, ...]:
    return tuple(one for number, one in numbered if number == trace_number)


def step_of(open_step: OpenStep) -> Step:
    """A step of one process; `id`, `index` and `started_us` are still the process's own."""
    call, end = open_step.call, open_step.end
    _, number, _, kind, name, lane, t_us, within = call[:8]
    duration = max(0, open_step.t_end - t_us) if end != _OPEN else 0
    answer = (open_step.head, tuple(open_step.pieces), end, open_step.failure, duration)
    step = (
        call[10] if len(call) > 10 else str(number),
        number,
        kind_of(kind),
        name,
        tuple(lane),
        t_us,
        open_step.request,
        _new(Response, answer),
        open_step.match,
        None if within is None else str(within),
        open_step.marks,
    )
    return _new(Step, step)


_KINDS, _ENDS = {kind.value: kind for kind in Kind}, {end.value: end for end in End}


def kind_of(value: Any) -> Kind:
    """The kind by its name, as `Kind` gives it. Raises ValueError."""
    try:
        return _KINDS[value]  # an enumeration takes ten times as long
    except (KeyError, TypeError):
        return Kind(value)


def _end(value: Any) -> End:
    try:
        return _ENDS[value]
    except (KeyError, TypeError):
        return End(value)


def read_part(path: Path | str) -> ProcessPart:
    """Read and understand one journal file. Raises as `rashomon.journal.read` does."""
    reading = Reader()
    with open(path, "rb") as file:
        reading.scan = scan = Scan(file, os.fspath(path))
        for elements in scan:
            reading.take(elements)
    damage = tuple(sorted((*scan.damage, *reading.damage)))
    return part_of(reading, Journal(os.fspath(path), (), damage, scan.loss, scan.end, scan.torn))
