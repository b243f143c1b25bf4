"""Looking for texts and ids in all that a home holds: columns and bodies by SQL, rebuilt bodies of journals, bytes.

A text is looked for in each way in which it may be written down: as it is, escaped once or twice as JSON does, and as
a part of a URL; and inside bodies that were sent compressed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

from rashomon import journal as journals
from rashomon import views
from rashomon.errors import DamagedData
from rashomon.journal import BASE_WINDOW, DELTA_MIN, Code, Delta, Scan
from rashomon.store.engine import duckdb

NOTES = "annotations"
"""The table of what people wrote."""

_CHUNK = 1 << 20
_ROWS = 256
_ENCODINGS = ("gzip", "deflate", "br", "zstd")


class Found(NamedTuple):
    """A place where something was found: a file of the home, or a table; and where in it."""

    place: str
    where: str


def spellings(text: str) -> list[str]:
    """The ways in which a text may be written down."""
    plain = json.dumps(text, ensure_ascii=False)[1:-1]
    ascii_only = json.dumps(text)[1:-1]
    once = [text, plain, ascii_only, _upper(ascii_only), plain.replace("/", "\\/"), ascii_only.replace("/", "\\/")]
    twice = [json.dumps(one, ensure_ascii=False)[1:-1] for one in once]
    url = [quote(text, safe=""), quote(text), quote_plus(text)]
    return list(dict.fromkeys([*once, *twice, *url]))


def _upper(escaped: str) -> str:
    """The same with the hexadecimal digits of its escapes in capitals."""
    first, *rest = escaped.split("\\u")
    return first + "".join(f"\\u{one[:4].upper()}{one[4:]}" for one in rest)


def contains(data: bytes, needles: Sequence[bytes]) -> bool:
    """True when any of these is in the bytes, or in what they unpack to."""
    if any(needle in data for needle in needles):
        return True
    if data.isascii():
        return False
    for encoding in _ENCODINGS:
        unpacked = views.decoded(encoding, data)
        if unpacked is not data and unpacked != data and any(needle in unpacked for needle in needles):
            return True
    return False


def _bytes(needles: Iterable[str]) -> list[bytes]:
    return [needle.encode("utf-8", "surrogatepass") for needle in needles]


# --------------------------------------------------------------------------------------------- the store


def in_store(
    reader: duckdb.DuckDBPyConnection, needles: Sequence[str], views: bool = False
) -> tuple[set[str], list[Found]]:
    """Ids of the traces that hold any of these, and the places that hold one and are no trace's.

    A person's note is such a place: it can go without the trace that it is on. With `views`, views are searched in
    place of tables: those that stand for the files of a lake.
    """
    traces: set[str] = set()
    others: list[Found] = []
    parts: set[str] = set()
    noted: set[str] = set()
    for table, columns in _columns(reader, views).items():
        key = {"traces": "id", "parts": "digest", NOTES: "id"}.get(table, "trace" if "trace" in columns else None)
        for column, kind in columns.items():
            if kind == "BLOB":
                hits = _blob_hits(reader, table, column, key, needles)
            else:
                hits = _text_hits(reader, table, column, kind, key, needles)
            if key is None:
                others.extend(Found(f"table {table}", f"column {column}") for _ in range(len(hits) > 0))
            elif table == "parts":
                parts |= hits
            elif table == NOTES:
                noted |= hits
            else:
                traces |= hits
    if parts:
        users = reader.execute(
            "SELECT DISTINCT part, trace FROM step_parts WHERE part IN (SELECT unnest(?::VARCHAR[]))", [sorted(parts)]
        ).fetchall()
        traces |= {trace for _, trace in users}
        others.extend(Found("table parts", one) for one in sorted(parts - {part for part, _ in users}))
    others.extend(Found(f"table {NOTES}", one) for one in sorted(noted))
    return traces, others


def _columns(reader: duckdb.DuckDBPyConnection, views: bool) -> dict[str, dict[str, str]]:
    """The columns of every table that may hold text or bytes: table to column to type."""
    kind = "VIEW" if views else "BASE TABLE"
    rows = reader.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() JOIN"
        " (SELECT table_name FROM information_schema.tables"
        "  WHERE table_catalog = current_database() AND table_schema = 'main' AND table_type = ?) USING (table_name)"
        " WHERE database_name = current_database() AND schema_name = 'main' ORDER BY ALL",
        [kind],
    ).fetchall()
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in rows:
        if any(word in kind for word in ("VARCHAR", "JSON", "BLOB")):
            found.setdefault(table, {})[column] = kind
    return found


def _text_hits(
    reader: duckdb.DuckDBPyConnection, table: str, column: str, kind: str, key: str | None, needles: Sequence[str]
) -> set[str]:
    value = f"array_to_string(\"{column}\", '\n')" if kind == "VARCHAR[]" else f'"{column}"::VARCHAR'
    tests = " OR ".join([f"contains({value}, ?)"] * len(needles))
    what = f'"{key}"' if key else "1"
    rows = reader.execute(f'SELECT DISTINCT {what} FROM "{table}" WHERE {tests}', list(needles)).fetchall()
    return {row[0] for row in rows}


def _blob_hits(
    reader: duckdb.DuckDBPyConnection, table: str, column: str, key: str | None, needles: Sequence[str]
) -> set[str]:
    wanted = _bytes(needles)
    what = f'"{key}"' if key else "1"
    cursor = reader.execute(f'SELECT {what}, "{column}" FROM "{table}" WHERE "{column}" IS NOT NULL')
    hits = set()
    while rows := cursor.fetchmany(_ROWS):
        hits |= {name for name, data in rows if contains(data, wanted)}
    return hits


# ------------------------------------------------------------------------------------------- the journals


def in_journal(path: Path, needles: Sequence[str]) -> bool:
    """True when a journal holds any of these in what can be read of it: frames, rebuilt bodies, whole answers."""
    wanted = _bytes(needles)
    try:
        with path.open("rb") as file:
            return any(contains(data, wanted) for data in texts(Scan(file, str(path))))
    except DamagedData:  # no journal of ours: its raw bytes are all there is
        return False


def texts(frames: Iterable[list[Any]]) -> Iterator[bytes]:
    """Everything that frames say, in pieces that no text is cut by."""
    bases: dict[Any, bytes] = {}
    answers: dict[Any, list[bytes]] = {}
    for elements in frames:
        code = elements[0]
        yield journals.pack(elements)
        try:
            if code == Code.CALL:
                body = _rebuilt(elements[9], bases)
                if len(body) >= DELTA_MIN:
                    bases[elements[1]] = body
                    while len(bases) > BASE_WINDOW:
                        del bases[next(iter(bases))]
                yield body
            elif code == Code.PIECE:
                pieces = answers.setdefault(elements[1], [])
                if len(elements) > 4:
                    pieces[elements[4]] += elements[3]
                else:
                    pieces.append(elements[3])
            elif code == Code.END:
                yield b"".join(answers.pop(elements[1], ()))
        except (IndexError, KeyError, TypeError, ValueError, DamagedData):
            continue  # what contradicts the format was given as it is written
    for pieces in answers.values():
        yield b"".join(pieces)


def _rebuilt(body: Any, bases: dict[Any, bytes]) -> bytes:
    if isinstance(body, bytes):
        return body
    delta = Delta(*body)
    return delta.apply(bases[delta.base])


# ----------------------------------------------------------------------------------------------- raw bytes


def in_bytes(path: Path, needles: Sequence[str]) -> int | None:
    """The offset at which a file holds any of these, or None. Reads it in pieces."""
    wanted = _bytes(needles)
    overlap = max(map(len, wanted), default=1) - 1
    before, at = b"", 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            data = before + chunk
            places = [place for needle in wanted if (place := data.find(needle)) >= 0]
            if places:
                return at - len(before) + min(places)
            at += len(chunk)
            before = data[-overlap:] if overlap else b""
    return None


def files(home: Path) -> list[Path]:
    """Every file of a home."""
    return sorted(path for path in home.rglob("*") if path.is_file() and not path.is_symlink())
