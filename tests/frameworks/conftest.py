"""What this folder's tests are told on the command line; without it nothing here runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.frameworks.set_up import DEFAULT_ROOT, is_ready, python_of


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known when this folder is named on the command line, as the make targets do."""
    group = parser.getgroup("frameworks")
    group.addoption("--frameworks", default="", metavar="NAMES", help="frameworks to try, with commas; or `all`")
    group.addoption("--replays", type=int, default=20, metavar="N", help="replays of each recording (default 20)")
    group.addoption(
        "--environments", type=Path, default=DEFAULT_ROOT, metavar="FOLDER", help="where set_up.py put them"
    )


@pytest.fixture
def python_with(request: pytest.FixtureRequest) -> Callable[[str], Path]:
    """The interpreter of a framework's environment; skips what was not asked for, fails when it was not made."""

    def find(name: str) -> Path:
        chosen = request.config.getoption("--frameworks", "").split(",")
        if name not in chosen and "all" not in chosen:
            pytest.skip(f"{name} was not asked for: make frameworks, or --frameworks {name}")
        root = request.config.getoption("--environments")
        if not is_ready(root, name):
            pytest.fail(f"{name} is not set up. Run: python tests/frameworks/set_up.py {name}")
        return python_of(root, name)

    return find


@pytest.fixture
def replays(request: pytest.FixtureRequest) -> int:
    """How often each recording is replayed."""
    return int(request.config.getoption("--replays", 20))
