"""The one way in which the recorder speaks: a line on stderr."""

from __future__ import annotations

import sys


def complain(sentence: str) -> None:
    """Say something on stderr, where a program's own output cannot be disturbed by it."""
    try:
        sys.stderr.write(f"rashomon: {sentence}\n")
        sys.stderr.flush()
    except Exception:  # no stderr: nobody to tell
        pass
