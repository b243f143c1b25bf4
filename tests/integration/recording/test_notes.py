"""`rashomon.note`: what a program says of itself is in its trace, and changes nothing else, also not in a replay."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

import rashomon
from rashomon import values
from rashomon.model import End, Kind, Step, Tape
from tests.support import rashomon as command_line
from tests.support import tapes_of

PLANTED = "sk-proj-PLANTEDnote0123456789abcdef"


@rashomon.tool
def look_up(order: str) -> str:
    """A tool that says something while it works."""
    rashomon.note("looking", order=order)
    return order.upper()


def noted(tape: Tape) -> list[Step]:
    """The notes of a trace."""
    return [step for step in tape.steps if step.kind is Kind.NOTE]


def test_a_note_is_a_step(home: Path, last_tape: Callable[[], Tape]) -> None:
    """Text, labels and values are in the step's head and body; a note of a tool's stands within the tool."""
    with rashomon.trace("noted"):
        look_up("a")
        rashomon.note("refused", labels=["policy", "p1"], score=0.2, user="u-17", seen={"x": (1, None)})
        rashomon.note(labels="alone")
    first, second, third = noted(last_tape())
    assert (first.within, first.lane, second.within, second.lane) == ("0.0", (0,), None, ())
    said = {"text": "refused", "labels": ["policy", "p1"]}
    assert {key: second.request.head["note"][key] for key in said} == said
    assert second.request.head["note"]["data"]["score"] == 0.2
    assert values.decode(second.request.body)["data"]["seen"] == {"x": (1, None)}
    assert (second.response.end, second.response.pieces, second.match) == (End.COMPLETE, (), None)
    assert third.request.head["note"] == {"text": "", "labels": ["alone"], "data": {}}


def test_secrets_in_notes_are_replaced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in a text, a label or a value reaches the disk no more than one in a request."""
    with rashomon.trace("noted"):
        rashomon.note(f"with {PLANTED}", labels=[PLANTED], key=PLANTED, password="PLANTEDpassword")
    content = b"".join(path.read_bytes() for path in home.rglob("*") if path.is_file())
    assert b"PLANTED" not in content
    assert b"<secret:" in content


class Hostile:
    """Cannot be made a text, and raises where it is looked at."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def test_a_note_never_raises(home: Path, last_tape: Callable[[], Tape]) -> None:
    """Whatever is handed over, the program goes on, and the notes around it are there."""
    odd: list[object] = []
    odd.append(odd)
    with rashomon.trace("noted"):
        rashomon.note("before", value=Hostile(), loop=odd, number=float("nan"), text="\ud800")
        rashomon.note(Hostile())  # type: ignore[arg-type]
        rashomon.note("labels", labels=7)  # type: ignore[arg-type]
        rashomon.note("after")
    assert [step.request.head["note"]["text"] for step in noted(last_tape())] == ["before", "after"]


def test_outside_of_a_trace_nothing_happens(home: Path) -> None:
    """Where nothing is recorded, a note writes nothing, not even a home."""
    rashomon.note("nobody hears", score=1)
    assert not home.exists()


def test_notes_of_threads_and_tasks(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A note is in the lane of who wrote it."""

    async def say(text: str) -> None:
        rashomon.note(text)

    async def both() -> None:
        await asyncio.gather(say("a"), say("b"))

    with rashomon.trace("noted"):
        asyncio.run(both())
        thread = threading.Thread(target=rashomon.note, args=("c",))
        thread.start()
        thread.join()
    lanes = {step.request.head["note"]["text"]: step.lane for step in noted(last_tape())}
    assert len(set(lanes.values())) == 3
    assert () not in lanes.values()


def test_in_a_replay_notes_may_come_go_and_move(home: Path, last_tape: Callable[[], Tape]) -> None:
    """A program with other notes than its recording's is the same program; the replay has the notes that it made."""
    with rashomon.trace("recorded"):
        rashomon.note("first")
        assert look_up("a") == "A"
        rashomon.note("second", score=1)
        assert look_up("b") == "B"
    tape = last_tape()
    with rashomon.replay(tape) as without:
        look_up("a"), look_up("b")
    without.check()
    with rashomon.replay(tape) as moved:
        look_up("a")
        rashomon.note("another", labels=["new"])
        look_up("b")
        rashomon.note("first")
    moved.check()
    rashomon.session.close_journal()
    assert [step.request.head["note"]["text"] for step in noted(last_tape())] == ["another", "first"]
    with rashomon.replay(Tape(tape.trace, tuple(step for step in tape.steps if step.kind is not Kind.NOTE))) as old:
        rashomon.note("the recording knows of no notes")
        look_up("a"), look_up("b")
    old.check()


PROGRAM = """
import rashomon, sys
@rashomon.tool
def double(x): return 2 * x
if "early" in NOTES: rashomon.note("early", labels=["x"])
print(double(21))
if "late" in NOTES: rashomon.note("late", score=0.5)
"""


def test_a_launched_replay_takes_no_notice_of_notes(tmp_path: Path) -> None:
    """A recorded program replays after a note was added to it, moved or taken out; counts leave notes out."""
    agent, home = tmp_path / "agent.py", tmp_path / "home"
    agent.write_text("NOTES = ['early']\n" + PROGRAM)
    done = command_line("record", "--", sys.executable, agent, home=home)
    assert done.returncode == 0, done.stderr
    for notes in (["late"], [], ["early", "late"]):
        agent.write_text(f"NOTES = {notes}\n" + PROGRAM)
        done = command_line("replay", tapes_of(home)[0].trace.id, home=home)
        assert (done.returncode, done.stdout) == (0, "42\n"), done.stderr
        assert "1 of 1 steps" in done.stderr
        assert [step.request.head["note"]["text"] for step in noted(tapes_of(home)[-1])] == notes
