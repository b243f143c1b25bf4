"""The table `annotations`: the notes of `notes.jsonl`, so that SQL finds them beside what they are on.

The file is the truth and the table a mirror of it: only differences are written, and nothing is opened while neither
file has changed.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rashomon import home as homes
from rashomon import notes
from rashomon.notes import Note, Notes
from rashomon.store import connection as connections
from rashomon.store.engine import duckdb, full, is_no_room
from rashomon.store.folder import UNSETTLED_NS

if TYPE_CHECKING:  # it asks this module for what the home's notes are
    from rashomon.store.reading import TraceStore


def mirror(home: Path | str, wait_s: float = connections.WAIT_S) -> Notes | None:
    """Bring the table in line with the home's notes; None when nothing had changed.

    Cheap then: three looks at the file system. A home without a store has nothing to bring in line. Raises as
    `connection.open_writer` does.
    """
    store = Path(homes.store_path(home))
    mark = _mark(home, store)
    if mark is None or _remembered(store) == mark:
        return None
    try:
        found = notes.read(home)
    except OSError:  # it may not be read: the table stays as it is
        return None
    wanted = {note.id: _row(note) for note in found.notes}
    with connections.open_reader(store, wait_s) as reader:
        known = _rows(reader)
    if known != wanted:
        try:
            with connections.open_writer(store, wait_s) as writer, connections.transaction(writer):
                _apply(writer, _rows(writer), wanted)
        except duckdb.Error as error:
            if is_no_room(error):
                raise full(store) from error
            raise
    _remember(store, mark)
    return found


def _rows(connection: duckdb.DuckDBPyConnection) -> dict[str, tuple[Any, ...]]:
    try:
        rows = connection.execute(
            "SELECT id, trace, step, at_ns, author, text, labels, data::VARCHAR FROM annotations"
        ).fetchall()
    except duckdb.CatalogException:  # a store of before there were notes: the writer brings it up to date
        return {}
    return {row[0]: tuple(row) for row in rows}


def _row(note: Note) -> tuple[Any, ...]:
    """A note as the table has it. Lone surrogates, which JSON can hold and DuckDB cannot, are replaced."""
    texts = [None if text is None else _clean(text) for text in (note.id, note.trace, note.step)]
    author = None if note.author is None else _clean(note.author)
    data = _clean(json.dumps(note.data, ensure_ascii=False))
    return (*texts, note.at_ns, author, _clean(note.text), [_clean(label) for label in note.labels], data)


def _clean(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _apply(
    writer: duckdb.DuckDBPyConnection, known: dict[str, tuple[Any, ...]], wanted: dict[str, tuple[Any, ...]]
) -> None:
    gone = [name for name, row in known.items() if wanted.get(name) != row]
    new = [row for name, row in wanted.items() if known.get(name) != row]
    if gone:
        writer.execute("DELETE FROM annotations WHERE id IN (SELECT unnest(?))", [gone])
    if new:
        with writer.appender("annotations") as appender:
            appender.append_rows(new)


# ------------------------------------------------------------------- the note beside the store: nothing changed


def _mark(home: Path | str, store: Path) -> str | None:
    """What tells whether either file is another one; None without a store, or where notes never were."""
    try:
        own = store.stat()
    except OSError:
        return None
    try:
        stat = os.stat(notes.path_of(home))
    except OSError:
        return f"{own.st_ino} none" if _sidecar(store).exists() else None
    return f"{own.st_ino} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns}"


def _sidecar(store: Path) -> Path:
    return store.with_name(f"{store.name}.noted")


def _remembered(store: Path) -> str | None:
    try:
        return _sidecar(store).read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError):
        return None


def _remember(store: Path, mark: str) -> None:
    from rashomon import real

    *_, changed = mark.split()
    if changed.isdigit() and real.time_ns() - int(changed) < UNSETTLED_NS:
        return
    new = store.with_name(f"{store.name}.noted-{os.getpid()}")
    with contextlib.suppress(OSError):  # a folder that cannot be written: the next reader looks into the store
        new.write_text(mark, encoding="ascii")
        os.replace(new, _sidecar(store))


# ------------------------------------------------------------------------------------------------------ reading


class Placed(NamedTuple):
    """A note, and the step that it is on as the whole tape of the trace that was asked for has it: id and index.

    Both are None for a note on a whole trace; the index alone is where the store has no such step.
    """

    note: Note
    step: str | None
    index: int | None  # type: ignore[assignment]  # a field, and not tuple.index


_NOTES = """
    WITH RECURSIVE family(id) AS (
        SELECT {trace} UNION SELECT traces.id FROM family JOIN traces ON traces.within = family.id
    )
    SELECT note.id, note.trace, note.step, note.at_ns, note.author, note.text, note.labels, note.data::VARCHAR,
        steps.position
    FROM family JOIN annotations AS note ON note.trace = family.id
    LEFT JOIN steps ON steps.trace = note.trace AND steps.id = note.step
    ORDER BY note.at_ns, note.id
"""


def notes_on(store: TraceStore, trace_id: str) -> list[Placed]:
    """The notes on a trace, on the traces within it and on all their steps, oldest first."""
    if not store.query("SELECT EXISTS (FROM annotations)").rows[0][0]:
        return []  # most stores have none: to look for the traces within this one takes ten times as long
    rows = store.query(_NOTES.format(trace=_quoted(trace_id))).rows
    placed = store.step_rows(trace_id) if any(row[2] is not None for row in rows) else []
    places = {(row.trace, row.position): row for row in placed}
    found = []
    for own, trace, step, at_ns, author, text, labels, data, position in rows:
        note = Note(own, trace, step, at_ns, author, text, tuple(labels), json.loads(data))
        there = places.get((trace, position))
        found.append(Placed(note, step if there is None else there.id, None if there is None else there.index))
    return found


def noted(store: TraceStore) -> dict[str, int]:
    """How many notes there are on each trace that has any, those on its steps included."""
    return {str(trace): int(count) for trace, count in store.query(
        "SELECT trace, count(*) FROM annotations GROUP BY trace").rows}  # fmt: skip


def own_step(store: TraceStore, trace_id: str, reference: str) -> tuple[str, str]:
    """The trace and the id there of a step that is named as `rashomon show` names it.

    A step of a trace within another one has an id of its own. Raises `UsageError` for a step that there is not.
    """
    step = store.step(trace_id, reference)
    row = next(row for row in store.step_rows(trace_id) if row.id == step.id)
    sql = f"SELECT id FROM steps WHERE trace = {_quoted(row.trace)} AND position = {row.position}"
    return row.trace, str(store.query(sql).rows[0][0])


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
