"""Fixtures for every kind of evidence: a home of one's own, a provider on loopback, tapes."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from rashomon import session
from rashomon.model import Tape
from rashomon.testing import ProviderServer
from tests.support import tapes_of

signal.signal(signal.SIGINT, signal.default_int_handler)  # started in a background, programs that tests start ignore it
own_commands = Path(sys.executable).parent
others = (folder for folder in os.environ.get("PATH", "").split(os.pathsep) if Path(folder) != own_commands)
os.environ["PATH"] = os.pathsep.join(others)  # as on a machine where nobody has activated the environment
settings.register_profile("rashomon", deadline=None)  # a busy machine is no failure
settings.load_profile("rashomon")


LONGEST_NAMED = 60
"""A value that takes more characters to write does not become a part of its test's name."""


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """A name that can be read, and which every process of the suite finds alike whatever the value is made of."""
    long = isinstance(val, (str, bytes)) and len(repr(val)) > LONGEST_NAMED
    return argname if long else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what tests have measured, and how many had no recorded traffic to work on."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name == "measured":
                terminalreporter.write_line(str(value))
    skipped = sum(NO_REAL_DATA in str(report.longrepr) for report in terminalreporter.getreports("skipped"))
    if skipped:
        terminalreporter.write_line(f"{skipped} tests were skipped, for {NO_REAL_DATA}")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh home; this process's journal is opened in it and closed after the test."""
    folder = tmp_path / "home"
    monkeypatch.setenv("RASHOMON_HOME", str(folder))
    session.close_journal()
    yield folder
    session.close_journal()


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    """A provider with reproducible chance."""
    with ProviderServer(seed=7) as running:
        yield running


@pytest.fixture
def last_tape(home: Path) -> Callable[[], Tape]:
    """The newest trace of the home."""
    return lambda: tapes_of(home)[-1]


NO_REAL_DATA = "there is no recorded traffic of others here: set RASHOMON_REAL_DATA"
"""Why a test is skipped that needs it; how many were is told at the end of a run."""


def real_data() -> Path | None:
    """Recorded traffic that nobody here wrote, where it is to be had: the folder that the environment variable
    `RASHOMON_REAL_DATA` names, else `../shared/data` beside the checkout.

    It has a `loaders.py`, whose `iter_cassettes()` gives lists of recorded exchanges with providers.
    """
    named = os.environ.get("RASHOMON_REAL_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if (folder / "loaders.py").is_file() else None
