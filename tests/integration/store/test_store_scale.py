"""A store with many traces: how much work a question is, counted and not timed."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rashomon.store import TraceStore, connection, ingest_new, open_home, seen
from rashomon.store import folder as folders
from tests.bench import store_journals

TRACES, STEPS, SEED = 200, 4_000, 1


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small one of the stores that `make bench-store` measures: 200 traces, one of them of 1,000 steps."""
    folder = tmp_path_factory.mktemp("scale")
    made = store_journals.write_journals(folder / "journals", TRACES, STEPS, SEED)
    report = ingest_new(folder)
    print(f"seed {SEED}: {made}")
    assert (len(report.new), report.steps, report.damaged, report.skipped) == (made.traces, made.steps, (), ())
    return folder


class Watched:
    """Counts the questions that a store asks, and the rows that it is given."""

    def __init__(self, store: TraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.questions: list[str] = []
        self.rows = 0
        original = TraceStore._tuples

        def counted(own: TraceStore, sql: str, *rest: Any) -> list[tuple[Any, ...]]:
            found = original(own, sql, *rest)
            self.questions.append(sql)
            self.rows += len(found)
            return found

        monkeypatch.setattr(TraceStore, "_tuples", counted)


@pytest.fixture
def store(home: Path) -> Iterator[TraceStore]:
    """That store, open."""
    with TraceStore(home / "store.duckdb") as opened:
        yield opened


@pytest.fixture
def watched(store: TraceStore, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """What is asked of it."""
    return Watched(store, monkeypatch)


def tables(store: TraceStore, sql: str) -> set[str]:
    """The tables that a statement scans."""
    drawn = store.query(f"EXPLAIN {sql}").rows[0][1]
    return {name.rpartition(".")[2] for name in re.findall(r"Table:\s*(\S+)", drawn)}


@pytest.mark.parametrize("reference", ["@last", "@prev", "@last~150", store_journals.LONG_NAME, "whole id", "prefix"])
def test_a_reference_reads_no_list_of_traces(store: TraceStore, watched: Watched, reference: str) -> None:
    """Whatever names a trace is found by a few questions that are answered with a few rows."""
    (whole,) = store.query("SELECT id FROM traces ORDER BY started_ns LIMIT 1 OFFSET 77").rows[0]
    store.resolve({"whole id": whole, "prefix": whole[:16]}.get(reference, reference))
    assert len(watched.questions) <= 4
    assert watched.rows <= 4


def test_a_page_asks_little_and_reads_no_steps(store: TraceStore, watched: Watched) -> None:
    """A page of the list is three questions, answered with its lines and what is within them; none reads steps."""
    assert len(store.traces(limit=50)) == 50
    assert len(watched.questions) == 3
    assert 51 <= watched.rows <= 60
    assert not any(re.search(r"(FROM|JOIN) steps", question) for question in watched.questions)
    small = {"divergences", "losses", "processes", "launched"}
    assert tables(store, "SELECT * FROM trace_list LIMIT 50") <= {"traces", *small}


def test_the_list_adds_up_what_is_within(store: TraceStore) -> None:
    """A line counts the steps, tokens, failures and models of the traces within it, as a count of steps would."""
    listed = {row.id: row for row in store.traces()}
    assert len(listed) == len(store.query("SELECT id FROM traces").rows)
    inside = [row for row in listed.values() if row.within is not None]
    assert inside
    for inner in inside:
        outer = listed[str(inner.within)]
        counted = store.query(
            "SELECT count(*), count(*) FILTER (kind = 'llm'), sum(input_tokens)::BIGINT,"
            " list_sort(list(DISTINCT model) FILTER (model IS NOT NULL))"
            f" FROM steps WHERE trace IN ('{outer.id}', '{inner.id}')"
        ).rows[0]
        assert (outer.steps, outer.llm_calls, outer.input_tokens, outer.models) == counted
        assert outer.failures >= inner.failures


def test_the_rows_of_a_trace_lie_together(store: TraceStore) -> None:
    """The steps of the long trace are neighbours in the file: a question for them reads no others."""
    trace = store.resolve(store_journals.LONG_NAME)
    low, high, count = store.query(f"SELECT min(rowid), max(rowid), count(*) FROM steps WHERE trace = '{trace}'").rows[
        0
    ]
    assert count == STEPS // 4
    assert high - low < 1.5 * count


def test_opening_a_long_trace_reads_its_steps_and_no_body(store: TraceStore, watched: Watched) -> None:
    """An outline is a fixed number of questions, one of them for the steps, none for their parts."""
    outline = store.outline(store.resolve(store_journals.LONG_NAME))
    assert len(outline.steps) == STEPS // 4
    assert not any("parts" in question.partition(" FROM ")[2] for question in watched.questions)
    assert len(watched.questions) <= 12
    assert watched.rows <= len(outline.steps) + 30


def test_one_step_of_a_long_trace_is_read_alone(store: TraceStore, watched: Watched) -> None:
    """A step is found without the list of steps."""
    step = store.step(store.resolve(store_journals.LONG_NAME), "777")
    assert step.index == 777
    assert watched.rows <= 6


def test_outline_and_tape_tell_the_same(store: TraceStore) -> None:
    """The lines of a trace are those of its steps, of one with a trace within it too."""
    inner = next(row for row in store.traces() if row.within is not None)
    for trace in (str(inner.within), inner.id):
        tape, outline = store.tape(trace), store.outline(trace)
        assert outline.trace == tape.trace
        assert [(row.id, row.index, row.kind, row.started_us, row.within) for row in outline.steps] == [
            (step.id, step.index, step.kind, step.started_us, step.within) for step in tape.steps
        ]


def test_many_old_journals_are_not_looked_at_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once all journals of a large folder are known, another look asks for those only that may still grow."""
    monkeypatch.setattr(seen, "MANY", 100)
    folder = home / "journals"
    os.utime(folder, ns=(10**18, 10**18))
    open_home(home)
    listings: list[Path] = []

    def listing(one: Path) -> dict[str, folders.Stat]:
        listings.append(one)
        return {}

    monkeypatch.setattr(folders, "listing", listing)
    assert seen.nothing_changed(home / "store.duckdb", folder)
    open_home(home)
    assert listings == []
    note = json.loads((home / "store.duckdb.folder").read_text())
    with connection.open_reader(home / "store.duckdb") as reader:
        growing = {name for (name,) in reader.execute("SELECT name FROM journals WHERE NOT closed").fetchall()}
    assert set(note["watched"]) == growing


def test_a_thorough_look_notices_what_cannot_be(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed journal that changes all the same is noticed by who looks at all of them."""
    monkeypatch.setattr(seen, "MANY", 100)
    folder = home / "journals"
    os.utime(folder, ns=(10**18, 10**18))
    open_home(home)
    watched = json.loads((home / "store.duckdb.folder").read_text())["watched"]
    closed = next(path for path in sorted(folder.iterdir()) if path.name not in watched)
    before, times = closed.read_bytes(), closed.stat()
    closed.write_bytes(before + b"\0")
    assert open_home(home).ingested.journals == 0
    assert open_home(home, thorough=True).ingested.journals == 1
    closed.write_bytes(before)
    os.utime(closed, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert open_home(home, thorough=True).ingested.journals == 1


def test_a_new_or_growing_journal_is_noticed(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither a new file, nor one that grows, nor another store is missed by the note on the folder."""
    monkeypatch.setattr(seen, "MANY", 100)
    store, folder = home / "store.duckdb", home / "journals"
    os.utime(folder, ns=(10**18, 10**18))
    open_home(home)
    watched = next(iter(json.loads((home / "store.duckdb.folder").read_text())["watched"]))
    with (folder / watched).open("ab") as file:
        file.write(b"\0")
    assert not seen.nothing_changed(store, folder)
    (folder / watched).write_bytes((folder / watched).read_bytes()[:-1])
    os.utime(folder / watched, ns=(10**18, 10**18))
    open_home(home)
    os.utime(folder, ns=(10**18, 10**18))
    open_home(home)
    assert seen.nothing_changed(store, folder)
    (folder / "new.rsj").write_bytes(b"")
    assert not seen.nothing_changed(store, folder)
    (folder / "new.rsj").unlink()
    os.utime(folder, ns=(10**18, 10**18))
    assert seen.nothing_changed(store, folder)
    os.utime(store, ns=(time.time_ns(), time.time_ns()))
    assert not seen.nothing_changed(store, folder)
    assert open_home(home).traces(limit=1)
