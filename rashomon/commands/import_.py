"""`rashomon import`: traces from bundles and from other tools' files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rashomon.commands import options
from rashomon.errors import DamagedData, UsageError

if TYPE_CHECKING:
    from rashomon.store.importing import Imported

EXAMPLE = "Example: rashomon import refund.rsh"


class OnConflict(StrEnum):
    """What happens to a trace whose id is there already, for another content."""

    REFUSE = "refuse"
    SKIP = "skip"
    COPY = "copy"


def import_(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="Bundles, OTLP/JSON, OpenInference spans, message lists.")
    ],
    conflict: Annotated[
        OnConflict,
        typer.Option(
            "--conflict",
            help="A trace with the id of one that is here and other content: refuse the file, skip it, or copy it "
            "under an id of its own.",
        ),
    ] = OnConflict.REFUSE,
    salvage: Annotated[
        bool, typer.Option("--salvage", help="Of a damaged bundle, take the traces that are whole.")
    ] = False,
    max_size: Annotated[
        str, typer.Option("--max-size", metavar="SIZE", help="What a bundle may unpack to at most.")
    ] = "16GB",
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Take traces from elsewhere into the home.

    What a file is, its content says. A bundle is taken whole or not at all; the same again changes nothing. Exit code 4
    when a bundle is damaged, also where --salvage took the rest of it, and when lines of a file could not be read.
    """
    from rashomon.commands import terminal

    folder, limit = options.chosen_home(home), options.size("--max-size", max_size)
    done: list[tuple[Path, Imported]] = []
    try:
        for path in files:
            if str(path) == "." or path.is_dir():
                raise UsageError(f"{path} is a folder.", "Name files, such as FOLDER/*.json.")
            if path.exists() and not path.is_file():  # it is read more than once, and in any order
                raise UsageError(f"{path} is a pipe or a device.", "Write what it gives to a file, and name that.")
            done.append((path, take(folder, path, conflict, salvage, limit)))
    except BaseException:
        if done and not as_json:  # they are here, whatever became of the next
            terminal.print_text("\n".join(line for one in done for line in lines(*one)))
        raise
    if as_json:
        terminal.print_json({"format": "rashomon.import/1", "files": [document(*one) for one in done]})
    else:
        terminal.print_text("\n".join(line for one in done for line in lines(*one)))
    if any(reported.damaged for _, reported in done):
        raise typer.Exit(DamagedData.exit_code)


def take(folder: Path, path: Path, conflict: OnConflict, salvage: bool, limit: int) -> Imported:
    """Take in one file, by what its content is. Raises `UsageError`, `DamagedData`, `ForeignFile`, `NewerFormat`."""
    options.reading(folder, new=True)
    from rashomon.journal import MAGIC as JOURNAL
    from rashomon.store import importing
    from rashomon.store.bundle import MAGIC

    choice = importing.Conflict(conflict.value)
    try:
        with path.open("rb") as file:
            start = file.read(len(MAGIC))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Name files that exist.") from error
    if start and MAGIC.startswith(start):  # also one that was cut off that early
        with _written(folder):
            return importing.import_bundle(folder, path, choice, salvage, limit)
    if start and start == JOURNAL[: len(start)]:
        raise UsageError(f"{path} is a journal.", f"Take it in with: rashomon ingest {path}")
    from rashomon import interchange
    from rashomon.home import prepare
    from rashomon.interchange.cleaning import cleaned
    from rashomon.session import redactor_of

    found = interchange.read(path)
    with _written(folder):
        prepare(str(folder))
        redactor = redactor_of(str(folder))
        done = importing.import_tapes(folder, (cleaned(tape, redactor) for tape in found), path.name, choice)
    unread = max((tape.trace.provenance["imported"].get("unread_lines", 0) for tape in found), default=0)
    if not unread:
        return done
    left_out = ("1 line" if unread == 1 else f"{unread:,} lines", "cut, or no JSON for another reason")
    return done._replace(left_out=(*done.left_out, left_out), damaged=True)


@contextlib.contextmanager
def _written(folder: Path) -> Iterator[None]:
    """Say of the home why it cannot take what was read: it is not the file's fault."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{folder} cannot be written: {error.strerror or error}.", "Check its permissions and its disk."
        ) from error


def document(path: Path, done: Imported) -> dict[str, Any]:
    """A file as `rashomon.import/1` has it."""
    return {
        "file": str(path),
        "new": list(done.new),
        "same": list(done.same),
        "copies": [{"trace": own, "as": other} for own, other in done.copies],
        "left_out": [{"what": what, "reason": reason} for what, reason in done.left_out],
        "notes": done.notes,
    }


def lines(path: Path, done: Imported) -> list[str]:
    """A file as text."""
    from rashomon.commands.terminal import plural

    counts = [plural(len(done.new), "new trace")]
    if done.same:
        counts.append(f"{len(done.same):,} there already")
    if done.notes:
        counts.append(plural(done.notes, "note"))
    found = [f"{path}: {', '.join(counts)}."]
    found.extend(f"Taken under an id of its own: {own} as {other}." for own, other in done.copies)
    found.extend(f"LEFT OUT: {what}: {reason}." for what, reason in done.left_out)
    return found
