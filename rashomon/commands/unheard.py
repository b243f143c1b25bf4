"""Python programs that a recorder, or a replay, should have been in and was not."""

from __future__ import annotations

import os

from rashomon.model import Trace
from rashomon.recorders.reaching import PYTHONS, without_recorder

_RUN_NOTHING = frozenset({"-V", "-VV", "--version", "-h", "--help", "-?"})


def unheard(trace: Trace) -> list[tuple[str, ...]]:
    """The Python programs, as they were started, in which no recorder has begun, though one should have: something may
    have taken its place at the head of PYTHONPATH."""
    if any(_is_ours(process.argv) for process in trace.processes):  # what it starts is in a trace of its own
        return []
    begun = {words_of(process.argv) for process in trace.processes}
    started = dict.fromkeys(one.argv for one in trace.launched if one.within is None)
    pythons = [argv for argv in started if words_of(argv)[:1] and words_of(argv)[0].startswith(PYTHONS)]
    return [
        argv
        for argv in pythons
        if words_of(argv) not in begun and not without_recorder(argv) and _RUN_NOTHING.isdisjoint(argv)
    ]


def _is_ours(argv: tuple[str, ...]) -> bool:
    return "rashomon.cli" in argv or "rashomon" in map(os.path.basename, argv[:2])


def words_of(argv: tuple[str, ...]) -> tuple[str, ...]:
    """A command without the folder of its program."""
    return (os.path.basename(argv[0]), *argv[1:]) if argv else ()
