"""The command line in this process: for tests that are about what a command does, and not about its process.

A command that is started as a process takes most of a second to import what it needs. Here the same entry point is
called, with arguments, environment, stdout and stderr of its own; what it leaves is what a process would leave.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from unittest import mock

from rashomon import cli
from tests.support import environment


def main(*args: str | Path, home: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """What `rashomon ARGS` does with this home, as `tests.support.rashomon` gives it."""
    words = list(map(str, args))
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with _own(environment(home, **(env or {}))), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(words)
    return subprocess.CompletedProcess(words, code, _text(out), _text(err))


@contextlib.contextmanager
def _own(values: dict[str, str]) -> Iterator[None]:
    """An environment for a while, and the signals as they were after it."""
    before = signal.getsignal(signal.SIGPIPE)
    with mock.patch.dict(os.environ, values, clear=True):
        yield
    assert signal.getsignal(signal.SIGPIPE) is before


def _text(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode("utf-8", "replace")
