"""Journals with one value of another type behind a right checksum, as a newer or foreign writer would leave them.

    python -m tests.faults.odd_frames --count 900 [--seed 7]

Each case: the journals of the fixtures, in one of them one value of one frame replaced. Whatever reads them must name
that frame, with its place, and give everything else as if the frame were not there; or take the value as it is.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from rashomon import journal, tapes, views
from rashomon.journal import Code, Damage
from rashomon.model import Tape
from rashomon.store import TraceStore, ingest_new
from tests.faults.flips import run
from tests.faults.store_journals import write_frames

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SETS = (sorted((FIXTURES / "stores" / "journals").glob("*.rsj")), [FIXTURES / "tapes" / "v1-refund.rsj"])
ODD: tuple[Any, ...] = (
    None, True, -1, 2**63, 2**64 - 1, 1.5, float("nan"), "text", "", "\ud800", "7#1", b"bytes", [], [1], [[]], {},
    {"a": 1}, {1: []}, msgpack.ExtType(5, b"x"), [None, "a", "b"], [[1, 2]],
)  # fmt: skip
COMMANDS = (["ls", "--json"], ["show", "@last"], ["ingest"], ["verify", "--deep", "--json"], ["salvage"])
PARTLY = (Code.PROCESS, Code.TRACE, Code.TRACE_END, Code.DIVERGENCE)
"""Frames that are maps: what is right in them counts."""


class Case(NamedTuple):
    """Frames of some journals by file name; which frame of which of them is changed, where in it, and how."""

    files: dict[str, list[list[Any]]]
    name: str
    frame: int
    path: tuple[Any, ...]
    value: Any

    @property
    def place(self) -> tuple[int, int]:
        """Offset and size of the changed frame."""
        frames = [journal.frame(journal.pack(one)) for one in self.changed()]
        before = sum(map(len, frames[: self.frame]))
        return journal.HEADER_SIZE + before, len(frames[self.frame])

    def changed(self) -> list[list[Any]]:
        """The journal with the odd frame."""
        frames = list(self.files[self.name])
        frames[self.frame] = put(frames[self.frame], self.path, self.value)
        return frames

    def without(self) -> list[list[Any]]:
        """The journal without that frame."""
        frames = self.files[self.name]
        return [*frames[: self.frame], *frames[self.frame + 1 :]]


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A value with another one somewhere in it."""
    if not path:
        return new
    changed = value.copy()
    changed[path[0]] = put(value[path[0]], path[1:], new)
    return changed


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All places in a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in inner for place in places(item, (*at, key)))]


def made(seed: int) -> Case:
    """A case by chance."""
    chance = random.Random(seed)
    files = {path.name: [list(one) for one in journal.read(path).frames] for path in chance.choice(SETS)}
    name = chance.choice(sorted(files))
    code = chance.choice(sorted({one[0] for one in files[name]} - {Code.CLOSE}))
    number = chance.choice([at for at, one in enumerate(files[name]) if one[0] == code])
    path = chance.choice([path for path in places(files[name][number]) if path and path != (0,)])
    return Case(files, name, number, path, chance.choice(ODD))


def told(folder: Path) -> dict[str, Tape]:
    """The traces that the journals of a folder tell."""
    return {tape.trace.id: tape for tape in tapes.assemble(map(tapes.read_part, sorted(folder.glob("*.rsj"))))}


def _plain(tape: Tape) -> Tape:
    """A tape without what is said of damage."""
    return tape._replace(trace=tape.trace._replace(losses=()))


def check(case: Case, folder: Path, commands: Sequence[list[str]] = COMMANDS) -> str:
    """Read a case in every way; what came of it. Raises AssertionError with what is wrong."""
    home, clean = folder / "home", folder / "clean"
    for name, frames in case.files.items():
        write_frames(home / "journals" / name, case.changed() if name == case.name else frames)
        write_frames(clean / name, case.without() if name == case.name else frames)
    found, damage = told(home / "journals"), tapes.read_part(home / "journals" / case.name).damage
    assert {one[:2] for one in damage} <= {case.place}, f"{damage} where {case.place} is odd"
    _as_without(case, damage, found, told(clean))
    for tape in found.values():
        for step in tape.steps:
            views.step_view(step), views.summary(step)
    report = ingest_new(home)
    assert {one[:2] for _, one in report.damaged} == {one[:2] for one in damage}, f"{report.damaged}, {damage}"
    with TraceStore(home / "store.duckdb") as store:
        for one, tape in found.items():
            if " " in one or not one.isprintable() or not one:
                continue  # nobody could type it: it is damage to a store
            assert repr(store.tape(one, within=False)) == repr(tape), f"{one} is another in the store"
    expected, shown = (4 if damage else 0), (0 if found else 2)
    for command in commands:
        code, text = run(home, *command)
        assert "Traceback" not in text, f"{command}: {text[-1500:]}"
        wanted = {"ls": 0, "show": shown}.get(command[0], expected)
        assert code == wanted, f"{command} ended with {code}: {text}"
        if damage and command[0] == "verify":
            assert f"offset {case.place[0]}, {case.place[1]} bytes" in text, text
    return "named" if damage else "taken"


def _as_without(case: Case, damage: tuple[Damage, ...], found: dict[str, Tape], without: dict[str, Tape]) -> None:
    """Nothing is lost but what the odd frame told."""
    code = case.files[case.name][case.frame][0]
    if damage and code not in PARTLY and "cannot be understood" in damage[0].reason:
        assert found.keys() == without.keys(), "traces are lost"
        for one, tape in without.items():
            ours, theirs = _plain(found[one]), _plain(tape)
            if any(step.marks for step in tape.steps):  # of a call, what others build on is used all the same
                ours, theirs = _unmarked(tape, ours), _unmarked(tape, theirs)
            assert repr(ours) == repr(theirs), "more is lost than the frame"
    elif code != Code.TRACE or case.path[:2] not in ((1,), (2,), (2, "id")):
        assert found.keys() >= without.keys(), "traces are lost"
        for one, tape in without.items():
            assert len(found[one].steps) >= len(tape.steps), f"steps of {one} are lost"


def _unmarked(marked: Tape, tape: Tape) -> Tape:
    """A tape without the steps that are damaged in another."""
    wanted = {step.id for step in marked.steps if not any("damaged" in mark for mark in step.marks)}
    return tape._replace(steps=tuple(step for step in tape.steps if step.id in wanted))


def many(count: int, seed: int) -> dict[str, list[str]]:
    """So many cases: what came of them, and what is wrong."""
    outcomes: dict[str, list[str]] = {"named": [], "taken": [], "wrong": []}
    for at in range(seed, seed + count):
        case = made(at)
        line = f"seed {at}: {case.name} frame {case.frame} {case.files[case.name][case.frame][0]} {case.path}"
        line += f" = {case.value!r}"
        with tempfile.TemporaryDirectory() as folder:
            try:
                outcomes[check(case, Path(folder))].append(line)
            except Exception as error:
                outcomes["wrong"].append(f"{line}: {type(error).__name__}: {str(error)[:700]}")
                print(outcomes["wrong"][-1], flush=True)
    return outcomes


def main() -> int:
    """Run cases and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    options = parser.parse_args()
    outcomes = many(options.count, options.seed)
    print({outcome: len(lines) for outcome, lines in outcomes.items()}, f"seed {options.seed}")
    return 1 if outcomes["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
