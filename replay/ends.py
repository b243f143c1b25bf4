"""How two executions ended, beside their steps: what they printed, their exit codes, what the function returned, and
which files of the disk they met otherwise."""

from __future__ import annotations

import json
from typing import NamedTuple

from rashomon import disk, values
from rashomon.model import Tape, Trace
from rashomon.replay import printed

_LONGEST = 200
_MOST = 5


class EndDifference(NamedTuple):
    """What differs. `kind`: `output`, `exit` or `result`, as of a divergence, or `files`, which may be why.
    `passing`: told, and no divergence."""

    kind: str
    summary: str
    detail: tuple[str, ...] = ()
    passing: bool = False


def end_differences(left: Tape, right: Tape) -> tuple[EndDifference, ...]:
    """What differs at the ends of a recording and its replay, or of any two traces. What is not known of both does not
    differ: the end of a trace that is still open, the output of a process that was killed."""
    sides = printed.REPLAYED if right.trace.parent == left.trace.id else printed.ANY
    found = []
    output = printed.compare(left, right, sides)
    if output is not None:
        found.append(EndDifference("output", *output))
    exits = left.trace.exit_code, right.trace.exit_code
    if None not in exits and exits[0] != exits[1]:
        summary = f"The program ended with exit code {exits[0]} in {sides.left}, {exits[1]} in {sides.right}."
        found.append(EndDifference("exit", summary))
    comparable = sides is printed.REPLAYED or right.trace.entrypoint is not None  # another program returns nothing
    known = left.trace.entrypoint and comparable and _is_over(left.trace) and _is_over(right.trace)
    if known and left.trace.result != right.trace.result:
        results = _short(left.trace.result), _short(right.trace.result)
        summary = f"The function returned {results[0]} in {sides.left}, {results[1]} in {sides.right}."
        found.append(EndDifference("result", summary))
    files = disk.apart(left.trace.uncontrolled, right.trace.uncontrolled)
    if files:
        told = [one.told(sides.left, sides.right) for one in files]
        more = [f"and {len(told) - _MOST} more"] if len(told) > _MOST else []
        summary = f"The program met other files in {sides.right} than in {sides.left}."
        found.append(EndDifference("files", summary, (*told[:_MOST], *more), True))
    return tuple(found)


def _is_over(trace: Trace) -> bool:
    return trace.ended_ns is not None or trace.exit_code is not None


def _short(result: bytes | None) -> str:
    text = "nothing" if result is None else json.dumps(values.to_json(result), ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
