"""What a user types to name a trace: an id, a unique prefix of one, a name, `@last`, `@prev`, `@last~2`.

Each form is one question that reads a column of ids or names and at most a few rows: a store may hold many traces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from rashomon.errors import AmbiguousTrace, TraceNotFound

Select = Callable[[str, Sequence[Any]], list[dict[str, Any]]]
"""Asks the store: SQL and what its question marks stand for."""

_SHOWN = 8
_BACK = re.compile(r"@(last|prev)(?:~(\d{1,9}))?")
_RECORD = "Record one: rashomon record -- python agent.py"
_NEWEST = "ORDER BY started_ns DESC, id DESC"
_OUTER = "(within IS NULL OR within NOT IN (SELECT id FROM traces))"


def resolve(reference: str, select: Select) -> str:
    """The id that a reference means.

    In this order: a whole id; `@last`, `@prev`, `@last~N` (among traces that are not within another);
    a name (its newest recording, else its newest replay); a unique prefix of an id.
    """
    if select("SELECT id FROM traces WHERE id = ?", [reference]):
        return reference
    if reference.startswith("@"):
        return _counted(reference, select)
    if reference:
        named = f"SELECT id FROM traces WHERE name = ? {_NEWEST.replace('BY', 'BY parent IS NOT NULL,')} LIMIT 1"
        if found := select(named, [reference]):
            return str(found[0]["id"])
        begun = "FROM traces WHERE starts_with(id, ?)"
        if found := select(f"SELECT id, name {begun} {_NEWEST} LIMIT {_SHOWN}", [reference]):
            if len(found) == 1:
                return str(found[0]["id"])
            count = _count(select, begun, reference)
            raise AmbiguousTrace(
                f"{reference!r} is the beginning of {count} traces: {_list(found, count)}.", "Give more of the id."
            )
    count = _count(select, "FROM traces")
    if not count:
        raise _nothing(reference)
    newest = select(f"SELECT id, name FROM traces {_NEWEST} LIMIT {_SHOWN}", [])
    raise TraceNotFound(f"There is no trace {reference!r}.", f"The newest: {_list(newest, count)}.")


def _counted(reference: str, select: Select) -> str:
    match = _BACK.fullmatch(reference)
    back = int(match[2] or 0) + (match[1] == "prev") if match else 0
    if match and (found := select(f"SELECT id FROM traces WHERE {_OUTER} {_NEWEST} LIMIT 1 OFFSET {back}", [])):
        return str(found[0]["id"])
    if not _count(select, "FROM traces"):
        raise _nothing(reference)
    if match is None:
        raise TraceNotFound(f"{reference!r} is no reference to a trace.", "There are @last, @prev and @last~N.")
    outer = _count(select, f"FROM traces WHERE {_OUTER}")
    raise TraceNotFound(f"{reference} goes back further than the {outer} traces there are.",
                        f"The oldest is @last~{outer - 1}." if outer else _RECORD)  # fmt: skip


def _nothing(reference: str) -> TraceNotFound:
    return TraceNotFound(f"There is no trace {reference!r}: nothing has been recorded here.", _RECORD)


def _count(select: Select, what: str, *parameters: Any) -> int:
    return int(select(f"SELECT count(*) AS found {what}", list(parameters))[0]["found"])


def _list(found: Sequence[dict[str, Any]], count: int) -> str:
    shown = [f"{row['id']} ({row['name']})" if row["name"] else str(row["id"]) for row in found]
    return ", ".join(shown) + (f" and {count - len(shown)} more" if count > len(shown) else "")
