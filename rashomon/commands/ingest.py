"""`rashomon ingest`: take journals into the store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from rashomon import canonical, home, journal
from rashomon.commands import options
from rashomon.errors import DamagedData, UsageError
from rashomon.journal import Damage

if TYPE_CHECKING:
    from rashomon.store import IngestReport, JournalRow
    from rashomon.store.repricing import Repriced

EXAMPLE = "Example: rashomon ingest colleague/journals/*.rsj"


class Report(NamedTuple):
    """What was taken in now, and what is wrong with the journals of the home, whenever they were read.

    `damage` and `unread` are (file name, what is wrong); an unread file is not a journal, or too new. `left_out` are
    traces that files from elsewhere tell of and that were forgotten here, each with the reason.
    """

    done: IngestReport
    damage: tuple[tuple[str, Damage], ...]
    unread: tuple[tuple[str, str], ...]
    left_out: tuple[tuple[str, str], ...] = ()


def ingest(
    journals: Annotated[
        list[Path] | None,
        typer.Argument(metavar="JOURNAL", help="Files from elsewhere, copied into the home; none: what is new."),
    ] = None,
    prices: Annotated[bool, typer.Option("--prices", help="Reckon again what calls cost that are there.")] = False,
    as_json: options.AsJson = False,
    home: options.Home = None,
) -> None:
    """Take journals into the store.

    The reading commands do this by themselves. Exit code 4 when a journal is damaged; what can be read of
    it is in the store all the same.
    """
    from rashomon.commands import terminal

    folder = options.chosen_home(home)
    gone: dict[str, str] = {}
    for path in journals or ():
        gone |= {one: why for one, why in adopt(path, folder).left_out.items() if one not in gone}
    report = take_in(folder)._replace(left_out=tuple(gone.items()))
    priced = reckon(folder) if prices else None
    if as_json:
        costs = {} if priced is None else {"prices": priced._asdict()}
        terminal.print_json(document(report) | costs)
    else:
        terminal.print_text("\n".join([*lines(report), *([] if priced is None else [priced_line(priced)])]))
    if report.damage or report.unread:
        raise typer.Exit(DamagedData.exit_code)


class Adopted(NamedTuple):
    """A journal from elsewhere: where it is now, if any of it is, and which of its traces were left out, and why."""

    place: Path | None
    left_out: dict[str, str]


def adopt(path: Path, folder: Path) -> Adopted:
    """Copy a journal into a home, once, without what was forgotten there. Raises `ForeignFile` if it is none."""
    from rashomon.store import forgotten, journal_removal

    try:
        journal.read(path)
        found = journal_removal.outline(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "Name journals: files that end in .rsj."
        ) from error
    home.prepare(str(folder))
    gone = forgotten.left_out(folder, found.kin)
    place = Path(home.journals(folder), path.stem + journal.SUFFIX)
    if place.exists() and place.samefile(path):
        return Adopted(place, {})
    copy = place.with_name(f"{place.name}.{os.getpid()}")
    try:
        shutil.copyfile(path, copy)
        if gone:
            done = journal_removal.remove_from(copy, gone, ended=True)
            if done.action == "deleted":
                return Adopted(None, gone)
            if done.action == "left":
                raise UsageError(f"{path} tells of what was forgotten, and {done.reason}.", "Wait for its end.")
        content = copy.read_bytes()
        if place.exists() and place.read_bytes() != content:
            place = place.with_name(f"{path.stem}-{canonical.digest(content)[3:11]}{journal.SUFFIX}")
        if not place.exists():
            os.replace(copy, place)  # whole or not at all: another command may be ingesting
    finally:
        copy.unlink(missing_ok=True)
    return Adopted(place, gone)


def take_in(folder: Path) -> Report:
    """Ingest what is new in a home, and look at what is known of all its journals."""
    from rashomon.commands.progress import Bar

    with Bar("ingesting") as bar, options.reading(folder, bar, new=True) as store:
        known: list[JournalRow] = store.journals()
        done = store.ingested
    damage = tuple((row.name, one) for row in known for one in row.damage)
    unread = {row.name: row.reason or row.state for row in known if row.state in ("foreign", "newer")}
    return Report(done, damage, tuple(sorted((unread | dict(done.skipped)).items())))


def reckon(folder: Path) -> Repriced:
    """Reckon again what the calls of a home cost, with today's prices and settings."""
    from rashomon.commands.progress import Bar
    from rashomon.store.repricing import reprice

    with Bar("reckoning") as bar:
        return reprice(folder, bar.tell)


def priced_line(priced: Repriced) -> str:
    """What came of it, in one line."""
    from rashomon.commands.terminal import plural

    found = f"{plural(priced.calls, 'LLM call')} reckoned again, {priced.changed:,} cost something else now"
    return f"{found}: ${priced.before:,.4f} before, ${priced.after:,.4f} now."


def document(report: Report) -> dict[str, Any]:
    """`rashomon.ingest/1`."""
    done = report.done
    return {
        "format": "rashomon.ingest/1",
        "journals": done.journals,
        "new": list(done.new),
        "updated": list(done.updated),
        "steps": done.steps,
        "damage": [{"journal": name, **damage._asdict()} for name, damage in report.damage],
        "unread": [{"journal": name, "reason": reason} for name, reason in report.unread],
        "kept": [{"trace": trace, "reason": reason} for trace, reason in done.kept],
        "left_out": [{"trace": trace, "reason": why} for trace, why in report.left_out],
    }


def lines(report: Report) -> list[str]:
    """The report as text: counts first, then whatever is wrong."""
    from rashomon.commands.terminal import plural

    done = report.done
    read, new = plural(done.journals, "journal"), plural(len(done.new), "new trace")
    found = [f"{read} read: {new}, {len(done.updated)} updated, {plural(done.steps, 'step')}."]
    found.extend(f"Kept as it was: trace {trace}: {reason}." for trace, reason in done.kept)
    found.extend(f"LEFT OUT: {trace}: {why}." for trace, why in report.left_out)
    for name, damage in report.damage:
        where = f" at byte {damage.offset:,}, {plural(damage.size, 'byte')}" if damage.size else ""
        found.append(f"DAMAGED: {name}{where}: {damage.reason}")
    found.extend(f"NOT READ: {name}: {reason}" for name, reason in report.unread)
    return found
