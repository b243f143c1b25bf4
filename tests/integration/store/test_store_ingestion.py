"""Ingestion: idempotent, incremental, in any order, at any moment, and never less than before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rashomon import journal, tapes
from rashomon.journal import Code
from rashomon.model import Tape
from rashomon.store import TraceStore, ingest, ingest_new, open_home
from rashomon.store.lease import GivenUp
from rashomon.store.taking import Taking
from rashomon.store.writing import Numbers
from tests.faults.store_journals import content

URL = "https://api.example.com/v1/chat/completions"


def frames(process: int, traces: dict[int, dict[str, Any]], steps: int, role: str = "worker") -> list[list[Any]]:
    """What a process writes that makes some calls, in turn in each of its traces, and ends."""
    out: list[list[Any]] = [
        [Code.PROCESS, {"started_ns": 10**18 + process * 10**6, "pid": 100 + process, "argv": ["a.py"], "role": role}]
    ]
    out += [[Code.TRACE, number, info] for number, info in traces.items()]
    for step in range(steps):
        trace, at = step % len(traces), 1000 * step
        body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": f"{process}: {step}"}]})
        answer = json.dumps({"model": "gpt-4o", "usage": {"prompt_tokens": 3, "completion_tokens": 2}, "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}]})  # fmt: skip
        head = {"method": "POST", "url": URL, "headers": []}
        out.append([Code.CALL, step, trace, "llm", "api.example.com", [], at, None, head, body.encode()])
        out.append([Code.HEAD, step, at + 10, {"status": 200, "headers": [[None, "content-type", "application/json"]]}])
        out.append([Code.PIECE, step, at + 20, answer[:9].encode()])
        out.append([Code.PIECE, step, at + 30, answer[9:].encode()])
        out.append([Code.END, step, at + 40, "complete", None])
    out += [[Code.TRACE_END, number, 10**6, {"outcome": "ok"}] for number in traces]
    return [*out, [Code.CLOSE, 10**6]]


def info(trace: str, **more: Any) -> dict[str, Any]:
    """The head of a trace."""
    return {"id": trace, "name": f"name of {trace}", "started_ns": 10**18, **more}


def write(path: Path, content: list[list[Any]]) -> None:
    """Write a journal whose last change is long ago, so that it counts as settled."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(journal.header_bytes() + b"".join(journal.frame(journal.pack(item)) for item in content))
    os.utime(path, ns=(10**18, 10**18 + path.stat().st_size))


def assembled(folder: Path) -> dict[str, Tape]:
    """The tapes of a folder of journals, by trace."""
    return {tape.trace.id: tape for tape in tapes.assemble([tapes.read_part(path) for path in folder.iterdir()])}


def test_who_numbers_parts_anew_keeps_them_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that has numbered many parts begins from 0 again: numbers of before are let go, and not taken for new
    ones, also where a batch is written a second time."""
    monkeypatch.setattr("rashomon.store.portions._NUMBERED", 7)
    for number in range(20):
        write(tmp_path / "journals" / f"{number}.rsj", frames(number, {0: info(f"t{number}")}, 5))
    made: list[Numbers] = []
    begun = Numbers.__init__

    def begins(self: Numbers) -> None:
        begun(self)
        made.append(self)

    monkeypatch.setattr(Numbers, "__init__", begins)
    batch, failed = Taking.transaction, list[bool]()

    def fails_once(*given: Any) -> Any:
        written = batch(*given)
        if not failed:
            failed.append(True)
            raise GivenUp
        return written

    monkeypatch.setattr(Taking, "transaction", fails_once)
    with open_home(tmp_path) as store:
        tapes_here = assembled(tmp_path / "journals")
        assert {trace: store.tape(trace).steps for trace in tapes_here} == {
            trace: tape.steps for trace, tape in tapes_here.items()
        }
    assert failed
    assert len(made) > 5
    assert max(len(one.known) for one in made) < 40


def test_a_second_ingestion_reads_nothing(tmp_path: Path) -> None:
    """What is in the store is neither read nor written again."""
    write(tmp_path / "journals" / "a.rsj", frames(0, {0: info("t1")}, 5))
    first = ingest_new(tmp_path)
    assert (first.new, first.updated, first.steps, first.journals) == (("t1",), (), 5, 1)
    stored = (tmp_path / "store.duckdb").read_bytes()
    again = ingest_new(tmp_path)
    assert (again.new, again.updated, again.journals) == ((), (), 0)
    (tmp_path / "store.duckdb.seen").unlink()
    again = ingest(tmp_path / "journals", tmp_path / "store.duckdb")
    assert (again.new, again.updated, again.journals) == ((), (), 0)
    assert (tmp_path / "store.duckdb").read_bytes() == stored


def test_nothing_new_does_not_even_open_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reading command that finds nothing new looks at files only."""
    write(tmp_path / "journals" / "a.rsj", frames(0, {0: info("t1")}, 5))
    ingest_new(tmp_path)
    monkeypatch.setattr("rashomon.store.connection._connect", None)
    assert ingest_new(tmp_path).journals == 0


def test_a_deleted_store_is_built_again(tmp_path: Path) -> None:
    """A store that somebody deleted comes back, although the note beside it says that nothing is new."""
    write(tmp_path / "journals" / "a.rsj", frames(0, {0: info("t1")}, 5))
    ingest_new(tmp_path)
    (tmp_path / "store.duckdb").unlink()
    assert ingest_new(tmp_path).new == ("t1",)


def test_how_a_conversation_begins_is_found_in_short_and_in_forgotten_bodies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request of under 64 bytes has a first message too; and where parts are not remembered they are read again."""
    head = {"method": "POST", "url": "https://api.openai.com/v1/chat/completions", "headers": []}
    short = b'{"messages":[{"role":"user","content":"hi"}]}'
    long = [b'{"role":"system","content":"Be brief."}', *(b'{"role":"user","content":"%d"}' % at for at in range(9))]
    bodies = [short, *(b'{"messages":[%s]}' % b",".join(long[: 2 + turn]) for turn in range(8))]
    calls: list[list[Any]] = [
        [Code.CALL, step, 0, "llm", "chat", [], step, None, head, body] for step, body in enumerate(bodies)
    ]
    begun = [[Code.PROCESS, {"started_ns": 10**18, "pid": 7, "argv": ["a.py"]}], [Code.TRACE, 0, info("t1")]]
    write(tmp_path / "journals" / "a.rsj", [*begun, *calls])
    ingest_new(tmp_path)
    with open_home(tmp_path) as store:
        found = store.query("SELECT prompt, conversation FROM steps ORDER BY position").rows
    assert found[0][0] is None
    assert found[0][1] is not None
    assert len(set(found[1:])) == 1
    assert None not in found[1]
    monkeypatch.setattr("rashomon.store.portions._CONTENTS", 1)
    ingest(tmp_path / "journals", tmp_path / "forgetful.duckdb")
    assert content(tmp_path / "forgetful.duckdb") == content(tmp_path / "store.duckdb")


def test_a_home_without_recordings_gets_no_store(tmp_path: Path) -> None:
    """Looking into an empty or missing home makes no file."""
    assert open_home(tmp_path / "nowhere").traces() == []
    assert list(tmp_path.iterdir()) == []


WHOLE = {
    "launcher.rsj": frames(0, {0: info("run", command=["python", "a.py"])}, 0, role="launcher"),
    "worker1.rsj": frames(1, {0: info("run"), 1: info("inner", within="run")}, 6),
    "worker2.rsj": frames(2, {0: info("run")}, 3),
    "other.rsj": frames(3, {0: info("other")}, 2),
}


def grown_and_clean(folder: Path, looks: Iterable[tuple[str, float]]) -> tuple[object, object]:
    """Ingest the journals as they grow: each time one has come to a share of its size; then all, whole. The content of
    that store, and of one that was made at once."""
    for name, items in WHOLE.items():
        write(folder / "whole" / name, items)
    for name, share in looks:
        final, growing = folder / "whole" / name, folder / "journals" / name
        growing.parent.mkdir(exist_ok=True)
        now = growing.stat().st_size if growing.exists() else 0
        growing.write_bytes(final.read_bytes()[: max(now, round(share * final.stat().st_size))])
        assert ingest_new(folder).damaged == ()
    for name in WHOLE:
        (folder / "journals" / name).write_bytes((folder / "whole" / name).read_bytes())
        os.utime(folder / "journals" / name, ns=(10**18, 10**18))
    ingest_new(folder)
    clean = folder / "clean.duckdb"
    ingest(folder / "journals", clean)
    with TraceStore(clean) as store:
        for trace, expected in assembled(folder / "journals").items():
            assert store.tape(trace, within=False) == expected
    return content(folder / "store.duckdb"), content(clean)


@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=st.permutations([*WHOLE, *WHOLE]), shares=st.lists(st.floats(0, 1), min_size=8, max_size=8))
def test_any_order_and_any_moment_give_the_same_store(
    names: list[str], shares: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Journals that appear in any order, cut at any byte on the way, end in the content of one clean ingestion."""
    grown, clean = grown_and_clean(tmp_path_factory.mktemp("home"), zip(names, shares, strict=True))
    assert grown == clean


def test_a_trace_that_is_made_anew_knows_what_was_applied_to_its_steps(tmp_path: Path) -> None:
    """A step's end is read by itself; then an earlier process of the trace turns up: all is made anew, nothing lost."""
    grown, clean = grown_and_clean(tmp_path, [("worker2.rsj", 0.55), ("worker2.rsj", 0.684)])
    assert grown == clean


def test_a_growing_journal_updates_its_traces_only(tmp_path: Path) -> None:
    """A journal that is being written is taken as far as it is; a trace that did not change is not written."""
    items = frames(0, {0: info("done"), 1: info("going")}, 4)
    path = tmp_path / "journals" / "a.rsj"
    write(path, items[:-3])
    assert ingest_new(tmp_path).new == ("done", "going")
    call = [Code.CALL, 9, 1, "tool", "look", [], 9000, None, {"ref": "m:look"}, b"\x80"]
    write(path, [*items[:-3], call])
    report = ingest_new(tmp_path)
    assert (report.new, report.updated, report.steps) == ((), ("going",), 1)
    assert [row.title for row in open_home(tmp_path).step_rows("going")][-1].startswith("look(")


def test_parts_that_nothing_needs_any_more_go(tmp_path: Path) -> None:
    """The half of an answer that was stored while it was being received does not stay."""
    path = tmp_path / "journals" / "a.rsj"
    items = frames(0, {0: info("t1")}, 1)
    for end in (5, len(items)):
        write(path, items[:end])
        ingest_new(tmp_path)
    store = open_home(tmp_path)
    assert store.query("select count(*) from parts where digest not in (select part from step_parts)").rows == [(0,)]
    assert store.query("select count(*) from parts").rows == [(3,)]


def test_a_message_sent_many_times_is_stored_once(tmp_path: Path) -> None:
    """A conversation of sixty turns keeps each message once, and every request whole."""
    messages: list[dict[str, str]] = []
    items = frames(0, {0: info("talk")}, 0)[:2]
    unique = 0
    for turn in range(60):
        messages.append({"role": "user", "content": f"question {turn} " + os.urandom(300).hex()})
        unique += len(messages[-1]["content"])
        body = json.dumps({"model": "m", "messages": messages}).encode()
        head = {"method": "POST", "url": URL, "headers": []}
        items.append([Code.CALL, turn, 0, "llm", "api.example.com", [], turn, None, head, body])
    write(tmp_path / "journals" / "a.rsj", items)
    store = open_home(tmp_path)
    assert store.query("select count(*) from step_parts where path = 'request.messages[0]'").rows == [(60,)]
    assert store.query("select sum(size) from parts").rows[0][0] < 1.2 * unique + 60 * 300
    assert store.tape("talk") == assembled(tmp_path / "journals")["talk"]
    found = store.query("select count(*) from parts where text like '%question 7 %'").rows
    assert found == [(1,)]


def test_a_deleted_journal_takes_nothing_away(tmp_path: Path) -> None:
    """What was ingested stays when its journal is deleted; another journal of the trace may grow all the same."""
    write(tmp_path / "journals" / "1.rsj", frames(1, {0: info("run")}, 4))
    write(tmp_path / "journals" / "2.rsj", frames(2, {0: info("run")}, 2)[:-2])
    ingest_new(tmp_path)
    before = open_home(tmp_path).tape("run")
    (tmp_path / "journals" / "1.rsj").unlink()
    write(tmp_path / "journals" / "2.rsj", frames(2, {0: info("run")}, 20))
    report = ingest_new(tmp_path)
    assert (report.kept, report.updated) == ((), ("run",))
    after = open_home(tmp_path).tape("run")
    assert len(after.steps) == 24
    assert [step._replace(index=0) for step in after.steps if step.id.startswith("0.")] == [
        step._replace(index=0) for step in before.steps if step.id.startswith("0.")
    ]


def test_a_deleted_journal_keeps_a_trace_that_would_have_to_be_made_anew(tmp_path: Path) -> None:
    """A trace whose steps would get other names, and of which a journal is gone, stays as it is and is named."""
    write(tmp_path / "journals" / "2.rsj", frames(2, {0: info("run")}, 4))
    ingest_new(tmp_path)
    before = open_home(tmp_path).tape("run")
    (tmp_path / "journals" / "2.rsj").unlink()
    write(tmp_path / "journals" / "1.rsj", frames(1, {0: info("run")}, 4))
    report = ingest_new(tmp_path)
    assert report.kept == (("run", "2.rsj no longer tells of it"),)
    assert open_home(tmp_path).tape("run") == before
    assert ingest_new(tmp_path).kept == ()


def test_a_journal_that_lost_content_takes_nothing_away(tmp_path: Path) -> None:
    """A journal that became shorter is named, and the store keeps the longer trace."""
    items = frames(1, {0: info("run")}, 4)
    write(tmp_path / "journals" / "1.rsj", items)
    ingest_new(tmp_path)
    write(tmp_path / "journals" / "1.rsj", items[:8])
    report = ingest_new(tmp_path)
    assert report.kept == (("run", "its journals lost 2 steps"),)
    assert len(open_home(tmp_path).tape("run").steps) == 4


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    """Whoever watches hears of all journals."""
    for number in range(3):
        write(tmp_path / "journals" / f"{number}.rsj", frames(number, {0: info(f"t{number}")}, 1))
    heard: list[tuple[int, int]] = []
    ingest_new(tmp_path, lambda done, todo: heard.append((done, todo)))
    assert heard[-1] == (3, 3)


def test_steps_of_inner_traces_stand_in_the_outer_tape(tmp_path: Path) -> None:
    """A tape has the steps of the traces within it, in order of time, under ids that are unique."""
    write(tmp_path / "journals" / "1.rsj", frames(1, {0: info("run"), 1: info("inner", within="run")}, 6))
    write(tmp_path / "journals" / "2.rsj", frames(2, {0: info("inner2", within="inner")}, 2))
    store = open_home(tmp_path)
    tape = store.tape("run")
    assert len(tape.steps) == 8
    assert len({step.id for step in tape.steps}) == 8
    assert [step.index for step in tape.steps] == list(range(8))
    assert [step.started_us for step in tape.steps] == sorted(step.started_us for step in tape.steps)
    assert [step.id for step in tape.steps if step.id.startswith("0.")] == [f"0.{number}" for number in range(6)]
    assert [row.id for row in store.step_rows("run")] == [step.id for step in tape.steps]
    assert [store.step("run", step.id) for step in tape.steps] == list(tape.steps)
    assert len(store.tape("run", within=False).steps) == 3
    (row,) = store.traces(where="within is null")
    assert (row.id, row.steps, row.llm_calls, row.input_tokens, row.output_tokens) == ("run", 8, 8, 24, 16)
    assert store.resolve("@last") == "run"
