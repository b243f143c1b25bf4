"""The errors of Rashomon.

RashomonError (Exception)        one sentence what is wrong, one what to do; `exit_code` for the shell
├── UsageError            2      a flag, a reference or an argument that cannot be used
│   ├── TraceNotFound     2
│   ├── AmbiguousTrace    2
│   └── NotWritable       2      a store that is sound and cannot be written: no room, no permission
├── CannotRun             3      the program cannot be run (again)
└── DamagedData           4      bytes on disk that are not what they should be
    ├── ForeignFile       4      a file that somebody else made
    └── NewerFormat       4      a file made by a newer version

ReplayStop (BaseException)       raised into a replayed program; clients must not swallow or retry it
├── Missed                       the tape has no answer for this call
└── Escaped                      the program tried to reach the outside
"""

from __future__ import annotations


class RashomonError(Exception):
    """A failure that a user can do something about. `problem` and `remedy` are one sentence each."""

    exit_code = 2

    def __init__(self, problem: str, remedy: str = "") -> None:
        super().__init__(f"{problem} {remedy}".strip())
        self.problem = problem
        self.remedy = remedy


class UsageError(RashomonError):
    """A flag, a reference or an argument that cannot be used."""


class TraceNotFound(UsageError):
    """No trace answers to this reference."""


class AmbiguousTrace(UsageError):
    """More than one trace answers to this reference."""


class NotWritable(UsageError):
    """A store that is sound and cannot be written: its disk is full, or it may not be changed."""


class CannotRun(RashomonError):
    """The recorded program or function cannot be run."""

    exit_code = 3


class DamagedData(RashomonError):
    """Bytes on disk that are not what they should be."""

    exit_code = 4


class ForeignFile(DamagedData):
    """A file that was not made by Rashomon."""


class NewerFormat(DamagedData):
    """A file that a newer version of Rashomon made."""


class ReplayStop(BaseException):
    """Ends a replayed program. Not an `Exception`: SDKs wrap and retry those."""


class Missed(ReplayStop):
    """The tape has no answer for this call, and nothing else may answer it."""


class Escaped(ReplayStop):
    """The program tried to reach the outside during a replay."""
