"""`rashomon note`: write on a trace or a step, list what was written, take it back."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from rashomon import notes
from rashomon.commands import options
from rashomon.commands.declared import typer
from rashomon.errors import TraceNotFound, UsageError
from rashomon.notes import Note

if TYPE_CHECKING:
    from rashomon.store import TraceStore
    from rashomon.store.annotations import Placed

EXAMPLE = 'Example: rashomon note @last@3 "the refund was never asked for" --label root-cause --set score=0.4'


def note(
    trace: Annotated[
        str | None,
        typer.Argument(
            metavar="TRACE[@STEP]", help="A trace, or one of its steps.", autocompletion=options.complete_trace
        ),
    ] = None,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What there is to say.")] = None,
    labels: Annotated[
        list[str] | None, typer.Option("--label", metavar="LABEL", help="A label, such as root-cause; repeatable.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A further value, JSON or else a text; repeatable."),
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List notes: of TRACE, or all.")] = False,
    remove: Annotated[str | None, typer.Option("--remove", metavar="ID", help="Take a note back.")] = None,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Write a note on a trace or on one of its steps.

    Notes are kept in notes.jsonl beside the store, and are in its table `annotations` for SQL.
    """
    folder = options.chosen_home(home)
    options.check(home)
    if remove is not None:
        if trace is not None or listing:
            raise UsageError("--remove stands alone.", "Give the id of the note only.")
        _print([], as_json, _take_back(folder, remove))
    elif listing:
        if text is not None or labels or values:
            raise UsageError("--list takes a trace and nothing else.", "Leave the text, --label and --set out.")
        _list(home, trace, as_json)
    elif trace is None:
        raise UsageError("A note needs a trace.", EXAMPLE)
    elif not (text and text.strip()) and not any(labels or ()) and not values:
        raise UsageError("A note needs a text, a label or a value.", EXAMPLE)
    elif not all(label.strip() for label in labels or ()):
        raise UsageError("A --label is empty.", "Write a word, such as root-cause.")
    else:
        with options.reading(home) as store:
            on, step = located(store, trace)
        written = _write(folder, on, step, text or "", tuple(labels or ()), _data(values or []))
        _print([written], as_json, f"Noted as {written.id} on {on}{'' if step is None else ' step ' + step}.")


def located(store: TraceStore, reference: str) -> tuple[str, str | None]:
    """The trace and the step of it that `TRACE[@STEP]` names. Raises `UsageError`.

    The trace is the one that recorded the step, which may lie within the one that is named.
    """
    from rashomon.store.annotations import own_step

    try:
        return store.resolve(reference), None
    except TraceNotFound:
        before, at, step = reference.rpartition("@")
        if not at or not before or not step:
            raise
    return own_step(store, store.resolve(before), step)


def _data(values: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {value!r} has no name and value.", "Write NAME=VALUE, such as score=0.4.")
        try:
            found[name] = json.loads(text, parse_constant=_refuse, parse_float=_finite)
        except (ValueError, RecursionError):
            found[name] = text
    return found


def _refuse(constant: str) -> None:
    raise ValueError(constant)  # NaN and Infinity are words of Python's: they are kept as texts


def _finite(number: str) -> float:
    value = float(number)
    if math.isinf(value):  # 1e400: no JSON has it, nor would it be what was written
        raise ValueError(number)
    return value


def _write(folder: Path, trace: str, step: str | None, text: str, labels: tuple[str, ...], data: Any) -> Note:
    """Append a note, its secrets replaced as in all that is recorded."""
    from rashomon.session import redactor_of

    redactor = redactor_of(str(folder))
    clean = redactor.text
    written = Note(notes.new_id(), trace, step, time.time_ns(), _author(), clean(text),
                   tuple(map(clean, labels)), redactor.deep(data))  # fmt: skip
    with _usable(folder):
        _told(notes.write(folder, written))
    return written


@contextlib.contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Say why the file of notes cannot be read or written."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{notes.path_of(folder)} cannot be used: {error.strerror}.", "Check it and its permissions."
        ) from error


def _told(whole: bool) -> None:
    from rashomon.recorders.complaints import complain

    if not whole:
        complain(f"the last line of {notes.FILE} had been cut short by a killed command, and was dropped.")


def _author() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user id without a name
        return str(os.getuid()) if hasattr(os, "getuid") else None


def _take_back(folder: Path, note_id: str) -> str:
    with _usable(folder):
        known = notes.read(folder).notes
    found = [one for one in known if one.id == note_id]
    if note_id and not found:
        found = [one for one in known if one.id.startswith(note_id)]
    if len(found) != 1:
        many = f"{note_id!r} is the beginning of {len(found)} notes" if found else f"There is no note {note_id!r}"
        raise UsageError(f"{many}.", "`rashomon note --list` has their ids.")
    with _usable(folder):
        _told(notes.remove(folder, found[0].id, time.time_ns(), _author()))
    return f"Took {found[0].id} back."


def _list(home: Path | None, reference: str | None, as_json: bool) -> None:
    from rashomon.recorders.complaints import complain

    folder = options.chosen_home(home)
    with _usable(folder):
        read = notes.read(folder)
    for number, why in read.unread:
        complain(f"line {number} of {notes.FILE} was passed over: {why}.")
    found = read.notes
    if reference is not None:
        with options.reading(home) as store:
            trace, step = located(store, reference)
            found = tuple(one.note for one in of(store, trace) if step in (None, one.note.step))
    _print(list(found), as_json)


def facts(one: Note) -> dict[str, Any]:
    """A note as `rashomon.notes/1` lists it."""
    from rashomon.commands.documents import rfc3339

    return {"id": one.id, "trace": one.trace, "step": one.step, "at": rfc3339(one.at_ns), "author": one.author,
            "text": one.text, "labels": list(one.labels), "data": one.data}  # fmt: skip


def line(one: Note) -> str:
    """What a note says, in one line: its text, its labels in brackets, its further values."""
    values = (f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in one.data.items())
    return " ".join(" ".join(filter(None, (one.text, *(f"[{label}]" for label in one.labels), *values))).split("\n"))


def of(store: TraceStore, trace: str) -> list[Placed]:
    """What people wrote on a trace, on what is within it, and on their steps."""
    from rashomon.store.annotations import notes_on

    return notes_on(store, trace)


def listed(placed: list[Placed]) -> list[dict[str, Any]]:
    """The notes on a trace as `rashomon show --json` has them: their steps as the trace that is shown names them."""
    return [facts(one.note) | {"step": one.step, "index": one.index} for one in placed]


def lines(placed: list[Placed]) -> list[str]:
    """The notes on a trace, as the lines that `rashomon show` puts under it."""
    from rashomon.commands.terminal import local_time

    return [f"{'trace' if one.step is None else one.step if one.index is None else one.index}: {line(one.note)}"
            f"  ({one.note.author or 'somebody'}, {local_time(one.note.at_ns)}, {one.note.id})"
            for one in placed]  # fmt: skip


def _print(found: list[Note], as_json: bool, said: str | None = None) -> None:
    from rashomon.commands import terminal

    if as_json:
        terminal.print_json({"format": "rashomon.notes/1", "notes": [facts(one) for one in found]})
    elif said is not None:
        terminal.print_text(said)
    elif found:
        rows = [[one.id, terminal.local_time(one.at_ns), one.author or "", one.trace, one.step or "", line(one)]
                for one in found]  # fmt: skip
        terminal.print_text(terminal.columns(rows, ("ID", "WHEN", "WHO", "TRACE", "STEP", "NOTE")))
