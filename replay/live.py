"""A call that goes out during a replay."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from rashomon.boundary import Pace, Place, Witness
from rashomon.model import Call, End, Event, Piece, Response
from rashomon.replay.flow import Substitution

if TYPE_CHECKING:
    from rashomon.replay.session import ReplaySession


WALLED = "RASHOMON_WALLED"
"""The variable that tells a replayed program that its launcher decides about its connections."""
ANNOUNCED = "@rashomon-live:"
"""The address, of no socket, that is connected to before a live call's peer: to tell the launcher of it."""

_is_walled = bool(os.environ.get(WALLED))


def let_through(peer: str) -> None:
    """Tell the launcher that `peer` (`host:port`, `dns:name`) is let through here: it is that of a live call, or a
    name that was allowed has been found to stand for it."""
    if _is_walled:
        import socket

        with socket.socket(socket.AF_UNIX) as telling:
            try:
                telling.connect(f"{ANNOUNCED}{peer}".replace("@", "\0", 1))
            except OSError:  # always: nobody listens there
                pass


class LiveWitness:
    """Marks a call that went live during a replay, so that its connections are let through; keeps what it got."""

    __slots__ = ("_done", "_head", "_inner", "_pieces", "_session", "_step", "leaf", "number", "pace")

    def __init__(self, inner: Witness, session: ReplaySession, call: Call) -> None:
        self._inner, self._session, self._step = inner, session, call
        self._head: dict[str, object] | None = None
        self._pieces: list[Piece] = []
        self._done = False
        self.leaf = inner.leaf
        self.number = inner.number
        self.pace: Pace | None = None
        if self.leaf:  # what happens inside a tool is waited for by itself
            session.conductor.live += 1

    def at(self, event: Event, number: int, place: Place) -> None:
        self._inner.at(event, number, place)

    def began(self, head: dict[str, object]) -> None:
        self._head = head
        self._inner.began(head)

    def piece(self, data: bytes, number: int = 0, place: Place | None = None) -> None:
        self._pieces.append(Piece(0, data))
        self._inner.piece(data, number, place)

    def overtaken(self, at_end: bool = False) -> None:
        self._inner.overtaken(at_end)

    def ended(self, end: End, error: BaseException | None = None) -> None:
        self._inner.ended(end, error)
        if not self._done:
            self._done = True
            if self.leaf:
                self._session.conductor.live -= 1
            response = Response(self._head, tuple(self._pieces), end)
            self._session.substituted(Substitution("live", self._step, response))

    def __del__(self) -> None:
        """An answer that is dropped unread: nobody must wait for it to come."""
        if not self._done and not sys.is_finalizing():
            self.ended(End.LEAKED)
