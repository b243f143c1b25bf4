"""The file of notes: what is written is read, and what is not whole harms nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rashomon import notes
from rashomon.notes import Note


def note(number: int, **more: Any) -> Note:
    """A note."""
    return Note(f"n{number}", "trace", None, 1_790_000_000_000_000_000 + number, "ada", f"text {number}")._replace(
        **more
    )


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Notes come back equal and in their order, whatever their text."""
    written = [
        note(1, step="0.3", labels=("root-cause", "p 1"), data={"score": 0.4, "by": ["x", None]}),
        note(2, text="two\nlines   and \ud800 and é", author=None),
    ]
    for one in written:
        assert notes.write(tmp_path, one)
    assert notes.read(tmp_path) == notes.Notes(tuple(written))
    assert notes.path_of(tmp_path).endswith("notes.jsonl")


def test_a_note_that_is_taken_back_is_gone(tmp_path: Path) -> None:
    """Removal is a line of its own; the note's line stays, and neither is shown."""
    for number in (1, 2):
        notes.write(tmp_path, note(number))
    notes.remove(tmp_path, "n1", 5, "ada")
    assert [one.id for one in notes.read(tmp_path).notes] == ["n2"]
    assert len(Path(notes.path_of(tmp_path)).read_text().splitlines()) == 3


def test_a_torn_line_is_dropped_by_the_next_writer(tmp_path: Path) -> None:
    """What a killed writer left is told to a reader, dropped by the next writer, and costs no other note."""
    notes.write(tmp_path, note(1))
    path = Path(notes.path_of(tmp_path))
    whole = path.read_bytes()
    for cut in range(1, len(whole) - 1):
        path.write_bytes(whole + whole[:cut])
        found = notes.read(tmp_path)
        assert [one.id for one in found.notes] == ["n1"]
        assert found.unread == ((2, "cut short"),)
        assert notes.write(tmp_path, note(2)) is False
        assert [one.id for one in notes.read(tmp_path).notes] == ["n1", "n2"]
        assert notes.read(tmp_path).unread == ()


def test_a_last_line_without_its_end_is_kept(tmp_path: Path) -> None:
    """A line that misses nothing but its newline is a note."""
    notes.write(tmp_path, note(1))
    path = Path(notes.path_of(tmp_path))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert notes.write(tmp_path, note(2)) is True
    assert [one.id for one in notes.read(tmp_path).notes] == ["n1", "n2"]


def test_foreign_and_newer_lines_are_passed_over_and_named() -> None:
    """A line of a later version, or of no note at all, hides none of the others."""
    newer = {"format": "rashomon.note/2", "id": "x", "trace": "t", "at_ns": 1, "text": ""}
    wrong = [{**newer, "format": notes.FORMAT, "at_ns": at} for at in (-1, "1", None, 2**64, True)]
    lines = [json.dumps(one) for one in ([], newer, *wrong)] + ["nonsense", ""]
    good = {"format": notes.FORMAT, "id": "n1", "trace": "t", "at_ns": 7, "text": "kept", "labels": "no list"}
    found = notes.parse("\n".join([*lines, json.dumps(good)]).encode())
    assert found.notes == (Note("n1", "t", None, 7, None, "kept"),)
    assert [number for number, _ in found.unread] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert "rashomon.note/2" in found.unread[1][1]


def test_lines_can_be_taken_out_for_good(tmp_path: Path) -> None:
    """A rewritten file has only the lines that were to be kept, and writers go on with the new one."""
    for number in range(4):
        notes.write(tmp_path, note(number, trace=f"t{number % 2}"))
    assert notes.rewrite(tmp_path, lambda line: line["trace"] != "t0") == 2
    assert "text 0" not in Path(notes.path_of(tmp_path)).read_text()
    notes.write(tmp_path, note(9))
    assert [one.id for one in notes.read(tmp_path).notes] == ["n1", "n3", "n9"]
    assert notes.rewrite(tmp_path / "nowhere", lambda line: True) == 0
