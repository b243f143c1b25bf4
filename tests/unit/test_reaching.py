"""What a program is about to run, as its audit events tell it."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from rashomon.recorders import reaching


def called_through(*modules: str) -> FrameType:
    """The innermost frame of functions that call each other, one in each module."""
    found: Any = lambda: sys._getframe(1)  # noqa: E731
    for name in reversed(modules):
        names: dict[str, Any] = {"__name__": name, "call": found}
        exec("def run(): return call()", names)
        found = names["run"]
    frame: FrameType = found()
    return frame


@pytest.mark.parametrize(
    ("modules", "asks"),
    [
        (("agent", "platform", "subprocess"), True),
        (("agent", "platform", "gevent.subprocess"), True),
        (("agent", "uuid", "subprocess", "os"), True),
        (("agent", "platform", "sentry_sdk.integrations.stdlib", "subprocess"), True),
        (("agent", "sentry_sdk.utils", "subprocess"), False),
        (("agent", "subprocess"), False),
        (("platform", "agent", "subprocess"), False),
        (("platform", "requests", "gevent.subprocess"), False),
    ],
)
def test_questions_about_the_machine(modules: tuple[str, ...], asks: bool) -> None:
    """Only what a module of the standard library starts to learn about it, by whichever `subprocess`."""
    assert reaching.is_enquiry(called_through(*modules)) is asks
