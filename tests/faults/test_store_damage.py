"""The store and journals that are damaged, cut, empty, foreign or newer."""

from __future__ import annotations

import json
import os
import random
import sys
from pathlib import Path

import pytest

from rashomon import journal
from rashomon.errors import DamagedData
from rashomon.journal import Code
from rashomon.store import TraceStore, ingest, ingest_new, open_home
from tests.faults.store_journals import frames, packed, write, write_frames
from tests.support import rashomon


def test_a_flipped_byte_costs_one_frame_and_is_named(tmp_path: Path) -> None:
    """Wherever a byte is flipped, ingestion goes on; the file is named, other journals are whole."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    names = [f"{number:02d}.rsj" for number in range(40)]
    for name in names:
        pieces = packed(frames(f"hurt{name[:2]}", 6))
        data = bytearray(journal.header_bytes() + b"".join(pieces))
        data[chance.randrange(journal.HEADER_SIZE, len(data) - len(pieces[-1]))] ^= chance.randrange(1, 256)
        write(tmp_path / "journals" / name, bytes(data))
    write_frames(tmp_path / "journals" / "sound.rsj", frames("sound", 6))
    report = ingest_new(tmp_path)
    assert sorted({name for name, _ in report.damaged}) == names
    store = open_home(tmp_path)
    assert len(store.tape("sound").steps) == 6
    assert all(row.steps >= 5 for row in store.traces())
    assert sorted({row.name for row in store.journals() if row.damage}) == names
    assert ingest(tmp_path / "journals", store.path).journals == 0


def test_a_journal_cut_anywhere_gives_what_is_whole(tmp_path: Path) -> None:
    """Cut at every frame boundary and within every frame, a journal gives its whole frames and is not damaged."""
    expected = {}
    for number in range(len(frames("t", 3))):
        for cut in ("at", "head", "in"):
            trace = f"t{number:02d}{cut}"
            items = frames(trace, 3)
            pieces = packed(items)
            tail = pieces[number][: {"at": 0, "head": 3, "in": len(pieces[number]) // 2}[cut]]
            write(tmp_path / "journals" / f"{trace}.rsj", journal.header_bytes() + b"".join(pieces[:number]) + tail)
            if number > 1:
                expected[trace] = sum(1 for item in items[:number] if item[0] == Code.CALL)
    report = ingest_new(tmp_path)
    assert (report.damaged, report.skipped) == ((), ())
    assert {row.id: row.steps for row in open_home(tmp_path).traces()} == expected


@pytest.mark.parametrize("size", [0, 1, 7, 8, 63, 64])
def test_an_empty_or_begun_journal_is_no_trace_and_no_damage(tmp_path: Path, size: int) -> None:
    """A journal whose writer has only just begun holds nothing yet."""
    write(tmp_path / "journals" / "a.rsj", journal.header_bytes()[:size])
    report = ingest_new(tmp_path)
    assert (report.new, report.damaged, report.skipped, report.journals) == ((), (), (), 1)
    assert open_home(tmp_path).traces() == []


def test_files_that_are_no_journals_are_skipped_with_the_reason(tmp_path: Path) -> None:
    """A text with our suffix, a newer format and an unreadable file are named; the rest is ingested."""
    folder = tmp_path / "journals"
    write_frames(folder / "good.rsj", frames("good", 1))
    write(folder / "text.rsj", b"shopping list\n" * 9)
    newer = bytearray(journal.header_bytes())
    newer[8] = 9
    write(folder / "newer.rsj", bytes(newer))
    (folder / "folder.rsj").mkdir()
    write(folder / "notes.txt", b"not ours at all")
    report = ingest_new(tmp_path)
    assert report.new == ("good",)
    assert [name for name, _ in report.skipped] == ["newer.rsj", "text.rsj"]
    assert "journal format 9" in dict(report.skipped)["newer.rsj"]
    assert "is not a Rashomon journal" in dict(report.skipped)["text.rsj"]
    assert [(row.name, row.state) for row in open_home(tmp_path).journals()] == [
        ("good.rsj", "read"), ("newer.rsj", "newer"), ("text.rsj", "foreign")]  # fmt: skip


@pytest.mark.skipif(os.geteuid() == 0, reason="needs a user who is not root: root reads everything")
def test_a_journal_that_may_not_be_read_is_tried_again(tmp_path: Path) -> None:
    """A file without permission is named each time, until it can be read."""
    path = tmp_path / "journals" / "a.rsj"
    write_frames(path, frames("t", 1))
    path.chmod(0)
    assert ingest_new(tmp_path).skipped == (("a.rsj", "a.rsj cannot be read: Permission denied."),)
    path.chmod(0o600)
    assert ingest_new(tmp_path).new == ("t",)


def test_frames_that_lie_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Whole frames with contents of the wrong type spoil at most their own journal."""
    lies: list[list[object]] = [
        [Code.CALL, 0, 0, "llm", "m", [], "noon", None, {}, b""],
        [Code.CALL, 0, 0, "telepathy", "m", [], 0, None, {}, b""],
        [Code.CALL, 0, 0, "llm", 7, 5, 0, None, {}, b""],
        [Code.CALL, 0, 0, "llm", ["m"], ["x"], 2**64 - 1, None, {"url": b"\xff", "method": None}, b""],
        [Code.CALL, 0, 0, "llm", "m", [], 0, None, "head", "body"],
        [Code.TRACE, 0, {"id": 17}],
        [Code.TRACE, 0, {"id": "two words"}],
        [Code.TRACE, 0, {"id": ["t"]}],
        [Code.TRACE_END, 0, 5, {"outcome": 3, "exit_code": "x", "error": b"\xff"}],
        [Code.DIVERGENCE, 0, {"kind": 1, "summary": b"\xff", "paths": [1, None]}],
        [Code.PROCESS, {"started_ns": "x", "pid": None, "argv": 3}],
        [Code.PROCESS, [1, 2]],
    ]
    for number, lie in enumerate(lies):
        good = frames(f"t{number}", 1)
        write_frames(tmp_path / "journals" / f"{number:02d}.rsj", [*good[:2], lie, *good[2:-1], lie])
    write_frames(tmp_path / "journals" / "sound.rsj", frames("sound", 2))
    report = ingest_new(tmp_path)
    assert "sound" in report.new
    store = open_home(tmp_path)
    assert len(store.tape("sound").steps) == 2
    unnamed = {f"t{n}" for n in range(len(lies))} - set(report.new)
    assert unnamed <= {f"t{int(name[:2])}" for name, _ in report.damaged}
    for trace in report.new:
        store.tape(trace)
        store.step_rows(trace)


def test_a_damaged_store_is_told_and_left(tmp_path: Path) -> None:
    """A store with flipped bytes is one sentence, is left alone, and can be built again from the journals."""
    write_frames(tmp_path / "journals" / "a.rsj", frames("t", 50))
    ingest_new(tmp_path)
    store = tmp_path / "store.duckdb"
    data = bytearray(store.read_bytes())
    data[20:] = bytes(255 - byte for byte in data[20:])
    store.write_bytes(data)
    for use in (lambda: TraceStore(store).traces(), lambda: ingest_new(tmp_path)):
        with pytest.raises(DamagedData, match=r"cannot be opened: .* builds a new store") as caught:
            use()
        assert "\n" not in str(caught.value)
    assert store.read_bytes() == data
    store.rename(tmp_path / "moved.duckdb")
    assert ingest_new(tmp_path).new == ("t",)


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of a process")
def test_a_full_disk_ends_an_ingestion(tmp_path: Path) -> None:
    """Where the store finds no room, ingestion ends with a sentence, and goes on once there is some."""
    chance = random.Random(7)
    for number in range(30):
        content = frames(f"t{number:02d}", 4)
        for item in content:
            if item[0] == Code.CALL:
                said = {"role": "user", "content": chance.randbytes(12_000).hex()}
                item[9] = json.dumps({"messages": [said]}).encode()
        write_frames(tmp_path / "journals" / f"t{number:02d}.rsj", content)

    def limited() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))

    done = rashomon("ingest", home=tmp_path, preexec_fn=limited)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False), done.stderr
    assert "store.duckdb cannot be written: there is no room on its disk" in done.stderr
    again = rashomon("ingest", home=tmp_path)
    assert again.returncode == 0, again.stderr
    assert len(open_home(tmp_path).traces()) == 30
