"""Who waits for the store's file, and who holds it: locks on two files beside it, which the system lets go of whatever
becomes of their owners.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

_LOOK_S = 0.005


def _turn(path: Path) -> Path:
    return path.with_name(f"{path.name}.waiting")


def _held(path: Path) -> Path:
    return path.with_name(f"{path.name}.held")


def wait_visibly(path: Path, handle: int | None) -> int | None:
    """Show that somebody waits; what to close when they have the store open. None where that cannot be shown."""
    try:
        import fcntl

        if handle is None:
            handle = _shown(path)
    except (ImportError, OSError):  # no locks here, or a folder that cannot be written: they still wait
        return None
    with contextlib.suppress(OSError):  # a writer is just looking: the next time, then
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return handle


def _shown(path: Path) -> int:
    """The file whose lock shows it. Who may not write in the folder can still lock what somebody else has made."""
    try:
        return os.open(_turn(path), os.O_RDWR | os.O_CREAT, 0o666)
    except OSError:
        return os.open(_turn(path), os.O_RDONLY)


def show_held(path: Path) -> int | None:
    """Show that the store is open for writing for a while, until what this gives is closed; None where it cannot be.

    Who waits looks at that: to try to open the store takes a hundred times as long.
    """
    handle = None
    try:
        import fcntl

        handle = os.open(_held(path), os.O_RDWR | os.O_CREAT, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (ImportError, OSError):  # somebody is just looking, or there are no locks here: they try to open it, then
        if handle is not None:
            os.close(handle)
        return None
    return handle


def while_held(path: Path, deadline: float) -> None:
    """Wait for as long as it is shown that the store is open for writing."""
    try:
        import fcntl

        handle = os.open(_held(path), os.O_RDONLY)
    except (ImportError, OSError):  # nobody has ever shown it
        return
    try:
        while time.monotonic() < deadline:
            try:
                fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                time.sleep(_LOOK_S)
    except OSError:  # a file system without locks
        pass
    finally:
        os.close(handle)


def be_asked(path: Path) -> bool:
    """Make the file by which others show that they wait; False where they wait without being seen."""
    try:
        import fcntl

        handle = _shown(path)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:  # another writer is just looking
        pass
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(handle)
    return True


def somebody_waits(path: Path) -> bool:
    """Whether somebody is seen to wait for the store."""
    return _waits(path, 0.0)


def let_readers_in(path: Path, longest_s: float = 1.0) -> bool:
    """Wait until those who wait for the store have it open: a writer that comes back at once would starve them.

    True when there was somebody.
    """
    waited = _waits(path, 0.0)
    if waited:
        _waits(path, longest_s)
    return waited


def _waits(path: Path, longest_s: float) -> bool:
    """Whether somebody still waits after so many seconds."""
    try:
        import fcntl

        handle = os.open(_turn(path), os.O_RDWR)
    except (ImportError, OSError):  # nobody has ever waited
        return False
    try:
        deadline = time.monotonic() + longest_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return False
            except OSError:  # somebody waits
                if time.monotonic() >= deadline:
                    return True
                time.sleep(_LOOK_S)
    finally:
        os.close(handle)
