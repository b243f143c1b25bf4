"""The processes of a trace: how each begins, joins what its parent records or replays, and hands that on.

A program under a launcher begins here by its environment. What a recorded process starts comes here by the order
that it is handed (`rashomon.recorders.processes`), or through the same environment, or both: the first wins.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import sys
import threading
from typing import Any

from rashomon import boundary, session
from rashomon.errors import RashomonError, ReplayStop
from rashomon.model import STDIN, Lane, Tape
from rashomon.recorders import ambient, lanes, printed, processes, slots, stdin_streams
from rashomon.recorders.complaints import cannot_write, complain
from rashomon.session import OFF, SESSION, Order

_adopted: dict[tuple[int, str], boundary.Interceptor] = {}
"""By process id and trace: what answers the jobs that this process does for traces it was not started in."""


@functools.lru_cache(maxsize=64)
def _order(text: str) -> Order:
    return Order(**json.loads(text))


@functools.lru_cache(maxsize=64)
def _text(mode: str, home: str, trace: str) -> str:
    return json.dumps(Order(mode, home, {"id": trace})._asdict())


def start_from_environ() -> None:
    """In a child of `rashomon record` or `rashomon replay`: begin. Never raises while recording."""
    text = os.environ.get(SESSION)
    if not text or os.environ.get(OFF) or slots.is_aide():
        return
    order = _order(text)
    lane, inside = slots.own_lane(order.home, order.info["id"])
    slots.enter(inside)
    names = (SESSION, slots.ROOTS, STDIN, "RASHOMON_HOME")
    hook = os.path.join(os.path.dirname(slots.__file__), "hook")
    slots.hand_on({name: os.environ[name] for name in names if name in os.environ}, hook)
    session.install()  # before what the recorder loads: modules are patched at less cost as they come
    interceptor = _begin(order, lane)
    if interceptor is None:
        return
    stdin_streams.adopt()
    boundary.set_process_interceptor(interceptor)
    _surroundings(interceptor)
    processes.patch_leaving()
    _note_uncaught()


def join(text: str, lane: Lane, inside: str | None) -> None:
    """In a process that was started inside a trace: go on with it. Does nothing where that has happened already."""
    if os.environ.get(OFF):
        return
    order = _order(text)
    if session.trace_id(boundary.process_interceptor()) == order.info["id"]:
        return
    slots.enter(inside)
    try:
        interceptor = _begin(order, lane)
        if interceptor is not None:
            boundary.set_process_interceptor(interceptor)
            _surroundings(interceptor)
    except Exception as error:  # recording must not break the program; a replay must not run without us
        if order.mode == "replay":
            raise
        complain(f"a process is not recorded: {type(error).__name__}: {error}. The program goes on.")


def _surroundings(interceptor: boundary.Interceptor) -> None:
    """Before the program of this process runs: seed what it will draw from, and tell what cannot be controlled."""
    ambient.begin(interceptor)
    ambient.announce(getattr(interceptor, "scribe", interceptor))


def adopt(text: str, lane: Lane) -> boundary.Interceptor | None:
    """The interceptor for one job of a trace, in a process that may have been started in another one, or in none."""
    order = _order(text)
    trace = order.info["id"]
    guard = boundary.current()
    if os.environ.get(OFF) or session.trace_id(guard) == trace:
        return guard
    key = os.getpid(), trace
    if key not in _adopted:
        interceptor = _begin(order, lane)
        if interceptor is None:
            return None
        _adopted[key] = interceptor
    return _adopted[key]


def job(order: str, lane: Lane, inside: str | None, function: Any, numbered: bool) -> Any:
    """A job as it is unpickled in a worker."""
    session.install()
    return processes.Job(order, lane, inside, function, numbered)


def _begin(order: Order, lane: Lane) -> boundary.Interceptor | None:
    """Open this process's journal, if it has none, and go on with a trace in it. None: it cannot be recorded."""
    process = session.process_recorder()
    if process is None:
        try:
            process = session.open_process(order.home, lane=lane)
        except OSError as error:
            cannot_write(order.home, error)
            if order.mode == "record":
                return None
            raise SystemExit(3) from error
        session.use_process(process)
        lanes.reset_process(lane)
    info = {**order.info, "owner": False}
    recorder = process.begin({**info, "environ": session.environ_kept()} if not lane else info)
    session.install()
    if order.mode != "replay":
        printed.watch(recorder)
        return recorder
    from rashomon.replay.printed import expected_marks
    from rashomon.replaying import replay_interceptor

    found = replay_interceptor(order, recorder)
    printed.watch(recorder, expected_marks(found._state.tape.reads))
    found._state.tape_path = order.tape  # for the processes that this one starts
    return found


def order_here() -> str | None:
    """The order for a process that is started here; None where nothing is recorded or replayed."""
    guard: Any = boundary.current()
    scribe = getattr(guard, "scribe", guard)
    trace = session.trace_id(guard)
    if trace is None:
        return None
    own = slots.handed.get(SESSION)
    if own is not None and _order(own).info["id"] == trace:
        return own
    if guard is scribe:
        home = os.path.dirname(os.path.dirname(scribe.process.writer.path))
        return _text("record", home, trace)
    if own is not None:
        return json.dumps(_order(own)._replace(info={"id": trace})._asdict())
    return _order_of_replay(guard, scribe, trace)


def _order_of_replay(guard: Any, scribe: Any, trace: str) -> str:
    """For a child of `with rashomon.replay(...)`: the tape goes to a file, once, beside the claims."""
    tape, plan = guard._state.tape, guard._state.plan
    path: str = guard._state.tape_path or ""
    if not path:
        with boundary.intercepted(processes.ASIDE):
            path = guard._state.tape_path = _tape_file(tape, plan)
    home = os.path.dirname(os.path.dirname(scribe.process.writer.path))
    stubs = tuple(f"{stub.tool}={stub.source}" for stub in plan.stubs)
    order = Order("replay", home, {"id": trace}, path, stubs, tuple(plan.live))
    return json.dumps(
        order._replace(
            allow=guard._state.policy.allow, on_drift=plan.on_drift, folder=guard._state.policy.folder
        )._asdict()
    )


def _tape_file(tape: Tape, plan: Any) -> str:
    """A tape as a file for other processes, in which this one stands for the process that it stands for."""
    from rashomon.replay.claims import Claims
    from rashomon.tape_file import write_tape

    claims = plan.claims
    if claims is None:  # no process but this one was recorded: it has all steps
        import tempfile

        folder = tempfile.mkdtemp(prefix="rashomon-")
        atexit.register(_remove, folder, os.getpid())
        claims = Claims(os.path.join(folder, "tape.rsj.claims"))
        for step in tape.steps:
            claims.take(step.id)
    path = os.path.join(os.path.dirname(claims.folder), "tape.rsj")
    write_tape(path, tape)
    os.mkdir(f"{path}.{plan.process or 0}")
    return path


def _remove(folder: str, process: int) -> None:
    """At the end of the process that made the folder, and not of those that were forked from it."""
    if os.getpid() == process:
        import shutil

        shutil.rmtree(folder, ignore_errors=True)


def inside_here() -> str | None:
    """The step that the running code is inside of, as other processes name it."""
    process = session.process_recorder()
    return None if process is None else slots.inside_of(process.writer.path)


def ended() -> None:
    """This process leaves in an orderly way, maybe without the interpreter's own end. Never raises."""
    process = session.process_recorder()
    if process is not None:
        process.leaving()


def _note_uncaught() -> None:
    """Keep what ended the program; show a stopped replay as a message and not as a traceback of ours."""
    before = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
        guard: Any = boundary.process_interceptor()
        try:
            if guard is not None:
                getattr(guard, "scribe", guard).finish("error", error=f"{kind.__name__}: {error}"[:2000])
        except BaseException:  # Ctrl-C once more, say: what ended the program is shown all the same
            pass
        stop = _stop_in(error)
        if stop is not None:
            complain(f"the replay stopped the program: {stop}")
        else:
            before(kind, error, traceback)

    sys.excepthook = excepthook
    before_thread = threading.excepthook

    def thread_excepthook(args: Any) -> None:
        stop = None if args.exc_value is None else _stop_in(args.exc_value)
        if stop is not None:
            complain(f"the replay stopped the thread {'?' if args.thread is None else args.thread.name}: {stop}")
        else:
            before_thread(args)

    threading.excepthook = thread_excepthook


def _stop_in(error: BaseException) -> BaseException | None:
    """What stopped the replay, if nothing else is in this error: a group of one is what a task group makes of it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error if isinstance(error, (ReplayStop, RashomonError)) else None
