"""What a server received and what it sent, for tests to look at from another thread."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import overload

from .http import Received, Sent


class RequestLog:
    """The requests of one server, oldest first; indexable, iterable, with a length.

    `keep` bounds how many are remembered (None: all); `count` goes on counting.
    """

    def __init__(self, keep: int | None = None) -> None:
        self._keep = keep
        self._received: list[Received] = []
        self._sent: dict[int, Sent] = {}
        self._count = 0
        self._changed = threading.Condition()

    @property
    def count(self) -> int:
        """How many requests arrived since the start."""
        with self._changed:
            return self._count

    def __len__(self) -> int:
        with self._changed:
            return len(self._received)

    def __iter__(self) -> Iterator[Received]:
        with self._changed:
            return iter(list(self._received))

    @overload
    def __getitem__(self, position: int) -> Received: ...
    @overload
    def __getitem__(self, position: slice) -> list[Received]: ...
    def __getitem__(self, position: int | slice) -> Received | list[Received]:
        with self._changed:
            return self._received[position]

    def to(self, path_end: str) -> list[Received]:
        """The requests whose path ends so."""
        return [request for request in self if request.path.endswith(path_end)]

    def wait_for(self, count: int, timeout: float = 10.0) -> list[Received]:
        """Block until `count` requests have arrived. Raises TimeoutError."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._count >= count, timeout):
                raise TimeoutError(f"{self._count} of {count} requests arrived within {timeout} s.")
            return list(self._received)

    def sent(self, request: Received | int, timeout: float = 10.0) -> Sent:
        """What went out for a request (or for the n-th one, from 0), waiting until its answer has ended.

        Raises TimeoutError while it has not ended in time, and for a request that is no longer remembered.
        """
        index = request if isinstance(request, int) else request.index
        with self._changed:
            if not self._changed.wait_for(lambda: index in self._sent, timeout):
                raise TimeoutError(f"The answer to request {index} did not end within {timeout} s.")
            return self._sent[index]

    def clear(self) -> None:
        """Forget what arrived so far; indexes go on."""
        with self._changed:
            self._received.clear()
            self._sent.clear()

    def add_received(self, request: Received) -> None:
        """Called by the server: a request has arrived whole."""
        with self._changed:
            self._count += 1
            self._received.append(request)
            if self._keep is not None and len(self._received) > self._keep:
                self._sent.pop(self._received.pop(0).index, None)
            self._changed.notify_all()

    def add_sent(self, request: Received, sent: Sent) -> None:
        """Called by the server: the answer to a request has ended."""
        with self._changed:
            if self._received and request.index >= self._received[0].index:
                self._sent[request.index] = sent
            self._changed.notify_all()
