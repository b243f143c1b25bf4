"""What a program sees of replaying: `rashomon.replay`; and what answers a launched child from its tape.

This is where recorders and replay meet; neither knows the other.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rashomon import boundary, real
from rashomon import session as sessions
from rashomon.errors import UsageError
from rashomon.model import Divergence, Tape
from rashomon.recorders import lanes
from rashomon.session import Order, new_trace_id

if TYPE_CHECKING:  # loaded when a replay begins: a program without one does not pay for it
    from rashomon.recorders.recorder import TraceRecorder
    from rashomon.replay.claims import Claims
    from rashomon.replay.session import ReplaySession


class replay:
    """`with rashomon.replay(tape) as session:` — answer the calls of this block from a tape.

    `tape` is a `Tape`, a tape or journal file, or a reference to a trace of the home's store. Nothing
    leaves the process meanwhile. `stubs` and `allow` as for `--stub` and `--allow` (texts), `live` names kinds of
    calls that may go out.
    `session.divergences` says where the block left the recording; `session.check()` raises it.
    """

    def __init__(
        self, tape: Any, stubs: Iterable[str] = (), live: Iterable[str] = (), allow: Iterable[str] = ()
    ) -> None:
        self._tape, self._stubs, self._live, self._allow = tape, _texts(stubs), _texts(live), _texts(allow)
        self._folder: str | None = None

    def _shared(self, tape: Tape) -> tuple[int | None, Claims | None]:
        """The recorded process that this one stands for, and the claims that it shares with those it will start."""
        if len(tape.trace.processes) < 2:
            return None, None
        import tempfile

        from rashomon.replay.claims import Claims

        self._folder = tempfile.mkdtemp(prefix="rashomon-")
        number = next((process.number for process in tape.trace.processes if not process.lane), None)
        return number, Claims(os.path.join(self._folder, "tape.rsj.claims"))

    def __enter__(self) -> Replaying:
        from rashomon.redaction import Redactor
        from rashomon.replay import session as playing
        from rashomon.replay import stubs as stubbing
        from rashomon.replay.imported import refuse_imported
        from rashomon.replay.nobody import Nobody
        from rashomon.replay.policy import Policy

        tape = _load_tape(self._tape)
        refuse_imported(tape.trace)
        if unknown := sorted(set(self._live) - {"llm", "http", "tool"}):
            raise UsageError(f"live={unknown[0]!r} is no kind of call.", "Use 'llm', 'http' or 'tool'.")
        parsed = stubbing.checked(self._stubs, tape)
        Policy(tape, self._allow)  # what is wrong with it is said before anything has begun
        if tape.trace.losses:
            import warnings

            reasons = "; ".join(loss.reason for loss in tape.trace.losses)
            warnings.warn(f"The recording is not whole ({reasons}): a replay lacks what it has lost.", stacklevel=2)
        sessions.install()
        process = sessions.open_recorder()
        self._process_before = boundary.process_interceptor()
        self._trace: TraceRecorder | None = None
        if process is not None:
            now = real.time_ns()
            info = {"id": new_trace_id(now), "name": tape.trace.name, "started_ns": now, "parent": tape.trace.id,
                    "swaps": [{"stub": text} for text in self._stubs], "cwd": os.getcwd()}  # fmt: skip
            self._trace = process.begin(info)
            redactor = process.writer.redactor
        else:
            redactor = Redactor(b"no home", os.environ)
        scribe: Any = self._trace or Nobody()
        own = () if process is None else (os.path.dirname(os.path.dirname(process.writer.path)),)
        policy = Policy(tape, self._allow, None, own, redactor.text)
        plan = playing.Plan(parsed, self._live, policy, "stop", *self._shared(tape))
        session = playing.ReplaySession(tape, redactor, scribe, lanes.current_line, plan)
        self._scope = boundary.intercepted(session)
        self._line = lanes.start_root(lanes.Line(()))
        boundary.set_process_interceptor(session)
        self._conductor_before, boundary.conductor = boundary.conductor, session.conductor
        sessions.attach_running_loop()
        if boundary.ticker is not None:
            session.conductor.begin(boundary.ticker.loops(), boundary.ticker.place() or boundary.NOWHERE)
        self._scope.__enter__()
        self._replaying = Replaying(session, None if self._trace is None else self._trace.id)
        return self._replaying

    def __exit__(self, exc_type: Any, error: BaseException | None, traceback: Any) -> None:
        self._scope.__exit__(exc_type, error, traceback)
        boundary.set_process_interceptor(self._process_before)
        boundary.conductor = self._conductor_before
        self._replaying.session.conductor.close()
        lanes.end_root(self._line)
        self._replaying.session.finish()
        alone = self._folder is None and error is None
        if unused := self._replaying.session.unused_stubs if alone else ():
            import warnings

            said = f"The program did not call {', '.join(unused)} in this replay: the stub has answered nothing."
            warnings.warn(said, stacklevel=2)
        if self._folder is not None:
            import shutil

            shutil.rmtree(self._folder, ignore_errors=True)
        if self._trace is not None:
            text = None if error is None else f"{type(error).__name__}: {error}"
            self._trace.finish("ok" if error is None else "error", error=text)


class Diverged(AssertionError):
    """A replay left its recording; the message says where and why."""


class Replaying:
    """A replay in progress, as `with rashomon.replay(...)` hands it out."""

    def __init__(self, session: ReplaySession, trace_id: str | None) -> None:
        self.session, self.id = session, trace_id

    @property
    def divergences(self) -> tuple[Divergence, ...]:
        """Where the replay has left the recording so far; complete when the block has ended."""
        return self.session.divergences

    def check(self) -> None:
        """Raise `Diverged` if the replay left its recording. It names the files that were others, which may be why."""
        if self.divergences:
            lines = [line for one in self.divergences for line in (one.summary, *(f"  {text}" for text in one.detail))]
            if files := self.session.files_apart():
                lines.append("The program met other files in the replay than in the recording.")
                lines += [f"  {one.told('the recording', 'the replay')}" for one in files[:5]]
            raise Diverged("\n".join(lines))


def _texts(given: Iterable[str]) -> tuple[str, ...]:
    """Texts, or the one that was given without a list around it: its letters are none."""
    return (given,) if isinstance(given, str) else tuple(given)


def _load_tape(source: Any) -> Tape:
    if isinstance(source, Tape):
        return source
    from rashomon import tapes

    if os.path.exists(source):
        return tapes.only_tape(source)
    from rashomon.home import find_home
    from rashomon.store import open_home  # duckdb: only when a trace is named

    with open_home(find_home()) as store:
        return store.tape(store.resolve(str(source)))


def replay_interceptor(order: Order, recorder: TraceRecorder) -> ReplaySession:
    """What answers this process from the order's tape, written by `recorder`."""
    from rashomon import tapes
    from rashomon.replay import stubs as stubbing
    from rashomon.replay.claims import Claims
    from rashomon.replay.policy import Policy
    from rashomon.replay.session import Plan, ReplaySession

    assert order.tape is not None
    tape = tapes.only_tape(order.tape)
    number = _claim(order.tape, tape) if tape.trace.processes else None
    redactor = recorder.process.writer.redactor
    policy = Policy(
        tape, order.allow, order.folder or os.getcwd(), (order.home, os.path.dirname(order.tape)), redactor.text
    )
    claims = Claims(f"{order.tape}.claims")  # also of one process: the program may start more than the recorded one
    stubs = tuple(stubbing.parse(text) for text in order.stubs)
    plan = Plan(stubs, tuple(order.live), policy, order.on_drift, number, claims)
    session = ReplaySession(tape, redactor, recorder, lanes.current_line, plan)
    boundary.conductor = session.conductor
    return session


def _claim(path: str, tape: Tape) -> int | None:
    """Which recorded process this one stands for: that of the same lane, else one with the same command line.

    The program itself stands for the first, also when its command was replaced. None: it was not recorded.
    """
    lane, argv = lanes.root_lane(), tuple(sys.orig_argv)
    found = [process for process in tape.trace.processes if process.lane == lane]
    found.sort(key=lambda process: process.argv != argv)  # recordings may know no lanes of spawned processes
    found += [process for process in tape.trace.processes if not process.lane and process.argv == argv]
    same = [process.number for process in found]
    for number in same or ([] if lane else [0]):
        try:
            os.mkdir(f"{path}.{number}")
        except FileExistsError:  # another process of this replay stands for it
            continue
        return number
    return None
