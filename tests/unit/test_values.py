"""What a tool returned or raised is in a replay what it was, or is refused."""

from __future__ import annotations

import datetime
import types
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import pytest

from rashomon import values

UTC, BERLIN = datetime.UTC, ZoneInfo("Europe/Berlin")
NAMED = datetime.timezone(datetime.timedelta(hours=2), "summer")
ZONED = datetime.datetime(2026, 10, 24, 12, tzinfo=BERLIN)
FOLDED = datetime.datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BERLIN)


@pytest.mark.parametrize(
    "value",
    [
        range(3, 30, 4),
        deque([1, (2, 3)], maxlen=5),
        OrderedDict([("b", 1), ("a", 2)]),
        Counter("hello"),
        defaultdict(list, {"a": [1]}),
        defaultdict(None, {(1, 2): "pair"}),
        types.SimpleNamespace(a=1, b=[2]),
        ZONED,
        FOLDED,
        datetime.datetime(2026, 1, 1, fold=1),
        datetime.datetime(2026, 1, 1, tzinfo=UTC),
        datetime.datetime(2026, 1, 1, tzinfo=NAMED),
        datetime.time(12, 30, tzinfo=NAMED),
        {"nested": [ZONED, deque()]},
        BERLIN,
        NAMED,
    ],
    ids=repr,
)
def test_a_value_of_the_standard_library_is_what_it_was(value: Any) -> None:
    """Type, content and text; what equality does not look at is looked at by `repr`."""
    again = values.decode(values.encode(value))
    assert (type(again), again, repr(again)) == (type(value), value, repr(value))


def test_time_zones_keep_their_rules() -> None:
    """Two days behind a date of summer it is winter time there."""
    later = values.decode(values.encode(ZONED)) + datetime.timedelta(days=2)
    assert later.isoformat() == "2026-10-26T12:00:00+01:00"
    assert values.decode(values.encode(FOLDED)).utcoffset() == datetime.timedelta(hours=1)


@pytest.mark.parametrize("value", [defaultdict(lambda: 1), OrderedDict(a=object()), ZoneInfo("UTC").__class__])
def test_what_cannot_be_the_same_is_refused(value: Any) -> None:
    """A default of the program's own, an object without a known form, a class."""
    with pytest.raises(values.NotRebuildable):
        values.decode(values.encode(value))


def test_extensions_of_others_are_not_taken_for_ours() -> None:
    """msgpack's own types: one of its extensions would be read as a tuple, a point in time as nothing."""
    foreign = msgpack.ExtType(1, b"\x92\x01\x02")
    assert values.decode(values.encode(foreign)) == foreign
    assert values.decode(values.encode([foreign])) == [foreign]
    with pytest.raises(values.NotRebuildable):
        values.decode(values.encode(msgpack.Timestamp(1, 2)))


@pytest.mark.parametrize("text", ["Größe", "ёлка", "שלום", "日本", "\xc7\xd4 plain"])
def test_text_that_looks_like_an_extension(text: str) -> None:
    """In UTF-8 some languages' letters begin as extensions do."""
    assert values.decode(values.encode({text: [text]})) == {text: [text]}


def test_people_see_the_content() -> None:
    """As JSON, for lists, SQL and diffs."""
    seen = values.to_json(values.encode({"when": FOLDED, "count": Counter("aab"), "last": deque([1, 2], maxlen=2)}))
    assert seen == {"when": "2026-10-25T02:30:00+01:00", "count": {"a": 2, "b": 1}, "last": [1, 2]}


def _raised(make: Any) -> BaseException:
    try:
        make()
    except BaseException as error:
        return error
    raise AssertionError("it should have failed")


def _noted() -> None:
    error = ValueError("bad")
    error.add_note("while it was read")
    raise error


@pytest.mark.parametrize(
    "error",
    [
        _raised(Path("/no/such/file").read_text),
        _raised(lambda: "é".encode("ascii")),
        _raised(lambda: b"\xff".decode("utf-8")),
        _raised(lambda: __import__("no_such_module")),
        _raised(lambda: compile("1 +", "agent.py", "exec")),
        _raised(lambda: exec("unknown_name")),
        _raised(_noted),
        SystemExit(3),
        StopIteration("value"),
        KeyError("key"),
        ExceptionGroup("both", [ValueError("a"), OSError(2, "gone", "file")]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_says_what_it_said(error: BaseException) -> None:
    """Its text, and what a program asks it for: an agent tells its model of a file that is not there."""
    again = values.decode_failure(values.encode_failure(error))
    assert (type(again), str(again)) == (type(error), str(error))
    for name in ("filename", "name", "code", "value", "reason", "lineno", "__notes__"):
        assert getattr(again, name, None) == getattr(error, name, None), name
    assert values.encode_failure(again) == values.encode_failure(error), "a replay records it as it was"


def test_an_exception_that_cannot_be_made_is_refused() -> None:
    """One whose class makes none from its arguments."""

    class Strict(Exception):
        def __new__(cls, *, code: int) -> Strict:
            return super().__new__(cls)

        def __init__(self, *, code: int) -> None:
            super().__init__(code)

    with pytest.raises(values.NotRebuildable):
        values.decode_failure(values.encode_failure(Strict(code=3)))


def test_arguments_are_written_as_the_first_version_had_them() -> None:
    """A tape of that version still matches."""
    assert values.encode_arguments({"when": ZONED}) == values.encode(
        {"when": datetime.datetime.fromisoformat(ZONED.isoformat())}
    )
    with pytest.raises(values.NotRebuildable):
        values.decode(values.encode_arguments({"queue": deque()}))
