"""What a program saw, as a log: each answer under the name of who got it, and the order in which it came."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from typing import NamedTuple

MARK = "@schedule "
"""Begins each line in which a program of its own process tells its log on standard output."""


class Event(NamedTuple):
    """What one leaf asked and got: `answer` is a text (of a stream: as far as it was read), `error` a class name."""

    name: str
    asked: str
    answer: str | None
    error: str | None


class Log:
    """The events of one run. With `aloud` each is also written to standard output at once, across forks.

    `order` is the one sequence in which things happened on the event loop; threads do not write into it.
    """

    def __init__(self, aloud: bool = False) -> None:
        self.events: list[Event] = []
        self.order: list[str] = []
        self.counts: Counter[str] = Counter()
        self._aloud = aloud
        self._lock = threading.Lock()

    def got(self, name: str, asked: str, answer: str | None, error: str | None) -> None:
        """A leaf has ended."""
        event = Event(name, asked, answer, error)
        self.events.append(event)
        self._say({"event": event})

    def happened(self, what: str) -> None:
        """Something happened on the event loop."""
        self.order.append(what)
        self._say({"order": what})

    def count(self, what: str, by: int = 1) -> None:
        """For the statistics."""
        with self._lock:
            self.counts[what] += by
        self._say({"count": [what, by]})

    def after_fork(self) -> None:
        """In a forked child: another thread may have held the lock."""
        self._lock = threading.Lock()

    def _say(self, value: object) -> None:
        if self._aloud:
            os.write(1, f"{MARK}{json.dumps(value)}\n".encode())


def heard(text: str) -> Log:
    """The log that a process told on its standard output."""
    log = Log()
    for line in text.splitlines():
        if not line.startswith(MARK):
            continue
        value = json.loads(line.removeprefix(MARK))
        if "event" in value:
            log.events.append(Event(*value["event"]))
        elif "order" in value:
            log.order.append(value["order"])
        else:
            what, by = value["count"]
            log.counts[what] += by
    return log
