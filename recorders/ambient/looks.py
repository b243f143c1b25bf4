"""Looks at what goes on meanwhile: has the process ended, is the job done? And what a limit on it leaves behind.

What each look of the program's own code found is recorded. In a replay "not yet" is answered without looking, whatever
has come by now; what the recorded look found is waited for. So a loop that polls goes round as often as it did.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from types import FrameType
from typing import Any
from weakref import ref

from rashomon import boundary, real
from rashomon.recorders.ambient.sites import USER, asker

CHILD_PATIENCE = 60.0
"""Seconds that a replay waits for the end of a process that had ended: it has to start first, on a busy machine."""
_MOST = 10_000
"""So many looks in a row that found nothing are recorded one by one; how many more there were, the next one tells."""
_STATE = "_rashomon_looks"


class _Run:
    """The looks of one thread at one thing, within one trace or replay."""

    __slots__ = ("answer", "looks", "of", "owed", "unwritten")

    def __init__(self, guard: Any) -> None:
        self.of = ref(guard)
        self.looks = self.unwritten = self.owed = 0
        self.answer: Any = None


def looked(
    thing: Any,
    what: str,
    caller: FrameType,
    nothing: Any,
    find: Callable[[], Any],
    await_it: Callable[[Any], object],
) -> Any:
    """What a look at `thing` finds: `nothing` until it has come. Only looks by the program's own code are recorded.

    `await_it` is called in a replay with what the recorded look found, and waits for that. Raises what `find` raises.
    """
    frame, who = asker(caller)
    guard: Any = boundary.guard_here() if who == USER else None
    if guard is None:
        return find()
    runs, key = thing.__dict__.setdefault(_STATE, {}), (what, get_ident(), real.getpid())
    run = runs.get(key)
    if run is None or run.of() is not guard:  # a thing may outlive the trace
        run = runs[key] = _Run(guard)
    if guard.isolates:
        return _replayed(guard, run, what, frame, nothing, find, await_it)
    found = find()
    if found == nothing:
        if run.looks >= _MOST:
            run.unwritten += 1
            return found
        run.looks += 1
    value = [found, run.unwritten] if run.unwritten else found
    guard.read("sleep", what, lambda: value, frame)
    if found != nothing:
        run.looks = run.unwritten = 0
    return found


def _replayed(
    guard: Any,
    run: _Run,
    what: str,
    frame: FrameType,
    nothing: Any,
    find: Callable[[], Any],
    await_it: Callable[[Any], object],
) -> Any:
    live: list[Any] = []

    def look() -> Any:
        live.append(find())
        return live[0]

    if run.owed > 1:
        run.owed -= 1
        return nothing
    if run.owed:
        run.owed, found = 0, run.answer
    else:
        found = guard.read("sleep", what, look, frame)
        if live:
            return found
        if isinstance(found, list):
            run.answer, run.owed = found[0], found[1]
            return nothing
    if found != nothing:
        await_it(found)
    return found


def behind_children(wait: Callable[[], None]) -> None:
    """The wait of a replay for something of other processes, which did not come in time: they come to where they wait
    themselves, before the program goes on and ends them, say."""
    conductor = boundary.conductor
    if conductor is not None:
        conductor.await_children()
    wait()
