"""Reading journals in other processes: decoding takes most of an ingestion's time, and Python uses one core for it.

Each of a crew reads every n-th journal and sends its portions through a pipe; they are taken in the order of the
journals, so that nothing depends on who was faster. A process is a portion or two ahead and then waits, so memory is
bounded. When this process dies, theirs end at the closed pipe.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from rashomon.store.arrival import Arrival
from rashomon.store.bodies import Memory
from rashomon.store.portions import Parts, Portion
from rashomon.store.writing import Numbers

LEAST_BYTES = 24 * 1024 * 1024
"""Below so many bytes of journals, starting processes would take longer than it saves."""

_AHEAD = 1
_START = "from rashomon.store.crew import work; work()"


class Lost(Exception):
    """A process of the crew ended before its work."""


class Done(NamedTuple):
    """A journal has been read; `error` says why not."""

    name: str
    error: Exception | None


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
        self.arriving: queue.Queue[Any] = queue.Queue(_AHEAD)
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
            try:
                message = pickle.load(self.process.stdout)
            except Exception as error:  # the pipe is closed, or was cut in the middle
                self.arriving.put(error)
                return
            self.arriving.put(message)

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        while self.reader.is_alive():
            with contextlib.suppress(queue.Empty):
                self.arriving.get(timeout=0.01)
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
            while True:
                message = hand.arriving.get()
                if isinstance(message, Portion):
                    yield message, hand.numbers
                elif isinstance(message, Done):
                    yield message
                    break
                else:
                    raise Lost from message
    except OSError as error:
        raise Lost from error
    finally:
        for hand in crew:
            hand.stop()


def work() -> None:
    """In a process of the crew: read the journals that are named on the standard input."""
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that is printed gets between the messages
    gc.disable()
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        folder, home = pickle.load(source)
        names = list(_names(source))
        _read(folder, home, names, target)


def _names(source: IO[bytes]) -> Iterator[str]:
    while True:
        try:
            yield pickle.load(source)
        except EOFError:
            return


def _read(folder: Path, home: Path, names: list[str], target: IO[bytes]) -> None:
    from rashomon.store.taking import pricing  # which asks this module for its crew

    parts, memory, price = Parts(), Memory(), pricing(home)
    for name in names:
        error: Exception | None = None
        try:
            for portion in Arrival(folder / name, parts, memory, price).portions():
                pickle.dump(portion, target, pickle.HIGHEST_PROTOCOL)
                target.flush()
        except BrokenPipeError:
            raise
        except Exception as caught:  # told to who asked
            error = caught
        pickle.dump(Done(name, error), target)
        target.flush()
