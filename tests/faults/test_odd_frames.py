"""One odd value behind a right checksum costs its frame, which is named with its place, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from rashomon import journal, tapes
from rashomon.following import Following
from rashomon.journal import Code
from rashomon.model import End
from rashomon.store import arrival, ingest_new, open_home
from tests.faults.odd_frames import Case, check, many
from tests.faults.store_journals import frames, write_frames

CASES = 3
"""Few, for every run; `python -m tests.faults.odd_frames --count 900` is for many."""

SITE = [None, "a.py", 1, "f"]
WHOLE: list[list[Any]] = [
    *frames("t", 2)[:-2],
    [Code.CONNECT, 0, 5, "a peer", None],
    [Code.READ, 0, "clock", "time.time", 1.5, [], 6, None, SITE],
    [Code.POINT, 0, "timer", None, [], 0, 0, 0, 0, 7, None],
    [Code.UNCONTROLLED, 0, "a socket", "by hand", SITE],
    [Code.LAUNCHED, 0, ["a"], [], None, SITE],
    [Code.MARK, 0, "no-lane"],
    [Code.MATCH, 1, "exact", "0.1", ""],
    [Code.DIVERGENCE, 0, {"kind": "missed", "summary": "no answer", "paths": []}],
    *frames("t", 2)[-2:],
]
ODD: list[tuple[Code, tuple[Any, ...], Any]] = [
    (Code.PROCESS, (1,), []),
    (Code.PROCESS, (1, "started_ns"), "text"),
    (Code.TRACE, (2, "started_ns"), None),
    (Code.CALL, (3,), {}),
    (Code.CALL, (5,), float("nan")),
    (Code.CALL, (8, "headers"), 5),
    (Code.HEAD, (1,), [[]]),
    (Code.HEAD, (3,), "headers"),
    (Code.PIECE, (3,), "text"),
    (Code.END, (2,), b"bytes"),
    (Code.END, (4,), {"a": 1}),
    (Code.CONNECT, (1,), {}),
    (Code.READ, (6,), {"a": 1}),
    (Code.POINT, (1,), [1]),
    (Code.POINT, (4,), [[1, 2]]),
    (Code.UNCONTROLLED, (1,), {"a": 1}),
    (Code.LAUNCHED, (2,), 7),
    (Code.MARK, (2,), 1.5),
    (Code.MATCH, (3,), []),
    (Code.DIVERGENCE, (2, "paths"), 1),
    (Code.TRACE_END, (3,), "text"),
]


@pytest.mark.parametrize(("code", "path", "value"), ODD)
def test_an_odd_frame_is_named_and_costs_nothing_else(
    tmp_path: Path, code: Code, path: tuple[Any, ...], value: Any
) -> None:
    """Each kind of frame, with a value of another type: readers and the store agree on everything else."""
    number = next(at for at, one in enumerate(WHOLE) if one[0] == code)
    case = Case({"0.rsj": WHOLE, "1.rsj": frames("u", 1)}, "0.rsj", number, path, value)
    assert check(case, tmp_path, [["verify", "--deep", "--json"]]) == "named"


@pytest.mark.slow
def test_any_odd_value_is_named_or_taken() -> None:
    """Some value of some frame, by chance: no traceback of any command, and nothing else is lost."""
    seed = random.randrange(10**6)
    outcomes = many(CASES, seed)
    print(f"python -m tests.faults.odd_frames --seed {seed} --count {CASES}")
    assert outcomes["wrong"] == []
    assert sum(map(len, outcomes.values())) == CASES


@pytest.mark.parametrize(
    "odd", [[Code.END, 0, "late", "complete", None], [Code.END, 0, 9, "complete", [1]], [Code.PIECE, 0, 9, "text"]]
)
def test_an_odd_frame_for_a_step_that_is_written_already_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, odd: list[Any]
) -> None:
    """A frame that comes when its step has been stored is looked at like any other."""
    monkeypatch.setattr(arrival, "PORTION_BYTES", 1)
    whole = frames("t", 1)
    write_frames(tmp_path / "journals" / "0.rsj", [*whole[:-2], odd, *whole[-2:]])
    ((name, damage),) = ingest_new(tmp_path).damaged
    before = sum(len(journal.frame(journal.pack(one))) for one in whole[:-2])
    assert (name, damage.offset) == ("0.rsj", journal.HEADER_SIZE + before)
    with open_home(tmp_path) as store:
        (step,) = store.tape("t").steps
    assert step.response.end is End.COMPLETE


def test_an_odd_frame_is_passed_over_while_a_trace_is_followed(tmp_path: Path) -> None:
    """`show --follow` goes on behind it, and counts it as damage of the trace."""
    path = tmp_path / "journals" / "0.rsj"
    write_frames(path, [*WHOLE[:2], [Code.UNCONTROLLED, {}, "a", "b", None], *WHOLE[2:]])
    following = Following(tmp_path, "t")
    assert following.look()
    assert following.tape is not None
    assert following.tape.steps == tapes.only_tape(path).steps
    assert [loss.reason for loss in following.tape.trace.losses] == ["0.rsj: 1 damaged stretch(es)"]
