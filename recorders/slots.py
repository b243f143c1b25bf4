"""How a new process learns its lane, and what it must hand on to the processes that it starts.

A launcher or a recorded parent puts `RASHOMON_LANE` (`0.2@4711@`: the lane, the parent's process id, the step that it
is inside of) into the environment of a child; multiprocessing's spawned children find the same in `-X rashomon=`. A
process that was not started by that parent itself (a shell script starts several programs) shares the lane as a slot:
the first has the lane, those after it have the even negative numbers below it. Commands that are not seen to be Python
have the odd ones, so that how often a library asks `uname` never moves the lane of anything else.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextvars import ContextVar
from itertools import count
from typing import Any, Protocol, cast

from rashomon import boundary, real
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


class Spine(Protocol):
    """What `rashomon.children` does for the processes of a trace."""

    def order_here(self) -> str | None:
        """The order for a child of the running code; None where nothing is recorded or replayed."""

    def adopt(self, order: str, lane: Lane) -> Any:
        """In a child: the interceptor of the order's trace; `lane` names the process if it has no name yet."""

    def inside_here(self) -> str | None:
        """The step that the running code is inside of, as other processes name it."""

    def job(self, order: str, lane: Lane, inside: str | None, function: Any, numbered: bool) -> Any:
        """A job as it is unpickled in a worker."""

    def ended(self) -> None:
        """A process of multiprocessing has run its target, and may leave without further notice."""


def spine() -> Spine:
    """`rashomon.children`, which stands above this package: by name, as a child process finds it."""
    return importlib.import_module("rashomon.children")


handed: dict[str, str] = {}
"""The variables by which a child of this process is recorded too; empty where no launcher started it."""
hook = ""
"""The folder that must stand first on a child's PYTHONPATH."""
starting: ContextVar[Lane | None] = ContextVar("rashomon_starting", default=None)
"""While a process is being started: the lane that it has been given."""
executing: ContextVar[bool] = ContextVar("rashomon_executing", default=False)
"""While a command is being started: whatever forks now is about to become another program."""
apart: ContextVar[bool] = ContextVar("rashomon_apart", default=False)
"""What is started here belongs to a recorded call: it is no line of the program's own, and has no recorder."""
_forked: ContextVar[Lane | None] = ContextVar("rashomon_forked", default=None)


def hooked(path: str, folder: str) -> str:
    """A PYTHONPATH with the recorder's folder first, since the first `sitecustomize` is the one that is run. Empty
    entries stay: they are the folder that the program is started in, as `PYTHONPATH=$PYTHONPATH:lib` makes one."""
    others = [entry for entry in path.split(os.pathsep) if entry != folder] if path else []
    return os.pathsep.join([folder, *others])


def environ_apart(given: Any) -> Any:
    """An environment (None: this process's own) without what makes a child a part of the recording."""
    base = os.environ if given is None else given
    return {name: value for name, value in base.items() if os.fsdecode(name) not in ("RASHOMON_SESSION", LANE)}


class Outer:
    """Stands for the step that a process or a job was started inside of: one of another process's journal."""

    leaf = False
    pace = None

    def __init__(self, number: str) -> None:
        self.number = number


def inside_of(journal: str) -> str | None:
    """The step that the running code is inside of, as other processes name it: `journal` is this process's file."""
    enclosing: Any = boundary.inside.get()
    number = None if enclosing is None or enclosing.leaf else enclosing.number
    if number is None or isinstance(number, str):
        return number
    return f"{os.path.basename(journal).rpartition('-')[0]}#{number}"


def enter(step: str | None) -> None:
    """Go on inside a step of another process, or of none."""
    boundary.inside.set(None if step is None else cast(Any, Outer(step)))


class entered:
    """`with entered(step):` — be inside a step of another process, or of none."""

    def __init__(self, step: str | None) -> None:
        self._step = step

    def __enter__(self) -> None:
        self._token = boundary.inside.set(None if self._step is None else cast(Any, Outer(self._step)))

    def __exit__(self, *exc_info: object) -> None:
        boundary.inside.reset(self._token)


def text_of(lane: Lane, parent: int | None = None, inside: str | None = None) -> str:
    """A lane as it is handed to a child of `parent`, which is this process unless named; `inside` as `inside_of`."""
    return f"{'.'.join(map(str, lane))}@{real.getpid() if parent is None else parent}@{inside or ''}"


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


def own_lane(home: str, trace: str) -> tuple[Lane, str | None]:
    """The lane of this process, which has just been started by a launcher or a recorded process; and inside of what.

    Takes the lane out of the environment: what this process starts has other ones.
    """
    text = os.environ.pop(LANE, None) or sys._xoptions.get("rashomon")
    if not isinstance(text, str):
        return _share((), os.path.join(home, HELD, trace), 1), None
    numbers, parent, inside = text.split("@")
    lane = tuple(int(number) for number in numbers.split(".")) if numbers else ()
    if parent != str(os.getppid()):
        lane = _share(lane, os.path.join(home, HELD, trace), 0)
    return lane, inside or None


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
