"""A program's own time limits: an exception that its signal handler raises reaches it, wherever it was by then."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import httpx2
import pytest

import rashomon
from rashomon.model import Tape
from rashomon.recorders.writer import Writer
from rashomon.testing import ProviderServer


class LimitError(Exception):
    """What the program raises when its time is over."""


def late(limit: type[Exception], *_: Any) -> None:
    """A handler."""
    raise limit("too late")


class Handler:
    """A handler that is an object, or a method of one."""

    def __call__(self, *_: Any) -> None:
        raise LimitError("too late")

    def method(self, *_: Any) -> None:
        """A bound one."""
        raise LimitError("too late")


@pytest.fixture
def alarm() -> Iterator[None]:
    """The handler of before is put back."""
    before = signal.getsignal(signal.SIGALRM)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("handler", "limit"),
    [
        (partial(late, LimitError), LimitError),
        (partial(late, TimeoutError), TimeoutError),  # an OSError, as a full disk is
        (Handler(), LimitError),
        (Handler().method, LimitError),
    ],
    ids=["partial", "timeout", "object", "method"],
)
@pytest.mark.usefixtures("alarm")
def test_a_limit_that_runs_out_in_our_code(
    home: Path, server: ProviderServer, monkeypatch: pytest.MonkeyPatch, handler: Any, limit: type[Exception]
) -> None:
    """While a call is being written, which takes very long here: the program gets its exception, and goes on."""
    original = Writer._emit

    def slow(self: Any, *args: Any, **options: Any) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        time.sleep(0.5)
        original(self, *args, **options)

    signal.signal(signal.SIGALRM, handler)
    with rashomon.trace("limited"):
        assert httpx2.get(f"{server.url}/one").status_code == 404
        with monkeypatch.context() as patched:
            patched.setattr(Writer, "_emit", slow)
            began = time.monotonic()
            with pytest.raises(limit, match="too late"):
                httpx2.get(f"{server.url}/two")
            assert time.monotonic() - began < 0.45
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert httpx2.get(f"{server.url}/three").status_code == 404


def test_an_exception_that_another_thread_raises(
    home: Path, server: ProviderServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As libraries for time limits in threads do it."""
    with rashomon.trace("limited"), monkeypatch.context() as patched:
        module = {**globals(), "__name__": Writer.__module__}  # it stands for the writer's own code
        patched.setattr(Writer, "_emit", FunctionType(_raised_in.__code__, module))
        with pytest.raises(LimitError):
            httpx2.get(f"{server.url}/two")


def _raised_in(self: Any, *args: Any, **options: Any) -> None:
    ident = ctypes.c_ulong(threading.get_ident())
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ident, ctypes.py_object(LimitError))
    while True:
        pass


def test_a_bug_of_ours_is_not_the_programs(
    home: Path, server: ProviderServer, monkeypatch: pytest.MonkeyPatch, last_tape: Callable[[], Tape]
) -> None:
    """Nor a disk that is full: the program goes on, and the loss is told."""

    def fails(self: Any, *args: Any, **options: Any) -> None:
        raise KeyError("a bug")

    with rashomon.trace("lossy"), monkeypatch.context() as patched:
        patched.setattr(Writer, "_emit", fails)
        assert httpx2.get(f"{server.url}/two").status_code == 404
    assert "KeyError" in last_tape().trace.losses[0].reason
