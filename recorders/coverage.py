"""Sees every connection that Python opens, through the interpreter's audit events.

While recording, each one is noted with the call it belongs to, so that a trace can say what slipped past
the shims. While replaying, the interceptor refuses it. An audit hook cannot be removed; without an
active trace ours costs one comparison for each event.
"""

from __future__ import annotations

import sys
from typing import Any

from rashomon import boundary

_REACHING = frozenset(
    {"socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
     "socket.gethostbyaddr"}
)  # fmt: skip
_installed = False


def install() -> None:
    """Begin to watch, once for each process."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if event not in _REACHING:
        return
    guard = boundary.current()
    if guard is None:
        return
    peer = _peer(event, args)
    if peer is not None:
        guard.connected(peer)


def _peer(event: str, args: tuple[Any, ...]) -> str | None:
    """Who is being reached, or None for what reaches nobody."""
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        address = args[1]
        if address is None:  # a connected socket
            return None
        if isinstance(address, tuple) and len(address) >= 2:
            return f"{address[0]}:{address[1]}"
        return f"unix:{address!r}" if isinstance(address, (str, bytes)) else str(address)
    host = args[0]
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else host
    if host is None or host in ("", "localhost") or str(host).replace(".", "").isdigit() or ":" in str(host):
        return None  # no name to resolve: nothing leaves the machine
    return f"dns:{host}"
