"""Programs that are not Python: what they reached is not known, and nobody is told that it is."""

from __future__ import annotations

import shlex
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rashomon.beside import uncovered
from rashomon.commands.doctor_findings import Control, Finding, Run
from rashomon.commands.doctor_text import report_lines
from rashomon.commands.documents import trace_facts
from rashomon.commands.ls import coverage as coverage_of
from rashomon.commands.trace_text import coverage
from rashomon.commands.trace_text import launched as launched_lines
from rashomon.journal import Code
from rashomon.model import Launched, Process, Tape, Trace
from rashomon.store import TraceStore, ingest_new
from rashomon.tui.source import StoreSource
from tests.faults.store_journals import frames, write_frames
from tests.support import rashomon

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


def test_a_long_command_is_one_line() -> None:
    """A program that is handed over as a text of many lines takes one line of what is shown, in a trace and by the
    doctor."""
    script = "import os\n" * 200 + "print('end')"
    trace = Trace("t", "t", 0, launched=(Launched(("node", "-e", script), ()),))
    (shown,) = launched_lines(trace)
    assert shown.startswith("node -e 'import os")
    run = Run("recorded", Tape(trace, ()), 0, Path())
    finding = Finding("subprocess", shlex.join(trace.launched[0].argv), Control.UNCONTROLLED)
    (told,) = [line.text for line in report_lines(["agent"], [run], [finding], None) if "node -e" in line.text]
    for text in (shown, told):
        assert "\n" not in text
        assert len(text) < 250
        assert "end" in text


ARGUMENTS: tuple[list[str], ...] = ([], ["x.py"], ["--fast"], ["a\nb/c"])
PROGRAMS = ("curl", "/usr/bin/curl", "python", "/opt/python3.12", "pypy3", "./agent.py", "a/b.pyc", "serve",
            "/opt/serve", "", "x\n/serve", "my-python", "mapy")  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_lists_count_the_programs_that_nobody_looked_into(tmp_path: Path, seed: int) -> None:
    """What `ls`, the terminal application and SQL say of a trace is what `show` finds in it."""
    chance = Random(seed)
    for number in range(8):
        content = frames(f"t{number}", 1)
        content[0][1]["argv"] = [chance.choice(PROGRAMS), *chance.choice(ARGUMENTS)]
        launched = [
            [Code.LAUNCHED, 0, [] if not chance.randrange(6) else [chance.choice(PROGRAMS), *chance.choice(ARGUMENTS)],
             [], chance.choice((None, None, "0.0")), None]
            for _ in range(chance.randrange(4))
        ]  # fmt: skip
        write_frames(tmp_path / "journals" / f"{number:016}.rsj", [*content[:2], *launched, *content[2:]])
    ingest_new(tmp_path)
    store = TraceStore(tmp_path / "store.duckdb")
    expected = {f"t{number}": len(uncovered(store.trace(f"t{number}"))) for number in range(8)}
    assert sum(expected.values()) > 1
    assert {row.id: row.unseen for row in store.traces()} == expected
    assert dict(store.query("select id, unseen from trace_list").rows) == expected
    assert {item.id: item.unseen for item in StoreSource(tmp_path).traces()} == expected


def test_ls_does_not_call_a_trace_complete_that_ran_curl(tmp_path: Path) -> None:
    """It says how many programs there were into which nobody looked, and counts no recorded ones."""
    content = frames("t", 1)
    curl = [Code.LAUNCHED, 0, ["curl", "https://example.com"], [], None, None]
    write_frames(tmp_path / "journals" / "0000000000000001.rsj", [*content[:2], curl, *content[2:]])
    write_frames(tmp_path / "journals" / "0000000000000002.rsj", frames("u", 1))
    listed = rashomon("ls", home=tmp_path, env={"COLUMNS": "200"}).stdout.splitlines()
    (curled,) = [line for line in listed if "name of t" in line]
    (plain,) = [line for line in listed if "name of u" in line]
    assert "complete, but for 1 unseen program" in curled
    assert "unseen" not in plain
    assert "complete" in plain
    row = TraceStore(tmp_path / "store.duckdb").traces()[0]
    assert coverage_of(row._replace(coverage_missed=1, unseen=2), ("10.0.0.1:443",)) == (
        "INCOMPLETE 10.0.0.1:443, 2 unseen programs"
    )
