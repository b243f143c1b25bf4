"""The one way in which the recorder speaks: a line on stderr."""

from __future__ import annotations

import sys


def cannot_write(home: str, error: OSError) -> None:
    """Say that there will be no recording, and why."""
    why = error.strerror or error
    complain(f"nothing is recorded: cannot write to {home}: {why}. Set RASHOMON_HOME to a folder that can be written.")


def complain(sentence: str) -> None:
    """Say something on stderr, where a program's own output cannot be disturbed by it."""
    try:
        sys.stderr.write(f"rashomon: {sentence}\n")
        sys.stderr.flush()
    except Exception:  # no stderr: nobody to tell
        pass
