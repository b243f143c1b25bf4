"""DuckDB itself, without the larger part of its Python package.

`import duckdb` takes several times as long as the engine below it, for relations and expressions that nobody here
uses; a list of traces would wait for that longer than for its rows. Who needs those imports `duckdb`: it is the same.
"""

from __future__ import annotations

import atexit
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

_waiting: Callable[[], int] = getattr(atexit, "_ncallbacks", lambda: 0)
_others = _waiting()

if TYPE_CHECKING:
    import duckdb as duckdb
else:
    # Ctrl-C in the middle of it would end the process with a report of DuckDB's
    _mask = getattr(signal, "pthread_sigmask", None)
    _before = None if _mask is None else _mask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        import _duckdb as duckdb
    except ImportError:  # a version that has its engine elsewhere
        import duckdb
    finally:
        if _before is not None:
            _mask(signal.SIG_SETMASK, _before)

AT_EXIT = _waiting() - _others
"""So many functions DuckDB has registered for the end of the process; they tidy up what would end with it anyway."""

__all__ = ["AT_EXIT", "duckdb"]
