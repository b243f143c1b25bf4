"""Holds a replayed program's files to its policy by the kernel: what C code writes, and programs that are no Python.

Linux's Landlock (https://docs.kernel.org/userspace-api/landlock.html): a process gives up for itself and all that it
starts to change files outside of certain folders. It needs no privileges, costs nothing, ends with the last of these
processes, and cannot be widened; nobody is told of what it refuses but who tried, by "permission denied". It is put on
between fork and exec.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""On every architecture of 64 bits."""
_VERSION, _PATH_BENEATH = 1, 1
_LEAST_VERSION = 3
"""Of Linux 6.2. Before it `truncate` was free, and earlier no file could be moved from one folder to another."""

_WRITE, _TRUNCATE = 1 << 1, 1 << 14
_CONTENT = _WRITE | _TRUNCATE
_ALL = _CONTENT | sum(1 << bit for bit in range(4, 14))
"""Changes of contents and of folders (what is removed, made and moved), but not reading, nor running."""

_SURROUNDINGS = {"/dev": _CONTENT, "/proc": _CONTENT, "/dev/shm": _ALL}
"""Devices, what a process may set of itself, and shared memory."""

_PR_SET_NO_NEW_PRIVS = 38


class Fence:
    """Stands around what one launched program may change. `prepare` runs in the child, all else in the launcher."""

    def __init__(self, ruleset: int, libc: ctypes.CDLL) -> None:
        self._ruleset, self._libc = ruleset, libc
        self.stands = False
        """Whether the program runs behind it."""

    def open(self) -> None:
        """Before the fork: make what the child tells by that it is behind it."""
        self._told, self._telling = os.pipe()

    def prepare(self) -> None:
        """In the child, between fork and exec: go behind it, for good."""
        refused = self._libc.syscall(_RESTRICT_SELF, self._ruleset, 0)
        if refused:  # nobody privileged
            self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            refused = self._libc.syscall(_RESTRICT_SELF, self._ruleset, 0)
        if not refused:
            os.write(self._telling, b".")

    def serve(self, child: int) -> None:
        """When the child runs its program: learn whether that is behind it."""
        os.set_blocking(self._told, False)
        try:
            self.stands = os.read(self._told, 1) == b"."
        except BlockingIOError:  # the kernel would not have it
            pass

    def close(self) -> None:
        """Keep nothing open: it stands without us."""
        for descriptor in (self._ruleset, self._told, self._telling):
            os.close(descriptor)


def fence_for(folders: Iterable[str]) -> Fence | None:
    """A fence with these folders and files inside, and what every program changes; None where the kernel has none.

    Of what is not there yet, the nearest folder that is there is inside.
    """
    if not sys.platform.startswith("linux") or struct.calcsize("P") != 8:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_CREATE_RULESET, None, 0, _VERSION) < _LEAST_VERSION:
        return None
    handled = ctypes.create_string_buffer(struct.pack("Q", _ALL), 8)
    ruleset = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(8), 0)
    if ruleset < 0:
        return None
    for folder, rights in {**_SURROUNDINGS, **dict.fromkeys(map(_there, folders), _ALL)}.items():
        if not _let_in(libc, ruleset, folder, rights):
            os.close(ruleset)
            return None
    return Fence(ruleset, libc)


def _there(place: str) -> str:
    """A place, or the nearest folder above it that is there."""
    while not os.path.exists(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    return place


def _let_in(libc: ctypes.CDLL, ruleset: int, place: str, rights: int) -> bool:
    """Put a folder or a file inside; what is not there, or may not be looked at, cannot be changed either."""
    try:
        found = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        allowed = rights if stat.S_ISDIR(os.fstat(found).st_mode) else rights & _CONTENT
        rule = ctypes.create_string_buffer(struct.pack("=Qi", allowed, found), 12)
        return int(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)) == 0
    finally:
        os.close(found)
