"""A tape file: one trace, in the format of a journal of one process, with whole bodies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rashomon import journal as journals
from rashomon.journal import Code
from rashomon.model import End, Site, Step, Tape, Trace


def write_tape(path: Path | str, tape: Tape) -> None:
    """Write a trace as a tape file: a journal of one process, with whole bodies."""
    with Path(path).open("wb") as file:
        file.write(journals.header_bytes())
        for elements in frames(tape):
            file.write(journals.frame(journals.pack(elements)))


def frames(tape: Tape) -> Iterator[list[Any]]:
    """The frames of a tape file, in order: `[code, ...]` as `docs/formats/journal.md` describes them."""
    numbers = {step.id: number for number, step in enumerate(tape.steps)}
    yield from _tape_frames(tape.trace, tape.steps, numbers)
    yield from _surroundings_frames(tape, numbers)


def _inside(step: str | None, numbers: dict[str, int]) -> int | str | None:
    """A step that encloses another: its number, or its id where it is a step of an enclosing trace."""
    return None if step is None else numbers.get(step, step)


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
        "provenance": trace.provenance or None,
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
        within = _inside(step.within, numbers)
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


def _surroundings_frames(tape: Tape, numbers: dict[str, int]) -> Iterable[list[Any]]:
    """Reads, points, subprocesses; they stand behind CLOSE, where a reader takes them all the same."""
    for read in tape.reads:
        _, lane, kind, what, value, site, at_us, within = read
        inner = _inside(within, numbers)
        yield [Code.READ, 0, kind, what, value, list(lane), at_us, inner, _site(site), read.process]
    for point in tape.points:
        process, event, step, lane, number, loop, epoch, tick, at_us, within, delay_us = point
        own, inner = _inside(step, numbers), _inside(within, numbers)
        yield [Code.POINT, 0, event, own, list(lane), number, loop, epoch, tick, at_us, inner, delay_us, process]
    for one in tape.trace.launched:
        inner = _inside(one.within, numbers)
        yield [Code.LAUNCHED, 0, list(one.argv), list(one.lane), inner, _site(one.site)]
    for source in tape.trace.uncontrolled:
        yield [Code.UNCONTROLLED, 0, source.what, source.reason, _site(source.site)]


def _site(site: Site | None) -> list[Any] | None:
    return None if site is None else [None, *site]


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
