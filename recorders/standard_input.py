"""What a person, or a pipe, tells the program: `input()`, `getpass.getpass()`, and what is read from `sys.stdin`.

Each `input()` is the call of a tool; what is read from `sys.stdin` in one way, by one line of control, is one call,
whose answer has a piece for each read. So a replay asks nobody, and in one with something changed another answer can be
given like another result of a tool. A debugger that asks is not the program: it always speaks with whoever is there.
"""

from __future__ import annotations

import builtins
import io
import os
import stat
import sys
from collections.abc import Callable, Generator
from contextvars import ContextVar
from types import FrameType
from typing import Any, NamedTuple

from rashomon import boundary
from rashomon.boundary import Interceptor, Play, Witness, cross, guard_here
from rashomon.model import STDIN, Call, Head, Kind, Request, Response
from rashomon.recorders import lanes
from rashomon.recorders.ambient.sites import USER, asker, replace
from rashomon.recorders.imports import when_imported

TERMINAL, NO_TERMINAL = "terminal", "no terminal"
QUESTIONS = ", questions only"
"""Behind that: nobody has launched the program for recording, so what it read from `sys.stdin` was not seen."""
HIDDEN = "rashomon-replay"
"""What a replay has for a password, or a key: it is on no disk."""
_MOST_STREAMS = 256
_DEBUGGERS = ("bdb.py", "pdb.py")
_local = boundary._local.get
_asking: ContextVar[bool] = ContextVar("rashomon_asking", default=False)
"""Within a call of `input`: what that reads from `sys.stdin` is a part of it."""


def kind_of(descriptor: int = 0) -> str:
    """What a program's stdin is, as a trace keeps it."""
    try:
        return TERMINAL if os.isatty(descriptor) else NO_TERMINAL
    except OSError:
        return NO_TERMINAL


def described(kind: str | None = None) -> str:
    """What a launcher hands to its program: this process's stdin, as the kind that it is, or was in the recording."""
    return f"{kind_of() if kind is None else kind}@{_file()}"


def kept() -> str:
    """What a trace that begins here keeps of it."""
    return os.environ.get(STDIN, kind_of() + QUESTIONS).partition("@")[0]


def _file() -> str:
    try:
        found = os.fstat(0)
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
    guard: Any = hearing()
    if guard is None or guard.isolates or (source if isinstance(source, int) else source.fileno()) != 0:
        return
    while frame is not None and asker(frame)[1] != USER:
        frame = frame.f_back
    guard.uncontrolled("stdin", "an event loop reads it, past sys.stdin: a replay reads what it is given itself", frame)


def adopt() -> None:
    """In a launched process, before its program runs: what it reads from `sys.stdin` is seen."""
    global _is_given
    _is_given = os.environ.get(STDIN, "").partition("@")[2] != _file()
    old = sys.stdin
    if _is_given or type(old) is not io.TextIOWrapper or old.fileno() != 0:
        return
    new = _Text(_Bytes(old.buffer.raw), old.encoding, old.errors, "\n")
    new.mode = old.mode  # type: ignore[misc]
    _kept_open.append(old)
    sys.stdin = sys.__stdin__ = new  # type: ignore[misc]


_kept_open: list[Any] = []
"""Without us nothing would hold the stream that Python made, and with it the descriptor would be closed."""


class Aside:
    """`with Aside():` — what is read from stdin here is a part of a call that is recorded already."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _asking.set(True)

    def __exit__(self, *exc_info: object) -> None:
        _asking.reset(self._token)


def hearing() -> Interceptor | None:
    """Whoever stands at the boundary here, if what is read is recorded or comes from a recording."""
    if (_local() is None and boundary._process is None) or _is_given or _asking.get():
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
        stream = sys.stdin
        if type(stream) is not _Text and not _is_own(stream):
            return original(prompt)
        guard = hearing()
        if guard is None:
            return original(prompt)
        return asked("input", "builtins:input", str(prompt), original, False)

    return answer


def _is_own(stream: Any) -> bool:
    """Whether it reads what this process was started with: not a text of the program's own in its place."""
    try:
        return type(stream) is io.TextIOWrapper and stream.fileno() == 0
    except (OSError, ValueError):
        return False


def _getpass(original: Callable[..., str]) -> Callable[..., str]:
    def getpass(prompt: str = "Password: ", stream: Any = None, **options: Any) -> str:
        if hearing() is None:
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
            answer: str = self._values.play(response, witness)
            said = "\n" if self._secret else f"{answer}\n"
            return answer
        finally:
            if _read_from_terminal(boundary.current()):
                _show(said)
            boundary.leave(token)

    async def discard(self, answer: str) -> None:
        """Text needs no release."""


def _show(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):  # there is none, or it has been closed
        pass


def _isatty(original: Callable[[int], bool]) -> Callable[[int], bool]:
    def isatty(fd: int, /) -> bool:
        if fd == 0 and not (_local() is None and boundary._process is None):
            return original(0) if _was_terminal() is None else bool(_was_terminal())
        return original(fd)

    return isatty


def _was_terminal() -> bool | None:
    """In a replay: whether the recorded program read from a terminal; else None."""
    guard = hearing()
    return _read_from_terminal(guard) if guard is not None and guard.isolates else None


def _read_from_terminal(guard: Any) -> bool:
    return str(getattr(guard, "stdin", None)).startswith(TERMINAL)


# ------------------------------------------------------------------------------------------------------- sys.stdin


class _Way(NamedTuple):
    """Who reads, and how: what it reads belongs to one call."""

    trace: int
    lane: Any
    within: Any
    name: str
    size: int | None


class _Source:
    """What `watched` takes for a generator: its next value is whatever is read next."""

    read: Callable[[], Any]

    def send(self, _: Any) -> Any:
        with Aside():
            return self.read()

    def close(self) -> None:
        """Nothing more is read."""


_Stream = tuple[_Source, Generator[Any, Any, Any]]
_streams: dict[_Way, _Stream] = {}


def _heard(name: str, size: int | None, read: Callable[[], Any]) -> Any:
    """What is read from stdin: `name` is the method, `size` what it was asked for. Raises what `read` raises."""
    guard: Any = None if size == 0 else hearing()  # click finds out so whether a stream has text or bytes
    if guard is None or guard.stdin.endswith(QUESTIONS):
        return read()
    enclosing = boundary.inside.get()
    within = None if enclosing is None else enclosing.number
    way = _Way(id(getattr(guard, "scribe", guard)), lanes.here()[0], within, name, size)
    stream = _streams.pop(way, None)
    if stream is None:
        if len(_streams) >= _MOST_STREAMS:
            _end(next(iter(_streams)))
        stream = _open(guard, name, size)
    source, generator = stream
    source.read = read
    value = next(generator)
    _streams[way] = stream
    return value


def _open(guard: Interceptor, name: str, size: int | None) -> _Stream:
    from rashomon.recorders.tool_generators import played, watched

    arguments = {} if size is None else {"size": size}
    verdict = guard.arrive(call_of(name, f"sys:{name.removeprefix('sys.')}", "generator", arguments))
    source = _Source()
    if isinstance(verdict, Play):
        return source, played(verdict.response, verdict.witness)
    return source, watched(name, source, verdict.witness, None)


def _end(way: _Way) -> None:
    stream = _streams.pop(way, None)
    if stream is not None:
        try:
            stream[1].close()
        except Exception:  # recording must not break the program
            pass


def end(trace: object = None) -> None:
    """No more is read into the trace of this recorder, or by this process at all. Never raises."""
    for way in list(_streams):
        if trace is None or way.trace == id(trace):
            _end(way)


def reset() -> None:
    """In a forked child: what its parent has begun to read is not its own."""
    _streams.clear()


class _Bytes(io.BufferedReader):
    """`sys.stdin.buffer`."""

    def read(self, size: int | None = -1, /) -> bytes:
        return _heard("sys.stdin.buffer.read", _size(size), lambda: super(_Bytes, self).read(size))  # type: ignore[no-any-return]

    def read1(self, size: int = -1, /) -> bytes:
        return _heard("sys.stdin.buffer.read1", _size(size), lambda: super(_Bytes, self).read1(size))  # type: ignore[no-any-return]

    def peek(self, size: int = 0, /) -> bytes:
        return _heard("sys.stdin.buffer.peek", None, lambda: super(_Bytes, self).peek(size))  # type: ignore[no-any-return]

    def readline(self, size: int | None = -1, /) -> bytes:
        read = super().readline
        return _heard("sys.stdin.buffer.readline", _size(size), lambda: read(size))  # type: ignore[no-any-return]

    def __next__(self) -> bytes:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def readinto(self, buffer: Any, /) -> int:
        return self._into(buffer, self.read)

    def readinto1(self, buffer: Any, /) -> int:
        return self._into(buffer, self.read1)

    def _into(self, buffer: Any, read: Callable[[int], bytes]) -> int:
        with memoryview(buffer).cast("B") as view:
            data = read(len(view))
            view[: len(data)] = data
        return len(data)


def _patch_mcp(module: Any) -> None:
    """A server of mcp 2 moves its stdin to another descriptor, and reads it there."""
    original = getattr(module, "_claim_fd", None)  # mcp 1 reads `sys.stdin.buffer`
    if original is None:
        return

    def claim(fd: int, stream: Any, *rest: Any) -> Any:
        claimed, release = original(fd, stream, *rest)
        if type(stream) is _Text and type(claimed) is io.BufferedReader:
            claimed = _Bytes(claimed.detach())
        return claimed, release

    module._claim_fd = claim


class _Text(io.TextIOWrapper):
    """`sys.stdin`."""

    def read(self, size: int | None = -1, /) -> str:
        return _heard("sys.stdin.read", _size(size), lambda: super(_Text, self).read(size))  # type: ignore[no-any-return]

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]
        return _heard("sys.stdin.readline", _size(size), lambda: super(_Text, self).readline(size))  # type: ignore[no-any-return]

    def __next__(self) -> str:  # type: ignore[override]
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def isatty(self) -> bool:
        was = _was_terminal()
        return super().isatty() if was is None else was


def _size(size: int | None) -> int | None:
    return None if size is None or size < 0 else size
