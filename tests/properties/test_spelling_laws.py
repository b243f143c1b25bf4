"""The store's own spelling of JSON is that of `json`, whatever the value; what is sent in parcels arrives as it was."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from random import Random
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rashomon.canonical import canonical_json
from rashomon.journal_parts import Reader
from rashomon.model import End, Kind, Piece, Request, Response, Step
from rashomon.store import parcels, step_rows
from rashomon.store.arrival import Arrival
from rashomon.store.bodies import Memory
from rashomon.store.exact import Shown
from rashomon.store.heads import Heads, Odd
from rashomon.store.portions import Parts, Portion
from rashomon.store.spelling import canonical_text, exact_json, head_json
from rashomon.views import request_view, response_view
from tests.recordings import made_up

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(st.characters(codec=None), max_size=9)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
ODD = VALUES | st.binary(max_size=4) | st.tuples(st.text(max_size=3), st.text(max_size=3))
HEADERS = st.lists(st.lists(st.sampled_from(["content-type", "é", "\ud800", "1", 1, True, 1.0, b"x"]), max_size=3))
HEADS = st.dictionaries(
    st.sampled_from(["method", "url", "headers", "status", "\udfff", "é"]), HEADERS | ODD | SCALARS, max_size=5
)


NAMES = st.sampled_from(["content-type", "Content-Encoding", "content-length", "x-é", "\udc80", 'x"'])
NUMBERED = st.lists(
    st.integers(0, 3) | st.tuples(st.none() | st.integers(0, 3), NAMES, NAMES).map(list) | SCALARS, max_size=5
)
"""Headers as a journal has them: numbers of those that came before, and new ones, with a number or without."""


def outcome(spell: Any, value: Any) -> Any:
    """The text, or that there is none."""
    try:
        return spell(value)
    except (ValueError, TypeError):
        return ValueError


@settings(max_examples=200)
@given(VALUES)
def test_values_are_spelled_as_json_spells_them(value: Any) -> None:
    """The kept encoders give the text of fresh ones for every value, or refuse it where they do."""
    exact = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
    assert outcome(exact_json, value) == outcome(exact, value)
    assert canonical_text(value).encode() == canonical_json(value)


@settings(max_examples=200)
@given(HEADS)
def test_heads_are_spelled_as_any_value_is(head: dict[str, Any]) -> None:
    """A head's column, and what is kept exactly beside it, are those of the same value that is no head; also when its
    headers were seen before, or others that are equal and not the same."""
    for _ in range(2):
        as_head, as_value = Shown(), Shown()
        assert as_head.head("head", head) == as_value.json("head", head)
        assert repr(as_head.kept) == repr(as_value.kept)
    text = head_json(head)
    assert text is None or json.loads(text) == head


@settings(max_examples=200)
@given(st.lists(st.dictionaries(st.sampled_from(["url", "status", "headers", "é"]), NUMBERED | ODD, max_size=4)))
def test_heads_are_put_together_as_a_reader_does(heads: list[dict[str, Any]]) -> None:
    """Heads whose headers are numbers or define some: what is remembered of the ones before changes nothing, and
    their text and the content's type are those of the head itself."""
    reader, known = Reader(), dict[int, list[str]]()
    quick = Heads(known)
    for head in heads:
        if "headers" not in head:
            continue
        try:
            headed = quick.headed(head)
        except (Odd, KeyError, TypeError, ValueError):
            quick.forget()  # what it defined so far, it defines again
            try:
                reader.head(head)
            except (IndexError, KeyError, TypeError):
                pass
            known.clear()
            known.update(reader.headers)
            continue
        assert (headed.head, True) == reader.head(head)
        assert known == reader.headers
        assert headed.text is None or headed.text == head_json(headed.head)
        assert (headed.type, headed.encoding) == step_rows.content_headers(headed.head)


@settings(max_examples=200)
@given(ODD, ODD, st.sampled_from([Kind.TOOL, Kind.MCP, Kind.NOTE]), st.sampled_from(["function", "async gen", ""]))
def test_values_of_tools_are_what_their_views_say(given_: Any, came: Any, kind: Kind, flavour: str) -> None:
    """Columns of what a tool was given and gave are made of the step's views, also where a short cut is taken."""

    def packed(value: Any) -> bytes:
        content = [value, {1: value}] if flavour == "" else value
        return b"\xc1" if oversized(content) else msgpack.packb(content, unicode_errors="surrogatepass")

    head = {"ref": "a:b", "flavour": flavour}
    response = Response(None, (Piece(0, packed(came)),), End.COMPLETE)
    step = Step("0.0", 0, kind, "b", (), 0, Request(head, packed(given_)), response)
    found = step_rows.valued(step)
    for view, value, column in zip((request_view, response_view), found[:2], found.row, strict=True):
        expected = view(step)
        assert repr(value) == repr(expected)
        assert column == (None if expected is None else Shown().json("", expected))


def oversized(value: Any) -> bool:
    """True for what msgpack cannot hold."""
    if isinstance(value, (list, tuple)):
        return any(map(oversized, value))
    if isinstance(value, dict):
        return any(map(oversized, value.values()))
    return type(value) is int and not -(2**63) <= value < 2**64


@pytest.mark.parametrize("seed", range(5))
def test_parcels_bring_portions_as_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Portions of several journals that travel together arrive in their order, each with its own rows."""
    made_up(Random(seed), events=14).write(tmp_path)
    names = sorted(tmp_path.iterdir())
    whole, parcel, sent = Parts(), parcels.Parcel(), list[bytes]()
    direct = [portion for name in names for portion in Arrival(name, whole, Memory()).portions()]
    monkeypatch.setattr(parcels, "FULL_STEPS", 3)
    parts = Parts()
    for name in names:
        for portion in Arrival(name, parts, Memory(), None, parcel.table).portions():
            parcel.add(portion)
            if parcel.full:
                sent.append(pickle.dumps(parcel.take()))
        parcel.items.append(parcels.Done(name.name, None))
    sent.append(pickle.dumps(parcel.take()))
    arrived = [item for one in sent for item in parcels.opened(pickle.loads(one))]
    assert [item.name for item in arrived if isinstance(item, parcels.Done)] == [name.name for name in names]
    assert [plain(item) for item in arrived if isinstance(item, Portion)] == [plain(portion) for portion in direct]


def plain(item: Any) -> Any:
    """A portion with its tables as rows."""
    if not isinstance(item, Portion):
        return item
    tables = {name: table.to_pylist() for name, table in item.tables.items()}
    return repr(item._replace(steps=item.steps.to_pylist(), tables=tables))
