"""What a person, or a pipe, tells the program: `input()`, `getpass.getpass()`; for `sys.stdin` see `stdin_streams`.

Each question is the call of a tool. So a replay asks nobody, and in one with something changed another answer can be
given like another result of a tool. A debugger that asks is not the program: it always speaks with whoever is there.
"""

from __future__ import annotations

import _thread
import builtins
import io
import os
import stat
import sys
import threading
from collections.abc import Callable
from contextvars import ContextVar
from types import FrameType
from typing import Any

from rashomon import boundary
from rashomon.boundary import Interceptor, Witness, cross, guard_here
from rashomon.model import STDIN, Call, End, Head, Kind, Request, Response
from rashomon.recorders import lanes
from rashomon.recorders.ambient.sites import USER, asker, replace
from rashomon.recorders.imports import when_imported

TERMINAL, NO_TERMINAL, CLOSED = "terminal", "no terminal", "closed"
QUESTIONS = ", questions only"
"""Behind that: nobody has launched the program for recording, so what it read from `sys.stdin` was not seen."""
HIDDEN = "rashomon-replay"
"""What a replay has for a password, or a key: it is on no disk."""
_DEBUGGERS = ("bdb.py", "pdb.py")
_local = boundary._local.get
_asking: ContextVar[bool] = ContextVar("rashomon_asking", default=False)
"""Within a call of `input`: what that reads from `sys.stdin` is a part of it."""


def _kind() -> str:
    """What this process's stdin is, as a trace keeps it."""
    return CLOSED if is_closed() else TERMINAL if os.isatty(0) else NO_TERMINAL


def is_closed() -> bool:
    """Whether this process was started without any stdin: then its number is that of another file by now."""
    return sys.__stdin__ is None


def described(kind: str | None = None) -> str:
    """What a launcher hands to its program: this process's stdin, as the kind that it is, or was in the recording.

    Where there is none now and there was one then, it hands over `os.devnull`.
    """
    kind = kind or _kind()
    return f"{kind}@{'' if kind == CLOSED else _file(os.devnull if is_closed() else 0)}"


def kept() -> str:
    """What a trace that begins here keeps of it."""
    return os.environ.get(STDIN, _kind() + QUESTIONS).partition("@")[0]


def _file(which: int | str) -> str:
    try:
        found = os.stat(which)
    except OSError:
        return ""
    return f"{found.st_dev}:{found.st_ino}:{stat.S_IFMT(found.st_mode)}"


_is_given = False
"""Whether another process of the trace has given this one its stdin: a replay of that one gives it again."""


def install() -> None:
    """Patch `input`, and `getpass` when the program loads it."""
    replace(builtins, "input", _input)
    replace(os, "isatty", _isatty)
    when_imported("getpass", lambda module: replace(module, "getpass", _getpass))
    when_imported("asyncio.unix_events", _patch_loops)
    when_imported("mcp.server.stdio", _patch_mcp)
    when_imported("prompt_toolkit.shortcuts.prompt", _patch_prompts)


def _patch_mcp(module: Any) -> None:
    from rashomon.recorders import stdin_streams

    stdin_streams.patch_mcp(module)


def _patch_prompts(module: Any) -> None:
    from rashomon.recorders import prompts

    prompts.patch(module)


def _patch_loops(module: Any) -> None:
    """Tell of what event loops read from the descriptor, past `sys.stdin` (`asyncio.unix_events`)."""
    loop = module._UnixSelectorEventLoop
    for name in ("add_reader", "_make_read_pipe_transport"):
        setattr(loop, name, _told_of(getattr(loop, name)))


def _told_of(original: Callable[..., Any]) -> Callable[..., Any]:
    def seen(self: Any, source: Any, *args: Any, **options: Any) -> Any:
        if _local() is not None or boundary._process is not None:
            _tell_of(source, sys._getframe(1))
        return original(self, source, *args, **options)

    return seen


def _tell_of(source: Any, frame: FrameType | None) -> None:
    if (source if isinstance(source, int) else source.fileno()) == 0:
        while frame is not None and asker(frame)[1] != USER:
            frame = frame.f_back
        tell_of_past("an event loop reads it", frame)


def tell_of_past(how: str, frame: FrameType | None) -> None:
    """Tell a recording that stdin is read past `sys.stdin`."""
    guard: Any = hearing()
    if guard is not None and not guard.isolates:
        guard.uncontrolled("stdin", f"{how}, past sys.stdin: a replay reads what it is given itself", frame)


def begin() -> bool:
    """Before a launched program runs: learn from its environment whose stdin it has. True: the launcher's."""
    global _is_given
    _is_given = os.environ.get(STDIN, "").partition("@")[2] != ("" if is_closed() else _file(0))
    return not _is_given


class Aside:
    """`with Aside():` — what is read from stdin here is a part of a call that is recorded already."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _asking.set(True)

    def __exit__(self, *exc_info: object) -> None:
        _asking.reset(self._token)


def hearing(terminal: bool = False) -> Interceptor | None:
    """Whoever stands at the boundary here, if what is read is recorded or comes from a recording. `terminal`: it is
    read from there in any case, whatever stdin is."""
    if (_local() is None and boundary._process is None) or (_is_given and not terminal) or _asking.get():
        return None
    guard = guard_here()
    if guard is None or getattr(guard, "stdin", None) is None or _is_debugging():
        return None
    return guard


def _is_debugging() -> bool:
    """Whether a debugger is at work, in whatever thread: IPython's asks in one of its own."""
    if "bdb" not in sys.modules:
        return False
    for innermost in sys._current_frames().values():
        frame: FrameType | None = innermost
        while frame is not None:
            if os.path.basename(frame.f_code.co_filename) in _DEBUGGERS:
                return True
            frame = frame.f_back
    return False


# -------------------------------------------------------------------------------------------------- input and getpass


def _input(original: Callable[..., str]) -> Callable[..., str]:
    def answer(prompt: object = "", /) -> str:
        if not _is_own(sys.stdin) or hearing() is None:
            return original(prompt)
        return asked("input", "builtins:input", str(prompt), original, False)

    return answer


def _is_own(stream: Any) -> bool:
    """Whether it reads what this process was started with: not a text of the program's own in its place."""
    try:
        return isinstance(stream, io.TextIOWrapper) and stream.fileno() == 0
    except (OSError, ValueError):
        return False


def _getpass(original: Callable[..., str]) -> Callable[..., str]:
    def getpass(prompt: str = "Password: ", stream: Any = None, **options: Any) -> str:
        if hearing(terminal=True) is None:
            return original(prompt, stream, **options)
        live = lambda text: original(text, stream, **options)  # noqa: E731
        return asked("getpass", "getpass:getpass", str(prompt), live, True)

    return getpass


def asked(name: str, ref: str, prompt: str, ask: Callable[[str], str], secret: bool) -> str:
    """A question, as the call of a tool. Raises what `ask` raises: `EOFError`, `KeyboardInterrupt`."""
    line = lanes.spawn()

    def live() -> str:
        with Aside(), lanes.inner(line):
            return ask(prompt)

    return cross(call_of(name, ref, "sync", {"prompt": prompt}), live, Answer(name, prompt, secret))


def call_of(name: str, ref: str, flavour: str, arguments: dict[str, Any]) -> Call:
    """A question, or a way to read, as the call of a tool."""
    from rashomon import values

    head: Head = {"ref": ref, "flavour": flavour}
    return Call(Kind.TOOL, name, Request(head, values.encode_arguments(arguments)))


class Answer:
    """What somebody answered to a question."""

    def __init__(self, name: str, prompt: str, secret: bool) -> None:
        from rashomon.recorders.tool_answers import ValueCodec

        self._values, self._prompt, self._secret = ValueCodec(name), prompt, secret

    def tee(self, answer: str, witness: Witness) -> str:
        self._values.tee(HIDDEN if self._secret else answer, witness)
        return answer

    def play(self, response: Response, witness: Witness) -> str:
        """Shows the question where the program had shown it, and the answer where a terminal had."""
        token = boundary.enter(witness)  # what is printed within a call is not compared
        said = "\n"
        try:
            _show(self._prompt)
            if response.end is End.OPEN:
                wait_as_then()
            answer: str = self._values.play(response, witness)
            said = "\n" if self._secret else f"{answer}\n"
            return answer
        finally:
            if _read_from_terminal(boundary.current()):
                _show(said)
            boundary.leave(token)

    async def discard(self, answer: str) -> None:
        """Text needs no release."""


def wait_as_then() -> None:
    """Nobody had answered when the recording ended. A daemon thread waits again; another one would keep the replay
    from its end."""
    if threading.current_thread().daemon:
        for_ever = _thread.allocate_lock()
        for_ever.acquire()
        for_ever.acquire()


def _show(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):  # there is none, or it has been closed
        pass


def _isatty(original: Callable[[int], bool]) -> Callable[[int], bool]:
    def isatty(fd: int, /) -> bool:
        was = was_terminal() if fd == 0 else None
        return original(fd) if was is None else was

    return isatty


def was_terminal() -> bool | None:
    """In a replay: whether the recorded program read from a terminal; else None."""
    guard = hearing()
    return _read_from_terminal(guard) if guard is not None and guard.isolates else None


def _read_from_terminal(guard: Any) -> bool:
    return str(getattr(guard, "stdin", None)).startswith(TERMINAL)
