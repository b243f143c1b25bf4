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
    launchers = [part for part in found if part.process.get("role") == "launcher"]
    workers = sorted((part for part in found if part.process.get("role") != "launcher"), key=_process_order)
    first = (launchers or workers)[0]
    info = first.parts[trace_id].info
    started_ns = int(info.get("started_ns", first.process.get("started_ns", 0)))
    steps: list[Step] = []
    reads: list[Read] = []
    points: list[Point] = []
    launched: list[Launched] = []
    names = {f"{start:016x}-{pid}": number for number, (start, pid) in enumerate(map(_process_order, workers))}
    for number, part in enumerate(workers):
        shift_us = (part.process.get("started_ns", 0) - started_ns) // 1000
        found_steps = part.parts[trace_id].steps
        # a tape file has one process and keeps the ids that its steps had
        ids = {str(step.index): step.id if "." in step.id else f"{number}.{step.id}" for step in found_steps}
        placed = _Placed(number, shift_us, ids, "processes" in info, names)
        for step in found_steps:
            own = ids[str(step.index)]
            steps.append(step._replace(id=own, started_us=step.started_us + shift_us, within=placed.id(step.within)))
        reads.extend(map(placed.read, part.parts[trace_id].reads))
        points.extend(map(placed.point, part.parts[trace_id].points))
        launched.extend(one._replace(within=placed.id(one.within)) for one in part.parts[trace_id].launched)
    steps.sort(key=lambda step: (step.started_us, *map(int, step.id.split("."))))
    ordered = tuple(step._replace(index=index) for index, step in enumerate(steps))
    trace = _trace(trace_id, started_ns, launchers, workers)._replace(launched=tuple(launched))
    return Tape(trace, ordered, tuple(reads), tuple(points))


class _Placed(NamedTuple):
    """Where one process's part belongs in the whole: its number, its start, and the ids that its steps got."""

    number: int
    shift_us: int
    ids: dict[str, str]
    numbered: bool
    """True in a tape file: there each read and point says its process."""
    names: dict[str, int]
    """The numbers of the processes, by what a process that was started inside one of their steps calls them."""

    def id(self, step: str | None) -> str | None:
        if step is not None and "#" in step:
            name, _, own = step.partition("#")
            return f"{self.names[name]}.{own}" if name in self.names else None
        return None if step is None else self.ids.get(step, f"{self.number}.{step}")

    def read(self, read: Read) -> Read:
        process = read.process if self.numbered else self.number
        return read._replace(process=process, at_us=read.at_us + self.shift_us, within=self.id(read.within))

    def point(self, point: Point) -> Point:
        process = point.process if self.numbered else self.number
        step, within = self.id(point.step), self.id(point.within)
        return point._replace(process=process, step=step, at_us=point.at_us + self.shift_us, within=within)


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
