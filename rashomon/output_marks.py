"""How digests of what a program prints are kept: as reads of a kind of their own, with marks at chosen lines.

Who records and who compares agree here. See "Output" in docs/formats/journal.md.
"""

from __future__ import annotations

OUTPUT = "output"
"""The kind of such a read."""
STDOUT = "sys.stdout"
"""What it reads."""
MARK = 3
"""How many bytes of a digest a mark is."""
MOST_LANES = 10_000
"""Of so many lines of control what they print is kept, in a process; those that print first."""
_STEPS = ((256, 1), (4096, 16), (65_536, 256))


def is_mark(line: int) -> bool:
    """Whether a digest of everything up to this line, counted from 1, is kept: of each at first, then of fewer."""
    return any(line <= until and line % step == 0 for until, step in _STEPS)


def line_of(number: int) -> int:
    """The line of a mark, counted from 0."""
    line = 0
    for until, step in _STEPS:
        here = (until - line) // step
        if number < here:
            return line + (number + 1) * step
        number, line = number - here, until
    return line
