"""Keeps what a child writes to stdout, though it inherits ours, and gives each run the same stdin."""

from __future__ import annotations

import os
import signal
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CHUNK = 1 << 16
_LAST_WORDS_S = 1.0
"""How long what a child wrote last is waited for, if a process that it left behind holds its stdout open."""


@contextmanager
def captured(output: Path, show: bool) -> Iterator[None]:
    """Write to a file what children write to stdout. `show`: to our stderr as well, while they write it; otherwise
    their stderr goes nowhere."""
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
    """Copy to a file and to stderr what comes out of a pipe."""

    def copy() -> None:
        with output.open("wb", buffering=0) as file:
            while data := os.read(reading, _CHUNK):
                file.write(data)
                os.write(2, data)
        os.close(reading)

    return _in_background(copy)


def _in_background(work: Callable[[], None]) -> threading.Thread:
    """A thread that takes no signals: the launcher waits for those in the main thread."""
    thread = threading.Thread(target=work, daemon=True)
    masks = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()) if masks else None
    try:
        thread.start()
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return thread


def rewind_stdin(kept: Path) -> None:
    """Let the next child read the same stdin as those before it: call it before each one, with the same file.

    A file is read from its beginning. What comes through a pipe goes on to the first child, and is kept for the others.
    A terminal is the user's.
    """
    try:
        mode = os.fstat(0).st_mode
    except OSError:  # no stdin: then there is nothing to rewind
        return
    if kept.exists():
        with kept.open("rb") as file:
            os.dup2(file.fileno(), 0)
    elif stat.S_ISREG(mode):
        os.lseek(0, 0, os.SEEK_SET)
    elif stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
        _keep_stdin(kept)


def _keep_stdin(kept: Path) -> None:
    reading, writing = os.pipe()
    source = os.dup(0)
    os.dup2(reading, 0)
    os.close(reading)
    file = kept.open("wb", buffering=0)

    def copy() -> None:
        try:
            while data := os.read(source, _CHUNK):
                file.write(data)  # first: what the child has seen must be there for the next one
                os.write(writing, data)
        except BrokenPipeError:  # the child ended before it had read all
            pass
        file.close()
        os.close(writing)

    _in_background(copy)
