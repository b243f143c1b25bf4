"""Takes note of the files that a program opens, once for each: what it finds in them is no part of the recording.

Not those of Python, of installed packages and of the system, modules of the program that are imported, what is opened
inside of a recorded call or the body of a tool, nor what the program writes anew.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from rashomon import boundary, collector, disk, interruptions
from rashomon.model import Site, Uncontrolled

_SYSTEM = ("/Library/", "/System/", "/bin/", "/dev/", "/etc/", "/lib/", "/lib64/", "/nix/", "/proc/", "/run/", "/sbin/",
           "/sys/", "/tmp/", "/usr/", "/var/cache/", "/var/folders/", "/var/lib/", "/var/log/", "/var/tmp/"
           )  # fmt: skip
_INSTALLED = frozenset({"site-packages", "dist-packages", "__pycache__", ".git", ".rashomon"})
_LOADED = (".pyc", ".pyo", ".so", ".pyd", ".dll", ".dylib", ".pth")
_IMPORTING = frozenset({"importlib._bootstrap_external", "importlib._bootstrap", "linecache", "pkgutil", "runpy",
                        "tokenize", "zipimport"})  # fmt: skip
_OURS = frozenset({__name__, "rashomon.recorders.coverage"})
_WHOLE = 4 << 20
_PIECE = 1 << 20
"""Of a larger file than `_WHOLE` bytes the first and the last so many make its digest."""


class Seen:
    """The files of one trace in one process: those that were met already, by name as the program gave it."""

    def __init__(self) -> None:
        self.folder = _folder()
        self._names: set[str] = set()
        self._paths: set[str] = set()
        self.listed: list[Uncontrolled] = []

    def opened(self, scribe: Any, path: Any, flags: int, frame_of: Callable[[], FrameType | None]) -> None:
        """The program is about to open a file."""
        if type(path) is not str:
            if isinstance(path, int):
                return
            path = os.fsdecode(path)
        if path in self._names or path.endswith(_LOADED) or len(self.listed) > disk.MOST:
            return
        if len(self._names) < 10 * disk.MOST:  # a name is looked at once; of very many, each time
            self._names.add(path)
        whole = os.path.normpath(os.path.join(_folder(), path))
        if whole in self._paths or not self._counts(whole):
            return
        self._paths.add(whole)
        met = _met(whole, flags)
        frame = None if met is None else frame_of()
        if met is None or (met == disk.ABSENT and (frame is None or not self._is_here(whole))):
            return
        what, reason = disk.fact(self._shown(whole), met)
        if len(self.listed) == disk.MOST:
            what, reason, frame = *disk.MORE[:2], None
        place = None if frame is None else Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
        self.listed.append(Uncontrolled(what, reason, place))
        scribe.uncontrolled(what, reason, frame)

    def _counts(self, path: str) -> bool:
        """Whether a file may be one of the program's own."""
        here = self._is_here(path)
        if not _INSTALLED.isdisjoint(path.split(os.sep)) or _is_not_the_programs(path):
            return False
        for prefix in {sys.prefix, sys.base_prefix, sys.exec_prefix}:
            if path.startswith(prefix.rstrip(os.sep) + os.sep) and not (here and self.folder.startswith(prefix)):
                return False
        return here or not path.startswith(_SYSTEM)

    def _is_here(self, path: str) -> bool:
        return path.startswith(self.folder) and self.folder != os.sep

    def _shown(self, path: str) -> str:
        shown = path.encode("utf-8", "backslashreplace").decode()  # a name need not be text
        if self._is_here(path):
            return shown[len(self.folder) :]
        own = os.path.expanduser("~") + os.sep
        return f"~/{shown[len(own) :]}" if len(own) > 2 and path.startswith(own) else shown


def opened(guard: Any, path: Any, flags: int, frame_of: Callable[[], FrameType | None]) -> None:
    """A file is about to be opened, with `os.open`'s flags, where a recorder or a replay is at work. Never raises."""
    if boundary.inside.get() is not None or collector.is_running():
        return
    scribe = getattr(guard, "scribe", guard)
    seen: Seen | None = getattr(scribe, "files", None)
    if seen is not None:
        try:
            seen.opened(scribe, path, flags, frame_of)
        except Exception as error:  # a name of another kind, a folder that goes away: the program opens it, or is told
            interruptions.pass_on(error)


def _folder() -> str:
    try:
        return os.getcwd().rstrip(os.sep) + os.sep
    except OSError:  # it has been deleted
        return os.sep


def _is_not_the_programs(path: str) -> bool:
    """Whether we open it ourselves, or a module of Python's own does, to run or to quote a source."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in _OURS:
        frame = frame.f_back
    if frame is None:
        return True
    name = str(frame.f_globals.get("__name__"))
    if name.startswith("rashomon."):
        return True
    return path.endswith(".py") and (name in _IMPORTING or frame.f_code.co_filename.startswith("<frozen "))


def _met(path: str, flags: int) -> str | None:
    """What the program is about to find; None where that is nothing: no plain file, or one that it writes anew."""
    writing = flags & (os.O_WRONLY | os.O_RDWR)
    if flags & os.O_EXCL:
        return None
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode) or (writing and (flags & os.O_TRUNC or not flags & os.O_RDWR)):
            return None
        return disk.content(found.st_size, _digest(path, found.st_size))
    except (FileNotFoundError, NotADirectoryError):
        return disk.ABSENT
    except (OSError, ValueError):
        return None


def _digest(path: str, size: int) -> str:
    from _blake2 import blake2b  # what `hashlib` has it from, which would load OpenSSL as well

    with open(path, "rb") as file:
        if size <= _WHOLE:
            return blake2b(file.read(_WHOLE), digest_size=3).hexdigest()
        found = blake2b(file.read(_PIECE), digest_size=3)
        file.seek(-_PIECE, os.SEEK_END)
        found.update(file.read(_PIECE))
        return found.hexdigest()
