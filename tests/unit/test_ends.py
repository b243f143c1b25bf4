"""How two executions ended: what is known of both, and of the same program, is compared."""

from __future__ import annotations

from typing import Any

import pytest

from rashomon import values
from rashomon.model import Tape
from rashomon.replay.ends import end_differences
from tests.steps import tape

ENTRY = {"ref": "agent:handle", "file": "agent.py", "args": b""}


def ended(value: Any, parent: str | None = None, **facts: Any) -> Tape:
    """A trace of a recorded function that returned this."""
    made = tape([], "left" if parent is None else "right", parent)
    facts = {"ended_ns": 1, "entrypoint": ENTRY, "result": values.encode(value), **facts}
    return made._replace(trace=made.trace._replace(**facts))


def kinds(left: Tape, right: Tape) -> list[str]:
    """What differs."""
    return [end.kind for end in end_differences(left, right)]


def test_a_replay_that_returns_something_else() -> None:
    """Told with both results; nothing where they are equal."""
    (found,) = end_differences(ended(1), ended(2, "left"))
    assert found.summary == "The function returned 1 in the recording, 2 in the replay."
    assert kinds(ended(1), ended(1, "left")) == []


@pytest.mark.parametrize(
    "right",
    [
        ended(1, result=None, ended_ns=None, exit_code=None),  # it goes on
        ended(1, result=None, entrypoint=None),  # another program
    ],
    ids=["open", "another program"],
)
def test_what_is_not_known_does_not_differ(right: Tape) -> None:
    """A trace that is still open, and one of no function, have no result to compare."""
    assert kinds(ended(1), right) == []
    assert kinds(right, ended(1)) == []


@pytest.mark.parametrize(("codes", "found"), [((0, 3), ["exit"]), ((3, 3), []), ((None, 3), []), ((0, None), [])])
def test_exit_codes(codes: tuple[int | None, int | None], found: list[str]) -> None:
    """They are compared where both are known."""
    left, right = (ended(1, exit_code=code) for code in codes)
    assert kinds(left, right) == found
