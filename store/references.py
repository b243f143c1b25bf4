"""What a user types to name a trace: an id, a unique prefix of one, a name, `@last`, `@prev`, `@last~2`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rashomon.errors import AmbiguousTrace, TraceNotFound

_SHOWN = 8
_BACK = re.compile(r"@(last|prev)(?:~(\d{1,9}))?")
_RECORD = "Record one: rashomon record -- python agent.py"


class Candidate(NamedTuple):
    """A trace as a reference can mean it. `outer` is False for a trace within another one."""

    id: str
    name: str
    outer: bool
    replay: bool


def resolve(reference: str, traces: Sequence[Candidate]) -> str:
    """The id that a reference means among these traces, newest first.

    In this order: a whole id; `@last`, `@prev`, `@last~N` (among traces that are not within another);
    a name (its newest recording, else its newest replay); a unique prefix of an id.
    """
    if not traces:
        raise TraceNotFound(f"There is no trace {reference!r}: nothing has been recorded here.", _RECORD)
    if any(trace.id == reference for trace in traces):
        return reference
    if reference.startswith("@"):
        return _counted(reference, traces)
    named = [trace for trace in traces if trace.name == reference]
    if named and reference:
        return next((trace.id for trace in named if not trace.replay), named[0].id)
    found = [trace for trace in traces if reference and trace.id.startswith(reference)]
    if len(found) > 1:
        raise AmbiguousTrace(
            f"{reference!r} is the beginning of {len(found)} traces: {_list(found)}.", "Give more of the id."
        )
    if not found:
        raise TraceNotFound(f"There is no trace {reference!r}.", f"The newest: {_list(traces)}.")
    return found[0].id


def _counted(reference: str, traces: Sequence[Candidate]) -> str:
    match = _BACK.fullmatch(reference)
    if match is None:
        raise TraceNotFound(f"{reference!r} is no reference to a trace.", "There are @last, @prev and @last~N.")
    outer = [trace for trace in traces if trace.outer]
    back = int(match[2] or 0) + (match[1] == "prev")
    if back >= len(outer):
        raise TraceNotFound(f"{reference} goes back further than the {len(outer)} traces there are.",
                            f"The oldest is @last~{len(outer) - 1}." if outer else _RECORD)  # fmt: skip
    return outer[back].id


def _list(traces: Sequence[Candidate]) -> str:
    shown = [f"{trace.id} ({trace.name})" if trace.name else trace.id for trace in traces[:_SHOWN]]
    more = len(traces) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
