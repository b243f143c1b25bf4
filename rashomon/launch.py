"""Runs a program as a child under the recorder, or with a tape, and passes everything else through."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from rashomon import home as homes
from rashomon import nesting, tapes
from rashomon.errors import CannotRun, DamagedData
from rashomon.journal import SUFFIX
from rashomon.model import STDIN, Tape, Trace
from rashomon.recorders import slots, standard_input
from rashomon.session import SESSION, Order, open_process

if TYPE_CHECKING:
    from rashomon.replay.kernel import Around

HASH_SEED = "PYTHONHASHSEED"
"""Decides the order of sets of strings. Chosen by the launcher where the user has not, and kept in the trace."""
_PASSED_ON = ("SIGTERM", "SIGHUP", "SIGINT", "SIGQUIT", "SIGUSR1", "SIGUSR2")
_SI_USER = 0


class Ended(NamedTuple):
    """How a child ended: its exit code, or minus the signal that killed it; and the last signal that came meanwhile."""

    status: int
    received: int = 0

    @property
    def exit_code(self) -> int:
        """As a shell would report it."""
        return self.status if self.status >= 0 else 128 - self.status


def _package_folder(name: str) -> str:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise CannotRun(f"{name} is not installed as a package.", "Install rashomon again.")
    return next(iter(spec.submodule_search_locations))


def child_environ(order: Order, base: dict[str, str]) -> dict[str, str]:
    """The environment of a child that is to follow `order`."""
    hook = os.path.join(_package_folder("rashomon.recorders"), "hook")
    environ = dict(base)
    environ["PYTHONPATH"] = slots.hooked(environ.get("PYTHONPATH", ""), hook)
    environ[SESSION] = json.dumps(order._asdict())
    environ["RASHOMON_HOME"] = order.home
    names = ["rashomon", "rashomon.recorders", "rashomon.replay", "rashomon.store", "msgpack"]
    names += ["vcr"] if importlib.util.find_spec("vcr") is not None else []
    environ["RASHOMON_ROOTS"] = json.dumps({name: _package_folder(name) for name in names})
    environ[slots.LANE] = slots.text_of(())
    recorded = base.get(STDIN) if order.mode == "replay" else None
    environ[STDIN] = standard_input.described(recorded)
    if environ.get(HASH_SEED, "random") in ("", "random"):
        environ[HASH_SEED] = _hash_seed(order.mode)
    environ.pop("RASHOMON_OFF", None)
    return environ


def _hash_seed(mode: str) -> str:
    """By chance, as the interpreter itself would; the replay of a recording that kept none has always the same."""
    return str(int.from_bytes(os.urandom(4), "big")) if mode == "record" else "0"


def replay_environ(trace: Trace, base: dict[str, str], live: bool) -> dict[str, str]:
    """The variables a recorded program found, put back; keys only as placeholders, and not for live calls."""
    environ = {name: value for name, value in base.items() if name != STDIN}
    for name, value in trace.environ.items():
        if value == "<secret>":
            if not live:
                environ.setdefault(name, standard_input.HIDDEN)  # no call is made with it
        elif live:
            environ.setdefault(name, value)
        else:
            environ[name] = value
    return environ


def run(
    command: Sequence[str], environ: dict[str, str], cwd: str | None = None, around: Sequence[Around] = ()
) -> Ended:
    """Run a command to its end; stdin, stdout, stderr and signals are its own. Raises `CannotRun`.

    What is `around` it is opened before, and closed when it has ended.
    """
    signals = [getattr(signal, name) for name in _PASSED_ON if hasattr(signal, name)]
    if not hasattr(signal, "sigwaitinfo"):
        return Ended(_start(command, environ, cwd).wait())
    sys.stdout.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [*signals, signal.SIGCHLD])
    for one in around:
        one.open()
    try:
        child, last = _start(command, environ, cwd, before, around), 0
        for one in around:
            one.serve(child.pid)
        while child.poll() is None:
            received = signal.sigwaitinfo([*signals, signal.SIGCHLD])
            if received.si_signo == signal.SIGCHLD:
                continue
            last = received.si_signo
            if received.si_code <= _SI_USER:  # what the terminal sends, the whole foreground group has got already
                child.send_signal(last)
        return Ended(child.returncode, last)
    finally:
        for one in around:
            one.close()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start(
    command: Sequence[str],
    environ: dict[str, str],
    cwd: str | None,
    mask: set[int | signal.Signals] | None = None,
    around: Sequence[Around] = (),
) -> subprocess.Popen[bytes]:
    kind, _, file = environ.get(STDIN, "").partition("@")
    closed = kind == standard_input.CLOSED

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask or ())
        if closed:
            os.closerange(0, 1)
        for one in around:
            one.prepare()

    stdin = subprocess.DEVNULL if file and standard_input.is_closed() else None
    try:
        return subprocess.Popen(
            command, env=environ, cwd=cwd, stdin=stdin, preexec_fn=None if mask is None else prepare
        )
    except FileNotFoundError as error:
        gone = "folder" if cwd is not None and not os.path.isdir(cwd) else "command"
        name = cwd if gone == "folder" else command[0]
        raise CannotRun(f"The {gone} {name!r} does not exist.", "Check its spelling and your PATH.") from error
    except PermissionError as error:
        raise CannotRun(f"{command[0]!r} may not be run: {error.strerror}.", "Is it executable?") from error
    except OSError as error:
        raise CannotRun(f"{command[0]!r} cannot be run: {error.strerror}.", "Run it without rashomon first.") from error


def end_like(ended: Ended) -> int:
    """The exit code to pass on; a child's death by signal is died again, so that a shell sees the same."""
    if ended.status < 0:
        sys.stdout.flush()
        sys.stderr.flush()
        if hasattr(signal, "pthread_sigmask"):
            import resource

            resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
        if -ended.status != signal.SIGKILL:
            signal.signal(-ended.status, signal.SIG_DFL)
        os.kill(os.getpid(), -ended.status)
    return ended.exit_code


class Launch:
    """One run of a child, told in a journal of the launcher's own: command, exit code, end.

    The home must be writable for a replay; a recording goes on without one.
    """

    def __init__(self, home: str, info: dict[str, object]) -> None:
        self.home, self.info = home, info
        self.started_ns = time.time_ns()
        self.trace_id = str(info["id"])
        self.process = open_process(home, role="launcher")
        self.trace = self.process.begin({**info, "started_ns": self.started_ns})

    def finish(self, ended: Ended, outcome: str) -> None:
        """Write how the child ended."""
        self.trace.finish(outcome, exit_code=ended.exit_code)
        self.process.close()
        slots.clear(self.home, self.trace_id)

    def tape(self) -> Tape | None:
        """What has been recorded under this trace so far, by all processes; None if nothing."""
        return gather(self.home, self.trace_id, self.started_ns)


def outcome_of(ended: Ended) -> str:
    """The outcome of a trace whose program ended so."""
    if ended.status < 0:
        return "killed"
    return "ok" if ended.status == 0 else "error"


def gather(home: str, trace_id: str, since_ns: int) -> Tape | None:
    """Read a trace from the journals written since a moment."""
    folder = homes.journals(home)
    first = f"{since_ns:016x}"
    parts = []
    try:
        names = sorted(os.listdir(folder))
    except FileNotFoundError:  # the program deleted it
        return None
    for name in names:
        if name.endswith(SUFFIX) and name[:16] >= first:
            try:
                part = tapes.read_part(os.path.join(folder, name))
            except (DamagedData, OSError):  # ingestion names it; here we count what can be read
                continue
            if trace_id in part.parts or any(found.info.get("within") for found in part.parts.values()):
                parts.append(part)
    return nesting.whole({tape.trace.id: tape for tape in tapes.assemble(parts)}, trace_id)
