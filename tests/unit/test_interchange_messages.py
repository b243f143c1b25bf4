"""Lists of chat messages as traces: turns are calls, results are tools, and nothing is made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rashomon import dialects, views
from rashomon.errors import UsageError
from rashomon.interchange import exchanges, read
from rashomon.model import Kind, Tape
from tests.conftest import NO_REAL_DATA, real_data

CALL = {"id": "c1", "type": "function", "function": {"name": "get_order", "arguments": '{"id": 7}'}}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is order 7?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": '{"state": "lost"}'},
    {"role": "assistant", "content": "It is lost."},
]


def read_back(folder: Path, document: Any) -> list[Tape]:
    """The traces of a document that was written to a file."""
    path = folder / "runs.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return read(path)


def test_turns_are_calls_with_all_messages_before(tmp_path: Path) -> None:
    """Each turn of the assistant is a call whose request has what was said until then; each result is a tool's."""
    (tape,) = read_back(tmp_path, MESSAGES)
    first, second, third = tape.steps
    assert [(step.kind, step.name) for step in tape.steps] == [
        (Kind.LLM, "chat.completions"), (Kind.TOOL, "get_order"), (Kind.LLM, "chat.completions")]  # fmt: skip
    assert views.request_view(first) == {"messages": MESSAGES[:2]}
    assert [call.name for call in views.summary(first).calls] == ["get_order"]
    assert views.step_view(second) == {"request": {"id": 7}, "response": {"state": "lost"}}
    assert views.request_view(third) == {"messages": MESSAGES[:4]}
    assert (views.summary(third).text, views.summary(third).model) == ("It is lost.", None)
    assert [step.started_us for step in tape.steps] == [0, 1, 2]


BLOCKS: list[dict[str, Any]] = [
    {"role": "user", "content": "Where are orders 7 and 8?"},
    {"role": "assistant", "content": [
        {"type": "thinking", "thinking": "Look.", "signature": "x"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "c1", "name": "get_order", "input": {"id": 7}},
        {"type": "tool_use", "id": "c2", "name": "get_order", "input": {"id": 8}}]},
    {"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": '{"state": "lost"}'}]},
        {"type": "tool_result", "tool_use_id": "c2", "content": "no such order", "is_error": True},
        {"type": "text", "text": "Hurry."}]},
    {"role": "assistant", "content": [{"type": "text", "text": "It is lost."}]},
]  # fmt: skip


def test_calls_and_results_among_the_blocks_of_contents(tmp_path: Path) -> None:
    """Anthropic's `tool_use` and `tool_result` are calls of tools like any other, one that failed a failed one."""
    tools = [{"name": "get_order", "input_schema": {"type": "object"}}]
    (tape,) = read_back(tmp_path, {"system": "Be brief.", "messages": BLOCKS, "tools": tools})
    asked, found, failed, last = tape.steps
    assert [step.kind for step in tape.steps] == [Kind.LLM, Kind.TOOL, Kind.TOOL, Kind.LLM]
    said = views.summary(asked)
    assert (said.text, said.finish) == ("I look.", "tool_calls")
    assert [(call.id, call.name, call.arguments) for call in said.calls] == [
        ("c1", "get_order", {"id": 7}), ("c2", "get_order", {"id": 8})]  # fmt: skip
    assert (found.name, views.step_view(found)) == ("get_order", {"request": {"id": 7}, "response": {"state": "lost"}})
    assert failed.name == "get_order"
    assert failed.response.failure is not None
    assert failed.response.failure.message == "no such order"
    request: Any = views.request_view(last)
    assert [message["role"] for message in request["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
    ]
    assert dialects.read_request(request).tools[0].name == "get_order"
    assert "system" not in tape.trace.tags


def test_what_is_lacking_is_said(tmp_path: Path) -> None:
    """A list without model, tools, times and tokens says that it lacks them; one with a model does not lack that."""
    (bare,) = read_back(tmp_path, MESSAGES)
    lacks = bare.trace.provenance["imported"]["lacks"]
    assert {exchanges.COMMAND, exchanges.TIMES, exchanges.USAGE, exchanges.MODEL, exchanges.TOOLS} <= set(lacks)
    tools = [{"type": "function", "function": {"name": "get_order", "parameters": {"type": "object"}}}]
    (told,) = read_back(tmp_path, {"messages": MESSAGES, "model": "gpt-4o", "tools": tools})
    assert not {exchanges.MODEL, exchanges.TOOLS} & set(told.trace.provenance["imported"]["lacks"])
    assert dialects.read_request(views.request_view(told.steps[0])).tools[0].name == "get_order"
    assert views.summary(told.steps[0]).model == "gpt-4o"


def test_what_stands_around_becomes_tags_outcome_and_note(tmp_path: Path) -> None:
    """Task, trial and reward are tags; a reward is the outcome, and a note with its score."""
    runs: list[Any] = [
        {"task_id": 3, "trial": trial, "reward": 1.0 - trial, "traj": MESSAGES, "info": {}} for trial in (0, 1)
    ]
    good, bad = read_back(tmp_path, runs)
    assert (good.trace.name, good.trace.tags) == ("runs:3", {"task_id": "3", "trial": "0", "reward": "1.0"})
    assert (good.trace.outcome, bad.trace.outcome) == ("ok", "error")
    assert bad.steps[-1].request.head["note"] == {"text": "reward", "labels": ["outcome"], "data": {"score": 0.0}}
    assert good.trace.id != bad.trace.id
    assert [tape.trace.id for tape in read_back(tmp_path, runs)] == [good.trace.id, bad.trace.id]


@pytest.mark.parametrize(
    "document",
    [
        [MESSAGES],
        {"conversation": MESSAGES},
        json.dumps({"messages": MESSAGES}) + "\n" + json.dumps({"messages": MESSAGES}),
        {"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]},
        [{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}],
    ],
)
def test_shapes_of_files(document: Any, tmp_path: Path) -> None:
    """One list, several, objects around them, one a line, ShareGPT's names: all are read."""
    for tape in read_back(tmp_path, document):
        assert views.summary(tape.steps[-1]).text in ("It is lost.", "hello")


def test_a_list_with_a_stranger_in_it_is_refused(tmp_path: Path) -> None:
    """A list of which one member is no message is not half read."""
    with pytest.raises(UsageError, match="neither spans nor messages"):
        read_back(tmp_path, [*MESSAGES, {"role": "martian", "content": "?"}])


def test_the_old_function_call_is_a_tool(tmp_path: Path) -> None:
    """Messages of before tool calls had ids: the function's result follows its call."""
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": '{"x": 1}'}},
        {"role": "function", "name": "f", "content": "2"},
    ]
    (tape,) = read_back(tmp_path, messages)
    assert (tape.steps[1].name, views.step_view(tape.steps[1])) == ("f", {"request": {"x": 1}, "response": "2"})


@pytest.mark.skipif(real_data() is None, reason=NO_REAL_DATA)
def test_a_real_benchmark() -> None:
    """All 100 runs of tau-bench: each message is in a request or is an answer, each tool call has its result."""
    folder = real_data()
    assert folder is not None
    path = folder / "traj" / "tau-bench" / "gpt-4o-airline-tasks-0-24.json"
    runs = json.loads(path.read_bytes())
    tapes = read(path)
    assert len(tapes) == len(runs) == len({tape.trace.id for tape in tapes}) == 100
    by_place = {tape.trace.provenance["imported"]["number"]: tape for tape in tapes}
    for number, run in enumerate(runs):
        tape = by_place[number]
        roles = [message["role"] for message in run["traj"]]
        kinds = [step.kind for step in tape.steps]
        assert kinds.count(Kind.LLM) == roles.count("assistant")
        assert kinds.count(Kind.TOOL) == roles.count("tool")
        last = max(at for at, role in enumerate(roles) if role == "assistant")
        asked = [step for step in tape.steps if step.kind is Kind.LLM][-1]
        assert views.request_view(asked) == {"messages": run["traj"][:last]}
        assert all(views.summary(step).decoded == "whole" for step in tape.steps if step.kind is Kind.LLM)
        assert (tape.trace.outcome == "ok") == (run["reward"] == 1.0)


@pytest.mark.skipif(real_data() is None, reason=NO_REAL_DATA)
def test_labelled_failures() -> None:
    """Who&When's 126 runs: each has the note that names the deciding message, on the step that it became."""
    folder = real_data()
    assert folder is not None
    found = 0
    for path in sorted((folder / "traj" / "who-and-when" / "Algorithm-Generated").glob("*.json")):
        labelled = json.loads(path.read_bytes())
        (tape,) = read(path)
        said = tape.steps[-1].request.head["note"]
        assert said["labels"] == ["root-cause"]
        assert said["data"]["message"] == int(labelled["mistake_step"])
        step = next((step for step in tape.steps if step.id == said["data"]["step"]), None)
        if step is not None and step.kind is Kind.LLM:
            found += views.summary(step).text == labelled["history"][int(labelled["mistake_step"])]["content"]
    assert found > 100
