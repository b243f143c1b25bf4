"""What the program prints, line by line as digests: by them a replay finds out that it printed something else.

Seen is what is written to the `sys.stdout` that the process began with: by `print`, by `write`, by libraries. Each
line of control is kept by itself, since in which order those of threads come is up to the operating system. Of a
recording no text is kept; of a replay that of the first line which is not the recording's, redacted. Nothing is kept
of what tools print: a replay that answers them does not run them.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import FrameType
from typing import Any, NamedTuple, Protocol

from rashomon import boundary, collector, interruptions
from rashomon.model import Lane
from rashomon.output_marks import MARK, MOST_LANES, is_mark
from rashomon.recorders import lanes
from rashomon.recorders.ambient import sites

_LONGEST = 8192
"""A line is cut into pieces of so many characters: a program may write for ever without ending one."""
_PASSING = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, which a pipe does not get
    r"|(?<=0x)[0-9a-fA-F]{6,}"  # addresses of objects
    r"|(?<=[/\\]tmp)[a-z0-9_]{8}(?![a-z0-9_])"  # names that tempfile makes up
)
_DIGITS = re.compile(r"\d+")
_ANIMATED = re.compile(r"\r(?!\n)|\x1b\[[0-?]*[ -/]*[@-ln-~]")
"""Where a line is written over, or the cursor moved: how often is a matter of time."""
_LOGGERS = ("logging", "structlog", "loguru")
"""They write times of their own, which a recording does not have."""
_PROGRESS = ("tqdm", "rich.live", "rich.progress", "alive_progress", "progressbar", "yaspin", "halo")
"""They write as often as there is time."""
_TOOK = frozenset({"TerminalReporter.summary_stats", "pytest_terminal_summary"})
"""Functions of pytest that write how long it took: its last line, and the slowest tests."""
_DEEPEST = 60
_PLAIN, _LOGGER, _BAR = range(3)

try:
    from _blake2 import blake2b  # what `hashlib` has it from, which would load OpenSSL as well
except ImportError:  # another Python than CPython
    from hashlib import blake2b


class Difference(NamedTuple):
    """The first line of a lane that is not the recording's."""

    line: int
    text: str


class Owner(Protocol):
    """The trace that output is noted in: a `TraceRecorder`."""

    def note_output(self, lane: Lane, value: list[Any], within: int | str | None) -> None: ...


class _Column:
    """What one line of control has printed so far: two chains of digests, of which the loose one takes no notice of the
    digits that loggers write. They are one until a logger writes."""

    __slots__ = ("differs", "exact", "expected", "lines", "logged", "loose", "loose_marks", "marks", "text")

    def __init__(self, expected: bytes | None) -> None:
        self.lines = 0
        self.text = ""
        self.logged = False  # a logger wrote a part of the line that is being written
        self.exact = self.loose = b""
        self.marks = self.loose_marks = bytearray()
        self.expected = expected
        self.differs: Difference | None = None

    def write(self, text: str, logged: bool) -> None:
        """Take in what is written."""
        self.logged = self.logged or logged
        self.text += text
        if "\n" not in text and len(self.text) <= _LONGEST:
            return
        *lines, self.text = self.text.split("\n")
        for line in lines:
            for start in range(0, len(line) or 1, _LONGEST):
                self._end(line[start : start + _LONGEST])
        while len(self.text) > _LONGEST:
            self._end(self.text[:_LONGEST])
            self.text = self.text[_LONGEST:]
        self.logged = bool(self.text) and logged

    def _end(self, line: str) -> None:
        """A line is whole."""
        self.lines += 1
        if self.logged and self.marks is self.loose_marks:
            self.loose_marks = bytearray(self.marks)
        self.exact, self.loose = self._chained(line)
        if not is_mark(self.lines):
            return
        at = len(self.marks)
        self.marks += self.exact[:MARK]
        if self.marks is not self.loose_marks:
            self.loose_marks += self.loose[:MARK]
        if self.expected is not None and self.differs is None and self.expected[at : at + MARK] != self.loose[:MARK]:
            self.differs = Difference(self.lines, line)

    def value(self) -> list[Any]:
        """What is written down of it; a last line that has not ended counts."""
        exact, loose = self._chained(self.text + "\0") if self.text else (self.exact, self.loose)
        marks = [bytes(self.marks), b"" if self.marks is self.loose_marks else bytes(self.loose_marks)]
        return [self.lines + bool(self.text), exact, loose, *marks, list(self.differs or ())]

    def _chained(self, line: str) -> tuple[bytes, bytes]:
        """Both chains, with a line more."""
        seen = _PASSING.sub("", line) if "0x" in line or "tmp" in line or "\x1b" in line else line
        exact = _digest(self.exact, seen)
        if self.exact == self.loose and not self.logged:
            return exact, exact
        return exact, _digest(self.loose, _DIGITS.sub("0", seen) if self.logged else seen)


def _digest(before: bytes, line: str) -> bytes:
    return blake2b(before + line.encode("utf-8", "surrogatepass"), digest_size=8).digest()


class _Watch:
    """What this process prints into a trace."""

    def __init__(self, owner: Owner, expected: Mapping[Lane, bytes]) -> None:
        self.owner, self.expected = owner, expected
        self.begin()

    def begin(self) -> None:
        """Nothing has been printed: also that is told, of the process's main line."""
        lane, enclosing = lanes.root_lane(), boundary.inside.get()
        self.within = None if enclosing is None else enclosing.number  # a process that a tool started
        self.columns: dict[Lane, _Column] = {lane: _Column(self.expected.get(lane))}
        self.told: dict[Lane, tuple[int, int]] = {}

    def note(self, text: str, frame: FrameType) -> None:
        """Take in what is written to stdout by the code of a frame. Never raises."""
        if collector.is_running() or boundary.inside.get() is not None or lanes.is_quiet():
            return
        if boundary.process_interceptor() is None:
            return
        lane, known = lanes.here()
        if not known or (("\r" in text or "\x1b" in text) and _ANIMATED.search(text)):
            return
        writer = _writer(frame)
        if writer == _BAR:
            return
        column = self.columns.get(lane)
        if column is None:
            if len(self.columns) >= MOST_LANES:
                return
            column = self.columns[lane] = _Column(self.expected.get(lane))
        column.write(text, writer == _LOGGER)

    def tell(self) -> None:
        """Write down what has been printed since it was told last."""
        for lane, column in list(self.columns.items()):
            size = column.lines, len(column.text)
            if self.told.get(lane) != size:
                self.told[lane] = size
                self.owner.note_output(lane, [*column.value(), _look()], self.within)


_watch: _Watch | None = None


def watch(owner: Owner, expected: Mapping[Lane, bytes] | None = None) -> None:
    """Begin to note what this process prints; `expected`: the marks of a recording to compare it with, by lane."""
    global _watch
    if _watch is not None:  # a worker that was given a job of another trace
        return
    _watch = _Watch(owner, expected or {})
    stream = sys.stdout
    if type(stream) is io.TextIOWrapper and "write" not in vars(stream):
        stream.write = partial(_write, stream.write)  # type: ignore[method-assign]


def reset() -> None:
    """In a forked child: what its parent printed is not its own."""
    if _watch is not None:
        _watch.begin()


def tell(owner: Owner | None = None) -> None:
    """Write down what was printed, if it was into this trace. Never raises."""
    if _watch is not None and owner in (None, _watch.owner):
        try:
            _watch.tell()
        except Exception as error:  # recording must not break the program; a replay that lacks it compares nothing
            interruptions.pass_on(error)


def _write(original: Callable[[str], int], text: str, /) -> int:
    written = original(text)
    if _watch is not None:
        try:
            _watch.note(text, sys._getframe(1))
        except Exception as error:  # as above
            interruptions.pass_on(error)
    return written


def _look() -> list[int]:
    """What programs go by when they print: whether it is a terminal, and how wide."""
    try:
        return [1, os.get_terminal_size(1).columns]
    except (OSError, ValueError):
        return [0, 0]


def _says_how_long(frame: FrameType | None) -> bool:
    """Whether pytest writes how long it took."""
    while frame is not None and str(frame.f_globals.get("__name__")).startswith("_pytest."):
        if frame.f_code.co_qualname in _TOOK:
            return frame.f_globals["__name__"] in ("_pytest.terminal", "_pytest.runner")
        frame = frame.f_back
    return False


def _writer(frame: FrameType | None) -> int:
    """Whether a logger or a progress bar writes: where it is a library, it is asked who called it."""
    if frame is None or _says_how_long(frame):
        return _PLAIN if frame is None else _BAR
    if sites.asker(frame)[1] == sites.USER:
        return _PLAIN
    found = _PLAIN
    for _ in range(_DEEPEST):
        if frame is None:
            break
        name = frame.f_globals.get("__name__")
        if isinstance(name, str):
            if name in _PROGRESS or name.partition(".")[0] in _PROGRESS:
                return _BAR
            if name.partition(".")[0] in _LOGGERS:
                found = _LOGGER
        frame = frame.f_back
    return found
