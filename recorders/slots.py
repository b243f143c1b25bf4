"""How a new process learns its lane, and what it must hand on to the processes that it starts.

A launcher or a recorded parent puts `RASHOMON_LANE` (`0.2@4711`: the lane, and the parent's process id) into the
environment of a child; multiprocessing's spawned children find the same in `-X rashomon=`. A process that was not
started by that parent itself (a shell script starts several programs) shares the lane as a slot: the first has the
lane, those after it have the even negative numbers below it. Commands that are not seen to be Python have the odd
ones, so that how often a library asks `uname` never moves the lane of anything else.
"""

from __future__ import annotations

import os
import sys
from contextvars import ContextVar
from itertools import count

from rashomon import real
from rashomon.model import Lane
from rashomon.recorders import lanes

LANE = "RASHOMON_LANE"
ROOTS = "RASHOMON_ROOTS"
HELD = "lanes"
"""The folder of a home in which slots are taken, one folder a trace, for as long as its launcher runs."""

PATCHED = (
    "multiprocessing.process",
    "multiprocessing.spawn",
    "multiprocessing.forkserver",
    "multiprocessing.connection",
    "multiprocessing.queues",
    "multiprocessing.pool",
    "concurrent.futures.process",
    "subprocess",
    "asyncio.base_subprocess",
    "asyncio.unix_events",
)
"""The modules that `rashomon.recorders.processes` patches, once they are loaded."""

handed: dict[str, str] = {}
"""The variables by which a child of this process is recorded too; empty where no launcher started it."""
hook = ""
"""The folder that must stand first on a child's PYTHONPATH."""
starting: ContextVar[Lane | None] = ContextVar("rashomon_starting", default=None)
"""While a process is being started: the lane that it has been given."""
executing: ContextVar[bool] = ContextVar("rashomon_executing", default=False)
"""While a command is being started: whatever forks now is about to become another program."""
_forked: ContextVar[Lane | None] = ContextVar("rashomon_forked", default=None)


def text_of(lane: Lane, parent: int | None = None) -> str:
    """A lane as it is handed to a child of `parent`, which is this process unless named."""
    return f"{'.'.join(map(str, lane))}@{real.getpid() if parent is None else parent}"


def hand_on(variables: dict[str, str], hook_folder: str) -> None:
    """Remember what children need in their environment."""
    global hook
    handed.update(variables)
    hook = hook_folder


def before_fork(traced: bool) -> None:
    """Choose the lane of a child that is about to be forked, where one is counted."""
    lane = None
    if traced and not executing.get():
        lane = starting.get()
        if lane is None:
            lane = lanes.current_line().child().lane
    _forked.set(lane)


def forked() -> Lane | None:
    """In a forked child: its lane. None when it is no process of a trace."""
    return _forked.get()


def is_aide() -> bool:
    """True in a process that multiprocessing, or loky, runs for its own purposes."""
    return any("forkserver import main" in word or "resource_tracker import main" in word for word in sys.orig_argv)


def own_lane(home: str, trace: str) -> Lane:
    """The lane of this process, which has just been started by a launcher or a recorded process.

    Takes the lane out of the environment: what this process starts has other ones.
    """
    text = os.environ.pop(LANE, None) or sys._xoptions.get("rashomon")
    if not isinstance(text, str):
        return _share((), os.path.join(home, HELD, trace), 1)
    numbers, _, parent = text.partition("@")
    lane = tuple(int(number) for number in numbers.split(".")) if numbers else ()
    if parent == str(os.getppid()):
        return lane
    return _share(lane, os.path.join(home, HELD, trace), 0)


def _share(lane: Lane, folder: str, first: int) -> Lane:
    """A lane of one's own in a slot that others may stand in too: by the order in which they come."""
    name = ".".join(map(str, lane)) or "root"
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        for number in count(first):
            try:
                os.mkdir(os.path.join(folder, f"{name}_{number}"))
            except FileExistsError:
                continue
            return (*lane, -2 * number) if number else lane
    except OSError:
        pass  # the home cannot be written: then nothing is recorded either
    return lane


def clear(home: str, trace: str) -> None:
    """When a launcher's program has ended: its slots are needed no more."""
    import shutil

    shutil.rmtree(os.path.join(home, HELD, trace), ignore_errors=True)
    try:
        os.rmdir(os.path.join(home, HELD))
    except OSError:
        pass  # there is none, or another launcher needs it
