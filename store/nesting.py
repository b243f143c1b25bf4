"""A trace and the traces within it as one tape: their steps in one order, under ids that are unique."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from rashomon.model import Process, Step, Tape, Trace
from rashomon.store.rows import StepRow

S = TypeVar("S", Step, StepRow)


class Placed(NamedTuple):
    """How one trace's steps appear in the whole: process numbers there, and microseconds to add."""

    numbers: dict[int, int]
    shift_us: int

    def step_id(self, own: str) -> str:
        """The id in the whole of a step with this id in its own trace."""
        number, _, arrival = own.partition(".")
        return f"{self.numbers.get(int(number), int(number))}.{arrival}"


def place(traces: Sequence[Trace], ids: Sequence[Iterable[str]]) -> list[Placed]:
    """Where the steps (by their ids) of each trace go. The first trace encloses the others and stays as it is.

    A process that recorded both an outer and an inner trace keeps its outer number; others get new ones.
    """
    outer = traces[0]
    used = set(ids[0])
    numbers = {_identity(process): process.number for process in reversed(outer.processes)}
    free = 1 + max([-1, *(process.number for process in outer.processes), *map(_number, used)])
    placed = [Placed({}, 0)]
    for trace, own in zip(traces[1:], ids[1:], strict=True):
        by_number: dict[int, list[str]] = {process.number: [] for process in trace.processes}
        for step in own:
            by_number.setdefault(_number(step), []).append(step.partition(".")[2])
        known = {process.number: process for process in trace.processes}
        mapping: dict[int, int] = {}
        for number in sorted(by_number):
            identity = _identity(known[number]) if number in known else None
            target = numbers.get(identity) if identity is not None else None
            if target is None or any(f"{target}.{arrival}" in used for arrival in by_number[number]):
                target, free = free, free + 1
                if identity is not None:
                    numbers.setdefault(identity, target)
            mapping[number] = target
            used.update(f"{target}.{arrival}" for arrival in by_number[number])
        placed.append(Placed(mapping, (trace.started_ns - outer.started_ns) // 1000))
    return placed


def together(tapes: Sequence[Tape]) -> Tape:
    """The first tape with the steps of the others in it, which were recorded within it."""
    if len(tapes) == 1:
        return tapes[0]
    places = place([tape.trace for tape in tapes], [[step.id for step in tape.steps] for tape in tapes])
    steps = [_moved(step, where) for tape, where in zip(tapes, places, strict=True) for step in tape.steps]
    steps.sort(key=lambda step: (step.started_us, *map(int, step.id.split("."))))
    numbered = tuple(step._replace(index=index) for index, step in enumerate(steps))
    processes = {process.number: process for process in tapes[0].trace.processes}
    for tape, where in zip(tapes[1:], places[1:], strict=True):
        for process in tape.trace.processes:
            number = where.numbers[process.number]
            processes.setdefault(number, process._replace(number=number))
    whole = tuple(processes[number] for number in sorted(processes))
    return Tape(tapes[0].trace._replace(processes=whole), numbered)


def rows_together(traces: Sequence[Trace], rows: Sequence[Sequence[StepRow]]) -> list[StepRow]:
    """The same for light rows; each keeps the `trace` and `position` where the store has it."""
    places = place(traces, [[row.id for row in own] for own in rows])
    moved = [_moved(row, where) for own, where in zip(rows, places, strict=True) for row in own]
    moved.sort(key=lambda row: (row.started_us, *map(int, row.id.split("."))))
    return [row._replace(index=index) for index, row in enumerate(moved)]


def _moved(step: S, where: Placed) -> S:
    return step._replace(
        id=where.step_id(step.id),
        started_us=step.started_us + where.shift_us,
        within=None if step.within is None else where.step_id(step.within),
    )


def _number(step: str) -> int:
    return int(step.partition(".")[0])


def _identity(process: Process) -> tuple[int, tuple[str, ...]]:
    return process.pid, process.argv
