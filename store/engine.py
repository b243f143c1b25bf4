"""DuckDB itself, without the larger part of its Python package, and not before it is asked for something.

`import duckdb` takes several times as long as the engine below it, for relations and expressions that nobody here
uses; a list of traces would wait for that longer than for its rows. Who needs those imports `duckdb`: it is the same.
"""

from __future__ import annotations

import atexit
import os
import signal
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rashomon.errors import NotWritable

_waiting: Callable[[], int] = getattr(atexit, "_ncallbacks", lambda: 0)

AT_EXIT = 0
"""So many functions DuckDB has registered for the end of the process; they tidy up what would end with it anyway."""


def load() -> Any:
    """DuckDB's engine. Raises ModuleNotFoundError where it is not installed."""
    global AT_EXIT
    others = _waiting()
    # Ctrl-C in the middle of it would end the process with a report of DuckDB's
    mask = getattr(signal, "pthread_sigmask", None)
    before = None if mask is None else mask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        engine = import_module("_duckdb")
    except ImportError:  # a version that has its engine elsewhere
        engine = import_module("duckdb")
    finally:
        if before is not None and mask is not None:
            mask(signal.SIG_SETMASK, before)
    AT_EXIT += _waiting() - others
    return engine


def unless_stopped(error: Exception) -> None:
    """Raises KeyboardInterrupt where DuckDB says in its own way that Ctrl-C was pressed: nothing is damaged then."""
    if "INTERRUPT Error" in str(error) or "Query interrupted" in str(error):
        raise KeyboardInterrupt from error


def is_no_room(error: Exception) -> bool:
    """Whether DuckDB failed for a disk that is full, or a share of it that is."""
    text = str(error)
    return any(said in text for said in ("No space left on device", "Disk quota exceeded", "File too large"))


def full(store: os.PathLike[str] | str) -> NotWritable:
    """What to say of a store whose disk is full."""
    return NotWritable(
        f"{store} cannot be written: there is no room on its disk.", "Make room; `rashomon gc` removes old traces."
    )


if TYPE_CHECKING:
    import duckdb as duckdb
else:

    class _Duckdb:
        """Stands for the module until something of it is needed."""

        def __getattr__(self, name: str) -> Any:
            engine = load()
            self.__dict__.update(vars(engine))  # what is asked for next is found without coming here
            return getattr(engine, name)

    duckdb = _Duckdb()

__all__ = ["AT_EXIT", "duckdb", "full", "is_no_room", "load", "unless_stopped"]
