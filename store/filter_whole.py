"""What a filter asks of whole steps, as `rashomon show` shows them (JSON paths), and of answers unpacked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rashomon import views
from rashomon.canonical import header
from rashomon.filters import Term
from rashomon.model import Step
from rashomon.store.contents import COLUMNS, parts
from rashomon.store.engine import duckdb
from rashomon.store.filter_paths import path_matches
from rashomon.store.filter_text import Test
from rashomon.store.restored import step_from

if TYPE_CHECKING:
    from rashomon.store.filtering import Place


def steps(reader: duckdb.DuckDBPyConnection, rowids: list[int], asks: bool) -> dict[tuple[str, int], Step]:
    """Steps by trace and position; where nobody `asks` for it, without their requests' bodies."""
    cursor = reader.execute(
        f"SELECT trace, {COLUMNS} FROM steps SEMI JOIN (SELECT unnest(?) AS wanted) ON wanted = steps.rowid",
        [rowids],
    )
    names = [one[0] for one in cursor.description or ()]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    if not asks:
        rows = [{**row, "request_parts": row["request_parts"][:1], "layout": "[]"} for row in rows]
    wanted = {part for row in rows for part in (*row["request_parts"], row["response_part"]) if part is not None}
    contents = parts(reader, wanted)
    return {(row["trace"], row["position"]): step_from(row, contents) for row in rows}


def at(reader: duckdb.DuckDBPyConnection, places: Sequence[Place]) -> dict[tuple[str, int], Step]:
    """Steps by trace and position, with their bodies. Raises KeyError, with its number, for a part that is lost."""
    rowids = reader.execute(
        "SELECT steps.rowid FROM steps SEMI JOIN (SELECT unnest(?) AS trace, unnest(?) AS position) AS wanted"
        " ON wanted.trace = steps.trace AND wanted.position = steps.position",
        [[place.trace for place in places], [place.position for place in places]],
    ).fetchall()
    return steps(reader, [rowid for (rowid,) in rowids], True)


def hold(terms: Sequence[Term], step: Step, asks: bool) -> bool:
    """Whether all of the terms hold for a step; `asks` where one is about its request."""
    view = {"request": views.request_view(step) if asks else None, "response": views.response_view(step)}
    return all(path_matches(term, view) != term.negated for term in terms)


def encoded(reader: duckdb.DuckDBPyConnection, heads: dict[int, Any], holds: Test) -> Iterator[int]:
    """Which of some compressed answers hold a text; `heads` has the head of each by the number of its part."""
    for part, body in parts(reader, heads).items():
        if holds(_unpacked(heads[part], body)):
            yield part


def _unpacked(head: Any, body: bytes) -> str:
    known = json.loads(head) if isinstance(head, str) else head
    return views.decoded(header(known, "content-encoding"), body).decode("utf-8", "replace")
