"""Processes that the program starts: each gets its lane, and goes on with the trace that it was started in.

A forked child has everything already. Spawned ones, those of a fork server, and the jobs of a process pool carry an
*order* (a text that `rashomon.children` writes and understands) inside what is pickled for them. It is pickled as an
expression over builtins, so that a child that cannot import rashomon goes on without it.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from rashomon import boundary
from rashomon.boundary import Interceptor
from rashomon.errors import ReplayStop
from rashomon.model import Lane
from rashomon.recorders import lanes, reaching, slots

_JOIN = (
    "__import__('rashomon.children', fromlist=['join']).join(order, lane, inside)"
    " if __import__('importlib.util').util.find_spec('rashomon') else None"
)
_JOB = (
    "__import__('rashomon.children', fromlist=['job']).job(order, lane, inside, function, numbered)"
    " if __import__('importlib.util').util.find_spec('rashomon') else function if not numbered"
    " else lambda *given: function(given[0][1]) if len(given) == 1 else function(*given[1])"
)
_ENV_ARGUMENT = 10
"""The position of `env` among the arguments of `subprocess.Popen`."""


def patch(module: Any) -> None:
    """Patch one of `slots.PATCHED` that has just been imported."""
    _PATCHES[module.__name__](module)


# ---------------------------------------------------------------- multiprocessing


class _Ticket:
    """Joins the trace where it is unpickled."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane

    def __reduce__(self) -> Any:
        spine = slots.spine()
        order = spine.order_here()
        names = {"order": order, "lane": self._lane, "inside": spine.inside_here()}
        return eval, ("None" if order is None else _JOIN, names)


def _patch_process(module: Any) -> None:
    original_start, original_bootstrap = module.BaseProcess.start, module.BaseProcess._bootstrap

    @functools.wraps(original_start)
    def start(self: Any) -> None:
        if boundary.current() is None:
            return original_start(self)  # type: ignore[no-any-return]
        lane = lanes.current_line().child().lane
        # again, for a child that finds Rashomon only where its parent's sys.path led to
        self._rashomon_ticket = _Ticket(lane)
        token = slots.starting.set(lane)
        try:
            return original_start(self)  # type: ignore[no-any-return]
        finally:
            slots.starting.reset(token)

    @functools.wraps(original_bootstrap)
    def bootstrap(self: Any, *args: Any, **kwargs: Any) -> Any:
        slots.starting.set(None)  # a forked child has it from its parent's start()
        try:
            return original_bootstrap(self, *args, **kwargs)
        finally:
            slots.spine().ended()

    module.BaseProcess.start = start
    module.BaseProcess._bootstrap = bootstrap


def _patch_spawn(module: Any) -> None:
    original_data, original_command = module.get_preparation_data, module.get_command_line

    @functools.wraps(original_data)
    def get_preparation_data(name: str) -> Any:
        data = original_data(name)
        lane = slots.starting.get()
        # first: the child joins before it runs the program's main module
        return data if lane is None else {"rashomon": _Ticket(lane), **data}

    @functools.wraps(original_command)
    def get_command_line(**kwargs: Any) -> list[str]:
        command: list[str] = original_command(**kwargs)
        lane = slots.starting.get()
        if lane is not None and slots.handed and "-c" in command:
            command[1:1] = ["-X", f"rashomon={slots.text_of(lane, None, slots.spine().inside_here())}"]
        return command

    module.get_preparation_data = get_preparation_data
    module.get_command_line = get_command_line


def _patch_queues(module: Any) -> None:
    module.Queue._start_thread = _quiet(module.Queue._start_thread)


def _quiet(original: Any) -> Any:
    """A function of a library that starts threads or tasks of its own: they are not the program's doing."""

    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        with lanes.quietly():
            return original(*args, **kwargs)

    return call


class _Aside:
    """Stands at the boundary while multiprocessing talks to a process of its own on this machine."""

    isolates = False

    def connected(self, peer: str, frame: Any = None) -> None:
        """It leaves nothing."""

    def reaching(self, action: str, target: tuple[str, ...], frame: Any) -> None:
        """As above."""

    def library_read(self, kind: str, what: str, real: Callable[[], Any]) -> Any:
        """The real value."""
        return real()

    def read(self, kind: str, what: str, real: Callable[[], Any], frame: Any) -> Any:
        """The real value."""
        return real()

    def sleep(self, seconds: float, real: Callable[[], None], frame: Any) -> None:
        """A real sleep."""
        real()


ASIDE: Any = _Aside()
"""The interceptor of what Rashomon and multiprocessing do for themselves."""


def _patch_forkserver(module: Any) -> None:
    original = module.ForkServer.connect_to_new_process

    @functools.wraps(original)
    def connect_to_new_process(self: Any, fds: Any) -> Any:
        with boundary.intercepted(ASIDE):
            return original(self, fds)

    module.ForkServer.connect_to_new_process = connect_to_new_process


def _patch_connection(module: Any) -> None:
    original = module.SocketClient

    @functools.wraps(original)
    def socket_client(address: Any) -> Any:
        if not isinstance(address, (str, bytes)):
            return original(address)
        with boundary.intercepted(ASIDE):
            return original(address)

    module.SocketClient = socket_client


# ---------------------------------------------------------------- pools


def _same_python() -> bool:
    """True when workers run this interpreter: they find what this process has found."""
    spawn: Any = sys.modules.get("multiprocessing.spawn")
    return spawn is None or os.fsdecode(spawn.get_executable()) == sys.executable


class Job:
    """A function that runs in another process with a lane of its own. With `numbered`, one of many: its first
    argument is its number, or a pair of the number and the argument."""

    def __init__(
        self,
        order: str,
        lane: Lane,
        inside: str | None,
        function: Any,
        numbered: bool,
        here: tuple[Interceptor | None] | None = None,
    ) -> None:
        self.lane = lane
        self.line: lanes.Line | None = None
        """The line of the job in the submitter's process."""
        self._order, self._inside, self._function, self._numbered = order, inside, function, numbered
        self._here = here
        """The submitter's own interceptor, while the job is still in the submitter's process."""

    def __reduce__(self) -> Any:
        parts = self._order, self.lane, self._inside, self._function, self._numbered
        if _same_python():
            return slots.spine().job, parts  # a tenth of the cost
        return eval, (_JOB, dict(zip(("order", "lane", "inside", "function", "numbered"), parts, strict=True)))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        lane = self.lane
        if self._numbered:
            number, given = args[0] if len(args) == 1 else args
            lane = (*lane, number)
            args = (given,) if len(args) == 1 else tuple(given)
        guard = slots.spine().adopt(self._order, self.lane) if self._here is None else self._here[0]
        try:
            with slots.entered(self._inside):
                return lanes.run_in(guard, lane, self._function, args, kwargs)
        except ReplayStop as stop:
            # `multiprocessing.Pool` waits for ever for a job whose worker such an exception has ended
            raise _Stopped(stop) from None


class _Stopped(Exception):
    """Carries what stopped a replay in a pool's worker to who waits for the job: it is itself again when unpickled."""

    def __init__(self, stop: ReplayStop) -> None:
        super().__init__(*stop.args)
        self._stop = stop

    def __reduce__(self) -> Any:
        return type(self._stop), self._stop.args


def _job(function: Any, numbered: bool = False) -> Job | None:
    """A function as the job of a pool; None where jobs do not count."""
    order = None if boundary.current() is None else slots.spine().order_here()
    line = None if order is None else lanes.spawn()
    if order is None or line is None:
        return None
    job = Job(order, line.lane, slots.spine().inside_here(), function, numbered, (boundary.local_interceptor(),))
    job.line = line
    return job


def _patch_executor(module: Any) -> None:
    executor = module.ProcessPoolExecutor
    original_init, original_submit, original_spawn = executor.__init__, executor.submit, executor._spawn_process

    @functools.wraps(original_init)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original_init(self, *args, **kwargs)
        self._rashomon_pool = _pool_here()

    @functools.wraps(original_submit)
    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        job = _job(fn)
        if job is None:
            return original_submit(self, fn, *args, **kwargs)
        if self._rashomon_pool is None:
            self._rashomon_pool = _pool_here()
        with lanes.quietly():  # the pool's own threads are not the program's doing
            future = original_submit(self, job, *args, **kwargs)
        future._rashomon_lane = boundary.current(), job.line, boundary.inside.get()  # who wakes a loop with it
        return future

    @functools.wraps(original_spawn)
    def spawn_process(self: Any) -> None:
        pool = self._rashomon_pool
        if pool is None:
            return original_spawn(self)  # type: ignore[no-any-return]
        # which job finds no idle worker depends on scheduling: workers are numbered by their pool
        with lanes.on_line(*pool):
            return original_spawn(self)  # type: ignore[no-any-return]

    executor._rashomon_pool = None  # of pools that are older than this patch
    executor.__init__, executor.submit, executor._spawn_process = init, submit, spawn_process


def _pool_here() -> Any:
    """The interceptor and the line on which a pool made here starts its workers; None outside traces."""
    line = None if boundary.current() is None else lanes.spawn()
    return None if line is None else (boundary.local_interceptor(), line)


def _patch_pool(module: Any) -> None:
    original_apply, original_map = module.Pool.apply_async, module.Pool._map_async

    @functools.wraps(original_apply)
    def apply_async(self: Any, func: Any, *args: Any, **kwargs: Any) -> Any:
        return original_apply(self, _job(func) or func, *args, **kwargs)

    @functools.wraps(original_map)
    def map_async(self: Any, func: Any, iterable: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        job = _job(func, numbered=True)
        if job is None:
            return original_map(self, func, iterable, *args, **kwargs)
        return original_map(self, job, list(enumerate(iterable)), *args, **kwargs)

    module.Pool.apply_async, module.Pool._map_async = apply_async, map_async
    for name in ("imap", "imap_unordered"):
        setattr(module.Pool, name, _numbered(getattr(module.Pool, name)))


def _numbered(original: Any) -> Any:
    @functools.wraps(original)
    def imap(self: Any, func: Any, iterable: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
        job = _job(func, numbered=True)
        if job is None:
            return original(self, func, iterable, *args, **kwargs)
        return original(self, job, enumerate(iterable), *args, **kwargs)

    return imap


# ---------------------------------------------------------------- commands


def _patch_subprocess(module: Any) -> None:
    original = module.Popen.__init__

    @functools.wraps(original)
    def init(self: Any, args: Any, *more: Any, **kwargs: Any) -> None:
        if boundary.current() is None:
            return original(self, args, *more, **kwargs)  # type: ignore[no-any-return]
        token = slots.executing.set(True)
        try:
            if slots.handed:
                more, kwargs = _with_environ(args, more, kwargs)
            return original(self, args, *more, **kwargs)  # type: ignore[no-any-return]
        finally:
            slots.executing.reset(token)

    module.Popen.__init__ = init


def _patch_transport(module: Any) -> None:
    """asyncio's subprocesses: the task that connects their pipes."""
    module.BaseSubprocessTransport.__init__ = _quiet(module.BaseSubprocessTransport.__init__)


def _patch_watcher(module: Any) -> None:
    """The thread that waits for an asyncio subprocess; newer Pythons and uvloop have none."""
    for name in ("ThreadedChildWatcher", "_ThreadedChildWatcher"):
        watcher = getattr(module, name, None)
        if watcher is not None:
            watcher.add_child_handler = _quiet(watcher.add_child_handler)


def _with_environ(args: Any, more: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of `Popen` behind the first, with the environment that the child is to have."""
    place = _ENV_ARGUMENT - 1
    if len(more) > place:
        return (*more[:place], environ_of(args, more[place]), *more[place + 1 :]), kwargs
    return more, {**kwargs, "env": environ_of(args, kwargs.get("env"))}


def environ_of(command: Any, given: Any) -> Any:
    """That of a command that is started here: one in which it is recorded, unless it stands apart."""
    return slots.environ_apart(given) if slots.apart.get() else environ_for(_command_lane(command), given)


def _command_lane(command: Any) -> Lane:
    """The lane of a command that is started here: `subprocess` takes a text or a sequence."""
    line = lanes.current_line()
    if _is_python(command):
        return line.child().lane
    return (*line.lane, -1 - 2 * line.next_command())


def _is_python(command: Any) -> bool:
    if isinstance(command, (str, bytes)):
        words: list[Any] = list(command.split())
    else:
        words = [command] if isinstance(command, os.PathLike) else [*command]
    first = os.path.basename(os.fsdecode(words[0])) if words else ""
    return first.startswith(reaching.PYTHONS) or first.endswith(".py") or first == os.path.basename(sys.executable)


def environ_for(lane: Lane, given: Any, parent: int | None = None) -> Any:
    """The environment of a child with this lane: `given`, or this process's own, and what a recording needs.

    A program that names another recording, or switches it off, gets what it gave.
    """
    base = os.environ if given is None else given
    found = {os.fsdecode(name): value for name, value in base.items()}
    session, own = found.get("RASHOMON_SESSION"), slots.handed["RASHOMON_SESSION"]
    if "RASHOMON_OFF" in found or (session is not None and os.fsdecode(session) != own):
        return base
    wanted = {**slots.handed, slots.LANE: slots.text_of(lane, parent, slots.spine().inside_here())}
    wanted["PYTHONPATH"] = slots.hooked(os.fsdecode(found.get("PYTHONPATH", "")), slots.hook)
    kept = {name: value for name, value in base.items() if os.fsdecode(name) not in wanted}
    return {**kept, **wanted}


def patch_leaving() -> None:
    """A process that becomes another program keeps its lane (`os.exec*`); `os._exit` is an orderly end too."""
    original_execv, original_execve, original_exit = os.execv, os.execve, os._exit
    for name in ("posix_spawn", "posix_spawnp"):
        if hasattr(os, name):
            setattr(os, name, _with_lane_spawned(getattr(os, name)))

    @functools.wraps(original_exit)
    def leave(status: int) -> Any:
        if boundary.current() is not None:
            slots.spine().ended()
        original_exit(status)

    @functools.wraps(original_execv)
    def execv(path: Any, args: Any, /) -> Any:
        if boundary.current() is None:
            return original_execv(path, args)
        slots.spine().ended()
        return original_execve(path, args, environ_for(lanes.root_lane(), None, os.getppid()))

    @functools.wraps(original_execve)
    def execve(path: Any, args: Any, env: Any) -> Any:
        if boundary.current() is None:
            return original_execve(path, args, env)
        slots.spine().ended()
        return original_execve(path, args, environ_for(lanes.root_lane(), env, os.getppid()))

    os.execv, os.execve, os._exit = execv, execve, leave  # type: ignore[assignment]


def _with_lane_spawned(original: Any) -> Any:
    """`os.posix_spawn`, or its sibling, with an environment in which the child is recorded."""

    @functools.wraps(original)
    def spawn(path: Any, argv: Any, env: Any, /, **options: Any) -> Any:
        if boundary.current() is None or slots.executing.get():  # `subprocess` has seen to it
            return original(path, argv, env, **options)
        return original(path, argv, environ_of(argv, env), **options)

    return spawn


_PATCHES: dict[str, Callable[[Any], None]] = {
    "multiprocessing.process": _patch_process,
    "multiprocessing.spawn": _patch_spawn,
    "multiprocessing.forkserver": _patch_forkserver,
    "multiprocessing.connection": _patch_connection,
    "multiprocessing.queues": _patch_queues,
    "multiprocessing.pool": _patch_pool,
    "concurrent.futures.process": _patch_executor,
    "subprocess": _patch_subprocess,
    "asyncio.base_subprocess": _patch_transport,
    "asyncio.unix_events": _patch_watcher,
}
