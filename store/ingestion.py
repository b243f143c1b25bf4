"""From journals to the store: idempotent, incremental, in any order, at any moment.

A journal that changed is read from where reading ended the last time, in portions; a long one is written portion by
portion, as if it had been read while it was growing. A batch of portions is one transaction, and says in the ledger how
far each journal was read: a killed ingestion has either done a batch or not begun it. Reading and decoding happen
before the store is opened for writing; if another process wrote in between (the store's `generation` tells), it is done
anew. A journal that did not simply grow is read again whole, and so are the other journals of its traces.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rashomon import home as homes
from rashomon.journal import Damage
from rashomon.store import connection as connections
from rashomon.store.folder import listing, nothing_new, remember

BATCH_BYTES = 6 * 1024 * 1024
"""What journals bring is written in batches of about so many bytes, and of less where that takes too long."""

BATCH_S, LONG_S = 0.2, 3.0
"""For so many seconds the store may be written at a time: while others wait for it, and while nobody does."""

Progress = Callable[[int, int], None]
"""Is told the number of journals done and to do."""


class IngestReport(NamedTuple):
    """What an ingestion did. File names are relative to the folder of journals.

    `new` and `updated` are ids of traces, `steps` how many were written, `journals` how many files were
    read. `damaged` names files with bytes that cannot be read (the rest of them is in the store),
    `skipped` files that are no journals of ours and why, `kept` traces that were not touched because a
    journal of theirs is gone or lost content since.
    """

    new: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    steps: int = 0
    journals: int = 0
    damaged: tuple[tuple[str, Damage], ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    kept: tuple[tuple[str, str], ...] = ()


def ingest_new(home: Path | str, progress: Progress | None = None) -> IngestReport:
    """Take into a home's store what is new. Costs a look at the folder when nothing is."""
    store, folder = Path(homes.store_path(home)), Path(homes.journals(home))
    if nothing_new(store, listing(folder)):
        return IngestReport()
    return ingest(folder, store, progress, home=home)


def ingest(
    journals: Path,
    store: Path,
    progress: Progress | None = None,
    wait_s: float = connections.WAIT_S,
    home: Path | str | None = None,
) -> IngestReport:
    """Take the journals of a folder into a store; both may be missing. `home` says what calls cost there.

    Raises `ForeignFile`, `NewerFormat` or `DamagedData` for the store's own file, `UsageError` when it
    stays in use for `wait_s` seconds. A bad journal is reported, never raised.
    """
    found = listing(journals)
    if not found and not store.exists():
        return IngestReport()
    # these load pyarrow, which is not needed where nothing is new
    from rashomon.store.memory import sparing
    from rashomon.store.taking import Taking

    work = Taking(journals, store, found, progress, wait_s, home)
    collecting = gc.isenabled()
    gc.disable()  # the values made here have no cycles, and looking for some would take a third of the time
    try:
        with sparing():
            work.run()
    finally:
        if collecting:
            gc.enable()
    if not work.unreadable:
        remember(store, found)
    return work.report()
