"""Old traces go from store and journals, their space comes back, and what must stay stays."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rashomon import journal, notes, tapes
from rashomon.journal import Code
from rashomon.measures import shown_size
from rashomon.notes import Note
from rashomon.store import TraceStore, connection, ingest, ingest_new
from rashomon.store.compaction import compact, mark_due
from rashomon.store.journal_removal import remove_from
from rashomon.store.retention import Keep, Plan, plan, remove, sizes
from tests.faults.store_journals import frames, write_frames
from tests.in_process import main

NOW = 10**18 + 100 * 86_400 * 10**9
DAY = 86_400 * 10**9


def shifted(content: list[list[Any]], days: int, **info: Any) -> list[list[Any]]:
    """The same journal, some days later, with more said of its trace."""
    for item in content:
        if item[0] == Code.PROCESS:
            item[1]["started_ns"] += days * DAY
        elif item[0] == Code.TRACE:
            item[2]["started_ns"] += days * DAY
            item[2].update(info)
    return content


def put(home: Path, trace: str, days: int, steps: int = 4, size: int = 40, **info: Any) -> Path:
    """A journal with one trace, some days after the first."""
    path = home / "journals" / f"{trace}.rsj"
    write_frames(path, shifted(frames(trace, steps, size=size), days, **info))
    return path


def going(found: Plan) -> list[str]:
    """Ids of what would go."""
    return [one.id for one in found.going]


def interleaved(count: int, *traces: str) -> list[list[Any]]:
    """A journal of one process that worked on several traces at once, with shared headers, places and bodies."""
    out: list[list[Any]] = [[Code.PROCESS, {"started_ns": 10**18, "pid": 7, "argv": ["serve.py"]}]]
    out += [[Code.TRACE, n, {"id": one, "name": one, "started_ns": 10**18}] for n, one in enumerate(traces)]
    bodies: list[bytes] = []
    defined = False
    for number in range(count):
        trace = number % len(traces)
        text = f"turn {number} " + "long ago " * 60
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}] * 2}).encode()
        header: Any = 0 if defined else [0, "x-app", "shared"]
        defined = True
        head = {"method": "POST", "url": "https://api.example.com/v1/chat/completions", "headers": [header]}
        base: Any = body
        if bodies:
            prefix = journal.common_prefix(bodies[-1], body)
            suffix = journal.common_suffix(bodies[-1], body, min(len(bodies[-1]), len(body)) - prefix)
            base = [number - 1, prefix, suffix, body[prefix : len(body) - suffix]]
        bodies.append(body)
        at = 100 * number
        out.append([Code.CALL, number, trace, "llm", "m", [], at, None, head, base])
        site: Any = 0 if number else [0, "serve.py", 3, "main"]
        out.append([Code.READ, trace, "clock", "time.time", 1.5, [], at, None, site])
        out.append([Code.HEAD, number, at, {"status": 200, "headers": [1] if number else [[1, "via", "proxy"]]}])
        out.append([Code.PIECE, number, at + 1, b"answer %d" % number])
        out.append([Code.END, number, at + 2, "complete", None])
    out += [[Code.TRACE_END, n, 10**6, {"outcome": "ok"}] for n in range(len(traces))]
    return [*out, [Code.CLOSE, 10**6]]


def test_old_traces_go_from_store_and_journals(tmp_path: Path) -> None:
    """What ended longer ago than is kept goes, and no ingestion brings it back; the rest is untouched."""
    for number in range(6):
        put(tmp_path, f"t{number}", days=20 * number)
    ingest_new(tmp_path)
    with TraceStore(tmp_path / "store.duckdb") as store:
        before = store.tape("t4")
    found = plan(tmp_path, Keep(age_ns=30 * DAY), NOW)
    assert going(found) == ["t0", "t1", "t2", "t3"]
    assert sum(one.journal_bytes for one in found.going) > 0
    assert len(TraceStore(tmp_path / "store.duckdb").traces()) == 6, "a plan changes nothing"
    done = remove(tmp_path, going(found))
    assert done.removed == ("t0", "t1", "t2", "t3")
    assert sorted(path.name for path in (tmp_path / "journals").iterdir()) == ["t4.rsj", "t5.rsj"]
    assert ingest_new(tmp_path).new == ()
    with TraceStore(tmp_path / "store.duckdb") as store:
        assert [row.id for row in store.traces()] == ["t5", "t4"]
        assert store.tape("t4") == before
    assert going(plan(tmp_path, Keep(age_ns=30 * DAY), NOW)) == []


def test_space_is_given_back(tmp_path: Path) -> None:
    """Files are smaller by about what the removed traces took, and the store is what a new one would be."""
    import random

    chance = random.Random(7)
    for number in range(10):
        content = frames(f"t{number}", 60, size=20_000)
        for item in content:
            if item[0] == Code.PIECE:
                item[3] = chance.randbytes(20_000).hex().encode()
        write_frames(tmp_path / "journals" / f"t{number}.rsj", content)
    ingest_new(tmp_path)
    store_before, journals_before = sizes(tmp_path)
    done = remove(tmp_path, [f"t{number}" for number in range(8)])
    assert (done.store_before, done.journals_before) == (store_before, journals_before)
    assert done.journals_after < 0.25 * journals_before
    ingest(tmp_path / "journals", tmp_path / "fresh.duckdb")
    fresh = (tmp_path / "fresh.duckdb").stat().st_size
    assert done.store_after == (tmp_path / "store.duckdb").stat().st_size < 0.5 * store_before
    assert done.store_after < 1.3 * fresh


def test_the_oldest_go_until_it_fits(tmp_path: Path) -> None:
    """With a limit of size only so many traces go as are needed, oldest first."""
    for number in range(6):
        put(tmp_path, f"t{number}", days=number, steps=30, size=3000)
    ingest_new(tmp_path)
    total = sum(sizes(tmp_path))
    found = plan(tmp_path, Keep(max_bytes=total // 2), NOW)
    assert going(found) == [f"t{number}" for number in range(len(found.going))]
    assert 2 <= len(found.going) <= 4
    assert going(plan(tmp_path, Keep(max_bytes=2 * total), NOW)) == []


def test_a_limit_below_an_empty_store_takes_nothing(tmp_path: Path) -> None:
    """Not even without any trace would the store fit: nothing goes, and the least limit is named. That one suffices."""
    for number in range(3):
        put(tmp_path, f"t{number}", days=number)
    ingest_new(tmp_path)
    least = len(connection.empty())
    for given in ("0", "1kB", f"{least - 1}B"):
        for yes in ((), ("--yes",)):
            refused = main("gc", "--max-size", given, *yes, home=tmp_path)
            assert (refused.returncode, refused.stdout) == (2, "")
            assert f"than a store without traces takes: {shown_size(least)}." in refused.stderr
    assert len(TraceStore(tmp_path / "store.duckdb").traces()) == 3
    said = main("gc", "--max-size", f"{least}B", home=tmp_path).stdout
    assert "3 traces would go" in said
    assert f"more go, the oldest first, while the files are larger than {shown_size(least)}." in said
    done = main("gc", "--max-size", f"{least}B", "--yes", home=tmp_path)
    assert done.stdout.startswith("3 traces removed."), done.stderr
    assert "may not go" not in done.stdout
    assert sum(sizes(tmp_path)) <= least


def test_the_recording_of_a_kept_replay_stays_and_is_named(tmp_path: Path) -> None:
    """A replay that stays keeps its recording, and that one's; with the replay they may go."""
    put(tmp_path, "recording", days=1)
    put(tmp_path, "replay", days=2, parent="recording")
    put(tmp_path, "again", days=99, parent="replay")
    put(tmp_path, "other", days=3)
    ingest_new(tmp_path)
    found = plan(tmp_path, Keep(age_ns=30 * DAY), NOW)
    assert going(found) == ["other"]
    assert dict(found.spared) == {
        "recording": "recording of the replay replay, which is kept",
        "replay": "recording of the replay again, which is kept",
    }
    assert going(plan(tmp_path, Keep(age_ns=DAY // 2), NOW)) == ["recording", "replay", "other", "again"]
    smallest = plan(tmp_path, Keep(max_bytes=len(connection.empty())), NOW)
    assert set(going(smallest)) == {"recording", "replay", "again", "other"}


def test_labelled_traces_stay(tmp_path: Path) -> None:
    """A label on a trace or on one of its steps keeps it, whether a person or the program gave it."""
    for one in ("person", "step", "program", "bare"):
        put(tmp_path, one, days=0)
    said = {"note": {"text": "bad", "labels": ["incident"], "data": {}}}
    noted = shifted(frames("program", 1), 0)
    noted.insert(2, [Code.CALL, 9, 0, "note", "note", [], 1, None, said, b""])
    noted.insert(3, [Code.END, 9, 1, "complete", None])
    write_frames(tmp_path / "journals" / "program.rsj", noted)
    notes.write(tmp_path, Note("n1", "person", None, 1, "me", "look", ("incident", "x")))
    notes.write(tmp_path, Note("n2", "step", "0.1", 1, "me", "here", ("incident",)))
    main("ls", home=tmp_path)
    found = plan(tmp_path, Keep(age_ns=DAY, labels=("incident",)), NOW)
    assert going(found) == ["bare"]
    assert set(dict(found.spared).values()) == {"labelled incident"}


def test_notes_on_what_went_go_too(tmp_path: Path) -> None:
    """The notes of a removed trace leave `notes.jsonl`; those of others stay."""
    put(tmp_path, "old", days=0)
    put(tmp_path, "new", days=99)
    for one in ("old", "new"):
        notes.write(tmp_path, Note(f"n-{one}", one, None, 1, "me", f"about {one}", ()))
    ingest_new(tmp_path)
    remove(tmp_path, ["old"])
    assert [note.trace for note in notes.read(tmp_path).notes] == ["new"]


WRITE = (
    "import sys, time; from pathlib import Path\n"
    "file = open(sys.argv[1], 'r+b'); print('open', flush=True); sys.stdin.readline()\n"
)


def test_what_is_being_written_stays(tmp_path: Path) -> None:
    """A trace whose process still has its journal open stays, however old; when it has ended the trace may go."""
    path = put(tmp_path, "live", days=0)
    put(tmp_path, "done", days=0)
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == "open\n"
    content = frames("live", 4)[:-1]  # no CLOSE
    content[0][1]["pid"] = writer.pid
    data = journal.header_bytes() + b"".join(journal.frame(journal.pack(item)) for item in content)
    with path.open("r+b") as file:
        file.truncate()
        file.write(data)
    os.utime(path, ns=(10**18, 10**18))
    ingest_new(tmp_path)
    found = plan(tmp_path, Keep(age_ns=DAY), NOW, ended=True)
    assert going(found) == ["done"]
    assert "still being written" in dict(found.spared)["live"]
    done = remove(tmp_path, ["live", "done"], ended=True)
    assert done.removed == ("done",)
    assert [name for name, _ in done.left] == ["live.rsj"]
    writer.communicate("\n")
    assert going(plan(tmp_path, Keep(age_ns=DAY), NOW)) == ["live"]
    assert remove(tmp_path, ["live"]).removed == ("live",)


def test_a_journal_that_was_not_closed_and_is_fresh_stays_unless_said_otherwise(tmp_path: Path) -> None:
    """Its process may be on another machine: only an hour of quiet, or the user, tells that it has ended."""
    path = tmp_path / "journals" / "cut.rsj"
    write_frames(path, frames("cut", 2)[:-1])
    os.utime(path)
    ingest_new(tmp_path)
    assert going(plan(tmp_path, Keep(age_ns=DAY), NOW)) == []
    assert going(plan(tmp_path, Keep(age_ns=DAY), NOW, ended=True)) == ["cut"]
    os.utime(path, ns=(10**18, 10**18))
    assert going(plan(tmp_path, Keep(age_ns=DAY), NOW)) == ["cut"]


def test_a_journal_of_several_traces_keeps_the_others_exactly(tmp_path: Path) -> None:
    """Bodies, headers, places and ids of the traces that stay are the same after the others have been taken out."""
    path = tmp_path / "journals" / "mixed.rsj"
    write_frames(path, interleaved(120, "a", "b", "c"))
    before = {tape.trace.id: tape for tape in tapes.assemble([tapes.read_part(path)])}
    ingest_new(tmp_path)
    done = remove(tmp_path, ["a", "c"])
    assert [one.action for one in done.journals] == ["rewritten"]
    assert done.journals_after < done.journals_before
    (kept,) = tapes.assemble([tapes.read_part(path)])
    assert kept == before["b"]
    assert b"turn 0 " not in path.read_bytes()
    report = ingest_new(tmp_path)
    assert (report.kept, report.damaged) == ((), ())
    assert TraceStore(tmp_path / "store.duckdb").tape("b") == before["b"]


def test_what_a_journal_lost_is_still_told_after_a_part_of_it_went(tmp_path: Path) -> None:
    """A damaged stretch belongs to no trace; the traces that stay keep the mark that something was lost."""
    path = tmp_path / "journals" / "mixed.rsj"
    pieces = [journal.frame(journal.pack(item)) for item in interleaved(12, "a", "b")]
    pieces[20] = pieces[20][:-1] + bytes([pieces[20][-1] ^ 1])
    path.parent.mkdir(parents=True)
    path.write_bytes(journal.header_bytes() + b"".join(pieces))
    remove_from(path, {"a"})
    (kept,) = tapes.assemble([tapes.read_part(path)])
    assert [loss.reason for loss in kept.trace.losses] == ["1 damaged stretch(es)"]


def test_a_reader_of_another_process_keeps_its_answer_while_the_file_is_replaced(tmp_path: Path) -> None:
    """Compaction waits for those who have the store open, and who asks next gets the new file."""
    for number in range(4):
        put(tmp_path, f"t{number}", days=0)
    ingest_new(tmp_path)
    store = tmp_path / "store.duckdb"
    inode = store.stat().st_ino
    with duckdb.connect(str(store)) as writer:
        mark_due(writer)
    compact(store)
    assert store.stat().st_ino != inode
    assert len(TraceStore(store).traces()) == 4
    assert sorted(path.name for path in tmp_path.iterdir() if "compact" in path.name) == []
    with duckdb.connect(str(store), read_only=True) as reader:
        assert reader.execute("SELECT comment FROM duckdb_tables() WHERE table_name = 'traces'").fetchone() != (None,)
        assert reader.execute("SELECT count(*) FROM trace_list").fetchone() == (4,)


def test_the_command_says_first_and_does_it_with_yes(tmp_path: Path) -> None:
    """`rashomon gc` names what would go; `--yes` removes it and says what came back; both as JSON too."""
    for number in range(3):
        put(tmp_path, f"t{number}", days=0)
    put(tmp_path, "young", days=(time.time_ns() - 10**18) // DAY)
    said = main("gc", "--keep", "30d", home=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "3 traces would go" in said.stdout
    assert re.search(r"about [\d.]+ k?B of [\d.]+ kB in the store", said.stdout)
    assert "Nothing was changed" in said.stdout
    document = json.loads(main("gc", "--keep", "30d", "--json", home=tmp_path).stdout)
    assert document["format"] == "rashomon.gc/1"
    assert [one["id"] for one in document["traces"]] == ["t0", "t1", "t2"]
    kept = main("gc", "--keep", "30d", "--keep-filter", "name:*t1", "--json", home=tmp_path)
    assert [one["id"] for one in json.loads(kept.stdout)["traces"]] == ["t0", "t2"], kept.stderr
    done = main("gc", "--keep", "30d", "--yes", home=tmp_path)
    assert "3 traces removed" in done.stdout, done.stderr
    assert [row.id for row in TraceStore(tmp_path / "store.duckdb").traces()] == ["young"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "Nothing says what is to stay"),
        (["--keep", "soon"], "'soon' is no age"),
        (["--max-size", "big"], "'big' is no size"),
    ],
)
def test_bad_arguments_are_told(tmp_path: Path, arguments: list[str], problem: str) -> None:
    """What cannot be understood removes nothing and is one sentence."""
    done = main("gc", *arguments, "--yes", home=tmp_path)
    assert done.returncode == 2
    assert problem in done.stderr


COMPACT = (
    "import sys; from pathlib import Path\n"
    "from rashomon.store.compaction import compact\n"
    "print('ready', flush=True); sys.stdin.readline()\n"
    "for _ in range(4): compact(Path(sys.argv[1]), wait_s=60)\n"
)


def test_others_read_and_write_while_a_store_is_compacted(tmp_path: Path) -> None:
    """While one process writes the store anew again and again, another reads and ingests: no error, nothing lost."""
    for number in range(3):
        put(tmp_path, f"t{number}", days=number)
    ingest_new(tmp_path)
    compacting = subprocess.Popen(
        [sys.executable, "-c", COMPACT, str(tmp_path / "store.duckdb")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert compacting.stdout is not None
    assert compacting.stdin is not None
    assert compacting.stdout.readline() == "ready\n"
    compacting.stdin.write("\n")
    compacting.stdin.flush()
    seen, number = [3], 3
    while compacting.poll() is None:
        put(tmp_path, f"t{number}", days=number)
        number += 1
        ingest_new(tmp_path)
        seen.append(len(TraceStore(tmp_path / "store.duckdb").traces()))
    assert compacting.returncode == 0
    assert seen == list(range(3, number + 1))
