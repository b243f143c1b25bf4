"""The programs that a recorded program started and no recorder can look into: git, curl, a shell.

What they did, on the network too, is not known. In the body of a tool that does not matter: a replay has its result.
"""

from __future__ import annotations

import os

from rashomon.model import Launched, Trace

_PYTHONS = ("python", "pypy")


def uncovered(trace: Trace) -> list[Launched]:
    """The subprocesses of which it is not known what they reached: neither recorded Python, nor within a step."""
    recorded = {_words(process.argv) for process in trace.processes}
    return [one for one in trace.launched if one.within is None and not _is_recorded(one, recorded)]


def _is_recorded(one: Launched, recorded: set[tuple[str, ...]]) -> bool:
    """Whether a command is a Python program: by its name, or, where a script's first line names it, by its process."""
    first = os.path.basename(one.argv[0]) if one.argv else ""
    return first.startswith(_PYTHONS) or first.endswith(".py") or _words(one.argv) in recorded


def _words(argv: tuple[str, ...]) -> tuple[str, ...]:
    return (os.path.basename(argv[0]), *argv[1:]) if argv else ()
