"""What an audit event is about to run or to change, in the words of the boundary."""

from __future__ import annotations

import os
import re
import stat
import sys
from types import FrameType
from typing import Any

_ENQUIRING = frozenset(
    {"_osx_support", "ctypes.macholib.dyld", "ctypes.util", "distro.distro", "platform", "sysconfig", "uuid"}
)
"""Modules that ask other programs about the machine (`uname -p`, `ldconfig -p`): no doing of the program's."""

PYTHONS = ("python", "pypy", "graalpy")
"""How the names of Python's interpreters begin."""
_OPTIONS = re.compile(r"-(?=.)([bBdEiIOPqRsStuvx]*)(?:([cmWX])(.*))?", re.DOTALL)
_ALONE = frozenset("EIS")
ALONE = "a Python that is started with -E, -I or -S does not load the recorder: its calls are not recorded"
"""Why what `without_recorder` names has slipped through."""
_LOWER = frozenset({"subprocess", "os", "pty", "gevent.subprocess", "gevent.os", "eventlet.green.subprocess"})
_WRAPPING = frozenset({"ddtrace", "elasticapm", "newrelic", "scout_apm", "sentry_sdk", "wrapt"})
"""Packages that stand between others by wrapping `subprocess`, to measure it."""
_OWN_DESCRIPTORS = ("/dev/fd/", "/dev/std", "/proc/self/fd/")


def is_enquiry(frame: FrameType | None) -> bool:
    """True when a command is started by the standard library, to learn about the machine."""
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if name in _ENQUIRING:
            return True
        package = str(name).partition(".")[0]
        if name not in _LOWER and package not in _WRAPPING and not str(name).startswith("rashomon.recorders"):
            return False
        frame = frame.f_back
    return False


def command(event: str, args: tuple[Any, ...]) -> tuple[str, ...] | None:
    """The command of an event; None for one that is told by another event, or cannot run."""
    if event == "os.system":
        shell = os.environ.get("COMSPEC", "cmd.exe") if os.name == "nt" else "/bin/sh"
        return (shell, "/c" if os.name == "nt" else "-c", _text(args[0]))
    if event == "pty.spawn":
        return _words(args[0])
    if event == "os.startfile":
        return (_text(args[0]),)
    if event == "subprocess.Popen":
        words = _words(args[1])
        return words or (_text(args[0]),)
    if event == "os.posix_spawn" and _within_subprocess(sys._getframe(3)):
        return None
    path, words = (args[1], args[2]) if event == "os.spawn" else (args[0], args[1])
    program = _text(path)
    if event == "os.exec" and os.path.dirname(program) and not os.path.exists(program):
        return None  # `os.execvp` tries every folder of PATH
    return (program, *_words(words)[1:])


def _within_subprocess(frame: FrameType | None) -> bool:
    """True when `subprocess` asked for it, whose own event has told of it."""
    if frame is not None and frame.f_globals.get("__name__") == "rashomon.recorders.processes":
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == "subprocess"


def _words(args: Any) -> tuple[str, ...]:
    if isinstance(args, str) and os.name == "nt":
        import shlex

        return tuple(shlex.split(args, posix=False))
    if isinstance(args, (str, bytes, os.PathLike)):
        return (_text(args),)
    return tuple(_text(word) for word in args)


def _text(word: Any) -> str:
    return os.fsdecode(word) if isinstance(word, (str, bytes, os.PathLike)) else str(word)


def without_recorder(argv: tuple[str, ...]) -> str:
    """The program that a command runs, where that is a Python in which no recorder begins: one that is told not to
    look at its environment (`-E`, `-I`) or not to load `site` (`-S`). Empty for every other command.

    The options are those of https://docs.python.org/3/using/cmdline.html.
    """
    interpreter = os.path.basename(argv[0]) if argv else ""
    if not interpreter.startswith(PYTHONS):
        return ""
    alone, shown, words = False, [interpreter], iter(argv[1:])
    for word in words:
        shown.append(word)
        options = _OPTIONS.fullmatch(word)
        if options is None:  # the program's file, or an option that runs nothing: --version
            break
        letters, last, rest = options.groups()
        alone = alone or not _ALONE.isdisjoint(letters)
        if last == "c":  # what follows may be long
            shown[-1] = f"-{letters}c"
            break
        if last and not rest:
            shown.append(next(words, ""))
        if last == "m":
            break
    return " ".join(shown) if alone and not shown[-1].startswith("--") else ""


def written_by_open(path: Any) -> list[str]:
    """The file that is opened for writing; none for a descriptor."""
    return [] if isinstance(path, int) else [resolved(path, True)]


def written(event: str, args: tuple[Any, ...]) -> list[str]:
    """The paths that an event is about to change: absolute, resolved; none where it can have no effect."""
    if event == "sqlite3.connect":
        return database(args[0])
    if event == "os.rename":
        found = [_at(args[0], args[2], False), _at(args[1], args[3], False)]
        return found if _exists(found[0]) else []
    if event == "os.link":
        return [_at(args[1], args[3], False)]
    if event == "os.symlink":
        return [_at(args[1], args[2], False)]
    path = args[0]
    if isinstance(path, int):  # a descriptor: opened before, and allowed then
        return []
    place = _DIRECTORY_ARGUMENT.get(event)
    found = [_at(path, None if place is None else args[place], event in _FOLLOWING)]
    if (event == "os.mkdir") is _exists(found[0]):
        return []  # it is there already, or there is nothing to change
    if event == "os.chmod" and _has_mode(found[0], args[1]):
        return []
    return found


_DIRECTORY_ARGUMENT = {"os.remove": 1, "os.mkdir": 2, "os.rmdir": 1, "os.chmod": 2, "os.chown": 3, "os.utime": 3,
                       "shutil.rmtree": 1}  # fmt: skip
_FOLLOWING = frozenset({"os.truncate", "os.chmod", "os.chown", "os.chflags", "os.utime", "os.setxattr",
                        "os.removexattr"})  # fmt: skip


def _exists(path: str | None) -> bool:
    return path is not None and os.path.lexists(path)


def _has_mode(path: str, mode: int) -> bool:
    """Whether what is there may be read, written and run as it is about to be already."""
    try:
        return stat.S_IMODE(os.stat(path).st_mode) == mode
    except OSError:
        return False


def _at(path: Any, directory: int | None, follow: bool) -> str:
    """A path, perhaps relative to an open directory (-1 and None: to the current one)."""
    if directory is None or directory < 0:
        return resolved(path, follow)
    return resolved(os.path.join(_directory(directory), _text(path)), follow)


def _directory(descriptor: int) -> str:
    """Where an open directory is. One that cannot be named is in no place that could be allowed."""
    try:
        if sys.platform == "darwin":
            import fcntl

            return fcntl.fcntl(descriptor, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0").decode()
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return f"{os.sep}descriptor {descriptor}"


def resolved(path: Any, follow: bool) -> str:
    """A path as absolute text without symbolic links; its last part is followed only if `follow`."""
    text = _text(path)
    if text.startswith(_OWN_DESCRIPTORS):
        return text
    try:
        if follow:
            return os.path.realpath(text)
        folder, name = os.path.split(text.rstrip(os.sep) or text)
        if name in ("", ".", ".."):
            return os.path.realpath(text)
        return os.path.join(os.path.realpath(folder or os.curdir), name)
    except (OSError, ValueError):  # the current folder is gone, or no path at all: the call itself will say so
        return text


def database(name: Any) -> list[str]:
    """The file of an SQLite database; none for one in memory, or opened read-only."""
    text = _text(name)
    if text in ("", ":memory:"):
        return []
    if text.startswith("file:"):
        from urllib.parse import parse_qs, unquote, urlsplit

        parts = urlsplit(text)
        asked = parse_qs(parts.query)
        if asked.get("mode") in (["ro"], ["memory"]) or "immutable" in asked or parts.path == ":memory:":
            return []
        text = unquote(parts.path)
    return [resolved(text, True)]
