"""Programs that are not Python: what they reached is not known, and nobody is told that it is."""

from __future__ import annotations

from typing import Any

import pytest

from rashomon.commands.documents import trace_facts
from rashomon.commands.trace_text import coverage
from rashomon.model import Launched, Process, Tape, Trace

CURL = Launched(("curl", "https://example.com"), ())


@pytest.mark.parametrize(
    ("launched", "said"),
    [
        ((), ""),
        ((CURL,), "; not known what 1 program that is not Python reached: see launched"),
        ((CURL, CURL), "; not known what 2 programs that are not Python reached: see launched"),
        ((Launched(("/usr/bin/python3", "x.py"), ()), Launched(("./agent.py",), ())), ""),
        ((Launched(("serve", "--fast"), ()),), ""),
        ((CURL._replace(within="0.1"),), ""),
    ],
)
def test_complete_is_not_said_of_programs_that_nobody_looked_into(launched: tuple[Launched, ...], said: str) -> None:
    """`complete` has a word beside it for curl and its like; not for Python, nor for what a tool's body started."""
    processes = (Process(0, 1, ("agent.py",), "3.11", True), Process(1, 2, ("/opt/bin/serve", "--fast"), "3.11", True))
    trace = Trace("t", "t", 0, processes=processes, launched=launched)
    assert coverage(Tape(trace, ())) == f"complete (0 connections, 0 steps){said}"
    facts: Any = trace_facts(trace)["launched"]
    assert [one["covered"] for one in facts] == [not said] * len(launched)
