"""What a tool returned or raised is in a replay what it was, or is refused."""

from __future__ import annotations

import array
import datetime
import io
import ipaddress
import json
import os
import re
import subprocess
import time
import types
from collections import ChainMap, Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, NamedTuple, TypeVar
from zoneinfo import ZoneInfo

import attrs
import httpx
import httpx2
import msgpack
import pydantic
import pydantic.dataclasses
import pytest
import requests
from pydantic_core import PydanticCustomError

from rashomon import values
from rashomon.errors import Missed
from rashomon.redaction import Redactor
from rashomon.standins import GoneError

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
        bytearray(b"changing"),
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_network("fe80::/64"),
        re.compile("a+b", re.IGNORECASE | re.DOTALL),
        time.gmtime(0),
        os.stat("/"),
        os.terminal_size((80, 24)),
        subprocess.CompletedProcess(["true"], 3, "out", None),
        types.MappingProxyType({"a": [1]}),
        ChainMap({"a": 1}, {"b": 2}),
        UserDict(a=1),
        UserList([1, 2]),
        array.array("d", [1.5, 2.0]),
        slice(1, None, 2),
        ...,
        NotImplemented,
        json.dumps,
        len,
        dict[str, int | None],
        datetime.datetime,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_of_the_standard_library_is_what_it_was(value: Any) -> None:
    """Type, content and text; what equality does not look at is looked at by `repr`."""
    again = values.decode(values.encode(value))
    same = vars(again) == vars(value) if isinstance(value, subprocess.CompletedProcess) else again == value
    assert (type(again), same, repr(again)) == (type(value), True, repr(value))


def test_time_zones_keep_their_rules() -> None:
    """Two days behind a date of summer it is winter time there."""
    later = values.decode(values.encode(ZONED)) + datetime.timedelta(days=2)
    assert later.isoformat() == "2026-10-26T12:00:00+01:00"
    assert values.decode(values.encode(FOLDED)).utcoffset() == datetime.timedelta(hours=1)


@pytest.mark.parametrize("value", [defaultdict(lambda: 1), OrderedDict(a=object()), lambda: 1])
def test_what_cannot_be_the_same_is_refused(value: Any) -> None:
    """A default of the program's own, an object without a known form, a function without a name."""
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


def test_what_equality_does_not_tell() -> None:
    """Views of bytes, files in memory, records of a data base, elements of XML."""
    import sqlite3
    from xml.etree import ElementTree

    view = values.decode(values.encode(memoryview(array.array("i", [1, 2]))))
    assert (type(view), view.format, list(view), view.readonly) == (memoryview, "i", [1, 2], False)
    file = io.StringIO("abc")
    file.read(1)
    assert values.decode(values.encode(file)).read() == "bc"
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    row = values.decode(values.encode(connection.execute("select 1 as a, 'x' as \"b c\"").fetchone()))
    connection.close()
    assert (type(row), row["a"], row["b c"], row.keys()) == (sqlite3.Row, 1, "x", ["a", "b c"])
    element = ElementTree.fromstring("<a x='1'>text<b/>tail</a>")
    assert ElementTree.tostring(values.decode(values.encode(element))) == ElementTree.tostring(element)


class Fixed(datetime.tzinfo):
    """A time zone of a library's: one offset, and no summer."""

    def utcoffset(self, dt: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(hours=3)

    def dst(self, dt: datetime.datetime | None) -> datetime.timedelta:
        return datetime.timedelta(0)

    def tzname(self, dt: datetime.datetime | None) -> str:
        return "fixed"


def test_a_time_zone_with_one_offset_is_its_offset() -> None:
    """Libraries have types of their own for that; what pydantic reads from JSON has its own type again."""
    again = values.decode(values.encode(datetime.datetime(2026, 1, 1, tzinfo=Fixed())))
    assert (again.isoformat(), again.tzname()) == ("2026-01-01T00:00:00+03:00", "fixed")
    read = pydantic.TypeAdapter(datetime.datetime).validate_json('"2026-01-01T00:00:00Z"')
    assert repr(values.decode(values.encode(read))) == repr(read)


@dataclass
class Invoice:
    """A class that sets what is no field."""

    lines: list[int]

    def __post_init__(self) -> None:
        self.total = sum(self.lines)


class Discounted(Invoice):
    """A class below, without a decorator."""

    def __init__(self, lines: list[int], percent: int) -> None:
        super().__init__(lines)
        self.percent = percent


@dataclass(slots=True)
class Slotted:
    """A class whose fields are slots."""

    number: int
    names: list[str] = field(default_factory=list)


class Beside(Slotted):
    """One below, with a slot and a dictionary."""

    __slots__ = ("_Beside__hidden", "__dict__")

    def __init__(self) -> None:
        super().__init__(1)
        self.__hidden = "hidden"
        self.seen = True

    def hidden(self) -> str:
        """What is in the slot."""
        return self.__hidden


@attrs.define(slots=False)
class Attributed:
    """A class of attrs that sets what is no field."""

    number: int

    def __attrs_post_init__(self) -> None:
        self.double = 2 * self.number


class Pair(NamedTuple):
    """A named tuple."""

    left: int
    right: int


class Named(Pair):
    """One that may have attributes."""


def test_objects_keep_what_is_no_field() -> None:
    """What `__post_init__`, a class below and slots keep."""
    for value in (Invoice([10, 5]), Discounted([10, 5], 20), Attributed(4)):
        again: Any = values.decode(values.encode(value))
        assert (type(again), vars(again)) == (type(value), vars(value))
    beside = values.decode(values.encode(Beside()))
    assert (beside.number, beside.names, beside.hidden(), beside.seen) == (1, [], "hidden", True)
    named: Any = Named(1, 2)
    named.note = [3]
    assert values.decode(values.encode(named)).note == [3]
    assert values.to_json(values.encode(Invoice([1])))["total"] == 1  # type: ignore[index,call-overload]


def test_an_attribute_that_cannot_be_kept_ends_the_replay_where_it_is_read() -> None:
    """And not before: the rest of the object is served. Whoever writes it down does not read it."""
    invoice = Invoice([1])
    told: list[str] = []
    invoice.handle = object()  # type: ignore[attr-defined]
    data, lost = values.encode_told(invoice)
    assert lost == (values.Lost("builtins:object", "handle"),)
    again = values.decode(data, told.append)
    assert again.total == 1
    assert values.encode(again) == data
    assert "object object" in repr(again.handle)
    assert told == []
    for read in (lambda one: one.name, bool, len, list, lambda one: one == 1, lambda one: isinstance(one, int)):
        with pytest.raises(Missed, match="recorded by its type only"):
            read(again.handle)
    assert len(told) == 6


T = TypeVar("T")


class Page(pydantic.BaseModel, Generic[T]):
    """A generic model."""

    items: list[T]


class Extra(pydantic.BaseModel):
    """A model with all that one may have beside its fields."""

    model_config = pydantic.ConfigDict(extra="allow")
    number: int
    site: pydantic.HttpUrl
    _seen: bool = pydantic.PrivateAttr(default=False)


@pydantic.dataclasses.dataclass
class Order:
    """A dataclass of pydantic's."""

    id: int


def test_models_of_pydantic() -> None:
    """Generic ones, dataclasses, URLs, and what is private."""
    extra = Extra.model_validate({"number": 1, "site": "http://a.b/c", "more": [2]})
    extra._seen = True
    again = values.decode(values.encode(extra))
    assert (again, again._seen, again.model_extra, repr(again)) == (extra, True, {"more": [2]}, repr(extra))
    for value in (Order(1), Page[int](items=[1]), Page[Page[int]](items=[Page[int](items=[2])])):
        assert type(values.decode(values.encode(value))) is type(value)
        assert values.decode(values.encode(value)) == value

    class Local(pydantic.BaseModel):
        number: int

    made = Page[Local](items=[])
    assert type(values.decode(values.encode(made))) is Page[Local]


def test_one_object_in_two_places_is_one_object() -> None:
    """What is plain, what is not, and what is below such a thing; what nobody can change may be another one."""
    node: dict[str, Any] = {"seen": False}
    again = values.decode(values.encode({"root": node, "nodes": [node]}))
    again["root"]["seen"] = True
    assert again["nodes"] == [{"seen": True}]
    invoice, row = Invoice([1]), [0]
    one, (other, third), lines, key = values.decode(values.encode([invoice, (invoice, row), row, {(1, 2): row}]))
    assert one is other
    assert third is lines is key[(1, 2)]
    assert values.to_json(values.encode([node, node])) == [{"seen": False}] * 2
    zone = ZONED
    assert values.encode([zone, zone]) == msgpack.packb([msgpack.ExtType(*_ext(zone))] * 2)


def _ext(value: Any) -> tuple[int, bytes]:
    found = msgpack.unpackb(values.encode(value))
    return found.code, found.data


def test_many_references_do_not_grow_without_end() -> None:
    """To those who look at it, an object that is met again is as large as it is."""
    value: Any = []
    for _ in range(60):
        value = [value, value]
    with pytest.raises(values.NotRebuildable, match="recorded by its type only"):
        values.decode(values.encode(value))


class Quota(Exception):
    """An exception with a slot."""

    __slots__ = ("retry_after",)

    def __init__(self, retry_after: int) -> None:
        super().__init__("quota")
        self.retry_after = retry_after


def _caused() -> None:
    try:
        raise KeyError("a")
    except KeyError as error:
        error.add_note("the first")
        raise Quota(5) from error


def _in_context() -> None:
    try:
        _caused()
    except Quota:
        raise ExceptionGroup("several", [Quota(3), OSError(2, "gone")])  # noqa: B904


def _hidden() -> None:
    try:
        _caused()
    except Quota:
        raise KeyError("hidden") from None


def _lineage(error: BaseException | None) -> Any:
    if error is None:
        return None
    members = tuple(map(_lineage, getattr(error, "exceptions", ())))
    notes, after = getattr(error, "__notes__", None), getattr(error, "retry_after", None)
    links = _lineage(error.__cause__), _lineage(error.__context__), error.__suppress_context__
    return type(error), members or error.args, notes, after, *links


@pytest.mark.parametrize("fail", [_caused, _in_context, _hidden])
def test_an_exception_keeps_what_it_came_from(fail: Any) -> None:
    """Its cause, its context, whether that is hidden, its notes, its slots; those of a group's members as well."""
    error = _raised(fail)
    again = values.decode_failure(values.encode_failure(error))
    assert _lineage(again) == _lineage(error)
    assert values.encode_failure(again) == values.encode_failure(error), "a replay records it as it was"


def test_exceptions_without_end() -> None:
    """One that came from itself, and one of a thousand that came from each other."""
    first, second = ValueError(1), ValueError(2)
    first.__context__, second.__context__ = second, first
    assert isinstance(values.decode_failure(values.encode_failure(first)).__context__.__context__, GoneError)  # type: ignore[union-attr]
    error: BaseException = ValueError(0)
    for number in range(1000):
        after = ValueError(number)
        error, after.__context__ = after, error
    assert values.decode_failure(values.encode_failure(error)).args == (999,)


def test_what_pydantic_raises() -> None:
    """An agent gives it to its model, so that it tries again."""

    def own(value: int) -> int:
        if value < 2:
            raise ValueError("too small {0}")
        raise PydanticCustomError("too_large", "too large: {limit} {{", {"limit": 1})

    class Strict(pydantic.BaseModel):
        number: int
        small: Annotated[int, pydantic.AfterValidator(own)]

    for given in ('{"number": "x", "small": 1}', "[]", '{"number": 1, "small": 2}'):
        error = _raised(lambda given=given: Strict.model_validate_json(given))
        again: Any = values.decode_failure(values.encode_failure(error))
        assert (str(again), again.error_count()) == (str(error), error.error_count())  # type: ignore[attr-defined]


KEY = "Bearer sk-0123456789abcdefghijkl"


def _asked(library: Any) -> Any:
    headers = [("Authorization", KEY), ("X-Twice", "1"), ("X-Twice", "2"), ("Cookie", "a=sesame")]
    request = library.Request("GET", "http://ada:pw@a.test/x?key=hidden123", headers=headers)
    extensions = {"http_version": b"HTTP/1.1", "reason_phrase": b"Gone Away", "network_stream": object()}
    answer = library.Response(404, headers=[("Set-Cookie", "s=sesame; Path=/")], text="no", request=request)
    answer.extensions = extensions
    return answer


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_the_answer_in_an_error_of_httpx(library: Any) -> None:
    """Status, headers, content, request, reason; the connection is not there, and ends the replay where it is read."""
    error = _raised(_asked(library).raise_for_status)
    failure, lost = values.encode_failure_told(error)
    again: Any = values.decode_failure(failure)
    before = error.response  # type: ignore[attr-defined]
    for name in ("status_code", "text", "content", "encoding", "reason_phrase", "http_version", "is_closed", "url"):
        assert getattr(again.response, name) == getattr(before, name), name
    assert (again.response.headers.raw, again.request.headers.raw) == (before.headers.raw, before.request.headers.raw)
    assert again.response.request.method == "GET"
    assert (type(again), lost) == (type(error), ())
    with pytest.raises(Missed):
        again.response.extensions["network_stream"].get_extra_info("peer")


def test_the_answer_in_an_error_of_requests() -> None:
    """The same for requests, which keeps more, and in another way."""
    answer = requests.Response()
    prepared = requests.Request("POST", "http://a.test/x", headers={"Authorization": KEY}, json={"a": 1}).prepare()
    cookies = requests.cookies.RequestsCookieJar()
    cookies.set("s", "sesame")
    content = {"_content": b"no", "_content_consumed": True, "status_code": 404, "reason": "Gone", "url": prepared.url}
    vars(answer).update(content, request=prepared, encoding="utf-8", cookies=cookies)
    answer.headers["X-A"] = "b"
    error = _raised(answer.raise_for_status)
    again: Any = values.decode_failure(values.encode_failure(error))
    assert (str(again), again.response.status_code, again.response.text) == (str(error), 404, "no")
    assert (again.response.headers, dict(again.response.cookies)) == (answer.headers, {"s": "sesame"})
    assert (again.request.body, again.request.method) == (b'{"a": 1}', "POST")


def test_no_secret_of_an_answer_is_written() -> None:
    """Headers by their names, cookies and addresses, as those of recorded calls."""
    redactor = Redactor(b"k" * 32, {})
    answer = requests.Response()
    answer.headers["X-Api-Key"] = "hunter"
    answer.cookies.set("s", "sesame")
    answer._content = b""
    short = httpx.Response(200, headers={"authorization": "Bearer x"}, request=_asked(httpx).request)
    for value in (_asked(httpx), _asked(httpx2), answer, short):
        written = redactor.encoded(values.encode(value))
        for secret in (KEY.encode(), b"hidden123", b"sesame", b"ada:pw", b"hunter", b"Bearer x"):
            assert secret not in written
        assert type(values.decode(written, None)) is type(value)


def test_an_answer_that_was_not_read_is_no_answer() -> None:
    """Nobody knows what would have come, and to read it would change what the program finds."""
    streaming = httpx.Response(200, stream=httpx.ByteStream(b"later"))
    with pytest.raises(values.NotRebuildable):
        values.decode(values.encode(streaming))
    assert streaming.read() == b"later"


def test_a_class_that_nobody_finds_is_told() -> None:
    """Its objects are written, for people; a replay cannot make them."""

    @dataclass
    class Local:
        number: int

    data, lost = values.encode_told([Local(1)])
    assert [one.type.endswith("Local") for one in lost] == [True]
    assert values.to_json(data)[0]["number"] == 1  # type: ignore[index]


class Odd:
    """Whose attributes do things."""

    looked = 0

    @property
    def number(self) -> int:
        """What must not be asked."""
        Odd.looked += 1
        raise RuntimeError("asked")


@dataclass
class OddFields(Odd):
    """A field behind such a property."""

    name: str

    def __getattr__(self, name: str) -> Any:
        Odd.looked += 1
        raise RuntimeError("asked")


def test_properties_are_not_asked() -> None:
    """Only what an object has itself is looked at."""
    assert values.decode(values.encode(OddFields("a"))).name == "a"
    assert Odd.looked == 0


def test_old_arguments_hold_what_they_held() -> None:
    """A dataclass by its fields, bytes that can be changed as bytes, one object in two places as two."""
    node: list[int] = []
    old = msgpack.packb([b"a", [], []])
    assert values.encode_arguments([bytearray(b"a"), node, node]) == old
    invoice = msgpack.unpackb(values.encode_arguments(Invoice([1])))
    assert msgpack.unpackb(invoice.data) == [f"{__name__}:Invoice", {"lines": [1]}]
