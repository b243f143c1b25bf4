"""Rashomon: record an LLM agent's execution, replay it exactly, replay it with one thing changed."""

from rashomon.errors import Escaped, Missed, RashomonError, ReplayStop
from rashomon.recorders.tools import tool
from rashomon.session import Diverged, entrypoint, install, replay, trace, wrap
from rashomon.version import __version__

__all__ = [
    "Diverged",
    "Escaped",
    "Missed",
    "RashomonError",
    "ReplayStop",
    "__version__",
    "entrypoint",
    "install",
    "replay",
    "tool",
    "trace",
    "wrap",
]
