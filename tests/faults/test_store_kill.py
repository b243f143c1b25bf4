"""The store when processes die in the middle of writing it, and when several want it at once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import duckdb
import pytest

from rashomon.errors import NotWritable, UsageError
from rashomon.store import TraceStore, crew, ingest, ingest_new
from tests.faults.store_journals import content, frames, write_frames

KILLS = 4
INGEST = (
    "import sys; from pathlib import Path\n"
    "from rashomon.store import ingestion\n"
    "ingestion.BATCH_BYTES = 20_000\n"
    "print('ready', flush=True)\n"
    "sys.stdin.readline()\n"
    "ingestion.ingest_new(Path(sys.argv[1]), progress=lambda done, todo: print('batch', flush=True))\n"
)


def start(home: Path) -> subprocess.Popen[str]:
    """A process that is about to ingest in many small batches: it waits for a line."""
    process = subprocess.Popen(
        [sys.executable, "-c", INGEST, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def go(process: subprocess.Popen[str]) -> None:
    """Let it begin."""
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def said(process: subprocess.Popen[str], batches: int) -> list[str]:
    """What it says until it has written so many batches, or has ended."""
    assert process.stdout is not None
    return list(islice(process.stdout, batches))


def make_home(home: Path, journals: int = 12) -> None:
    """A home with journals, two for each trace."""
    for number in range(journals):
        path = home / "journals" / f"{number:04d}.rsj"
        write_frames(path, frames(f"t{number // 2}", 40, process=number, size=200))


def test_killed_ingestion_ends_in_the_clean_content(tmp_path: Path) -> None:
    """Killed at random moments, again and again, an ingestion leaves a sound store, and the next one completes it."""
    make_home(tmp_path)
    ingest(tmp_path / "journals", tmp_path / "clean.duckdb")
    clean = content(tmp_path / "clean.duckdb")
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    whole = start(tmp_path)
    began = time.monotonic()
    go(whole)
    batches = len(said(whole, 1 << 30))
    assert whole.wait(60) == 0
    batch_s = (time.monotonic() - began) / batches
    killed = 0
    store = tmp_path / "store.duckdb"
    for kill in range(10 * KILLS):
        if kill % 5 == 0:  # from nothing; in between, on with what the last one left
            for left in tmp_path.glob("store.duckdb*"):
                left.unlink()
        process = start(tmp_path)
        go(process)
        said(process, chance.randrange(batches // 2))
        try:
            process.wait(chance.uniform(0, batch_s))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            killed += process.wait() == -signal.SIGKILL
        known = {row.id: row.steps for row in TraceStore(store).traces()}
        assert set(known.values()) <= {40, 80}
        if kill % 5 == 4:
            ingest_new(tmp_path)
            assert content(store) == clean
            if killed >= KILLS:
                break
    print(f"{killed} of {kill + 1} ingestions were killed in the middle")
    assert killed >= KILLS, f"seed {seed}: hardly any was"


def test_processes_that_ingest_at_once_do_it_once(tmp_path: Path) -> None:
    """Three processes ingest the same journals together: all succeed, and the content is that of one."""
    make_home(tmp_path)
    together = [start(tmp_path) for _ in range(3)]
    for process in together:
        go(process)
    assert [process.wait(60) for process in together] == [0, 0, 0]
    ingest(tmp_path / "journals", tmp_path / "clean.duckdb")
    assert content(tmp_path / "store.duckdb") == content(tmp_path / "clean.duckdb")


def test_a_reader_gets_answers_while_another_process_writes(tmp_path: Path) -> None:
    """Reading while an ingestion runs waits for a moment and never fails; the number of traces only grows."""
    make_home(tmp_path, 16)
    process = start(tmp_path)
    go(process)
    seen = [0]
    while process.poll() is None:
        seen.append(len(TraceStore(tmp_path / "store.duckdb", wait_s=30).traces()))
    assert process.returncode == 0
    assert seen == sorted(seen)
    assert len(TraceStore(tmp_path / "store.duckdb").traces()) == 8


HOLD = (
    "import sys, duckdb\n"
    "held = duckdb.connect(sys.argv[1])\n"
    "print('held', flush=True)\n"
    "sys.stdin.readline()\n"
)  # fmt: skip


def test_a_store_that_stays_in_use_is_one_sentence(tmp_path: Path) -> None:
    """When another program keeps the store open, the one who waits is told who it is; then it goes on."""
    make_home(tmp_path, 2)
    ingest_new(tmp_path)
    store = tmp_path / "store.duckdb"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match=f"in use by process {holder.pid} .* Close that program") as caught:
        TraceStore(store, wait_s=0.05).traces()
    assert "\n" not in str(caught.value)
    holder.communicate("\n")
    assert len(TraceStore(store).traces()) == 1


def test_a_reader_that_is_open_in_this_process_is_waited_for(tmp_path: Path) -> None:
    """Writing in a process that reads within `with` says so in a sentence, and works when that has ended."""
    make_home(tmp_path, 2)
    ingest_new(tmp_path)
    write_frames(tmp_path / "journals" / "new.rsj", frames("new", 2))
    store = TraceStore(tmp_path / "store.duckdb")
    with store:
        store.traces()
        with pytest.raises(UsageError, match="in use by this process"):
            ingest(tmp_path / "journals", store.path, wait_s=0.05)
    assert ingest(tmp_path / "journals", store.path).new == ("new",)


def test_a_full_disk_takes_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that cannot be written is told as such; what was there stays, and later it works."""
    make_home(tmp_path, 2)
    ingest_new(tmp_path)
    before = content(tmp_path / "store.duckdb")
    write_frames(tmp_path / "journals" / "new.rsj", frames("new", 2))

    def full(*_: object) -> None:
        raise duckdb.IOException("IO Error: Could not write file: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("rashomon.store.writing._append", full)
        with pytest.raises(NotWritable, match="there is no room on its disk"):
            ingest_new(tmp_path)
    assert content(tmp_path / "store.duckdb") == before
    assert ingest_new(tmp_path).new == ("new",)


def test_journals_that_other_processes_read_give_the_same_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading by several processes changes nothing, and one that dies is done without."""
    make_home(tmp_path, 5)
    ingest(tmp_path / "journals", tmp_path / "clean.duckdb")
    monkeypatch.setattr(crew, "LEAST_BYTES", 0)
    monkeypatch.setattr(crew, "size", lambda: 2)
    ingest(tmp_path / "journals", tmp_path / "crew.duckdb")
    assert content(tmp_path / "crew.duckdb") == content(tmp_path / "clean.duckdb")
    monkeypatch.setattr(crew, "_START", "import os; os._exit(1)")
    ingest(tmp_path / "journals", tmp_path / "alone.duckdb")
    assert content(tmp_path / "alone.duckdb") == content(tmp_path / "clean.duckdb")
