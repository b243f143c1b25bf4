"""Keeps what a child writes to stdout, though it inherits ours, and gives each run the same stdin."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK = 1 << 16
_LAST_WORDS_S = 1.0
"""How long what a child wrote last is waited for, if a process that it left behind holds its stdout open."""


@contextmanager
def captured(output: Path, show: bool) -> Iterator[None]:
    """Write to a file what children write to stdout. `show`: to our stderr as well, while they write it; otherwise
    their stderr goes nowhere."""
    _rewind_stdin()
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    pump: threading.Thread | None = None
    try:
        if show:
            reading, writing = os.pipe()
            pump = _start(reading, output)
        else:
            writing = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, 2)
            os.close(nowhere)
        os.dup2(writing, 1)
        os.close(writing)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        if pump is not None:
            pump.join(_LAST_WORDS_S)


def _start(reading: int, output: Path) -> threading.Thread:
    """A thread that copies. It takes no signals: the launcher waits for those in the main thread."""
    thread = threading.Thread(target=_copy, args=(reading, output), daemon=True)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()) if _masks() else None
    try:
        thread.start()
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return thread


def _masks() -> bool:
    return hasattr(signal, "pthread_sigmask")


def _copy(reading: int, output: Path) -> None:
    with output.open("wb", buffering=0) as file:
        while data := os.read(reading, _CHUNK):
            file.write(data)
            os.write(2, data)
    os.close(reading)


def _rewind_stdin() -> None:
    """A file that is given as stdin is read from its beginning by each run."""
    try:
        if stat.S_ISREG(os.fstat(0).st_mode):
            os.lseek(0, 0, os.SEEK_SET)
    except OSError:  # no stdin: then there is nothing to rewind
        pass
