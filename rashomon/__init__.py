"""Rashomon: record an LLM agent's execution, replay it exactly, replay it with one thing changed."""

from typing import TYPE_CHECKING, Any

from rashomon.errors import Escaped, Missed, RashomonError, ReplayStop
from rashomon.replaying import Diverged, replay
from rashomon.session import entrypoint, install, note, trace, wrap
from rashomon.version import __version__

if TYPE_CHECKING:
    from rashomon.recorders.tools import tool

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


def __getattr__(name: str) -> Any:
    """`rashomon.tool`, loaded with the first tool: programs without tools start faster."""
    if name == "tool":
        from rashomon.recorders.tools import tool

        globals()["tool"] = tool
        return tool
    raise AttributeError(f"module 'rashomon' has no attribute {name!r}")
