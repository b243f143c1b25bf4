"""Rows of what a program took from its surroundings, what it started, and what no replay controls."""

from __future__ import annotations

from typing import Any

from rashomon.model import Launched, Read, Site, Uncontrolled
from rashomon.store.exact import Shown, lane_of, restore

Row = tuple[Any, ...]


def read_row(read: Read) -> Row:
    """What a read says by itself, as the columns of `rashomon.store.columns`."""
    shown = Shown()
    return (
        shown.text("kind", read.kind),
        shown.text("what", read.what),
        shown.json("value", read.value),
        *_site_columns(shown, read.site),
        shown.lane("lane", read.lane),
        shown.exact(),
    )


def read_from(row: dict[str, Any]) -> Read:
    """A read from its row."""
    row = restore(row, "value")
    site = Site(row["file"], row["line"], row["function"])
    lane = lane_of(row["lane"])
    return Read(row["process"], lane, row["kind"], row["what"], row["value"], site, row["at_us"], row["within"])


def uncontrolled_row(trace: str, position: int, source: Uncontrolled) -> Row:
    """A row of `uncontrolled`."""
    shown = Shown()
    row = (trace, position, shown.text("what", source.what), shown.text("reason", source.reason))
    return (*row, *_site_columns(shown, source.site), shown.exact())


def uncontrolled_from(row: dict[str, Any]) -> Uncontrolled:
    """An uncontrolled source from its row."""
    site = row["line"] is not None
    row = restore(row)
    return Uncontrolled(row["what"], row["reason"], Site(row["file"], row["line"], row["function"]) if site else None)


def launched_row(launched: Launched) -> Row:
    """What a subprocess that was started says by itself, as the columns of `rashomon.store.columns`."""
    shown = Shown()
    row = (shown.texts("argv", launched.argv), shown.lane("lane", launched.lane))
    return (*row, *_site_columns(shown, launched.site), shown.exact())


def launched_from(row: dict[str, Any]) -> Launched:
    """A subprocess from its row."""
    site = row["line"] is not None
    row = restore(row)
    found = Site(row["file"], row["line"], row["function"]) if site else None
    return Launched(tuple(row["argv"]), lane_of(row["lane"]), found, row["within"])


def _site_columns(shown: Shown, site: Site | None) -> Row:
    """File, line and function; NULL in all three where there is no site."""
    if site is None:
        return None, None, None
    return shown.text("file", site.file), shown.integer("line", site.line), shown.text("function", site.function)
