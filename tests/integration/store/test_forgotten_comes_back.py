"""What was forgotten stays forgotten, whatever way a copy of it comes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rashomon import notes
from rashomon.notes import Note
from rashomon.store import TraceStore, ingest_new
from rashomon.store.forgetting import choose, forget
from tests.faults.store_journals import write_frames
from tests.in_process import main
from tests.integration.store.test_forgetting import ids, telling
from tests.integration.store.test_retention import interleaved

TEXT = "Jane Roe of Elm Street"


def parts_with(home: Path, text: str) -> int:
    """How many parts of the store hold a text."""
    rows = TraceStore(home / "store.duckdb").query(f"SELECT count(*) FROM parts WHERE contains(text, '{text}')").rows
    return int(rows[0][0])


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home that has forgotten a trace of a person; copies of it are in `copies/` beside."""
    home, copies = tmp_path / "home", tmp_path / "copies"
    copies.mkdir()
    telling(home, "jane-5f3a9c", answer=f"dear {TEXT}".encode())
    telling(home, "other-5f3a9c", answer=b"dear nobody")
    ingest_new(home)
    notes.write(home, Note("n-jane", "jane-5f3a9c", None, 1, "me", "a hard case"))
    notes.write(home, Note("n-kept", "other-5f3a9c", None, 2, "me", "an easy case"))
    notes.write(home, Note("n-text", "other-5f3a9c", None, 3, "me", f"not of {TEXT}"))
    assert main("export", "jane", "other", "-o", copies / "two.rsh", home=home).returncode == 0
    shutil.copyfile(home / "journals" / "jane-5f3a9c.rsj", copies / "jane.rsj")
    assert forget(home, choose(home, [], [TEXT]), [TEXT]).proof.holds
    assert ids(home) == {"other-5f3a9c"}
    return home


def assert_forgotten(home: Path) -> None:
    """Nothing of the person is there, and a check agrees."""
    assert ids(home) == {"other-5f3a9c"}
    assert parts_with(home, TEXT) == 0
    assert [note.id for note in notes.read(home).notes] == ["n-kept"]
    assert not any(b"jane" in path.read_bytes() for path in (home / "journals").iterdir())
    told = main("verify", home=home)
    assert told.returncode == 0, told.stdout


@pytest.mark.parametrize("times", [1, 2])
def test_a_bundle_brings_nothing_back(home: Path, times: int) -> None:
    """A trace and a note that were forgotten are left out of what is imported, and named, however often."""
    for _ in range(times):
        done = main("import", home.parent / "copies" / "two.rsh", home=home)
        assert done.returncode == 0, done.stderr
        assert "0 new traces, 1 there already." in done.stdout
        assert "LEFT OUT: jane-5f3a9c: was forgotten here." in done.stdout
        assert "LEFT OUT: note n-text: was forgotten here." in done.stdout
    told = json.loads(main("import", home.parent / "copies" / "two.rsh", "--json", home=home).stdout)["files"][0]
    assert {"what": "jane-5f3a9c", "reason": "was forgotten here"} in told["left_out"]
    assert_forgotten(home)


def test_a_copy_under_an_id_of_its_own_stays_forgotten_too(home: Path, tmp_path: Path) -> None:
    """The trace that `--conflict copy` made, and that was forgotten, is not made again."""
    telling(tmp_path / "third", "other-5f3a9c", answer=f"dear {TEXT}".encode())
    assert main("export", "other", "-o", tmp_path / "third.rsh", home=tmp_path / "third").returncode == 0
    words = ("import", "--conflict", "copy", tmp_path / "third.rsh")
    assert "1 new trace." in main(*words, home=home).stdout
    forget(home, choose(home, [], [TEXT]), [TEXT])
    done = main(*words, home=home)
    assert "0 new traces." in done.stdout
    assert "was forgotten here" in done.stdout
    assert_forgotten(home)


def test_a_named_journal_brings_nothing_back(home: Path) -> None:
    """`ingest FILE` leaves a forgotten trace out and says so; another trace of that file is taken."""
    done = main("ingest", home.parent / "copies" / "jane.rsj", home=home)
    assert done.returncode == 0
    assert "LEFT OUT: jane-5f3a9c: was forgotten here." in done.stdout
    assert_forgotten(home)
    write_frames(home.parent / "copies" / "mixed.rsj", interleaved(40, "jane-5f3a9c", "bert-5f3a9c"))
    done = main("ingest", home.parent / "copies" / "mixed.rsj", "--json", home=home)
    told = json.loads(done.stdout)
    assert (told["new"], told["left_out"]) == (
        ["bert-5f3a9c"],
        [{"trace": "jane-5f3a9c", "reason": "was forgotten here"}],
    )
    assert b"jane" not in (home / "journals" / "mixed.rsj").read_bytes()
    assert main("verify", "--deep", home=home).returncode == 0


def test_a_copy_by_hand_is_not_read_and_the_next_forget_removes_it(home: Path) -> None:
    """Nothing of it comes to the store, notes neither; `verify` says what removes it, and that is all it takes."""
    shutil.copyfile(home.parent / "copies" / "jane.rsj", home / "journals" / "again.rsj")
    notes.write(home, Note("n-jane", "jane-5f3a9c", None, 1, "me", "a hard case"))
    ingest_new(home)
    assert (ids(home), parts_with(home, TEXT)) == ({"other-5f3a9c"}, 0)
    told = main("verify", home=home)
    assert told.returncode == 4
    assert "again.rsj: trace jane-5f3a9c: was forgotten and is here again; `rashomon forget --yes` removes it." in (
        told.stdout
    )
    assert "notes.jsonl: note n-jane: was forgotten" in told.stdout
    assert "salvage" not in told.stdout
    planned = main("forget", home=home)
    assert "1 trace and 1 note that had been forgotten before came back and would go." in planned.stdout
    done = main("forget", "--yes", "--json", home=home)
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["removed"] == ["jane-5f3a9c"]
    assert found["returned"] == {"traces": ["jane-5f3a9c"], "notes": ["n-jane"]}
    assert [(one["name"], one["action"]) for one in found["journals"]] == [("again.rsj", "deleted")]
    assert_forgotten(home)
    assert main("forget", "--yes", home=home).returncode == 2, "nothing is left that could go"


def test_a_journal_of_which_one_trace_was_forgotten_is_read_for_the_others(home: Path) -> None:
    """Steps of a kept trace that build on bodies of a forgotten one are whole, also when a journal is read on."""
    content = interleaved(40, "jane-5f3a9c", "bert-5f3a9c")
    write_frames(home / "journals" / "mixed.rsj", content[: len(content) // 2])
    ingest_new(home)
    write_frames(home / "journals" / "mixed.rsj", content)
    ingest_new(home)
    whole = home.parent / "whole"
    write_frames(whole / "journals" / "mixed.rsj", content)
    ingest_new(whole)
    wanted = TraceStore(whole / "store.duckdb").tape("bert-5f3a9c")
    assert TraceStore(home / "store.duckdb").tape("bert-5f3a9c").steps == wanted.steps
    texts = TraceStore(home / "store.duckdb").query("SELECT count(*) FROM parts").rows
    both = TraceStore(whole / "store.duckdb").query("SELECT count(*) FROM parts").rows
    assert texts < both


def family(home: Path) -> Path:
    """A home with a trace, its replay, a replay of that, one that lies within the last, and one of somebody else's."""
    telling(home, "jane-5f3a9c", answer=f"dear {TEXT}".encode())
    telling(home, "again-5f3a9c", answer=f"dear {TEXT}".encode(), parent="jane-5f3a9c")
    telling(home, "twice-5f3a9c", answer=f"dear {TEXT}".encode(), parent="again-5f3a9c")
    telling(home, "inner-5f3a9c", answer=f"dear {TEXT}".encode(), within="twice-5f3a9c")
    telling(home, "bert-5f3a9c", answer=b"dear Bert")
    ingest_new(home)
    return home


KIN = {"again-5f3a9c", "inner-5f3a9c", "twice-5f3a9c"}


@pytest.mark.parametrize("first", [KIN, {"again-5f3a9c"}, set()])
def test_replays_of_what_was_forgotten_are_left_out_too(home: Path, tmp_path: Path, first: set[str]) -> None:
    """They hold the same answers. What replays a replay is known with it, in one bundle or in the next."""
    other = family(tmp_path / "other")
    if first:
        assert main("export", *sorted(first), "-o", tmp_path / "one.rsh", home=other).returncode == 0
        done = main("import", tmp_path / "one.rsh", home=home)
        assert "0 new traces." in done.stdout
        for one in first:
            assert f"LEFT OUT: {one}: replays what was forgotten here, or lies within it." in done.stdout
        assert_forgotten(home)
    rest = (KIN - first) or KIN
    assert main("export", *sorted(rest), "bert", "-o", tmp_path / "two.rsh", home=other).returncode == 0
    done = main("import", tmp_path / "two.rsh", home=home)
    assert "1 new trace." in done.stdout
    assert done.stdout.count("LEFT OUT") == len(rest)
    assert ids(home) == {"bert-5f3a9c", "other-5f3a9c"}
    assert parts_with(home, TEXT) == 0
    assert main("verify", "--deep", home=home).returncode == 0


def test_a_replay_copied_by_hand_is_not_read_either(home: Path, tmp_path: Path) -> None:
    """One of what was forgotten; `forget` takes it away, and what replays that, in whatever file it is."""
    other = family(tmp_path / "other")
    shutil.copyfile(other / "journals" / "again-5f3a9c.rsj", home / "journals" / "again.rsj")
    ingest_new(home)
    ingest_new(home)
    assert ids(home) == {"other-5f3a9c"}
    told = main("verify", home=home)
    assert (told.returncode, "is not in the store" in told.stdout) == (4, False), told.stdout
    assert "again.rsj: trace again-5f3a9c: was forgotten" in told.stdout
    shutil.copyfile(other / "journals" / "twice-5f3a9c.rsj", home / "journals" / "twice.rsj")
    assert "twice.rsj: trace twice-5f3a9c: was forgotten" in main("verify", home=home).stdout
    found = json.loads(main("forget", "--yes", "--json", home=home).stdout)
    assert found["returned"]["traces"] == ["again-5f3a9c", "twice-5f3a9c"]
    assert_forgotten(home)


def test_named_journals_of_replays_are_left_out(home: Path, tmp_path: Path) -> None:
    """`ingest FILE` takes no replay of what was forgotten, says why, and knows the replays of that from then on."""
    other = family(tmp_path / "other")
    for name in ("again-5f3a9c", "twice-5f3a9c", "inner-5f3a9c"):
        done = main("ingest", other / "journals" / f"{name}.rsj", home=home)
        assert f"LEFT OUT: {name}: replays what was forgotten here, or lies within it." in done.stdout
    told = json.loads(main("ingest", other / "journals" / "again-5f3a9c.rsj", "--json", home=home).stdout)
    assert told["left_out"] == [{"trace": "again-5f3a9c", "reason": "was forgotten here"}]
    assert_forgotten(home)


def test_a_replay_that_is_read_on_stays_left_out(home: Path) -> None:
    """A journal that grew, of which one trace replays what was forgotten: what follows of it is not taken in."""
    content = interleaved(40, "again-5f3a9c", "bert-5f3a9c")
    content = [
        [one[0], one[1], {**one[2], "parent": "jane-5f3a9c"}] if one[0] == 1 and one[2]["id"] == "again-5f3a9c" else one
        for one in content
    ]
    write_frames(home / "journals" / "mixed.rsj", content[: len(content) // 2])
    ingest_new(home)
    write_frames(home / "journals" / "mixed.rsj", content)
    ingest_new(home)
    assert ids(home) == {"bert-5f3a9c", "other-5f3a9c"}
    reader = TraceStore(home / "store.duckdb")
    counts = reader.query("SELECT trace, count(*) FROM steps GROUP BY trace ORDER BY trace").rows
    assert [tuple(row) for row in counts] == [("bert-5f3a9c", 20), ("other-5f3a9c", 3)]
