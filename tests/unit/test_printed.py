"""What a program prints, as digests: the same however it is cut, and what may pass."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rashomon.model import Lane, Process, Read, Site, Tape
from rashomon.output_marks import OUTPUT, STDOUT, is_mark, line_of
from rashomon.recorders.printed import _Column
from rashomon.replay.printed import compare, expected_marks
from tests.steps import tape

PIPE = [0, 0]


def column(*writes: str, logged: bool = False, expected: bytes | None = None) -> _Column:
    """What was written, in these pieces."""
    made = _Column(expected)
    for text in writes:
        made.write(text, logged)
    return made


def printed(*columns: tuple[Lane, _Column], look: list[int] = PIPE, processes: int = 1) -> Tape:
    """A trace that printed this."""
    reads = [
        Read(0, lane, OUTPUT, STDOUT, [*one.value(), look], Site("?", 0, "?"), 0) for lane, one in columns
    ]  # fmt: skip
    known = tuple(Process(number, 0, (), "", True, (number,) if number else ()) for number in range(processes))
    bare = tape([])
    return bare._replace(trace=bare.trace._replace(processes=known), reads=tuple(reads))


@pytest.mark.parametrize("seed", range(20))
def test_pieces_do_not_matter(seed: int) -> None:
    """A text has the digests of itself, however it is cut into writes; long lines too."""
    chance = random.Random(seed)
    words = ["a", "\n", "€", "x" * 4096, " 0x7f20b3ba4c20", "\x1b[31mred\x1b[0m"]
    text = "".join(chance.choice(words) for _ in range(99))
    writes, rest = [], text
    while rest:
        size = chance.randint(1, 9000)
        writes.append(rest[:size])
        rest = rest[size:]
    assert column(*writes).value() == column(text).value()


def test_marks_have_their_lines() -> None:
    """A mark's number leads to its line, and the number of marks is bounded."""
    lines = [line for line in range(1, 200_000) if is_mark(line)]
    assert [line_of(number) for number in range(len(lines))] == lines
    assert len(lines) < 1000


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("<object at 0x7f20b3ba4c20>\n", "<object at 0x7fac6ae64cd0>\n"),
        ("\x1b[1;31mred\x1b[0m\n", "red\n"),
        ("/tmp/tmpv_y4fjah/x\n", "/tmp/tmp_bbo7vhv/x\n"),
    ],
)
def test_what_passes(first: str, second: str) -> None:
    """Addresses, colours, names that tempfile makes up."""
    assert compare(printed(((), column(first))), printed(((), column(second)))) is None


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("a\nb\nc\n", "a\nB\nc\n", "differs from the recording at line 2"),
        ("a\nb\n", "a\n", "In the recording the program printed 2 lines, in the replay 1 line"),
        ("a", "b", "printed last differs from the recording, at line 1"),
        ("", "a\n", "In the recording the program printed 0 lines, in the replay 1 line"),
        ("x\n" * 300 + "a\n" + "x\n" * 99, "x\n" * 300 + "b\n" + "x\n" * 99, "between lines 289 and 304"),
        ("0x12ab\n", "0x12ac\n", "at line 1"),
    ],
)
def test_what_differs(first: str, second: str, told: str) -> None:
    """The first line that differs is named."""
    found = compare(printed(((), column(first))), printed(((), column(second))))
    assert found is not None
    assert told in found.summary
    assert not found.passing


def test_the_text_of_the_replay_is_told() -> None:
    """A replay knows what it printed where it left the recording."""
    recorded = printed(((), column("a\nb\n")))
    expected = expected_marks(recorded.reads)[()]
    found = compare(recorded, printed(((), column("a\nc\n", expected=expected))))
    assert found is not None
    assert found.detail == ("line 2 in the replay: 'c'",)


def test_digits_of_loggers_are_told_and_pass() -> None:
    """A logger's own times are not recorded; its words count."""
    first, second = (column(f"12:00:0{n} asked\n", logged=True) for n in (1, 2))
    found = compare(printed(((), first)), printed(((), second)))
    assert found is not None
    assert found.passing
    other = column("12:00:01 answered\n", logged=True)
    found = compare(printed(((), first)), printed(((), other)))
    assert found is not None
    assert not found.passing
    after = [column("a 1\n", "12\n"), column("a 2\n", "12\n")]
    for one in after:
        one.write("3\n", True)
    found = compare(printed(((), after[0])), printed(((), after[1])))
    assert found is not None
    assert not found.passing
    assert "line 1" in found.summary


def test_lanes_are_compared_one_by_one() -> None:
    """A thread's lines are its own; names that changed hands are no difference; one that was cut short passes."""
    a, b, longer = column("a\n"), column("b\n"), column("b\n", "c\n")
    main = ((), column("x\n"))
    both: list[tuple[Lane, Any]] = [((0,), a), ((1,), b)]
    assert compare(printed(main, *both), printed(main, *both)) is None
    assert compare(printed(main, *both), printed(main, ((0,), b), ((1,), a))) is None
    found = compare(printed(main, ((0,), b)), printed(main, ((0,), longer)))
    assert found is not None
    assert found.passing
    found = compare(printed(main, *both), printed(main, both[0]))
    assert found is not None
    assert "alone line of control 1 printed 1 line" in found.summary
    assert not found.passing


def test_what_is_not_known_is_not_compared() -> None:
    """A process that was killed told nothing, nor did an old recording."""
    some = printed(((), column("a\n")))
    assert compare(printed(), some) is None
    half = printed(((), column("a\n")), processes=2)
    assert compare(half, printed(((), column("a\n")), ((1,), column("b\n")))) is None
    damaged = some._replace(reads=tuple(read._replace(value=[1, "x", None]) for read in some.reads))
    assert compare(damaged, some) is None


def test_of_very_many_lanes_those_are_compared_that_both_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the first that print are kept, and which those are is up to the operating system."""
    monkeypatch.setattr("rashomon.replay.printed.MOST_LANES", 3)
    main, one = ((), column("a\n")), column("x\n")
    assert compare(printed(main, ((0,), one), ((1,), one)), printed(main, ((1,), one), ((2,), one))) is None
    found = compare(printed(main, ((0,), one), ((1,), one)), printed(main, ((1,), column("y\n")), ((2,), one)))
    assert found is not None


def test_a_terminal_is_another_look() -> None:
    """Programs print otherwise into a terminal: told, and no divergence."""
    found = compare(printed(((), column("a\n"))), printed(((), column("A\n")), look=[1, 80]))
    assert found is not None
    assert found.passing
    assert "terminal" in found.detail[-1]
