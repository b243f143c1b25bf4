"""`rashomon note`: what people write on traces and steps is kept, found by SQL, and survives a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rashomon import notes, tapes
from rashomon.model import Kind, Request
from rashomon.store import open_home
from rashomon.store.annotations import mirror, noted, notes_on
from tests.integration.cli.conftest import NEW, OLD, refund
from tests.support import rashomon


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A home with two traces; the second encloses a third."""
    folder = tmp_path / "home"
    (folder / "journals").mkdir(parents=True)
    inner = refund("0003" + "0" * 22, name="inner", within=NEW)
    for tape in (refund(OLD), refund(NEW, name="newer"), inner):
        tapes.write_tape(folder / "journals" / f"{tape.trace.id}.rsj", tape)
    return folder


def rows(place: Path, sql: str) -> list[Any]:
    """What the store says."""
    with open_home(place) as store:
        return store.query(sql).rows


def test_a_note_is_kept_and_found(place: Path) -> None:
    """A note on a trace and one on a step are listed, are in the table, and name their author."""
    done = rashomon("note", "refund", "never asked for", "--label", "root-cause", "--label", "p1",
                    "--set", "score=0.4", "--set", "who=ada", home=place)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert OLD in done.stdout
    assert rashomon("note", f"{OLD}@3", "here", home=place).returncode == 0
    found = rows(place, "SELECT trace, step, text, labels, data::VARCHAR FROM annotations ORDER BY at_ns")
    assert found == [
        (OLD, None, "never asked for", ["root-cause", "p1"], '{"score": 0.4, "who": "ada"}'),
        (OLD, "0.3", "here", [], "{}"),
    ]
    document = json.loads(rashomon("note", "--list", "--json", home=place).stdout)
    assert document["format"] == "rashomon.notes/1"
    assert [one["step"] for one in document["notes"]] == [None, "0.3"]
    assert document["notes"][0]["data"] == {"score": 0.4, "who": "ada"}
    listed = rashomon("note", f"{OLD}@3", "--list", home=place).stdout
    assert "here" in listed
    assert "never asked" not in listed


def test_what_no_note_can_hold(place: Path) -> None:
    """A number beyond all that JSON readers know stays a text; an empty label is refused; no id takes nothing back."""
    assert rashomon("note", OLD, "far", "--set", "score=1e400", home=place).returncode == 0
    assert rows(place, "SELECT data->>'score' FROM annotations") == [("1e400",)]
    assert "Infinity" not in (place / "notes.jsonl").read_text()
    for wrong in ((OLD, "x", "--label", ""), ("--remove", "")):
        assert rashomon("note", *wrong, home=place).returncode == 2
    assert len(json.loads(rashomon("note", "--list", "--json", home=place).stdout)["notes"]) == 1


def test_lists_and_traces_show_notes(place: Path) -> None:
    """`ls` counts the notes of a trace, `show` has them above its steps, and those of a step below it."""
    rashomon("note", OLD, "never\nasked for", "--label", "p1", home=place)
    rashomon("note", f"{OLD}@3", "wrong order", "--set", "score=1", home=place)
    line = next(line for line in rashomon("ls", home=place).stdout.splitlines() if line.startswith(OLD))
    assert "2 notes" in line
    shown = rashomon("show", OLD, home=place).stdout
    assert "note       trace: never asked for [p1]" in shown
    assert "note       3: wrong order score=1" in shown
    assert "3: wrong order" in rashomon("show", OLD, "3", home=place).stdout
    assert "wrong order" not in rashomon("show", OLD, "2", home=place).stdout
    document = json.loads(rashomon("show", OLD, "--json", home=place).stdout)
    assert [(one["index"], one["labels"]) for one in document["notes"]] == [(None, ["p1"]), (3, [])]
    listed = json.loads(rashomon("ls", "--json", home=place).stdout)["traces"]
    assert {one["id"]: one["notes"] for one in listed}[OLD] == 2


def test_a_step_of_an_inner_trace_keeps_its_own_name(place: Path) -> None:
    """A note on a step that `show` lists under an outer trace is on the trace that recorded it."""
    with open_home(place) as store:
        whole = store.tape(NEW)
    own = [step.id for step in whole.steps]
    other = next(step for step in whole.steps if not step.id.startswith("0."))
    assert rashomon("note", f"newer@{other.id}", "inside", home=place).returncode == 0
    (found,) = rows(place, "SELECT trace, step FROM annotations")
    assert found[0].startswith("0003")
    with open_home(place) as store:
        (placed,) = notes_on(store, NEW)
        assert (placed.step, placed.index) == (other.id, own.index(other.id))
        assert noted(store) == {found[0]: 1}


def test_a_note_can_be_taken_back(place: Path) -> None:
    """Removed by its id or a unique beginning of it, a note is neither listed nor in the table."""
    for text in ("one", "two"):
        rashomon("note", OLD, text, home=place)
    first, second = notes.read(place).notes
    assert rashomon("note", "--remove", first.id, home=place).returncode == 0
    assert rows(place, "SELECT id FROM annotations") == [(second.id,)]
    for wrong in (first.id, "n", "x"):
        done = rashomon("note", "--remove", wrong, home=place)
        assert (done.returncode, "--list" in done.stderr) == (0 if wrong == "n" else 2, wrong != "n")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "needs a trace"),
        (("refund",), "needs a text"),
        (("refund", "  "), "needs a text"),
        (("refund", "--label", ""), "needs a text"),
        (("nothing", "x"), "There is no trace 'nothing'"),
        (("refund@99", "x"), "no step '99'"),
        (("refund", "x", "--set", "score"), "no name and value"),
        (("refund", "x", "--list"), "takes a trace and nothing else"),
        (("refund", "--remove", "n1"), "stands alone"),
    ],
)
def test_what_cannot_be_noted_is_said(arguments: tuple[str, ...], says: str, place: Path) -> None:
    """Bad usage is one sentence, exit code 2, and writes nothing."""
    done = rashomon("note", *arguments, home=place)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr
    assert "Traceback" not in done.stderr
    assert notes.read(place) == notes.Notes()


def test_secrets_are_replaced(place: Path) -> None:
    """A key in a person's note is replaced as in all that is recorded."""
    rashomon("note", OLD, "it sent sk-proj-PLANTED0123456789abcdefgh", "--set", "password=PLANTEDpassword", home=place)
    content = b"".join(path.read_bytes() for path in place.rglob("*") if path.is_file())
    assert b"PLANTED" not in content
    assert b"<secret:" in Path(notes.path_of(place)).read_bytes()


def test_the_table_follows_the_file(place: Path) -> None:
    """Whatever happens to the file, the table has what it says; an unchanged file is not looked at again."""
    rashomon("note", OLD, "one", home=place)
    assert rows(place, "SELECT text FROM annotations") == [("one",)]
    path = Path(notes.path_of(place))
    os.utime(path, ns=(10**18, 10**18))
    mirror(place)
    assert mirror(place) is None
    path.write_text(path.read_text().replace('"one"', '"changed by hand"') + "torn {")
    assert rows(place, "SELECT text FROM annotations") == [("changed by hand",)]
    done = rashomon("note", "--list", home=place)
    assert "line 2 of notes.jsonl was passed over: cut short" in done.stderr
    path.unlink()
    assert rows(place, "SELECT text FROM annotations") == []


def test_notes_outlive_the_store(place: Path) -> None:
    """A store that is built anew from journals has the notes again."""
    rashomon("note", OLD, "kept", home=place)
    for path in place.glob("store.duckdb*"):
        path.unlink()
    assert rows(place, "SELECT text FROM annotations") == [("kept",)]


WRITER = """
import sys
from rashomon import notes
from rashomon.notes import Note
home, name = sys.argv[1:]
print("ready", flush=True)
for number in range(10**6):
    notes.write(home, Note(f"{name}-{number}", "t", None, number, None, "x" * (number * 37 % 3000)))
    print(number, flush=True)
"""


def test_writers_that_are_killed_lose_nothing_that_they_had_said(tmp_path: Path) -> None:
    """Of several writers at once, each killed somewhere, every note that was reported is there, once."""
    chance = Random(11)
    print("seed 11")

    def run(name: str) -> int:
        command = [sys.executable, "-c", WRITER, str(tmp_path), name]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            last = -1
            for _ in range(chance.randrange(1, 25)):
                last = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
            return max([last, *map(int, writer.stdout.read().split())])

    with ThreadPoolExecutor(4) as pool:
        said = dict(zip(names := [f"w{number}" for number in range(12)], pool.map(run, names), strict=True))
    found = [one.id for one in notes.read(tmp_path).notes]
    assert len(found) == len(set(found))
    for name, last in said.items():
        assert {f"{name}-{number}" for number in range(last + 1)} <= set(found)
    assert [why for _, why in notes.read(tmp_path).unread] in ([], ["cut short"])


def test_what_programs_said_and_people_wrote_is_filtered_by_alike(tmp_path: Path) -> None:
    """`ls`, `gc`, `forget`, `show` and the view `notes` count the labels and texts of both."""
    place = tmp_path / "home"
    (place / "journals").mkdir(parents=True)
    third = "0003" + "0" * 22
    tape = refund(OLD)
    said = {"note": {"text": "went well", "labels": ["ok", "policy"], "data": {}}}
    own = tape.steps[-1]._replace(
        id="0.9", index=len(tape.steps), kind=Kind.NOTE, name="note", request=Request(said, b"")
    )
    for one in (tape._replace(steps=(*tape.steps, own)), refund(NEW, name="newer"), refund(third, name="third")):
        tapes.write_tape(place / "journals" / f"{one.trace.id}.rsj", one)
    assert rashomon("note", f"{NEW}@3", "went badly", "--label", "ok", home=place).returncode == 0
    for text, wanted in {
        "label:ok": {OLD, NEW},
        "label:policy": {OLD},
        "has:label": {OLD, NEW},
        "has:note": {OLD, NEW},
        "note:went*": {OLD, NEW},
        'note~"well$"': {OLD},
        "-has:note": {third},
        "step.label:policy kind:note": {OLD},
    }.items():
        listed = rashomon("ls", "--json", "--", text, home=place)
        assert {one["id"] for one in json.loads(listed.stdout)["traces"]} == wanted, (text, listed.stderr)
    sql = "SELECT DISTINCT trace FROM notes WHERE list_contains(labels, 'ok') ORDER BY ALL"
    assert rows(place, sql) == [(OLD,), (NEW,)]
    shown = rashomon("show", OLD, "label:policy", "--json", home=place)
    assert [step["kind"] for step in json.loads(shown.stdout)["steps"]] == ["note"], shown.stderr
    for arguments in (["--keep-label", "ok"], ["--keep-filter", "label:ok"]):
        done = rashomon("gc", "--keep", "1d", *arguments, "--json", home=place)
        assert {one["id"] for one in json.loads(done.stdout)["traces"]} == {third}, done.stdout + done.stderr
    gone = rashomon("forget", "--filter", "label:policy", "--yes", "--json", home=place)
    assert gone.returncode == 0, gone.stderr
    with open_home(place) as store:
        assert {row.id for row in store.traces()} == {NEW, third}
