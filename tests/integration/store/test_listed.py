"""The list of traces beside the store: the same answers as the store's, or none."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rashomon import cli
from rashomon.errors import UsageError
from rashomon.filters import parse
from rashomon.store import TraceStore, connection, filter_listed, listed
from rashomon.store.annotations import noted
from rashomon.store.connection import open_writer
from rashomon.store.listed import Line, Listed

NAMES = ["refund", "Triage", "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "a_b%c"]
MODELS = ["gpt-4o", "GPT-4o-mini", "sonnet"]
TERMS = [
    "status:err", "status:ok,open", "outcome:killed", "name:REF", "name:r*d", "name=refund", "name:caf", "name~^r",
    "model:gpt", "model=gpt-4o", "model:gpt-4?", "trace:t00", "trace:*1*", "trace=t003", "in>60", "out<=9", "tok:0..50",
    "steps:3", "cost>2", "cost:0..2.5", "ms>2s", "ms<=2500", "failures>0", "since:10s", "until:20s", "error:boom",
    "error=boom", "has:error", "has:cost,swap", "has:tag", "has:tokens", "has:model", "has:loss", "has:div",
    "has:parent", "has:note", "note:late", "label:p1", "tag:env", "div:x", "text", "step.status:err", "step.status:404",
    "step.status:4xx", "step.status:open,ok", "tool:ref*", "tool:get", "kind:llm", "kind:tool,http", "end:cancelled",
    "grade:missed,live", "dialect:openai*", "finish:length", "finish=stop", "step.model:GPT", "step.name:refund",
    "step.has:error", "step.has:model", "step.has:cost", "step.in>3", "step:0..1", "title:x",
]  # fmt: skip
NOW = 60_000_000_000


def fill(path: Path, chance: random.Random, nested: bool, count: int = 40) -> None:
    """A store of traces with steps of a few sorts, notes, losses, divergences."""
    with open_writer(path) as writer:
        for number in range(count):
            start = NOW - chance.randrange(30) * 1_000_000_007
            facts: dict[str, Any] = {
                "id": f"t{number:03}", "name": chance.choice(NAMES), "started_ns": start,
                "ended_ns": chance.choice([None, start + chance.randrange(5 * 10**9)]),
                "outcome": chance.choice(["ok", "error", "killed", "open"]), "error": chance.choice([None, "boom"]),
                "within": f"t{chance.randrange(number):03}" if nested and number and chance.random() < 0.3 else None,
                "parent": chance.choice([None, "t001"]), "missed": ["peer:1"] * chance.randrange(2),
                **{name: chance.randrange(40) for name in ("steps", "llm_calls", "tool_calls", "failures", "unpriced")},
                "input_tokens": chance.choice([0, 60, 61, 90]), "output_tokens": chance.choice([0, 9, 10]),
                "cost": chance.choice([None, chance.randrange(40) / 10]),
                "models": sorted(chance.sample(MODELS, chance.randrange(3))),
                "provenance": chance.choice(["{}", '{"imported": {"lacks": ["time"]}}']),
                "tags": chance.choice(["{}", '{"env": "prod"}']), "swaps": chance.choice(["[]", '[{"model": "m"}]']),
                "environ": "{}", "versions": "{}", "connections": 0, "fingerprint": "",
            }  # fmt: skip
            insert(writer, "traces", facts)
            for position in range(chance.randrange(4)):
                insert(writer, "steps", step(chance, f"t{number:03}", position))
        for position in range(3):
            trace = f"t{chance.randrange(count):03}"
            insert(writer, "losses", {"trace": trace, "position": position, "reason": "disk full", "steps": 2})
            divergence = {"kind": "x", "summary": "", "paths": [], "detail": []}
            insert(writer, "divergences", {"trace": trace, "position": position, **divergence})
            note = {"id": str(position), "trace": trace, "at_ns": 1, "text": "late", "labels": ["p1"], "data": "null"}
            insert(writer, "annotations", note)


def step(chance: random.Random, trace: str, position: int) -> dict[str, Any]:
    """What matters of a row of `steps`."""
    return {
        "trace": trace, "position": position, "id": f"0.{position}", "kind": chance.choice(["llm", "tool", "http"]),
        "name": chance.choice(["refund", "get_order"]), "title": "x", "input_tokens": chance.randrange(6),
        "ended": chance.choice(["complete", "cancelled", "open", "error"]),
        "failure_type": chance.choice([None, None, "ValueError"]), "status": chance.choice([None, 200, 404, 500]),
        "model": chance.choice([None, *MODELS]), "grade": chance.choice([None, "missed", "live"]),
        "dialect": chance.choice([None, "openai.chat"]), "finish": chance.choice([None, "stop", "length"]),
    }  # fmt: skip


def insert(writer: Any, table: str, row: dict[str, Any]) -> None:
    """Put one row into a table; what may not be left out and is not given is empty."""
    needed = writer.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? AND NOT is_nullable", [table]
    ).fetchall()
    empty: dict[str, Any] = {name: [] if "[]" in kind else "" if kind == "VARCHAR" else 0 for name, kind in needed}
    whole = {**empty, **row}
    marks = ", ".join("?" * len(whole))
    writer.execute(f"INSERT INTO {table} ({', '.join(whole)}) VALUES ({marks})", list(whole.values()))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with its list."""
    monkeypatch.setattr(listed, "LEAST", 1)
    found = tmp_path / "store.duckdb"
    fill(found, random.Random(1), False)
    keep(found)
    return found


def keep(store: Path) -> bool:
    """Leave the list of a store that has just been written."""
    with TraceStore(store) as opened:
        return listed.write(opened, settled_ns=0)


def by_store(store: TraceStore, **asked: Any) -> list[Line]:
    """The same list as the store has it."""
    rows = store.traces(**asked)
    missed, notes = store.missed([row.id for row in rows]), noted(store)
    return [Line(row, missed.get(row.id, ()), notes.get(row.id, 0)) for row in rows]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_a_list_answers_as_the_store_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nested: bool, seed: int
) -> None:
    """Whatever the filter, page, name and age: the same lines as the store's, or it is left to the store."""
    print(f"seed {seed}")
    monkeypatch.setattr(listed, "LEAST", 1)
    store, chance = tmp_path / "store.duckdb", random.Random(f"{nested} {seed}")
    fill(store, chance, nested)
    assert keep(store)
    answered = 0
    with TraceStore(store) as opened:
        for number in range(160):
            single = TERMS[number : number + 1] or chance.sample(TERMS, chance.randrange(4))
            words = [chance.choice(["", "", "-"]) + term for term in single]
            asked: dict[str, Any] = {
                "matching": parse(" ".join(words)),
                "limit": chance.choice([1, 3, 100]),
                "name": chance.choice([None, None, "refund"]),
                "since_ns": chance.choice([None, NOW - 15 * 10**9]),
                "now_ns": NOW,
            }
            wanted = by_store(opened, **asked)
            try:
                found = filter_listed.traces(Listed(store), asked.pop("matching"), **asked)
            except filter_listed.Beyond:
                continue
            answered += 1
            assert found == wanted, words
            assert [list(map(type, line.row)) for line in found] == [list(map(type, line.row)) for line in wanted]
    print(f"{answered} of 160 answered")
    assert answered > (50 if nested else 80)


def test_a_list_is_worth_nothing_for_another_state_of_the_store(path: Path) -> None:
    """Whoever writes to the store removes the list first; one that came back from elsewhere is not used."""
    old = listed.path_of(path).read_bytes()
    left = path.with_name(f"{path.name}.list-123")
    left.write_bytes(b"half")
    assert listed.beside(path) is not None
    with open_writer(path) as writer:
        assert not listed.path_of(path).exists()
        assert not left.exists()
        writer.execute("DELETE FROM traces WHERE id = 't001'")
    listed.path_of(path).write_bytes(old)
    assert listed.beside(path) is None


def test_a_list_beside_a_log_is_not_used(path: Path) -> None:
    """A log beside the store holds what the file does not have yet."""
    path.with_name(f"{path.name}.wal").touch()
    assert listed.beside(path) is None


def test_no_list_is_left_of_a_store_that_changed_just_now(path: Path) -> None:
    """A file can change again under the same time stamp; then its list waits for the next reader."""
    listed.drop(path)
    with TraceStore(path) as opened:
        assert not listed.write(opened, settled_ns=3600 * 10**9)
    assert not listed.path_of(path).exists()


def test_a_damaged_list_is_not_believed(path: Path) -> None:
    """Bytes that were flipped, and a file that was cut, are noticed: the lines are right, or the store is asked."""
    whole, chance = listed.path_of(path).read_bytes(), random.Random(5)
    query = parse("-status:open step.status:err")
    right = filter_listed.traces(Listed(path), query)
    told = 0
    for turn in range(300):
        at = chance.randrange(len(whole))
        damaged = whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :]
        listed.path_of(path).write_bytes(damaged if turn % 3 else whole[:at])
        try:
            assert filter_listed.traces(Listed(path), query) == right
        except listed.Unusable:
            told += 1
    assert told > 50


def test_steps_of_too_many_sorts_are_for_the_store(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store in which each step has a name of its own keeps a list for filters about traces alone."""
    monkeypatch.setattr(listed, "MOST_SORTS", 3)
    listed.drop(path)
    assert keep(path)
    assert filter_listed.traces(Listed(path), parse("status:err"))
    with pytest.raises(filter_listed.Beyond):
        filter_listed.traces(Listed(path), parse("kind:llm"))


@pytest.fixture
def typed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Types `rashomon ls` for a home, and gives what it prints."""

    def run(*words: str) -> str:
        assert cli.main(["ls", *words, "--home", str(tmp_path)]) == 0
        return capfd.readouterr().out

    return run


def test_ls_leaves_a_list_and_reads_it(path: Path, typed: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The second list of a home that nothing is new for needs no database, and prints the same."""
    listed.drop(path)
    os.utime(path, ns=(0, 10**18))
    words = [[], ["status:err"], ["kind:tool", "--limit", "3"], ["--json", "in>60"], ["name~r"]]
    with monkeypatch.context() as short:
        short.setattr(listed, "LEAST", 1000)
        by_database = [typed(*one) for one in words]
    assert not listed.path_of(path).exists()
    typed()
    assert listed.path_of(path).exists()
    assert [typed(*one) for one in words] == by_database

    def refused(*_: object) -> None:
        raise AssertionError("the store was opened")

    monkeypatch.setattr(connection, "open_reader", refused)
    assert [typed(*one) for one in words[:-1]] == by_database[:-1]


def test_a_damaged_list_is_made_anew(path: Path, typed: Callable[..., str]) -> None:
    """Who notices the damage asks the store, prints the same, and leaves a whole list."""
    os.utime(path, ns=(0, 10**18))
    typed()
    assert keep(path)
    whole = listed.path_of(path).read_bytes()
    by_list = typed("kind:tool")
    listed.path_of(path).write_bytes(whole[: len(whole) // 2])
    assert typed("kind:tool") == by_list
    assert filter_listed.traces(Listed(path), parse("kind:tool"))


def test_ls_does_not_wait_for_who_writes_to_leave_a_list(
    path: Path, typed: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that is busy by the time that the list could be made stays without one, and nobody is told."""
    listed.drop(path)
    os.utime(path, ns=(0, 10**18))
    typed()
    listed.drop(path)
    real, opened = connection.open_reader, []

    def busy(store: Path, wait_s: float = 10) -> Any:
        opened.append(wait_s)
        if len(opened) > 1:
            assert wait_s == 0
            raise UsageError("The store is in use.")
        return real(store, wait_s)

    monkeypatch.setattr(connection, "open_reader", busy)
    assert typed()
    assert len(opened) == 2
    assert not listed.path_of(path).exists()
