"""Whether the process that wrote a journal may still write to it. A journal has no lock: it is found out from
outside.

A process that ended in an orderly way says so (CLOSE). Of one that did not, the operating system is asked: on Linux
for the files that it has open, elsewhere whether it lives. A process of another machine or container cannot be asked;
its journal counts as growing until it has not changed for an hour.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

QUIET_NS = 3600 * 10**9
"""A journal whose process cannot be asked is taken for finished when it has not changed for this long."""

_CLOCK_SLACK_S = 5.0


def growing(path: Path, process: dict[str, Any], closed: bool, ended: bool = False) -> str | None:
    """Why a journal may still grow, as the rest of a sentence; None when it will not.

    `process` is what its PROCESS frame says, `closed` whether it has a CLOSE frame. `ended` is the user's word that
    processes which cannot be asked have ended; a process that is seen to live counts all the same.
    """
    if closed:
        return None
    pid, started_ns = process.get("pid"), process.get("started_ns")
    if type(pid) is int and pid > 0 and (found := _has_open(pid, path)) is not None:
        if found:
            return f"process {pid} is writing it"
    elif type(pid) is int and pid > 0 and _lives(pid, started_ns):
        return f"process {pid} may be writing it"
    if ended:
        return None
    try:
        quiet_ns = time.time_ns() - path.stat().st_mtime_ns
    except OSError:
        return None
    if 0 <= quiet_ns < QUIET_NS:
        return "it was not closed and changed within the last hour (--ended says that its process has ended)"
    return None


def _has_open(pid: int, path: Path) -> bool | None:
    """Whether that process has the file open; None when that cannot be seen."""
    try:
        links = os.listdir(f"/proc/{pid}/fd")
        wanted = path.stat()
    except OSError:
        return None
    for link in links:
        try:
            found = os.stat(f"/proc/{pid}/fd/{link}")
        except OSError:  # closed in the meantime
            continue
        if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino):
            return True
    return False


def _lives(pid: int, started_ns: object) -> bool:
    """Whether a process of this number lives that began before the journal did."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it lives, and is somebody else's
        pass
    began = _began_s(pid)
    if began is None or type(started_ns) is not int:
        return True
    return began <= started_ns / 1e9 + _CLOCK_SLACK_S


def _began_s(pid: int) -> float | None:
    """When a process began, in seconds of Unix time, from Linux's /proc (proc(5): field 22 of stat, btime)."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        ticks = int(after_name[19])
        for line in Path("/proc/stat").read_text(encoding="ascii").splitlines():
            if line.startswith("btime "):
                return int(line.split()[1]) + ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        pass  # another operating system
    return None
