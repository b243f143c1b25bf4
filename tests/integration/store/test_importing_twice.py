"""Imports of what the home has in another form: copies with their notes, and traces that go meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rashomon import notes
from rashomon.model import Tape
from rashomon.notes import Note
from rashomon.store import retention
from rashomon.store.importing import Conflict, import_bundle, import_tapes
from tests.integration.store.test_bundles import all_tapes, conversation, exported, home_of


def test_a_copy_has_all_notes_of_its_trace(tmp_path: Path) -> None:
    """Notes go to the copy, also those whose ids the home knows from the first one; and only once."""
    first, again = conversation(1), conversation(1, turns=21)
    assert first.trace.id == again.trace.id
    home, longer, other = home_of(tmp_path / "home", first), home_of(tmp_path / "longer", again), tmp_path / "other"
    note = Note("n1", first.trace.id, None, 5, "ana", "the cause")
    for place in (home, longer):
        notes.write(place, note)
    notes.write(longer, Note("n2", first.trace.id, None, 6, "ana", "seen again"))
    assert import_bundle(other, exported(home, tmp_path / "one.rsh")).notes == 1
    path = exported(longer, tmp_path / "two.rsh")
    done = import_bundle(other, path, Conflict.COPY)
    ((_, copy),) = done.copies
    assert done.notes == 2
    found = [(one.trace, one.text) for one in notes.read(other).notes]
    assert found == [(first.trace.id, "the cause"), (copy, "the cause"), (copy, "seen again")]
    assert import_bundle(other, path, Conflict.COPY).notes == 0
    notes.write(longer, Note("n3", first.trace.id, None, 7, "ana", "and once more"))
    assert import_bundle(other, exported(longer, tmp_path / "three.rsh"), Conflict.COPY).notes == 1
    assert notes.read(other).notes[-1].trace == copy


def test_a_trace_that_goes_during_an_import_is_new(tmp_path: Path) -> None:
    """The home had it when the import began, and `gc` took it away: it is taken in."""
    home = home_of(tmp_path / "home", conversation(1), conversation(2))
    wanted = all_tapes(home)

    def while_removing() -> Iterator[Tape]:
        yield conversation(1)
        retention.remove(home, [conversation(1).trace.id])
        yield conversation(2)

    done = import_tapes(home, while_removing(), "a test")
    assert (done.new, done.same) == ((conversation(1).trace.id,), (conversation(2).trace.id,))
    assert all_tapes(home).keys() == wanted.keys()
