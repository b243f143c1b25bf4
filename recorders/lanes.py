"""Lanes: every task, thread and pooled job gets a name from the order in which it was spawned.

`()` is where the program starts; `(0, 2)` is the third child of its first child. Nothing here depends on
scheduling. Tasks that a library starts inside a live call get no name: they belong to the call.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextvars import Context, ContextVar, copy_context
from typing import Any

from rashomon import boundary, collector, real
from rashomon.model import Lane


class Line:
    """One line of control, and how many lines, timers, sleeps and wake-ups it has started."""

    __slots__ = (
        "__weakref__",
        "children",
        "closings",
        "closings_of",
        "commands",
        "draws",
        "ends",
        "lane",
        "sleeps",
        "timers",
        "wakes",
    )

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.children = self.closings = self.commands = self.draws = 0
        self.ends = self.timers = self.sleeps = self.wakes = 0
        self.closings_of: dict[str, int] | None = None

    def child(self) -> Line:
        """The next line spawned from here."""
        number = self.children
        self.children += 1
        return Line((*self.lane, number))

    def next_command(self) -> int:
        """The number of the next command that is not seen to be Python."""
        self.commands += 1
        return self.commands - 1

    def next_sleep(self) -> int:
        """The number of the next blocking sleep."""
        self.sleeps += 1
        return self.sleeps - 1

    def next_timer(self) -> int:
        """The number of the next timer."""
        self.timers += 1
        return self.timers - 1

    def next_closing(self, kind: str) -> tuple[int, int]:
        """The number of the next closing of a client, among all and among those of its kind."""
        if self.closings_of is None:
            self.closings_of = {}
        number = self.closings_of.get(kind, 0)
        self.closings_of[kind] = number + 1
        self.closings += 1
        return self.closings - 1, number

    def next_end(self) -> int:
        """The number of the next event loop that comes to its end."""
        self.ends += 1
        return self.ends - 1

    def next_wake(self) -> int:
        """The number of the next wake-up of an event loop."""
        self.wakes += 1
        return self.wakes - 1


_line: ContextVar[Line | None] = ContextVar("rashomon_line", default=None)
_quiet: ContextVar[bool] = ContextVar("rashomon_quiet_spawn", default=False)
_root = Line(())
_main_thread = threading.main_thread().ident


def here() -> tuple[Lane, bool]:
    """The lane of the running code, and whether it is known."""
    line = _line.get()
    if line is not None:
        return line.lane, True
    return (), threading.get_ident() == _main_thread


def current_line() -> Line:
    """The line of the running code; the root where it is not known."""
    return _line.get() or _root


UNKNOWN: Lane = (-1,)


def putting() -> tuple[Line, Lane]:
    """The line of the running code, and what it is called where items are named by it: `UNKNOWN` if it is not known."""
    line = _line.get()
    return (_root, UNKNOWN) if line is None else (line, line.lane)


def start_root(line: Line) -> Any:
    """Begin a trace here, or go on with it: `line` is its main one. Returns the token for `end_root`."""
    return _line.set(line)


def end_root(token: Any) -> None:
    """Leave what `start_root` began."""
    _line.reset(token)


def reset_process(lane: Lane = ()) -> None:
    """In a new process: its main line is `lane`."""
    global _root, _main_thread
    _root = Line(lane)
    _main_thread = threading.get_ident()
    _line.set(_root)
    _quiet.set(False)  # a forked worker has it from the pool that started it


def root_lane() -> Lane:
    """The lane of this process's main line."""
    return _root.lane


def spawn() -> Line | None:
    """The line of something that is about to be spawned here; None when it must not count."""
    if boundary.guard_here() is None or _quiet.get():
        return None
    return current_line().child()


def put_on(context: Context, line: Line | None) -> None:
    """What runs in a context goes on as another line."""
    context.run(_line.set, line)


class inner:
    """`with inner(line):` — the body of a tool, on a line of its own: a replay that answers it does not run it, and
    what it spawns and counts must not be missed on the line that called it."""

    __slots__ = ("_line", "_token")

    def __init__(self, line: Line | None) -> None:
        self._line = line

    def __enter__(self) -> None:
        self._token = None if self._line is None or collector.is_running() else _line.set(self._line)

    def __exit__(self, *exc_info: object) -> None:
        if self._token is not None and not collector.is_running():
            _line.reset(self._token)


def is_quiet() -> bool:
    """True inside `quietly`."""
    return _quiet.get()


class quietly:
    """`with quietly():` — threads that are started here are a library's own, and get no lanes."""

    def __enter__(self) -> None:
        self._token = None if collector.is_running() else _quiet.set(True)

    def __exit__(self, *exc_info: object) -> None:
        if self._token is not None and not collector.is_running():
            _quiet.reset(self._token)


class on_line:
    """`with on_line(interceptor, line):` — go on as another line of control."""

    def __init__(self, interceptor: boundary.Interceptor | None, line: Line) -> None:
        self._scope, self._line = boundary.intercepted(interceptor), line

    def __enter__(self) -> None:
        self._token = _line.set(self._line)
        self._scope.__enter__()

    def __exit__(self, *exc_info: object) -> None:
        self._scope.__exit__(*exc_info)
        _line.reset(self._token)


def run_in(interceptor: boundary.Interceptor | None, lane: Lane, function: Any, args: Any, kwargs: Any) -> Any:
    """Call a function as a job that was given `lane` in another process."""
    with on_line(interceptor, Line(lane)):
        return function(*args, **kwargs)


def _carry() -> Any:
    """What a new thread needs to know: interceptor, line, enclosing call. None when nothing is active."""
    if boundary.current() is None:
        return None
    line = spawn()
    return (boundary.local_interceptor(), line or _line.get(), boundary.inside.get())


class _Last(threading.local):
    """What a thread of a pool ran last: it wakes its event loop when the job's context is gone."""

    carried: Any = None


_last = _Last()


def last_of_thread() -> tuple[Any, Line | None, Any]:
    """Guard, line and enclosing call of the running code, or else of what this thread ran last."""
    line = _line.get()
    if line is not None:
        return boundary.current(), line, boundary.inside.get()
    if _last.carried is None:
        return boundary.current(), None, None
    interceptor, line, inside = _last.carried
    return interceptor or boundary.process_interceptor(), line, inside


def _in_context(function: Any, args: Any, kwargs: Any) -> Any:
    """Context, function and arguments of `copy_context().run(function, ...)`, however wrapped; None for others."""
    while isinstance(function, functools.partial):
        function, args, kwargs = function.func, (*function.args, *args), {**function.keywords, **kwargs}
    context = getattr(function, "__self__", None)
    if not isinstance(context, Context) or function.__name__ != "run" or not args:
        return None
    return context, args[0], args[1:], kwargs


def _run_carried(carried: Any, function: Any, args: Any, kwargs: Any) -> Any:
    within = _in_context(function, args, kwargs)
    if within is not None:  # the program's own context would hide the line: it is set inside
        context, *rest = within
        return context.run(_run_carried, carried, *rest)
    interceptor, line, inside = _last.carried = carried
    token_line, token_inside = _line.set(line), boundary.inside.set(inside)
    try:
        with boundary.intercepted(interceptor):
            return function(*args, **kwargs)
    finally:
        _line.reset(token_line)
        boundary.inside.reset(token_inside)
        if boundary.conductor is not None:
            boundary.conductor.rest()


def _is_pooled(thread: Any) -> bool:
    """Whether anyio or trio made it for whoever came when none was idle: a matter of timing, and of no line's."""
    anyios = type(thread).__name__ == "WorkerThread" and type(thread).__module__.startswith("anyio.")
    return anyios or getattr(thread._target, "__module__", None) == "trio._core._thread_cache"


def patch_anyio(module: Any) -> None:
    """Hand lanes to the jobs of anyio's own threads (`anyio._backends._asyncio`)."""
    backend = module.AsyncIOBackend
    original = backend.run_sync_in_worker_thread.__func__

    @functools.wraps(original)
    async def run_sync_in_worker_thread(cls: Any, func: Any, args: Any, *rest: Any, **options: Any) -> Any:
        carried = _carry()
        if carried is not None:
            func, args = functools.partial(_run_carried, carried, func, args, {}), ()
        return await original(cls, func, args, *rest, **options)

    backend.run_sync_in_worker_thread = classmethod(run_sync_in_worker_thread)


def patch_threads() -> None:
    """Hand lanes to threads."""
    original = threading.Thread.start  # maybe wrapped by another tool already: `install` calls this once

    @functools.wraps(original)
    def start(self: threading.Thread) -> None:
        carried = None if _quiet.get() or _is_pooled(self) else _carry()
        if carried is not None:
            thread: Any = self
            if type(self).run is threading.Thread.run and thread._target is not None:
                work = (carried, thread._target, thread._args, thread._kwargs)
                thread._target, thread._args, thread._kwargs = _run_carried, work, {}
            else:
                run = self.run
                self.run = functools.partial(_run_carried, carried, run, (), {})  # type: ignore[method-assign]
        original(self)
        _started.append(getattr(self, "native_id", None))

    threading.Thread.start = start  # type: ignore[method-assign]


_started: deque[int | None] = deque(maxlen=1024)
"""What the system calls the threads that were started last."""

_LEAVING_S = 0.5


def await_leaving() -> None:
    """Before a fork: wait until threads that have ended are gone for the system, too (Linux).

    A thread that has been joined tidies up in C for another moment, and may hold a lock of OpenSSL's meanwhile: a child
    that is forked just then has that lock for ever. A program that waits less in a replay forks there more often.
    """
    if not _started or sys.platform != "linux":
        return
    running = {thread.native_id for thread in threading.enumerate()}
    limit = real.monotonic() + _LEAVING_S
    names = tuple(_started)
    for name in set(names) - running:
        while os.path.exists(f"/proc/self/task/{name}") and real.monotonic() < limit:
            real.sleep(0.0002)
    _started.clear()
    _started.extend(name for name in names if name in running)


def patch_executors(module: Any) -> None:
    """Hand lanes to the jobs of thread pools (`concurrent.futures.thread`)."""
    original = module.ThreadPoolExecutor.submit

    @functools.wraps(original)
    def submit(self: Any, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        carried = _carry()
        if carried is None:
            return original(self, fn, *args, **kwargs)
        token = _quiet.set(True)  # the pool's own threads are not the program's doing
        try:
            future = original(self, _run_carried, carried, fn, args, kwargs)
        finally:
            _quiet.reset(token)
        interceptor, line, inside = carried
        future._rashomon_lane = (
            interceptor or boundary.process_interceptor(),
            line,
            inside,
        )  # who wakes a loop with it
        return future

    module.ThreadPoolExecutor.submit = submit
    module._base.Future.__hash__ = _hash_of_future


def _hash_of_future(future: Any) -> int:
    """By lane, not by address: a set of futures (`as_completed`, `wait`) has the same order in every run."""
    tagged = future.__dict__.get("_rashomon_lane")
    return object.__hash__(future) if tagged is None or tagged[1] is None else hash(tagged[1].lane)


def patch_asyncio(module: Any) -> None:
    """Hand lanes to tasks (`asyncio.base_events`)."""
    module.BaseEventLoop.create_task = task_lanes(module.BaseEventLoop.create_task)
    package, tasks = sys.modules.get("asyncio"), module.tasks
    ordered = _started_in_order(tasks, tasks.as_completed)
    tasks.as_completed = ordered
    every = tasks.all_tasks = _by_lane(tasks.all_tasks)
    if getattr(package, "as_completed", None) is not None:
        package.as_completed, package.all_tasks = ordered, every  # type: ignore[union-attr]


class _Tasks(set[Any]):
    """Tasks that are iterated over by lane. `asyncio.run` cancels in this order what is left at its end; that of a
    plain set goes by the tasks, too, that clients had among their connections."""

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(super().__iter__(), key=_lane_of_task))


def _lane_of_task(task: Any) -> tuple[bool, Lane]:
    lane = getattr(task, "_rashomon_place", None)
    return lane is None, lane or ()


def _by_lane(original: Any) -> Any:
    @functools.wraps(original)
    def all_tasks(*args: Any, **kwargs: Any) -> set[Any]:
        return _Tasks(original(*args, **kwargs))

    return all_tasks


def _started_in_order(tasks: Any, original: Any) -> Any:
    """`as_completed` starts what it is given in the order of a set, by address: here in the order that it is given."""

    @functools.wraps(original)
    def as_completed(fs: Any, **options: Any) -> Any:
        if boundary.guard_here() is not None and isinstance(fs, (list, tuple, set, frozenset)):
            fs = [tasks.ensure_future(one) for one in dict.fromkeys(fs)]
        return original(fs, **options)

    return as_completed


def task_lanes(original: Any) -> Any:
    """An event loop's `create_task` that gives each task its lane."""

    from asyncio import events, tasks

    from rashomon.recorders import shared_contexts

    class Task(tasks.Task):  # type: ignore[type-arg]
        """A task whose place in a set does not depend on its address, so that a set has one order in every run."""

        def __init__(self, coro: Any, lane: Lane, **options: Any) -> None:
            self._rashomon_hash, self._rashomon_place = hash(lane), lane
            super().__init__(coro, **options)

        def __hash__(self) -> int:
            return self._rashomon_hash

    Task.__qualname__, Task.__module__ = "Task", tasks.Task.__module__
    running = events._get_running_loop

    @functools.wraps(original)
    def create_task(self: Any, coro: Any, **kwargs: Any) -> Any:
        given = kwargs.get("context")
        if type(coro).__name__ == "async_generator_athrow" and given is None:
            # the loop closes a dropped async generator whenever the garbage collector finds it, in whatever context:
            # nothing of it counts
            kwargs["context"] = copy_context()
            kwargs["context"].run(_quiet.set, True)
            return original(self, coro, **kwargs)
        if given is not None and running() is None:
            return original(self, coro, **kwargs)  # asyncio.Runner's main task is the program itself
        line = spawn()
        if line is None:
            return original(self, coro, **kwargs)
        if given is None:
            kwargs["context"] = context = copy_context()
            context.run(_line.set, line)
        else:
            coro = shared_contexts.on_a_line_of_its_own(coro, given, line)
        if self.get_task_factory() is not None or self.is_closed():
            return original(self, coro, **kwargs)
        task: Any = Task(coro, line.lane, loop=self, **kwargs)
        if task._source_traceback:
            del task._source_traceback[-1]
        return task

    return create_task
