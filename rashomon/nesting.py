"""A trace and the traces within it as one tape: everything in one order, under ids that are unique."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from rashomon.model import Divergence, Launched, Point, Process, Read, Step, Tape, Trace, Uncontrolled

Timed = TypeVar("Timed", Read, Point)
_Identity = tuple[int, tuple[str, ...], int, int]


class Placed(NamedTuple):
    """How one trace appears in the whole: process numbers there, and microseconds to add to its times.

    `shifts` has the microseconds of a process that recorded the enclosing trace too: both count from its clock, and
    rounding must not bring their order into doubt.
    """

    numbers: dict[int, int]
    shift_us: int
    shifts: dict[int, int]

    def number(self, own: int) -> int:
        """The number in the whole of a process with this number in its own trace."""
        return self.numbers.get(own, own)

    def step_id(self, own: str) -> str:
        """The id in the whole of a step with this id in its own trace."""
        number, _, arrival = own.partition(".")
        return f"{self.number(int(number))}.{arrival}"

    def optional_id(self, own: str | None) -> str | None:
        """The same where there may be no step."""
        return None if own is None else self.step_id(own)

    def time_us(self, own_us: int, process: int) -> int:
        """The time in the whole of a moment of that process (its own number) in its own trace."""
        return own_us + self.shifts.get(process, self.shift_us)

    def step_us(self, own_us: int, step: str) -> int:
        """The same for a step by its own id."""
        return self.time_us(own_us, _number(step))

    def read(self, read: Read) -> Read:
        """The read as it appears in the whole."""
        at_us, within = self.time_us(read.at_us, read.process), self.optional_id(read.within)
        return read._replace(process=self.number(read.process), at_us=at_us, within=within)

    def point(self, point: Point) -> Point:
        """The point as it appears in the whole."""
        return point._replace(
            process=self.number(point.process),
            step=self.optional_id(point.step),
            at_us=self.time_us(point.at_us, point.process),
            within=self.optional_id(point.within),
        )


def place(traces: Sequence[Trace], ids: Sequence[Iterable[str]]) -> list[Placed]:
    """Where the steps (by their ids) of each trace go. The first trace encloses the others and stays as it is.

    A process that recorded both an outer and an inner trace keeps its outer number; others get new ones.
    """
    outer = traces[0]
    used = set(ids[0])
    numbers = {_identity(process): process.number for process in reversed(outer.processes)}
    free = 1 + max([-1, *(process.number for process in outer.processes), *map(_number, used)])
    placed = [Placed({}, 0, {})]
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
        placed.append(Placed(mapping, (trace.started_ns - outer.started_ns) // 1000, _shifts(outer, trace)))
    return placed


def _shifts(outer: Trace, trace: Trace) -> dict[int, int]:
    """Times of a process count from its own clock, and are rounded once in each trace: undone, and done again."""
    return {
        process.number: (process.epoch_ns - outer.started_ns) // 1000 - (process.epoch_ns - trace.started_ns) // 1000
        for process in trace.processes
        if process.epoch_ns
    }


def together(tapes: Sequence[Tape]) -> Tape:
    """The first tape with everything of the others in it, which were recorded within it."""
    if len(tapes) == 1:
        return tapes[0]
    places = place([tape.trace for tape in tapes], [[step.id for step in tape.steps] for tape in tapes])
    processes = _processes(tapes, places)
    places = _number_strays(tapes, places, processes)
    pairs = list(zip(tapes, places, strict=True))
    steps = [_moved(step, where) for tape, where in pairs for step in tape.steps]
    steps.sort(key=lambda step: (step.started_us, *map(int, step.id.split("."))))
    launched: list[Launched] = []
    divergences: list[Divergence] = []
    uncontrolled: dict[Uncontrolled, None] = {}
    for tape, where in pairs:
        launched += [one._replace(within=where.optional_id(one.within)) for one in tape.trace.launched]
        uncontrolled |= dict.fromkeys(tape.trace.uncontrolled)
        divergences += [one._replace(step=where.optional_id(one.step)) for one in tape.trace.divergences]
    trace = tapes[0].trace._replace(
        processes=tuple(processes[number] for number in sorted(processes)),
        launched=tuple(launched),
        uncontrolled=tuple(uncontrolled),
        divergences=tuple(divergences),
    )
    return Tape(
        trace,
        tuple(step._replace(index=index) for index, step in enumerate(steps)),
        _in_order([[where.read(read) for read in tape.reads] for tape, where in pairs]),
        _in_order([[where.point(point) for point in tape.points] for tape, where in pairs]),
    )


def whole(tapes: Mapping[str, Tape], trace_id: str) -> Tape | None:
    """A trace, of tapes by their ids, with all that was recorded within it, at any depth; None if it is not there."""
    if trace_id not in tapes:
        return None
    family = {trace_id}
    while more := {one for one, tape in tapes.items() if tape.trace.within in family} - family:
        family |= more
    inner = sorted(family - {trace_id}, key=lambda one: (tapes[one].trace.started_ns, one))
    return together([tapes[one] for one in (trace_id, *inner)])


def _processes(tapes: Sequence[Tape], places: Sequence[Placed]) -> dict[int, Process]:
    """The processes of all traces by their numbers in the whole."""
    processes = {process.number: process for process in tapes[0].trace.processes}
    for tape, where in zip(tapes[1:], places[1:], strict=True):
        for process in tape.trace.processes:
            number = where.numbers[process.number]
            processes.setdefault(number, process._replace(number=number))
    return processes


def _number_strays(tapes: Sequence[Tape], places: Sequence[Placed], processes: Mapping[int, Process]) -> list[Placed]:
    """The places, with new numbers for processes that only the reads or points of an inner trace know of."""
    given = {number for where in places for number in where.numbers.values()}
    first = _mentioned(tapes[0]) | {_number(step.id) for step in tapes[0].steps}
    free = 1 + max([-1, *processes, *given, *first])
    numbered = [places[0]]
    for tape, where in zip(tapes[1:], places[1:], strict=True):
        strays = sorted(_mentioned(tape) - where.numbers.keys())
        numbered.append(where._replace(numbers=where.numbers | {own: free + at for at, own in enumerate(strays)}))
        free += len(strays)
    return numbered


def _mentioned(tape: Tape) -> set[int]:
    """The processes that read something or to which an answer came."""
    return {read.process for read in tape.reads} | {point.process for point in tape.points}


def _in_order(lists: Sequence[Sequence[Timed]]) -> tuple[Timed, ...]:
    """Process by process in the order of time. What one trace tells of a process keeps the order that it has there."""
    keyed: list[tuple[int, int, Timed]] = []
    for own in lists:
        latest: dict[int, int] = {}
        for one in own:
            latest[one.process] = at_us = max(one.at_us, latest.get(one.process, one.at_us))
            keyed.append((one.process, at_us, one))
    keyed.sort(key=lambda item: item[:2])
    return tuple([one for _, _, one in keyed])


def _moved(step: Step, where: Placed) -> Step:
    return step._replace(
        id=where.step_id(step.id),
        started_us=where.step_us(step.started_us, step.id),
        within=where.optional_id(step.within),
    )


def _number(step: str) -> int:
    return int(step.partition(".")[0])


def _identity(process: Process) -> _Identity:
    return process.pid, process.argv, process.epoch_ns, process.monotonic_ns
