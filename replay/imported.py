"""What is said to who wants to replay a trace that another tool recorded."""

from __future__ import annotations

from rashomon.errors import UsageError
from rashomon.model import Trace

_SAID = 4
"""More of what a trace lacks is not told in one sentence."""


def refuse_imported(trace: Trace) -> None:
    """Raise `UsageError` for a trace that came without what a replay needs; it says what that is."""
    imported = trace.provenance.get("imported")
    lacks = imported.get("lacks") if isinstance(imported, dict) else None
    if not isinstance(lacks, list) or not lacks or not isinstance(imported, dict):
        return
    told = [str(one) for one in lacks]
    rest = f" and {len(told) - _SAID} more" if len(told) > _SAID else ""
    raise UsageError(
        f"{trace.id} was imported from {imported.get('file') or 'a file'} ({imported.get('format')}), "
        f"and a replay lacks {', '.join(told[:_SAID])}{rest}.",
        "Show it, search it, compare it; to replay, record the program: rashomon record -- COMMAND.",
    )
