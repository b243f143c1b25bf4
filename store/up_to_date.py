"""The store of a home, with everything in it that is recorded so far."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rashomon import home as homes
from rashomon.errors import NotWritable
from rashomon.store import folder, seen
from rashomon.store.annotations import mirror
from rashomon.store.reading import TraceStore

if TYPE_CHECKING:
    from rashomon.store.ingestion import Progress


def open_home(
    home: Path | str,
    progress: Progress | None = None,
    thorough: bool = False,
    behind: Callable[[NotWritable], None] | None = None,
) -> TraceStore:
    """The store of a home, with everything that is recorded so far in it.

    `thorough`: each journal is looked at, also those of a large folder that cannot have grown. `behind` is told why a
    store cannot be written; then it is given as it is. Without that, `NotWritable` is raised, as it is where there is
    no store yet.
    """
    path, report = Path(homes.store_path(home)), None
    try:
        if not _holds_all(path, Path(homes.journals(home)), thorough):
            from rashomon.store.ingestion import ingest_new  # with all that reads journals

            report = ingest_new(home, progress)
        mirror(home)
    except NotWritable as error:
        if behind is None or not path.exists():
            raise
        behind(error)
    return TraceStore(path, ingested=report)


def ready(home: Path | str) -> TraceStore | None:
    """The same where nothing is to be taken in before; else None. Its file is not open, nor DuckDB loaded, yet."""
    store = TraceStore(homes.store_path(home))
    if not _holds_all(store.path, Path(homes.journals(home)), False):
        return None
    mirror(home)
    return store


def _holds_all(store: Path, journals: Path, thorough: bool) -> bool:
    """True when the store is known to hold all that is in a folder of journals."""
    if not thorough and seen.nothing_changed(store, journals):
        return True
    found = folder.listing(journals)
    if not folder.nothing_new(store, found):
        return False
    seen.remember(store, journals, found)
    return True
