"""`rashomon show` makes its table column by column: the same lines as from whole steps, whatever befell them."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rashomon import cli, tapes
from rashomon.commands import documents, terminal, trace_text
from rashomon.model import End, Failure, Grade, Match, Step, Tape, Trace
from rashomon.store import Outline, TraceStore, connection, ingest, open_home
from rashomon.store.lists import Columns
from tests.steps import asked, llm, said, tool, user

FAILURES = [Failure("builtins:ValueError", "no such order\nat all"), Failure("x:get_order", ""), Failure("", "lost")]
TEXTS = [
    "plain",
    "two\nlines",
    "\x1b[31mred",
    "caf\N{LATIN SMALL LETTER E WITH ACUTE}",
    "wide\N{CJK UNIFIED IDEOGRAPH-4E2D}",
]


def odd_step(chance: random.Random, number: int) -> Step:
    """A step to which anything may have happened."""
    failure = chance.choice(FAILURES) if chance.random() < 0.3 else None
    if chance.random() < 0.5:
        step = tool({"what": chance.choice(TEXTS)}, chance.choice(TEXTS), name=chance.choice(["get_order", "a b"]))
    else:
        document: dict[str, Any] = said(chance.choice(TEXTS), number=number)
        if chance.random() < 0.7:
            document["usage"] = {"prompt_tokens": chance.randrange(9000), "completion_tokens": chance.randrange(90)}
        step = llm(document, asked(user(chance.choice(TEXTS))), status=chance.choice([200, 200, 429]))
    end = End.ERROR if failure else chance.choice(list(End))
    match = Match(chance.choice(list(Grade)), None, chance.choice(["", "the model differs"]))
    return step._replace(
        id=f"0.{number}",
        index=number,
        started_us=number,
        lane=chance.choice([(), (), (0, 2), (1,)]),
        within=f"0.{chance.randrange(number)}" if number and chance.random() < 0.3 else None,
        marks=chance.choice([(), (), ("lane unknown",), ("a", "b")]),
        match=match if chance.random() < 0.4 else None,
        response=step.response._replace(end=end, failure=failure, duration_us=chance.randrange(90_000_000)),
    )


def made(folder: Path, *recorded: Tape) -> Path:
    """A home with these tapes."""
    (folder / "journals").mkdir(parents=True)
    for one in recorded:
        tapes.write_tape(folder / "journals" / f"{one.trace.id}.rsj", one)
    ingest(folder / "journals", folder / "store.duckdb")
    return folder


def told(tape: Outline | Tape) -> bytes:
    """A trace as `rashomon show --json` prints it."""
    return b"".join(documents.chunks(documents.trace_document(tape)))


@pytest.mark.parametrize("seed", range(4))
def test_a_table_is_that_of_whole_steps(tmp_path: Path, seed: int) -> None:
    """Numbers, titles, tokens, lanes, grades and troubles are those of the steps, made one by one; so is the JSON."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    steps = [odd_step(chance, number) for number in range(40)]
    if seed == 1:  # as nearly every trace is
        steps = [step._replace(lane=(), within=None, marks=(), match=None) for step in steps]
    if seed == 2:  # what no column can hold
        steps[7] = steps[7]._replace(name="lone \ud800", marks=("a \udc00 mark",))
    trace = Trace("t", "odd", 1, ended_ns=10**9, outcome="ok")
    home = made(tmp_path / "home", Tape(trace, tuple(steps)), Tape(trace._replace(id="none"), ()))
    with TraceStore(home / "store.duckdb") as store:
        shown, outline, tape = store.shown("t"), store.outline("t"), store.tape("t")
        assert isinstance(shown.steps, Columns) == (seed != 2)
        wanted = trace_text.rows(Outline(outline.trace, list(outline.steps)))
        assert trace_text.rows(shown) == wanted == trace_text.rows(tape)
        assert list(outline.steps[3:5]) == list(outline.steps)[3:5]
        assert outline.steps[-1] == list(outline.steps)[-1]
        assert trace_text.rows(store.shown("none")) == []
        assert told(outline) == told(Outline(outline.trace, list(outline.steps))) == told(tape)
        assert json.loads(told(store.outline("none")))["steps"] == []


@pytest.mark.parametrize("zone", ["UTC", "America/St_Johns"])
def test_times_are_those_of_the_readers_clock(monkeypatch: pytest.MonkeyPatch, zone: str) -> None:
    """To the second, of a time that is known to the microsecond, as `datetime` has them."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    chance = random.Random(1)
    last = [999_999_999, 999_999_500, 999_999_499, 999_999_000, 1, 0]
    try:
        for ns in [chance.randrange(2**32) * 10**9 + chance.choice(last) for _ in range(3000)]:
            assert terminal.local_time(ns) == datetime.fromtimestamp(ns / 1e9).strftime("%Y-%m-%d %H:%M:%S")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_steps_come_in_their_order_wherever_they_lie(tmp_path: Path) -> None:
    """Rows that lie in another order in the file are shown by their numbers."""
    steps = [odd_step(random.Random(number), number) for number in range(9)]
    home = made(tmp_path / "home", Tape(Trace("t", "odd", 1), tuple(steps)))
    with duckdb.connect(str(home / "store.duckdb")) as writer:
        writer.execute("UPDATE steps SET position = 8 - position")
    with TraceStore(home / "store.duckdb") as store:
        assert [row.number for row in trace_text.rows(store.shown("t"))] == [str(number) for number in range(9)]
        assert [line.index for line in store.outline("t").steps] == list(range(9))
        assert [line.index for line in store.step_rows("t")] == list(range(9))


def test_the_store_is_let_go_of_while_the_table_is_written(tmp_path: Path) -> None:
    """Who takes the lines slowly keeps nobody from writing into the store."""
    steps = [odd_step(random.Random(number), number) for number in range(900)]
    home = made(tmp_path / "home", Tape(Trace("t", "odd", 1), tuple(steps)))
    open_home(home)
    command = [sys.executable, "-m", "rashomon.cli", "show", "t", "--home", str(home)]
    read, write = os.pipe()
    shown = subprocess.Popen(command, stdout=write)
    os.close(write)
    try:
        first = os.read(read, 1)  # it has begun to write, and fills the pipe from here on
        connection.open_writer(home / "store.duckdb", wait_s=30).close()
        with os.fdopen(read, "rb") as rest:
            text = first + rest.read()
    finally:
        assert shown.wait() == 0
    assert len(text) > 70_000
    assert len(text.splitlines()) > 900


def test_within_a_process_the_store_is_closed_when_the_command_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that runs the command line, and goes on, can write to the store at once."""
    home = made(tmp_path / "home", Tape(Trace("t", "odd", 1), (odd_step(random.Random(1), 0),)))
    out = io.TextIOWrapper(io.BytesIO())
    monkeypatch.setattr(sys, "stdout", out)
    assert cli.main(["show", "t", "--home", str(home)]) == 0
    connection.open_writer(home / "store.duckdb", wait_s=0).close()
