"""Removing a person's data for good, and showing that it is gone.

Whole traces go, with the traces within them and their replays: these hold the same content. The order is: the list of
what is forgotten, journals, notes, rows, and then the store's file is written anew, so that a killed command leaves
what it needs to be repeated. At last everything in the home is searched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rashomon import home as homes
from rashomon import notes
from rashomon.errors import RashomonError, UsageError
from rashomon.journal import SUFFIX
from rashomon.notes import Note
from rashomon.store import connection as connections
from rashomon.store import forgotten, journal_removal, lake, packed, removal, retention, searching
from rashomon.store.annotations import mirror
from rashomon.store.engine import duckdb
from rashomon.store.journal_removal import Removed
from rashomon.store.retention import Done
from rashomon.store.searching import Found

SHORTEST = 3
"""A text must have so many characters: a shorter one is in everything."""

DISTINCT = 10
"""An id of fewer characters is looked for where ids stand only; a longer one in everything."""

_AWAY = "; delete that file"
"""What to do about a file that cannot be changed here."""

Progress = Callable[[int, int], None]


class Choice(NamedTuple):
    """What would go: ids of traces, and why each; notes that hold a text; what was found outside of any trace."""

    traces: dict[str, str]
    notes: int
    loose: tuple[Found, ...]


class Proof(NamedTuple):
    """What was searched at last, and what was found all the same. `outside` are files that nobody can look into here:
    another tool compressed them."""

    files: int
    size: int
    needles: int
    found: tuple[Found, ...]
    outside: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """True when nothing was found."""
        return not self.found


class Returned(NamedTuple):
    """What was forgotten and came back: journals with the ids of such traces, and notes."""

    journals: tuple[tuple[Path, tuple[str, ...]], ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def traces(self) -> list[str]:
        """The ids of these traces."""
        return sorted({one for _, ids in self.journals for one in ids})

    def __bool__(self) -> bool:
        """True when anything did."""
        return bool(self.journals or self.notes)


class Forgotten(NamedTuple):
    """What was done, how many notes with a text went, the proof, and what had come back and went as well."""

    done: Done
    notes: int
    proof: Proof
    returned: Returned = Returned()


def check_texts(texts: Sequence[str]) -> None:
    """Raise `UsageError` for a text that would be found in everything."""
    for text in texts:
        if len(text.strip()) < SHORTEST:
            raise UsageError(f"--text {text!r} is too short.", f"Give at least {SHORTEST} characters.")


def choose(home: Path | str, chosen: Iterable[str], texts: Sequence[str] = ()) -> Choice:
    """What goes with the chosen traces, and all that holds one of the texts. Reads only."""
    needles = [one for text in texts for one in searching.spellings(text)]
    why = dict.fromkeys(chosen, "chosen")
    loose: list[Found] = []
    store = Path(homes.store_path(home))
    if store.exists():
        with connections.open_reader(store) as reader:
            if needles:
                holding, loose = searching.in_store(reader, needles)
                # those go with the journals of the traces, and with the lines of `notes.jsonl`
                loose = [one for one in loose if one.place not in ("table journals", f"table {searching.NOTES}")]
                why |= {one: "holds the text" for one in sorted(holding) if one not in why}
            rows = reader.execute("SELECT id, within, parent FROM traces").fetchall()
        there = {row[0] for row in rows}
        why = {one: reason for one, reason in why.items() if one in there}
        _with_family(why, rows)
    return Choice(why, len(_noted(home, needles)), tuple(loose))


def _noted(home: Path | str, needles: Sequence[str]) -> list[Note]:
    """The notes that hold one of the texts."""
    try:
        return [note for note in notes.read(home).notes if _holds(note._asdict(), needles)]
    except OSError:  # the proof names a file that cannot be read
        return []


def _with_family(why: dict[str, str], rows: list[tuple[str, str | None, str | None]]) -> None:
    """Add what is within these traces, and their replays, and so on."""
    inner: dict[str, list[tuple[str, str]]] = {}
    for one, within, parent in rows:
        if within is not None:
            inner.setdefault(within, []).append((one, f"within {within}"))
        if parent is not None:
            inner.setdefault(parent, []).append((one, f"replay of {parent}"))
    todo = list(why)
    while todo:
        for one, reason in inner.get(todo.pop(), ()):
            if one not in why:
                why[one] = reason
                todo.append(one)


def _holds(value: Any, needles: Sequence[str]) -> bool:
    if not needles:
        return False
    text = json.dumps(value, ensure_ascii=False, default=str)
    return any(needle in text for needle in needles)


def forget(
    home: Path | str,
    choice: Choice,
    texts: Sequence[str] = (),
    progress: Progress | None = None,
    ended: bool = False,
    elsewhere: Iterable[str] = (),
) -> Forgotten:
    """Remove what was chosen, and search for it. Raises `UsageError` when a file cannot be written.

    `elsewhere` are traces that only lakes hold: they are noted as forgotten, so that a command that is killed before
    it came to the lakes is repeated whole.
    """
    needles = [one for text in texts for one in searching.spellings(text)]
    back = came_back(home)
    retention.make_room(home)
    try:
        forgotten.add(home, [*choice.traces, *back.traces, *elsewhere, *[note.id for note in _noted(home, needles)]])
    except OSError as error:
        raise UsageError(f"{forgotten.path_of(home)} cannot be written: {error.strerror}.", "Check it.") from error
    went = retention.forget_notes(home, [], lambda line: _holds(line, needles)) if needles else 0
    again, journals = _purge(home, back, ended)
    mirror(home)
    store = Path(homes.store_path(home))
    if needles and store.exists():
        with connections.open_writer(store) as writer, connections.transaction(writer):
            _clear_loose(writer, needles)
    done = retention.remove(home, choice.traces, progress, ended, always=True)
    listed = {one.name: one for one in (*done.journals, *journals)}
    removed = tuple(dict.fromkeys((*done.removed, *again)))
    done = done._replace(removed=removed, journals=tuple(listed.values()))
    return Forgotten(done, went, prove(home, done.removed, texts), back)


def came_back(home: Path | str) -> Returned:
    """What was forgotten earlier and is here again: copies that came back, or a killed command's rest. Reads only."""
    known = forgotten.read(home)
    if not known:
        return Returned()
    told: list[tuple[Path, dict[str, tuple[str, ...]]]] = []
    for path in sorted(Path(homes.journals(home)).glob(f"*{SUFFIX}")):
        try:
            told.append((path, journal_removal.outline(path).kin))
        except Exception:  # not a journal, or not to be read: the proof searches its bytes
            continue
    kin: dict[str, set[str]] = {}
    for _, traces in told:  # of each process that took part in it
        for own, others in traces.items():
            kin.setdefault(own, set()).update(others)
    here = forgotten.among(known, kin)
    found = [(path, tuple(own for own in traces if own in here)) for path, traces in told if here & traces.keys()]
    try:
        listed = tuple(note for note in notes.read(home).notes if forgotten.has_note(known, note))
    except OSError:  # the proof names a file that cannot be read
        listed = ()
    return Returned(tuple(found), listed)


def _purge(home: Path | str, back: Returned, ended: bool) -> tuple[list[str], list[Removed]]:
    """Take away what came back; which traces went, and what was done with journals."""
    done = [journal_removal.remove_from(path, ids, ended) for path, ids in back.journals]
    told = zip(done, back.journals, strict=True)
    left = {trace for one, (_, traces) in told if one.action == "left" for trace in traces}
    going = [trace for trace in back.traces if trace not in left]
    names = {what: [one.name for one in done if one.action == what] for what in ("deleted", "rewritten")}
    removal.remove_traces(Path(homes.store_path(home)), going, names["deleted"], names["rewritten"])
    if back.notes:
        ids = {note.id for note in back.notes}
        retention.forget_notes(home, [], lambda line: line.get("id") in ids or line.get("remove") in ids)
    return going, done


def _clear_loose(writer: duckdb.DuckDBPyConnection, needles: Sequence[str]) -> None:
    """Rows of no trace that hold a text: queries of cohorts, parts that nobody refers to."""
    for needle in needles:
        writer.execute("DELETE FROM cohorts WHERE contains(query, $1) OR contains(name, $1)", [needle])
        writer.execute(
            "DELETE FROM parts WHERE contains(text, ?) AND digest NOT IN (SELECT part FROM step_parts)", [needle]
        )
    removal.next_generation(writer)


def prove(home: Path | str, ids: Sequence[str], texts: Sequence[str] = ()) -> Proof:
    """Search everything in a home for these ids and texts: columns, bodies, rebuilt requests, raw bytes, packed files.

    Files of attached lakes are left to who looks into lakes.
    """
    folder, store = Path(home), Path(homes.store_path(home))
    needles = [one for one in ids if len(one) >= DISTINCT]
    needles += [one for text in texts for one in searching.spellings(text)]
    found: list[Found] = []
    of_lakes = _of_lakes(folder)
    all_files = [path for path in searching.files(folder) if path not in of_lakes]
    if store.exists():
        with connections.open_reader(store) as reader:
            found += [Found(f"table {table}", f"trace {one}") for table, one in _still_there(reader, ids)]
            traces, loose = searching.in_store(reader, needles) if needles else (set(), [])
        found += [Found(f"trace {one}", "in the store") for one in sorted(traces)]
        found += loose
    if needles:
        for path in all_files:
            found += _in_file(path, folder, needles)
    outside = [str(path.relative_to(folder)) for path in all_files if packed.is_foreign(path)]
    size = sum(path.stat().st_size for path in all_files if path.exists())
    return Proof(len(all_files), size, len(needles), tuple(found), tuple(outside))


def _still_there(reader: duckdb.DuckDBPyConnection, ids: Sequence[str]) -> list[tuple[str, str]]:
    """The tables that still name one of these traces."""
    columns = [(table, "trace") for table in removal.tables_by_trace(reader)]
    columns += [("traces", "id"), ("traces", "parent"), ("traces", "within")]
    found = []
    for table, column in columns:
        sql = f'SELECT DISTINCT "{column}" FROM "{table}" WHERE "{column}" IN (SELECT unnest(?::VARCHAR[])) ORDER BY 1'
        found += [(table, one) for (one,) in reader.execute(sql, [list(ids)]).fetchall()]
    return found


def _of_lakes(home: Path) -> set[Path]:
    """The files in a home that are of attached lakes."""
    try:
        lakes = [Path(one.url) for one in lake.attached(home) if "://" not in one.url]
    except RashomonError:  # nobody looks into lakes that cannot be told: their files are searched here
        return set()
    within = [one for one in lakes if one.is_relative_to(home)]
    return {path for one in within for part in ("_manifest", "table=*") for path in one.glob(f"{part}/**/*")}


def _in_file(path: Path, folder: Path, needles: Sequence[str]) -> list[Found]:
    name, store = str(path.relative_to(folder)), Path(homes.store_path(folder))
    try:
        at = searching.in_bytes(path, needles)
        if at is not None:
            return [Found(name, f"offset {at}{_AWAY if packed.is_ours(path, store) else ''}")]
        if searching.in_journal(path, needles):
            return [Found(name, "in a body that is put together from several frames, or compressed")]
        where = packed.search(path, store, needles)
    except FileNotFoundError:  # another process took it away
        return []
    except OSError as error:
        return [Found(name, f"cannot be searched: {error.strerror}")]
    except packed.Unsearchable as error:
        return [Found(name, f"cannot be searched: {error}{_AWAY}")]
    return [] if where is None else [Found(name, f"{where}{_AWAY}")]
