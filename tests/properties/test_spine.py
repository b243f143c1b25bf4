"""Properties of the spine that hold for any input."""

from __future__ import annotations

import datetime
import json
import math
import uuid
from decimal import Decimal
from typing import Any

import msgpack
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rashomon import journal, values
from rashomon.canonical import canonical_json, content_digest
from rashomon.model import Call, Kind, Request
from rashomon.redaction import Redactor, StreamRedactor

SECRET = "sk-PLANTED0123456789abcdef"
REDACTOR = Redactor(b"k" * 32, {"MY_TOKEN": 'tok"en\\PLANTED', "OPENAI_API_KEY": SECRET})

plain = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary()
rich = (
    plain
    | st.datetimes(timezones=st.just(datetime.UTC))
    | st.dates()
    | st.timedeltas()
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
)
hashable = st.text() | st.integers() | st.uuids() | st.tuples(st.integers(), st.text())
nested = st.recursive(
    rich,
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(hashable, inner)
        | st.tuples(inner, inner)
        | st.frozensets(hashable)
        | st.sets(hashable)
    ),
    max_leaves=20,
)
jsons = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=25,
)


@given(nested)
def test_values_come_back(value: Any) -> None:
    """What is encoded is decoded to an equal value of the same type, and can be shown as JSON."""
    data = values.encode(value)
    again = values.decode(data)
    assert again == value
    assert type(again) is type(value)
    json.dumps(values.to_json(data))


@given(st.binary())
def test_any_bytes_can_be_shown(data: bytes) -> None:
    """Bytes that are no encoded value are shown, never a traceback."""
    json.dumps(values.to_json(data))


@given(st.binary(max_size=400), st.binary(max_size=400), st.integers(0, 400))
def test_deltas(base: bytes, new: bytes, shared: int) -> None:
    """A body is rebuilt exactly from its base and its delta."""
    new = base[:shared] + new + base[shared:]
    prefix = journal.common_prefix(base, new)
    suffix = journal.common_suffix(base, new, min(len(base), len(new)) - prefix)
    assert base[:prefix] == new[:prefix]
    assert journal.Delta(0, prefix, suffix, new[prefix : len(new) - suffix]).apply(base) == new
    if prefix < min(len(base), len(new)):
        assert base[prefix] != new[prefix]


def _with_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_secrets(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_secrets(item) for item in value]
    return f"{value} {SECRET}" if isinstance(value, str) and len(value) % 2 else value


def _same_but_for_texts(left: Any, right: Any) -> bool:
    if isinstance(left, dict):
        return list(left) == list(right) and all(_same_but_for_texts(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(_same_but_for_texts, left, right))
    return isinstance(right, str) if isinstance(left, str) else left == right or math.isnan(left)


@given(jsons)
def test_redaction_keeps_json(value: Any) -> None:
    """A redacted body is the same JSON but for texts: numbers, keys and their order stay."""
    planted = _with_secrets({"password": "PLANTED", "nested": value})
    for body in (json.dumps(planted).encode(), json.dumps({"arguments": json.dumps(planted)}).encode()):
        redacted = REDACTOR.content(body)
        assert b"PLANTED" not in redacted
        assert _same_but_for_texts(json.loads(body), json.loads(redacted))
        assert REDACTOR.content(redacted) == redacted


@given(jsons)
def test_redaction_leaves_clean_bodies_alone(value: Any) -> None:
    """A body without secrets is the very same object."""
    body = json.dumps({"id": "chatcmpl-AbC", "usage": {"prompt_tokens": 3}, "value": value}).encode()
    assume(not any(name in json.dumps(value).lower() for name in ("passw", "key", "token", "secret", "sk-")))
    assert REDACTOR.content(body) is body


words_of_streams = [SECRET, "tok", '"en\\PLANTED', "text ", "-", '"password": "', '"', "\n", "k-", "é"]


@given(st.lists(st.sampled_from(words_of_streams)), st.data())
def test_streams_redact_as_a_whole_does(words: list[str], data: st.DataObject) -> None:
    """Cut anywhere, a stream loses the same secrets as in one piece, and keeps the number of its pieces."""
    whole = "".join(words).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    stream, out = StreamRedactor(REDACTOR), [b""] * len(pieces)
    for piece in pieces:
        for number, safe in stream.feed(piece):
            out[number] += safe
    for number, rest in stream.finish():
        out[number] += rest
    assert SECRET.encode() not in b"".join(out)
    assert b"".join(out) == REDACTOR.content(whole)
    for piece, safe in zip(pieces, out, strict=True):
        assert safe == piece or b"<secret:" in b"".join(out)


@given(jsons)
def test_the_order_of_keys_does_not_count(value: Any) -> None:
    """Two bodies that are the same JSON are the same call; one that differs in a value is not."""
    first = {"model": "m", "messages": [value], "n": 1}
    head = {"method": "POST", "url": "http://a/v1/chat"}
    calls = [
        Call(Kind.LLM, "chat", Request(head, json.dumps(body, indent=indent).encode()))
        for body, indent in ((first, None), (dict(reversed(first.items())), 2), ({**first, "n": 1.0}, None))
    ]
    assert content_digest(calls[0]) == content_digest(calls[1]) != content_digest(calls[2])
    assert json.loads(canonical_json(value)) == value


def test_the_examples_are_what_they_say() -> None:
    """Types that a strategy above might not reach."""
    for value in (Decimal("1.20"), uuid.UUID(int=7), 2**200, "\ud800", {(1, 2): {3}}):
        assert values.decode(values.encode(value)) == value


def test_a_tape_cannot_call_what_it_names() -> None:
    """A value that names a function, or a class of another sort, is refused and nothing is called."""
    for code, name, content in ((7, "os:getpid", 1), (9, "subprocess:Popen", {"args": "true"}), (8, "os:getcwd", {})):
        data = msgpack.packb(msgpack.ExtType(code, msgpack.packb([name, content])))
        with pytest.raises(values.NotRebuildable):
            values.decode(data)
