"""Reading journals in other processes: decoding takes most of an ingestion's time, and Python uses one core for it.

Each of a crew reads every n-th journal and sends its portions through a pipe; they are taken in the order of the
journals, so that nothing depends on who was faster. A process is two parcels ahead, one here and one there, and then
waits, so memory is bounded. When this process dies, theirs end at the closed pipe.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rashomon.store.parcels import Done as Done
from rashomon.store.parcels import Sent, opened
from rashomon.store.portions import Portion
from rashomon.store.writing import Numbers

LEAST_BYTES = 24 * 1024 * 1024
"""Below so many bytes of journals, starting processes would take longer than it saves."""

_AHEAD = 1
_START = "from rashomon.store.hands import work; work()"


class Lost(Exception):
    """A process of the crew ended before its work."""


def size() -> int:
    """How many processes can read at once."""
    try:
        return min(2, len(os.sched_getaffinity(0)))
    except AttributeError:  # a system that does not tell
        return min(2, os.cpu_count() or 1)


class _Hand:
    """One process of the crew."""

    def __init__(self, folder: Path, home: Path) -> None:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("RASHOMON_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**environ, "RASHOMON_OFF": "1"},
        )
        self.numbers = Numbers()
        self.arriving: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.room = threading.Semaphore(_AHEAD)
        self.items: deque[Portion | Done] = deque()
        self.send((folder, home))
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def send(self, what: Any) -> None:
        """Tell the process something."""
        assert self.process.stdin is not None
        try:
            pickle.dump(what, self.process.stdin)
            self.process.stdin.flush()
        except OSError as error:
            raise Lost from error

    def read(self) -> None:
        """In a thread: what the process sends."""
        assert self.process.stdout is not None
        while True:
            self.room.acquire()  # what nobody waits for yet stays in the other process
            try:
                message = pickle.load(self.process.stdout)
            except Exception as error:  # the pipe is closed, or was cut in the middle
                self.arriving.put(error)
                return
            self.arriving.put(message)

    def item(self) -> Portion | Done:
        """What the process read next. Raises `Lost`."""
        while not self.items:
            message = self.arriving.get()
            self.room.release()
            if not isinstance(message, Sent):
                raise Lost from message
            self.items.extend(opened(message))
        return self.items.popleft()

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.room.release()
        self.reader.join()  # the pipe has ended
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def arrivals(folder: Path, home: Path, names: Sequence[str], hands: int) -> Iterator[tuple[Portion, Numbers] | Done]:
    """The portions of these journals, in order, each followed by `Done`. Raises `Lost` when a process dies."""
    crew: list[_Hand] = []
    try:
        crew += [_Hand(folder, home) for _ in range(hands)]
        for number, hand in enumerate(crew):
            for name in names[number::hands]:
                hand.send(name)
            assert hand.process.stdin is not None
            hand.process.stdin.close()
        for number, _ in enumerate(names):
            hand = crew[number % hands]
            while isinstance(item := hand.item(), Portion):
                hand.numbers = hand.numbers.for_portion(item)
                yield item, hand.numbers
            yield item
    except OSError as error:
        raise Lost from error
    finally:
        for hand in crew:
            hand.stop()
