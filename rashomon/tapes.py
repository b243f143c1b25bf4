"""From frames to traces: what the journals of one or many processes say together.

A trace is the union of what every process wrote under its id. The launcher's journal is the authority
for command and exit code; a process that was killed says nothing about its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rashomon import journal as journals
from rashomon.errors import DamagedData
from rashomon.journal import BASE_WINDOW, DELTA_MIN, Code, Damage, Delta, Journal
from rashomon.model import (
    Coverage,
    Divergence,
    End,
    Failure,
    Grade,
    Kind,
    Loss,
    Match,
    Piece,
    Process,
    Request,
    Response,
    Step,
    Tape,
    Trace,
)


class _OpenStep:
    """A step while its frames are being read."""

    __slots__ = ("call", "end", "failure", "head", "marks", "match", "pieces", "request", "t_end")

    def __init__(self, call: list[Any], request: Request, marks: tuple[str, ...]) -> None:
        self.call, self.request, self.marks = call, request, marks
        self.head: dict[str, Any] | None = None
        self.pieces: list[Piece] = []
        self.end = End.OPEN
        self.failure: Failure | None = None
        self.match: Match | None = None
        self.t_end = 0


class TracePart(NamedTuple):
    """What one process wrote under one trace id."""

    info: dict[str, Any]
    end: dict[str, Any] | None
    end_us: int
    steps: tuple[Step, ...]
    connections: int
    missed: tuple[str, ...]
    divergences: tuple[Divergence, ...]


class ProcessPart(NamedTuple):
    """One journal, understood: the process, and its part of every trace it took part in."""

    path: str
    process: dict[str, Any]
    closed: bool
    parts: dict[str, TracePart]
    damage: tuple[Damage, ...]
    loss: Loss | None
    end: int


class _Reading:
    """The state of reading one journal, frame by frame."""

    def __init__(self) -> None:
        self.process: dict[str, Any] = {}
        self.traces: dict[int, dict[str, Any]] = {}
        self.ends: dict[int, tuple[int, dict[str, Any]]] = {}
        self.steps: dict[int, _OpenStep] = {}
        self.connects: list[list[Any]] = []
        self.divergences: list[tuple[int, Divergence]] = []
        self.headers: dict[int, list[str]] = {}
        self.bases: dict[int, bytes | None] = {}
        self.closed = False

    def frame(self, elements: list[Any]) -> None:
        code = elements[0]
        if code in _HANDLERS:
            _HANDLERS[code](self, elements)

    def on_process(self, elements: list[Any]) -> None:
        self.process = elements[1]

    def on_trace(self, elements: list[Any]) -> None:
        self.traces[elements[1]] = elements[2]

    def on_call(self, elements: list[Any]) -> None:
        number, head, body = elements[1], dict(elements[8]), elements[9]
        marks = []
        head, whole = self.head(head)
        try:
            content = self.body(number, body)
        except DamagedData:
            content, whole = b"", False
        if not whole:
            marks.append("damaged-request")
        self.steps[number] = _OpenStep(elements, Request(head, content), tuple(marks))

    def head(self, head: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """A head with its interned headers put back, and whether all of them are known."""
        if "headers" not in head:
            return head, True
        pairs, whole = [], True
        for item in head["headers"]:
            if isinstance(item, int):
                whole = whole and item in self.headers
                pairs.append(self.headers.get(item, ["?", "?"]))
            else:
                if item[0] is not None:
                    self.headers[item[0]] = [item[1], item[2]]
                pairs.append([item[1], item[2]])
        return {**head, "headers": pairs}, whole

    def body(self, number: int, body: Any) -> bytes:
        if isinstance(body, bytes):
            content = body
        else:
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
        step = self.steps.get(elements[1])
        if step is not None:
            step.head, whole = self.head(elements[3])
            if not whole:
                step.marks = (*step.marks, "damaged-response")

    def on_piece(self, elements: list[Any]) -> None:
        if (step := self.steps.get(elements[1])) is None:
            return
        if len(elements) > 4:  # the rest of an earlier piece
            piece = step.pieces[elements[4]]
            step.pieces[elements[4]] = piece._replace(data=piece.data + elements[3])
        else:
            step.pieces.append(Piece(elements[2] - step.call[6], elements[3]))

    def on_end(self, elements: list[Any]) -> None:
        step = self.steps.get(elements[1])
        if step is not None:
            step.t_end, step.end = elements[2], End(elements[3])
            step.failure = Failure(*elements[4][:3]) if elements[4] else None

    def on_match(self, elements: list[Any]) -> None:
        step = self.steps.get(elements[1])
        if step is not None:
            step.match = Match(Grade(elements[2]), elements[3], elements[4])

    def on_connect(self, elements: list[Any]) -> None:
        self.connects.append(elements)

    def on_trace_end(self, elements: list[Any]) -> None:
        self.ends[elements[1]] = (elements[2], elements[3])

    def on_divergence(self, elements: list[Any]) -> None:
        self.divergences.append((elements[1], divergence_from_map(elements[2])))

    def on_mark(self, elements: list[Any]) -> None:
        step = self.steps.get(elements[1])
        if step is not None:
            step.marks = (*step.marks, elements[2])

    def on_close(self, elements: list[Any]) -> None:
        self.closed = True


_HANDLERS = {
    Code.PROCESS: _Reading.on_process,
    Code.TRACE: _Reading.on_trace,
    Code.CALL: _Reading.on_call,
    Code.HEAD: _Reading.on_head,
    Code.PIECE: _Reading.on_piece,
    Code.END: _Reading.on_end,
    Code.MATCH: _Reading.on_match,
    Code.CONNECT: _Reading.on_connect,
    Code.TRACE_END: _Reading.on_trace_end,
    Code.DIVERGENCE: _Reading.on_divergence,
    Code.CLOSE: _Reading.on_close,
    Code.MARK: _Reading.on_mark,
}


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
    reading = _Reading()
    damage = list(journal.damage)
    for elements in journal.frames:
        try:
            reading.frame(elements)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            damage.append(Damage(0, 0, f"frame {elements[:1]} cannot be understood: {type(error).__name__}"))
    parts = {info["id"]: _part(reading, number, info) for number, info in reading.traces.items() if "id" in info}
    return ProcessPart(journal.path, reading.process, reading.closed, parts, tuple(damage), journal.loss, journal.end)


def _part(reading: _Reading, trace_number: int, info: dict[str, Any]) -> TracePart:
    steps = tuple(_step(open_step) for open_step in reading.steps.values() if open_step.call[2] == trace_number)
    connects = [elements for elements in reading.connects if elements[1] == trace_number]
    end_us, end = reading.ends.get(trace_number, (0, None))
    return TracePart(
        info,
        end,
        end_us,
        steps,
        len(connects),
        tuple(elements[3] for elements in connects if elements[4] is None),
        tuple(divergence for number, divergence in reading.divergences if number == trace_number),
    )


def _step(open_step: _OpenStep) -> Step:
    """A step of one process; `id`, `index` and `started_us` are still the process's own."""
    _, number, _, kind, name, lane, t_us, within = open_step.call[:8]
    duration = max(0, open_step.t_end - t_us) if open_step.end != End.OPEN else 0
    response = Response(open_step.head, tuple(open_step.pieces), open_step.end, open_step.failure, duration)
    return Step(
        open_step.call[10] if len(open_step.call) > 10 else str(number),
        number,
        Kind(kind),
        name,
        tuple(lane),
        t_us,
        open_step.request,
        response,
        open_step.match,
        None if within is None else str(within),
        open_step.marks,
    )


def read_part(path: Path | str) -> ProcessPart:
    """Read and understand one journal file."""
    return understand(journals.read(path))


def assemble(parts: Iterable[ProcessPart]) -> list[Tape]:
    """The traces that these journals tell together, oldest first."""
    by_trace: dict[str, list[ProcessPart]] = {}
    for part in parts:
        for trace_id in part.parts:
            by_trace.setdefault(trace_id, []).append(part)
    tapes = [_merge(trace_id, found) for trace_id, found in by_trace.items()]
    return sorted(tapes, key=lambda tape: (tape.trace.started_ns, tape.trace.id))


def _process_order(part: ProcessPart) -> tuple[int, int]:
    return part.process.get("started_ns", 0), part.process.get("pid", 0)


def _merge(trace_id: str, found: list[ProcessPart]) -> Tape:
    launchers = [part for part in found if part.process.get("role") == "launcher"]
    workers = sorted((part for part in found if part.process.get("role") != "launcher"), key=_process_order)
    first = (launchers or workers)[0]
    info = first.parts[trace_id].info
    started_ns = int(info.get("started_ns", first.process.get("started_ns", 0)))
    steps: list[Step] = []
    for number, part in enumerate(workers):
        shift_us = (part.process.get("started_ns", 0) - started_ns) // 1000
        found_steps = part.parts[trace_id].steps
        # a tape file has one process and keeps the ids that its steps had
        ids = {str(step.index): step.id if "." in step.id else f"{number}.{step.id}" for step in found_steps}
        for step in found_steps:
            within = None if step.within is None else ids.get(step.within, f"{number}.{step.within}")
            own = ids[str(step.index)]
            steps.append(step._replace(id=own, started_us=step.started_us + shift_us, within=within))
    steps.sort(key=lambda step: (step.started_us, *map(int, step.id.split("."))))
    ordered = tuple(step._replace(index=index) for index, step in enumerate(steps))
    return Tape(_trace(trace_id, started_ns, launchers, workers), ordered)


def _trace(trace_id: str, started_ns: int, launchers: list[ProcessPart], workers: list[ProcessPart]) -> Trace:
    info: dict[str, Any] = {}
    end: dict[str, Any] = {}
    ended_ns: int | None = None
    for part in [*workers, *launchers]:  # the launcher last: its word counts
        piece = part.parts[trace_id]
        info.update({key: value for key, value in piece.info.items() if value is not None})
        if piece.end is not None:
            end.update({key: value for key, value in piece.end.items() if value is not None})
        if piece.end is not None and (part in launchers or piece.info.get("owner", True)):
            ended_ns = piece.end.get("ended_ns") or part.process.get("started_ns", 0) + piece.end_us * 1000
    pieces = [part.parts[trace_id] for part in workers]
    process = (workers or launchers)[0].process
    return Trace(
        id=trace_id,
        name=info.get("name", ""),
        started_ns=started_ns,
        ended_ns=ended_ns,
        outcome=end.get("outcome", "open"),
        exit_code=end.get("exit_code"),
        error=end.get("error"),
        tags=info.get("tags", {}),
        parent=info.get("parent"),
        within=info.get("within"),
        swaps=tuple(info.get("swaps", ())),
        command=tuple(info["command"]) if info.get("command") else None,
        entrypoint=info.get("entrypoint"),
        cwd=info.get("cwd") or process.get("cwd"),
        environ=info.get("environ", {}),
        versions=process.get("versions", {}),
        processes=_processes(info, workers),
        coverage=Coverage(
            sum(piece.connections for piece in pieces), tuple(peer for piece in pieces for peer in piece.missed)
        ),
        losses=(*(Loss(*loss) for loss in info.get("losses", ())), *_losses([*workers, *launchers])),
        divergences=tuple(
            divergence for part in [*workers, *launchers] for divergence in part.parts[trace_id].divergences
        ),
        result=end.get("result"),
    )


def _processes(info: dict[str, Any], workers: list[ProcessPart]) -> tuple[Process, ...]:
    if "processes" in info:  # a tape file tells of the processes that were recorded
        return tuple(
            Process(number, pid, tuple(argv), python, ended, tuple(lane))
            for number, pid, argv, python, ended, lane in info["processes"]
        )
    return tuple(_process(number, part) for number, part in enumerate(workers))


def _process(number: int, part: ProcessPart) -> Process:
    process = part.process
    return Process(
        number,
        process.get("pid", 0),
        tuple(process.get("argv", ())),
        process.get("versions", {}).get("python", ""),
        part.closed,
        tuple(process.get("lane", ())),
    )


def _losses(parts: list[ProcessPart]) -> tuple[Loss, ...]:
    reported = [part.loss for part in parts if part.loss is not None]
    damaged = [
        Loss(f"{Path(part.path).name}: {len(part.damage)} damaged stretch(es)", 0) for part in parts if part.damage
    ]
    return (*reported, *damaged)


def only_tape(path: Path | str) -> Tape:
    """The one trace of a tape file; raises `DamagedData` when there is none or more than one."""
    tapes = assemble([read_part(path)])
    outer = [tape for tape in tapes if tape.trace.within is None] or tapes
    if len(outer) != 1:
        raise DamagedData(f"{path} holds {len(outer)} traces where one is expected.", "Use an exported tape.")
    return outer[0]


def write_tape(path: Path | str, tape: Tape) -> None:
    """Write a trace as a tape file: a journal of one process, with whole bodies."""
    trace = tape.trace
    numbers = {step.id: number for number, step in enumerate(tape.steps)}
    with Path(path).open("wb") as file:
        file.write(journals.header_bytes())
        for elements in _tape_frames(trace, tape.steps, numbers):
            file.write(journals.frame(journals.pack(elements)))


def _tape_frames(trace: Trace, steps: tuple[Step, ...], numbers: dict[str, int]) -> Iterable[list[Any]]:
    process = {"started_ns": trace.started_ns, "pid": 0, "argv": [], "cwd": trace.cwd, "versions": trace.versions}
    yield [Code.PROCESS, process]
    info: dict[str, Any] = {
        "id": trace.id,
        "name": trace.name,
        "started_ns": trace.started_ns,
        "tags": trace.tags,
        "parent": trace.parent,
        "swaps": list(trace.swaps),
        "command": list(trace.command) if trace.command else None,
        "entrypoint": trace.entrypoint,
        "cwd": trace.cwd,
        "environ": trace.environ,
        "within": trace.within,
        "losses": [list(loss) for loss in trace.losses],
    }
    if trace.processes:
        info["processes"] = [list(process) for process in trace.processes]
    yield [Code.TRACE, 0, info]
    covered = trace.coverage.connections - len(trace.coverage.missed)
    yield from ([Code.CONNECT, 0, 0, peer, None] for peer in trace.coverage.missed)
    yield from ([Code.CONNECT, 0, 0, "", 0] for _ in range(covered))
    for step in steps:
        number, t_us = numbers[step.id], step.started_us
        within = numbers.get(step.within) if step.within else None
        headers = {**step.request.head}
        _inline(headers)
        lane = list(step.lane)
        yield [Code.CALL, number, 0, step.kind, step.name, lane, t_us, within, headers, step.request.body, step.id]
        for mark in step.marks:
            yield [Code.MARK, number, mark]
        yield from _answer_frames(number, t_us, step)
    ended_us = ((trace.ended_ns or trace.started_ns) - trace.started_ns) // 1000
    yield from ([Code.DIVERGENCE, 0, divergence._asdict()] for divergence in trace.divergences)
    if trace.outcome != "open" or trace.ended_ns is not None:
        end = {"outcome": trace.outcome, "exit_code": trace.exit_code, "error": trace.error, "result": trace.result}
        yield [Code.TRACE_END, 0, ended_us, {**end, "ended_ns": trace.ended_ns}]
    yield [Code.CLOSE, ended_us]


def _inline(head: dict[str, Any]) -> None:
    if "headers" in head:
        head["headers"] = [[None, name, value] for name, value in head["headers"]]


def _answer_frames(number: int, t_us: int, step: Step) -> Iterable[list[Any]]:
    response = step.response
    if step.match is not None:
        yield [Code.MATCH, number, step.match.grade, step.match.recorded, step.match.detail]
    if response.head is not None:
        head = {**response.head}
        _inline(head)
        yield [Code.HEAD, number, t_us, head]
    for piece in response.pieces:
        yield [Code.PIECE, number, t_us + piece.offset_us, piece.data]
    if response.end != End.OPEN:
        failure = list(response.failure) if response.failure else None
        yield [Code.END, number, t_us + response.duration_us, response.end, failure]
