"""Whether the garbage collector runs in this thread, and with it whatever finalizers it has found.

No context variable is set then. Before Python 3.12 a collection may begin in the middle of `ContextVar.set`, which goes
on with the variables of before: setting one there frees them under its hands, and the process ends with a fault.
"""

from __future__ import annotations

import gc
from threading import get_ident

_thread = 0
"""The thread in which a collection runs; 0: none."""


def _tell(phase: str, info: object) -> None:
    global _thread
    _thread = get_ident() if phase == "start" else 0


def watch() -> None:
    """Begin to look, once."""
    if _tell not in gc.callbacks:
        gc.callbacks.append(_tell)


def is_running() -> bool:
    """True while it runs in this thread."""
    return _thread != 0 and _thread == get_ident()
