"""A home made of tape files, and the real command line run on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rashomon import journal, tapes, values
from rashomon.journal import Code
from rashomon.model import (
    Coverage,
    Divergence,
    End,
    Failure,
    Grade,
    Kind,
    Loss,
    Match,
    Piece,
    Request,
    Response,
    Step,
    Tape,
    Trace,
)

STARTED = 1_790_000_000_000_000_000
CONTROL = "\x1b]0;stolen title\x07"


class Ran(NamedTuple):
    """A finished command."""

    code: int
    out: str
    err: str
    raw: bytes

    def json(self) -> Any:
        """stdout as one JSON document."""
        return json.loads(self.out)


def tool_step(index: int, name: str, arguments: dict[str, Any], result: Any, **more: Any) -> Step:
    """A call of a tool, and what it returned."""
    request = Request({"ref": f"agent:{name}", "flavour": "sync"}, values.encode(arguments))
    response = Response({}, (Piece(900, values.encode(result)),), End.COMPLETE, None, 1000)
    return Step(f"0.{index}", index, Kind.TOOL, name, (), index * 10_000, request, response, **more)


def llm_step(index: int, messages: list[dict[str, Any]], answer: str, **more: Any) -> Step:
    """A chat completion, and what the model said."""
    sent = {"model": "gpt-4o", "messages": messages}
    headers = [["content-type", "application/json"], ["authorization", "<secret:authorization:1f2e>"]]
    head = {"method": "POST", "url": "http://127.0.0.1:9/v1/chat/completions", "headers": headers}
    said = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": answer}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1200, "completion_tokens": 34, "total_tokens": 1234},
    }
    answered = {"status": 200, "reason": "OK", "headers": [["content-type", "application/json"]]}
    pieces = (Piece(250_000, json.dumps(said).encode()),)
    response = Response(answered, pieces, End.COMPLETE, None, 251_000)
    request = Request(head, json.dumps(sent).encode())
    return Step(f"0.{index}", index, Kind.LLM, "openai.chat", (), index * 10_000, request, response, **more)


def refund(trace_id: str, status: str = "shipped", decision: str = "I refunded order A-1042.", **more: Any) -> Tape:
    """A support agent's run: it looks up an order and decides on a refund."""
    asked = {
        "role": "user",
        "content": "Please refund order A-1042, it never came. " + "Details follow. " * 12,
    }
    steps = (
        tool_step(0, "list_orders", {"customer": "7"}, ["A-1042"]),
        tool_step(1, "get_policy", {}, {"days": 30}),
        tool_step(2, "get_rates", {}, [1, 2, 3]),
        tool_step(3, "get_order", {"order_id": "A-1042"}, {"status": status}),
        llm_step(4, [asked, {"role": "tool", "content": json.dumps({"status": status})}], decision),
        tool_step(5, "inner_lookup", {"key": "x"}, "found", within="0.3"),
    )
    name = more.pop("name", "refund")
    trace = Trace(
        trace_id, name, STARTED + int(trace_id[:4], 16) * 1_000_000_000,
        STARTED + int(trace_id[:4], 16) * 1_000_000_000 + 1_500_000_000, "ok", 0,
        command=("python", "agent.py", "--customer", "a b"), cwd="/srv/agent", tags={"build": "412"}, **more,
    )  # fmt: skip
    return Tape(trace, steps)


OLD = "000100000000000000000000aa"
NEW = "000200000000000000000000bb"
BAD = "000300000000000000000000cc"


def trouble() -> Tape:
    """A run with everything that a reader must not miss: a failure, a cut stream, hostile text."""
    failed = Response(None, (), End.ERROR, Failure("openai:RateLimitError", "slow down\nplease"), 5000)
    request = Request({"method": "POST", "url": "http://127.0.0.1:9/v1/chat/completions", "headers": []}, b"{}")
    cut = tool_step(1, "watch", {"what": CONTROL + "[bold]markup[/bold]"}, "half")
    steps = (
        Step("0.0", 0, Kind.LLM, "openai.chat", (0,), 0, request, failed),
        cut._replace(response=cut.response._replace(end=End.OPEN, duration_us=0), marks=("no-lane",)),
    )
    match = Match(Grade.MISSED, "0.4", "no recorded call has this content")
    divergence = Divergence("missed", "The call has no answer on the tape.", "0.0", "0.4", ("request.messages[0]",))
    trace = Trace(
        BAD, "broken", STARTED + 3_000_000_000, None, "killed", error="Killed", parent=OLD,
        swaps=({"stub": "get_order={}"},), divergences=(divergence,),
        coverage=Coverage(2, ("203.0.113.5:443",)), losses=(Loss("disk full", 3),),
    )  # fmt: skip
    return Tape(trace, (steps[0]._replace(match=match), steps[1]))


def write_journal(path: Path, tape: Tape) -> None:
    """Write a trace as the process that recorded it would have, its connections and losses too."""
    tapes.write_tape(path, tape._replace(trace=tape.trace._replace(coverage=Coverage(), losses=(), divergences=())))
    coverage = tape.trace.coverage
    frames: list[list[Any]] = [[Code.CONNECT, 0, 10, peer, None] for peer in coverage.missed]
    frames += [[Code.CONNECT, 0, 10, "a:1", 0]] * (coverage.connections - len(coverage.missed))
    frames += [[Code.DIVERGENCE, 0, one._asdict()] for one in tape.trace.divergences]
    with path.open("r+b") as file:
        for loss in tape.trace.losses:
            file.seek(journal.LOSS_OFFSET)
            file.write(journal.loss_bytes(loss.steps, 0, loss.reason))
        file.seek(0, os.SEEK_END)
        file.writelines(journal.frame(journal.pack(elements)) for elements in frames)


@pytest.fixture
def tape_home(tmp_path: Path) -> Path:
    """A home with two runs of one agent, of which the second was told something else, and a broken one."""
    home = tmp_path / "home"
    (home / "journals").mkdir(parents=True)
    for tape in (refund(OLD), refund(NEW, "lost", "I cannot refund order A-1042.", parent=OLD), trouble()):
        write_journal(home / "journals" / f"{tape.trace.id}.rsj", tape)
    return home


@pytest.fixture
def rashomon(tape_home: Path, tmp_path: Path) -> Callable[..., Ran]:
    """Run the command line in a process of its own, on that home unless another is named."""

    def run(*arguments: str, env: dict[str, str] | None = None, stdin: bytes = b"") -> Ran:
        environ = {
            **os.environ,
            "RASHOMON_HOME": str(tape_home),
            "TZ": "UTC",
            "COLUMNS": "100",
            **(env or {}),
        }
        command = [sys.executable, "-m", "rashomon.cli", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, input=stdin, check=False)
        out = done.stdout.decode("utf-8", "replace")
        return Ran(done.returncode, out, done.stderr.decode("utf-8", "replace"), done.stdout)

    return run
