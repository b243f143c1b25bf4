"""Which recorded steps are served, over all processes of one replay: no step is served twice.

A claim is one byte of a sparse file, written under a lock on that byte. The kernel drops the lock of a process that
is killed, and a claim costs 4 µs; an exclusively created file for each step costs twenty times that.
"""

from __future__ import annotations

import os

try:
    import fcntl

    _LOCKS = True
except ImportError:  # not on this platform: a file for each claim
    _LOCKS = False

_TAKEN = b"1"
_STEPS = 1 << 24
"""So many bytes of the file belong to one recorded process."""


class Claims:
    """The claims of one replay, in a folder that its processes share. Usable from any thread, and after a fork."""

    def __init__(self, folder: str) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.folder = folder
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)
        self._file = os.open(os.path.join(folder, "steps"), flags, 0o600)
        self._asked: dict[str, object] = {}

    def take(self, step_id: str) -> bool:
        """Claim a step for this process: True once in all processes and threads of the replay, then False."""
        own = object()
        if self._asked.setdefault(step_id, own) is not own:  # atomic: another thread here has asked already
            return False
        offset = _offset(step_id)
        if offset is None:
            return self._create(step_id)
        fcntl.lockf(self._file, fcntl.LOCK_EX, 1, offset)
        try:
            if os.pread(self._file, 1, offset) == _TAKEN:
                return False
            os.pwrite(self._file, _TAKEN, offset)
            return True
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, offset)

    def taken(self, step_id: str) -> bool:
        """True when some process of the replay has claimed the step."""
        offset = _offset(step_id)
        if offset is None:
            return os.path.exists(self._name(step_id))
        return os.pread(self._file, 1, offset) == _TAKEN

    def _create(self, step_id: str) -> bool:
        try:
            os.close(os.open(self._name(step_id), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            return False
        return True

    def _name(self, step_id: str) -> str:
        return os.path.join(self.folder, "step-" + step_id.encode().hex())


def _offset(step_id: str) -> int | None:
    """Where a step's byte is; None for an id that is not of the form `process.arrival`."""
    process, dot, number = step_id.partition(".")
    if not (_LOCKS and dot and process.isdecimal() and number.isdecimal()) or int(number) >= _STEPS:
        return None
    return int(process) * _STEPS + int(number)
