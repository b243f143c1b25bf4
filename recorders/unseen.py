"""Connections of this process that no audit event told of: opened in C, by a library's own sockets.

Linux only, and only those that are open when it is asked: a best effort.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable
from typing import Any

from rashomon import interruptions

_FOLDER = "/proc/self/fd"
OPENED_IN_C = "the connection was opened in C, not by Python's sockets"
"""Why a trace lists a peer as uncontrolled that this module found."""

_MOST = 1024
"""A process with more descriptors than this is not searched: it would take longer than a trace may cost."""


def open_sockets() -> dict[int, int]:
    """The sockets of this process: inode to descriptor. Empty where they cannot be listed. Never raises."""
    if sys.platform != "linux":
        return {}
    found: dict[int, int] = {}
    try:
        names = os.listdir(_FOLDER)
    except OSError:
        return found
    if len(names) > _MOST:
        return found
    for name in names:
        try:
            facts = os.fstat(int(name))
        except OSError:  # closed in the meantime: the folder's own descriptor, or another thread's
            continue
        if stat.S_ISSOCK(facts.st_mode):
            found[facts.st_ino] = int(name)
    return found


def unseen(known: frozenset[int] | set[int] = frozenset()) -> list[str]:
    """The peers of open connections that nothing told of: `host:port` or `unix:path`. Never raises.

    `known` are the inodes of sockets that were open before. What this process accepted as a server does not count.
    """
    from rashomon.recorders import coverage

    try:
        sockets = open_sockets()
        told = {*known, *coverage.announced, *_owned(coverage.pythons)}
        new = [number for inode, number in sockets.items() if inode not in told]
        return _peers(new, list(sockets.values())) if new else []
    except Exception as error:  # a search that fails has found nothing, and the program must not notice
        interruptions.pass_on(error)
        return []


def _owned(objects: Iterable[Any]) -> list[int]:
    """The inodes of Python's own sockets."""
    found = []
    for one in list(objects):
        number = one.fileno()
        if number >= 0:
            try:
                found.append(os.fstat(number).st_ino)
            except OSError:  # closed behind its object's back
                continue
    return found


def _peers(descriptors: list[int], all_of_them: list[int]) -> list[str]:
    import _socket

    from rashomon.recorders import coverage

    served: set[object] = set()
    peers = []
    for number in all_of_them:
        local, _, listening = _ends(_socket, number)
        if listening:
            served.add(_port(local))
    for number in descriptors:
        local, remote, _ = _ends(_socket, number)
        if remote and _port(local) not in served and str(_port(remote)) not in coverage.claimed:
            peers.append(_text(remote))
    return sorted(peers)


def _ends(_socket: object, descriptor: int) -> tuple[object, object, bool]:
    """Both ends of a socket, and whether it is a server's; None for an end that it has not."""
    made = _socket.socket(fileno=descriptor)  # type: ignore[attr-defined]
    try:
        try:
            if made.getsockopt(_socket.SOL_SOCKET, _socket.SO_ACCEPTCONN):  # type: ignore[attr-defined]
                return made.getsockname(), None, True
            remote = made.getpeername()
            plain = isinstance(remote, tuple) and not isinstance(remote[0], str)  # netlink, packets: no connection
            return made.getsockname(), None if plain else remote, False
        except OSError:  # not connected
            return None, None, False
    finally:
        made.detach()  # the descriptor stays whose it is


def _port(address: object) -> object:
    """What tells a server's sockets: the port, or the path."""
    return address[1] if isinstance(address, tuple) else address


def _text(address: object) -> str:
    from rashomon.recorders import coverage

    if isinstance(address, tuple):
        return f"{address[0].removeprefix('::ffff:').partition('%')[0]}:{address[1]}"
    return coverage.peer_text(address)
