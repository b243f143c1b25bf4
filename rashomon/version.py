"""The version, in one place."""

__version__ = "0.1.0"

JOURNAL = 1
"""Version of the journal's format: `docs/formats/journal.md`."""
