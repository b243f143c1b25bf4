"""`verify` names what is damaged, and `salvage` builds a store again without losing what anybody had."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from rashomon import notes
from rashomon.notes import Note
from rashomon.store import TraceStore, ingest_new, verification
from rashomon.store.salvage import salvage
from rashomon.store.verification import verify
from tests.in_process import main
from tests.integration.store.test_retention import put
from tests.integration.store.test_store_schema import FIXTURES, earlier


def flip(path: Path, at: int) -> None:
    """Change one byte of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 0x55
    path.write_bytes(data)


def change(home: Path, *statements: str) -> None:
    """Change a store as no command of ours does."""
    with duckdb.connect(str(home / "store.duckdb")) as writer:
        for statement in statements:
            writer.execute(statement)


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A home with three traces."""
    for number in range(3):
        put(tmp_path, f"t{number}", days=number, steps=5, size=300)
    ingest_new(tmp_path)
    return tmp_path


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_home_is_well(sound: Path, deep: bool) -> None:
    """Everything is looked at and nothing is wrong."""
    found = verify(sound, deep)
    assert found.flaws == ()
    assert (found.journals, found.traces, found.steps) == (3, 3, 15)
    assert found.parts > 15


@pytest.mark.parametrize(
    ("statement", "place", "problem"),
    [
        ("UPDATE parts SET text = text || ' ' WHERE contains(text, 't1 0 2 ')", "store.duckdb", "digest"),
        ("UPDATE steps SET sizes = [3] WHERE trace = 't1' AND position = 2", "trace t1", "bytes"),
        ("UPDATE steps SET request_digest = 'b2:00' WHERE trace = 't1' AND position = 2", "trace t1", "digest"),
        ("DELETE FROM steps WHERE trace = 't1' AND position = 2", "trace t1", "4 are there where 5 are noted"),
        ("DELETE FROM parts WHERE contains(text, 't1 0 2 ')", "trace t1", ""),
        ("UPDATE steps SET trace = 'nobody' WHERE trace = 't1'", "trace nobody", "no such trace"),
        ("UPDATE steps SET within = '0.77' WHERE trace = 't1' AND position = 2", "trace t1", "0.77"),
        ("DELETE FROM traces WHERE id = 't1'", "trace t1", "not in the store"),
    ],
)
def test_what_is_wrong_in_the_store_is_named(sound: Path, statement: str, place: str, problem: str) -> None:
    """Changed contents, missing rows and broken references are each named with their place."""
    change(sound, statement)
    found = verify(sound)
    assert any(flaw.place == place and problem in flaw.problem for flaw in found.flaws), found.flaws
    assert found.journals == 3


@pytest.mark.parametrize("schema", FIXTURES)
def test_a_step_that_was_made_inside_of_one_of_an_inner_trace_is_well(tmp_path: Path, schema: int) -> None:
    """Runs of several processes with inner traces are sound in stores of each schema, and without a step they are not:
    what encloses a step is sought in the traces within its own too, under the number that its process has there."""
    earlier(tmp_path, schema)
    shutil.rmtree(tmp_path / "journals")
    ingest_new(tmp_path)
    assert [flaw for flaw in verify(tmp_path).flaws if flaw.place.startswith("trace ")] == []
    if schema == 1:
        return  # it did not keep when a process began, and its reader lost something of each trace
    change(tmp_path, "DELETE FROM steps WHERE trace = 'second' AND id = '1.1'")
    told = {(flaw.place, flaw.where, flaw.problem) for flaw in verify(tmp_path).flaws}
    assert ("trace outer", "step 3.4", "was made inside of step 3.1, which is missing") in told
    assert not any(where == "step 2.2" for _, where, _ in told)


@pytest.mark.parametrize(
    "said", [duckdb.InterruptException("INTERRUPT Error: Interrupted!"), RuntimeError("Query interrupted")]
)
def test_an_interrupt_is_no_damage(sound: Path, monkeypatch: pytest.MonkeyPatch, said: Exception) -> None:
    """The database says in its own way that Ctrl-C was pressed in the middle of a question."""

    def stopped(*args: object) -> None:
        raise said

    monkeypatch.setattr(verification, "wrong", stopped)
    with pytest.raises(KeyboardInterrupt):
        verify(sound)


def test_deep_compares_with_the_journals(sound: Path) -> None:
    """A value that no digest covers is compared with what the journal says."""
    change(sound, "UPDATE steps SET duration_us = 12345 WHERE trace = 't1' AND position = 2")
    assert verify(sound).flaws == ()
    (flaw,) = verify(sound, deep=True).flaws
    assert (flaw.place, flaw.where) == ("trace t1", "step 0.2 (response)")


def test_the_command_names_file_and_offset(sound: Path) -> None:
    """`rashomon verify` exits 4 with the journal and the offset of what cannot be read, and 0 when all is well."""
    assert "all is well" in main("verify", home=sound).stdout
    flip(sound / "journals" / "t1.rsj", 1000)
    done = main("verify", "--json", home=sound)
    assert done.returncode == 4, done.stderr
    listed = main("ls", home=sound)
    assert listed.stderr == "rashomon: t1.rsj cannot be read whole; `rashomon verify` says why.\n"
    document = json.loads(done.stdout)
    assert (document["format"], document["sound"]) == ("rashomon.verify/1", False)
    assert document["flaws"][0]["place"] == "t1.rsj"
    assert document["flaws"][0]["where"].startswith("offset ")
    (sound / "notes.jsonl").write_text("no note\n")
    assert "notes.jsonl: line 1: not a note" in main("verify", home=sound).stdout


def test_salvage_builds_the_store_from_the_journals(sound: Path) -> None:
    """A store that cannot be opened is replaced by one with everything, and kept."""
    before = {
        row.id: TraceStore(sound / "store.duckdb").tape(row.id) for row in TraceStore(sound / "store.duckdb").traces()
    }
    notes.write(sound, Note("n1", "t1", None, 1, "me", "look", ("incident",)))
    data = (sound / "store.duckdb").read_bytes()
    (sound / "store.duckdb").write_bytes(data[:20] + bytes(len(data) - 20))
    done = main("salvage", home=sound)
    assert done.returncode == 4, "what only the damaged store had cannot be known"
    assert "3 traces" in done.stdout
    store = TraceStore(sound / "store.duckdb")
    assert {one: store.tape(one) for one in before} == before
    assert store.query("select text from annotations").rows == [("look",)]
    (kept,) = sound.glob("store.duckdb.damaged-*")
    assert kept.name in done.stdout
    assert verify(sound, deep=True).flaws == ()


def test_salvage_rescues_what_only_the_store_has(sound: Path) -> None:
    """Traces whose journals are gone come out of the old store, as journals of their own; notes too."""
    store = TraceStore(sound / "store.duckdb")
    before = store.tape("t1")
    notes.write(sound, Note("n1", "t1", None, 1, "me", "look", ("incident",)))
    main("gc", "--keep", "9999y", home=sound)
    (sound / "journals" / "t1.rsj").unlink()
    (sound / "notes.jsonl").unlink()
    done = salvage(sound)
    assert (done.rescued, done.partly, done.lost, done.notes) == (("t1",), (), (), 1)
    after = store.tape("t1")
    assert [step._replace(id="") for step in after.steps] == [step._replace(id="") for step in before.steps]
    assert after.trace._replace(versions={}, processes=()) == before.trace._replace(versions={}, processes=())
    assert [note.text for note in notes.read(sound).notes] == ["look"]
    (sound / "store.duckdb").unlink()
    ingest_new(sound)
    assert len(store.tape("t1").steps) == 5, "it is in the journals now"


def test_salvage_takes_the_better_of_store_and_journal(sound: Path) -> None:
    """A journal that was cut after it was read gives way to what the store has of it, and is kept aside."""
    path = sound / "journals" / "t1.rsj"
    path.write_bytes(path.read_bytes()[:1500])
    done = salvage(sound)
    assert done.rescued == ("t1",)
    assert len(TraceStore(sound / "store.duckdb").tape("t1").steps) == 5
    assert [(sound / name).exists() for name in done.moved] == [True]


def test_salvage_names_the_steps_that_are_lost(sound: Path) -> None:
    """Of a trace of which a step cannot be put together the others are saved, and the loss is a loss of the trace."""
    (sound / "journals" / "t1.rsj").unlink()
    change(sound, "UPDATE parts SET text = text || ' ' WHERE contains(text, 't1 0 2 ')")
    done = salvage(sound)
    assert done.partly == (("t1", "1 of its steps cannot be read"),)
    tape = TraceStore(sound / "store.duckdb").tape("t1")
    assert [step.index for step in tape.steps] == [0, 1, 2, 3]
    assert [loss.steps for loss in tape.trace.losses] == [1]


def test_salvage_without_anything_makes_an_empty_store(tmp_path: Path) -> None:
    """A home that holds nothing gets a store that holds nothing."""
    assert salvage(tmp_path / "home").traces == 0
    assert main("ls", home=tmp_path / "home").returncode == 0


def test_a_newer_store_is_neither_damaged_nor_salvaged(tmp_path: Path) -> None:
    """What a newer version wrote is sound: `verify` and `salvage` refuse it in a sentence, and no file changes."""
    put(tmp_path, "t", days=0)
    ingest_new(tmp_path)
    change(tmp_path, "UPDATE meta SET value = '99' WHERE key = 'schema'")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for command in ("verify", "salvage"):
        done = main(command, home=tmp_path)
        assert (done.returncode, done.stdout) == (4, ""), command
        assert "has schema 99" in done.stderr
        assert "Upgrade" in done.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
