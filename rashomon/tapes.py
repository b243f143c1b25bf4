"""From frames to traces: what the journals of one or many processes say together.

A trace is the union of what every process wrote under its id. The launcher's journal is the authority
for command and exit code; a process that was killed says nothing about its end.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rashomon.errors import DamagedData
from rashomon.journal_parts import ProcessPart, TracePart, divergence_from_map, read_part, understand
from rashomon.model import Coverage, Launched, Loss, Point, Process, Read, Step, Tape, Trace
from rashomon.tape_file import write_tape

__all__ = [
    "ProcessPart",
    "TracePart",
    "assemble",
    "divergence_from_map",
    "only_tape",
    "read_part",
    "understand",
    "write_tape",
]


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
    where = placement(trace_id, found)
    steps: list[Step] = []
    reads: list[Read] = []
    points: list[Point] = []
    launched: list[Launched] = []
    parts = {part.path: part.parts[trace_id] for part in found}
    for path in where.workers:
        part, shift_us = parts[path], where.shift_us(path)
        # a tape file has one process and keeps the ids that its steps had
        given = {str(step.index): step.id for step in part.steps if "." in step.id}
        placed = _Placed(where, path, given, "processes" in part.info)
        for step in part.steps:
            own = placed.id(str(step.index))
            steps.append(
                step._replace(id=own or "", started_us=step.started_us + shift_us, within=placed.id(step.within))
            )
        reads.extend(map(placed.read, part.reads))
        points.extend(map(placed.point, part.points))
        launched.extend(one._replace(within=placed.id(one.within)) for one in part.launched)
    steps.sort(key=lambda step: (step.started_us, *map(int, step.id.split("."))))
    ordered = tuple(step._replace(index=index) for index, step in enumerate(steps))
    return Tape(where.trace._replace(launched=tuple(launched)), ordered, tuple(reads), tuple(points))


class Placement(NamedTuple):
    """Where the processes of a trace stand in it, each named by the path of its journal.

    `workers` are those that have steps, in the order of their numbers; `trace` is what all say together beside steps.
    """

    trace: Trace
    workers: list[str]
    shifts: dict[str, int]
    names: dict[str, int]
    """The numbers of the processes, by what a process that was started inside one of their steps calls them."""

    def number(self, path: str) -> int:
        """The number of a process; -1 for the launcher, which has no steps."""
        return self.workers.index(path) if path in self.shifts else -1

    def shift_us(self, path: str) -> int:
        """Microseconds from the start of the trace to that of the process."""
        return self.shifts.get(path, 0)

    def id(self, path: str, step: str) -> str | None:
        """What a step is called in the trace that a process calls so; None when nobody knows its process."""
        if "#" in step:
            name, _, own = step.partition("#")
            return f"{self.names[name]}.{own}" if name in self.names else None
        # a tape file names a step of an enclosing trace by its id
        return step if "." in step else f"{self.number(path)}.{step}"


def placement(trace_id: str, found: list[ProcessPart]) -> Placement:
    """Where these processes stand in a trace. Their steps are not looked at."""
    launchers = [part for part in found if part.process.get("role") == "launcher"]
    workers = sorted((part for part in found if part.process.get("role") != "launcher"), key=_process_order)
    first = (launchers or workers)[0]
    started_ns = int(first.parts[trace_id].info.get("started_ns", first.process.get("started_ns", 0)))
    shifts = {part.path: (part.process.get("started_ns", 0) - started_ns) // 1000 for part in workers}
    names = {f"{start:016x}-{pid}": number for number, (start, pid) in enumerate(map(_process_order, workers))}
    trace = _trace(trace_id, started_ns, launchers, workers)
    return Placement(trace, [part.path for part in workers], shifts, names)


class _Placed(NamedTuple):
    """Where one process's part belongs in the whole."""

    where: Placement
    path: str
    given: dict[str, str]
    """Ids that steps have of their own: in a tape file."""
    numbered: bool
    """True in a tape file: there each read and point says its process."""

    def id(self, step: str | None) -> str | None:
        return None if step is None else self.given.get(step) or self.where.id(self.path, step)

    def read(self, read: Read) -> Read:
        process = read.process if self.numbered else self.where.number(self.path)
        at_us = read.at_us + self.where.shift_us(self.path)
        return read._replace(process=process, at_us=at_us, within=self.id(read.within))

    def point(self, point: Point) -> Point:
        process = point.process if self.numbered else self.where.number(self.path)
        step, within = self.id(point.step), self.id(point.within)
        at_us = point.at_us + self.where.shift_us(self.path)
        return point._replace(process=process, step=step, at_us=at_us, within=within)


NO_RECORDER = Loss("no recorder has begun in the program", 0)
"""Of a trace that only its launcher tells of, and that has ended."""


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
        losses=(
            *(Loss(*loss) for loss in info.get("losses", ())),
            *_losses([*workers, *launchers]),
            *([NO_RECORDER] if ended_ns is not None and not workers and "processes" not in info else ()),
        ),
        divergences=tuple(
            divergence for part in [*workers, *launchers] for divergence in part.parts[trace_id].divergences
        ),
        result=end.get("result"),
        uncontrolled=tuple(dict.fromkeys(one for piece in pieces for one in piece.uncontrolled)),
        provenance=info.get("provenance", {}),
    )


def _processes(info: dict[str, Any], workers: list[ProcessPart]) -> tuple[Process, ...]:
    if "processes" in info:  # a tape file tells of the processes that were recorded
        return tuple(
            Process(number, pid, tuple(argv), python, ended, tuple(lane), *clocks)
            for number, pid, argv, python, ended, lane, *clocks in info["processes"]
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
        process.get("started_ns", 0),
        process.get("monotonic_ns", 0),
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
