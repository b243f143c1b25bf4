"""Rashomon: record an LLM agent's execution, replay it exactly, replay it with one thing changed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rashomon.version import __version__

if TYPE_CHECKING:
    from rashomon.entrypoints import entrypoint
    from rashomon.errors import Escaped, Missed, RashomonError, ReplayStop
    from rashomon.recorders.tools import tool
    from rashomon.replaying import Diverged, replay
    from rashomon.session import install, note, trace, wrap

__all__ = [
    "Diverged",
    "Escaped",
    "Missed",
    "RashomonError",
    "ReplayStop",
    "__version__",
    "entrypoint",
    "install",
    "note",
    "replay",
    "tool",
    "trace",
    "wrap",
]

_HOMES = {
    **dict.fromkeys(("Escaped", "Missed", "RashomonError", "ReplayStop"), "rashomon.errors"),
    **dict.fromkeys(("Diverged", "replay"), "rashomon.replaying"),
    "entrypoint": "rashomon.entrypoints",
    **dict.fromkeys(("install", "note", "trace", "wrap"), "rashomon.session"),
    "tool": "rashomon.recorders.tools",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for, and no more: a command that lists traces needs nothing that records them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'rashomon' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found
