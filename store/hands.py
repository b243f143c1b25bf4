"""What a process of the crew does: it reads journals and sends what they bring. Nothing here knows the database."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rashomon.store.arrival import Arrival
from rashomon.store.bodies import Memory
from rashomon.store.parcels import Done, Parcel
from rashomon.store.portions import Parts
from rashomon.store.pricing import pricing

_NICE = 5
"""Who holds the store, and who waits for it, come first where processors are short."""


def work() -> None:
    """In a process of the crew: read the journals that are named on the standard input."""
    with contextlib.suppress(OSError, AttributeError):  # a system without priorities
        os.nice(_NICE)
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that is printed gets between the messages
    gc.disable()
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        folder, home = pickle.load(source)
        names = list(_names(source))
        _read(folder, home, names, target)


def _names(source: IO[bytes]) -> Iterator[str]:
    while True:
        try:
            yield pickle.load(source)
        except EOFError:
            return


def _read(folder: Path, home: Path, names: list[str], target: IO[bytes]) -> None:
    parts, memory, price, parcel = Parts(), Memory(), pricing(home), Parcel()
    for name in names:
        error: Exception | None = None
        try:
            for portion in Arrival(folder / name, parts, memory, price, parcel.table).portions():
                parcel.add(portion)
                if parcel.full:
                    _send(parcel, target)
        except BrokenPipeError:
            raise
        except Exception as caught:  # told to who asked
            error = caught
        parcel.items.append(Done(name, error))
    _send(parcel, target)


def _send(parcel: Parcel, target: IO[bytes]) -> None:
    pickle.dump(parcel.take(), target, pickle.HIGHEST_PROTOCOL)
    target.flush()
