"""The ports that the system chooses for servers of the program's own (`bind(("127.0.0.1", 0))`).

The program tells them to others, prints them, and calls itself by them; so a replay has the recorded ones. Where such a
port is taken by now, the server listens to another and says it were that one: what would go there is answered from the
recording.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any
from weakref import WeakKeyDictionary

from rashomon import boundary

WHAT = "socket.bind"
_getframe = sys._getframe
_local = boundary._local.get
_said: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""In a replay: sockets that listen to another port than the program is told."""


def patch(module: ModuleType) -> None:
    """Record and play the ports of `socket.socket`."""
    cls: Any = module.socket
    name = cls.getsockname
    streams = (module.AF_INET, module.AF_INET6), module.SOCK_STREAM
    cls.bind, cls.getsockname = _binding(cls.bind, name, streams), _naming(name)


def _binding(bind: Callable[..., None], name: Callable[..., Any], streams: Any) -> Callable[..., None]:
    families, stream = streams

    @functools.wraps(bind)
    def bound(self: Any, address: Any, /) -> None:
        if (_local() is None and boundary._process is None) or not isinstance(address, tuple) or address[1:2] != (0,):
            return bind(self, address)
        guard = boundary.guard_here() if self.family in families and self.type == stream else None
        if guard is None:
            return bind(self, address)
        chosen: list[int] = []

        def choose() -> int:
            bind(self, address)
            chosen.append(name(self)[1])
            return chosen[0]

        port: int = guard.read("process", WHAT, choose, _getframe(1))
        if not chosen:
            try:
                bind(self, (address[0], port, *address[2:]))
            except OSError:
                bind(self, address)
                _said[self] = port
        return None

    return bound


def _naming(name: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(name)
    def getsockname(self: Any, /) -> Any:
        found = name(self)
        port = _said.get(self) if _said else None
        return found if port is None else (found[0], port, *found[2:])

    return getsockname
