"""Traces of other tools on the command line: taken in, shown, compared, exported, and not replayed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rashomon.errors import UsageError
from rashomon.replaying import replay
from rashomon.store import open_home
from rashomon.testing import ProviderServer
from tests.conftest import NO_REAL_DATA, real_data
from tests.support import DEMO_AGENT, rashomon, tapes_of

CALL = {"id": "c1", "type": "function", "function": {"name": "get_order", "arguments": '{"id": 7}'}}
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Where is order 7?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": '{"state": "lost"}'},
    {"role": "assistant", "content": "It is lost."},
]


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """A home with two dialogues from a file."""
    home, file = tmp_path / "home", tmp_path / "runs.json"
    other = [*MESSAGES[:-1], {"role": "assistant", "content": "It is on its way."}]
    file.write_text(json.dumps([{"id": 1, "messages": MESSAGES}, {"id": 2, "messages": other}]))
    done = rashomon("import", file, home=home)
    assert done.returncode == 0, done.stderr
    return home


def test_an_imported_trace_can_be_shown_searched_and_compared(imported: Path) -> None:
    """It is a trace like any other for all commands that read."""
    shown = rashomon("show", "runs:1", home=imported)
    assert "get_order(id=7)" in shown.stdout
    document = json.loads(rashomon("show", "runs:1", "2", "--json", home=imported).stdout)
    assert document["step"]["response"]["choices"][0]["message"]["content"] == "It is lost."
    whole = json.loads(rashomon("show", "runs:1", "--json", home=imported).stdout)
    assert whole["trace"]["coverage"]["complete"] is None
    listed = rashomon("ls", "name:runs*", home=imported).stdout
    assert "complete" not in listed
    assert "not known" in listed
    compared = rashomon("diff", "runs:1", "runs:2", home=imported)
    assert compared.returncode == 1
    assert "on its way" in compared.stdout
    found = rashomon("grep", "on its way", home=imported)
    assert "runs:2" in found.stdout or "on its way" in found.stdout
    with open_home(imported) as store:
        (row,) = store.query("SELECT provenance->'imported'->>'format' FROM traces WHERE name = 'runs:1'").rows
    assert row == ("messages",)


def test_secrets_of_other_tools_are_replaced(tmp_path: Path) -> None:
    """What another tool wrote down in the clear is in the home as little as what is recorded there."""
    home, file = tmp_path / "home", tmp_path / "runs.json"
    key = "sk-proj-PLANTED0123456789abcdefgh"
    call = {**CALL, "function": {"name": "login", "arguments": json.dumps({"password": "PLANTEDpassword", "key": key})}}
    said = [{"role": "user", "content": f"with {key}"}, {"role": "assistant", "content": key, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c1", "content": f"key {key}"}]  # fmt: skip
    file.write_text(
        json.dumps({"task_id": key, "owner": key, "messages": said, "mistake_step": 1, "mistake_reason": key})
    )
    done = rashomon("import", file, home=home)
    assert done.returncode == 0, done.stderr
    assert rashomon("show", "@last", home=home).returncode == 0
    for path in home.rglob("*"):
        assert not path.is_file() or b"PLANTED" not in path.read_bytes(), path


def test_a_replay_of_it_says_what_is_missing(imported: Path) -> None:
    """Neither the command nor `rashomon.replay` guesses: one sentence says what the trace lacks, exit code 2."""
    done = rashomon("replay", "runs:1", "--", sys.executable, "-c", "pass", home=imported)
    assert done.returncode == 2
    assert "was imported from runs.json (messages)" in done.stderr
    assert "lacks the program's command, the exact bytes of requests and answers" in done.stderr
    tape = next(tape for tape in tapes_of(imported) if tape.trace.name == "runs:1")
    with pytest.raises(UsageError, match=r"was imported from runs\.json"), replay(tape):
        pass


def test_a_recording_goes_out_as_spans_and_comes_back(tmp_path: Path) -> None:
    """A recorded agent, exported and taken into another home, tells the same calls, tokens and answers."""
    home, other, file = tmp_path / "home", tmp_path / "other", tmp_path / "spans.json"
    with ProviderServer(seed=4) as server:
        done = rashomon("record", "--name", "refund", "--", sys.executable, DEMO_AGENT, home=home, env=server.environ())
    assert done.returncode == 0, done.stderr
    done = rashomon("export", "refund", "--format", "otlp", "--output", file, home=home)
    assert done.returncode == 0, done.stderr
    assert rashomon("import", file, home=other).returncode == 0
    facts = "kind, name, model, input_tokens, output_tokens, finish, text, started_us, duration_us"
    told = []
    for place in (home, other):
        with open_home(place) as store:
            told.append(store.query(f"SELECT {facts} FROM steps ORDER BY position").rows)
    assert told[0] == told[1]
    assert len(told[0]) == 6


@pytest.mark.slow
@pytest.mark.skipif(real_data() is None, reason=NO_REAL_DATA)
def test_a_whole_benchmark_is_taken_in_and_shown(tmp_path: Path) -> None:
    """All 100 runs of tau-bench are in the store, and each can be shown."""
    folder = real_data()
    assert folder is not None
    home = tmp_path / "home"
    done = rashomon("import", folder / "traj" / "tau-bench" / "gpt-4o-airline-tasks-0-24.json", home=home)
    assert done.returncode == 0, done.stderr
    from rashomon.commands import documents

    with open_home(home) as store:
        rows = store.traces()
        assert len(rows) == 100
        assert sum(row.llm_calls for row in rows) == 1381
        assert sum(row.tool_calls for row in rows) == 621
        for row in rows:
            shown: Any = documents.trace_document(store.tape(row.id))
            assert len(shown["steps"]) == row.steps


@pytest.mark.slow
@pytest.mark.skipif(real_data() is None, reason=NO_REAL_DATA)
def test_a_store_of_short_runs_is_no_larger_than_what_they_say(tmp_path: Path) -> None:
    """The store of 100 runs, with all that is decoded of them and its views, has fewer bytes than their messages."""
    folder = real_data()
    assert folder is not None
    runs = folder / "traj" / "tau-bench" / "gpt-4o-airline-tasks-0-24.json"
    unique = {json.dumps(message) for run in json.loads(runs.read_bytes()) for message in run["traj"]}
    home = tmp_path / "home"
    assert rashomon("import", runs, home=home).returncode == 0
    assert (home / "store.duckdb").stat().st_size <= sum(map(len, unique))


def test_lines_that_cannot_be_read_are_said(tmp_path: Path) -> None:
    """Of a file with a document a line, broken lines are named with exit code 4, and the whole ones are here."""
    lines = [json.dumps({"messages": MESSAGES}), "{broken", json.dumps({"messages": MESSAGES[:3]})]
    (tmp_path / "runs.jsonl").write_text("\n".join(lines))
    done = rashomon("import", tmp_path / "runs.jsonl", home=tmp_path / "home")
    assert done.returncode == 4
    assert "2 new traces" in done.stdout
    assert "LEFT OUT: 1 line" in done.stdout


def test_what_was_taken_before_a_file_that_fails_is_said(tmp_path: Path) -> None:
    """Of several files the first is here when the second cannot be read, and both is told."""
    (tmp_path / "one.json").write_text(json.dumps(MESSAGES))
    done = rashomon("import", tmp_path / "one.json", tmp_path / "nowhere.json", home=tmp_path / "home")
    assert done.returncode == 2
    assert "one.json: 1 new trace." in done.stdout
    assert "nowhere.json cannot be read" in done.stderr
