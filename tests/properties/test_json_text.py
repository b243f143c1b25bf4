"""Our JSON with an indent is the standard library's, character by character."""

from __future__ import annotations

import json
from enum import IntEnum, StrEnum
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from rashomon.commands.json_text import Rows, dumps, pieces


class Word(StrEnum):
    """A text of a type of its own."""

    QUOTED = 'a "é"\n'


class Number(IntEnum):
    """A number of a type of its own."""

    SEVEN = 7


class Pair(NamedTuple):
    """A tuple of a type of its own."""

    one: Any
    other: Any


def default(value: Any) -> Any:
    """What becomes of a value that JSON has no form for."""
    return {"bytes": value.hex()} if isinstance(value, bytes) else [str(value)]


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.text(st.characters(categories=["Cs", "Cc", "Zl"])),
    st.binary(max_size=4),
    st.complex_numbers(),
    st.sampled_from([Word.QUOTED, Number.SEVEN]),
)
KEYS = st.one_of(st.text(max_size=4), st.none(), st.booleans(), st.integers(), st.floats(), st.just(Word.QUOTED))
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inside: st.one_of(
        st.lists(inside, max_size=4),
        st.tuples(inside, inside),
        st.builds(Pair, inside, inside),
        st.dictionaries(KEYS, inside, max_size=4),
    ),
    max_leaves=20,
)


@given(DOCUMENTS)
def test_json_is_as_the_standard_library_writes_it(document: Any) -> None:
    """Every document: texts, numbers, words, keys that are no texts, empty lists, values that JSON does not have."""
    assert dumps(document, default) == json.dumps(document, indent=2, ensure_ascii=False, default=default)


@given(st.lists(st.text(max_size=4), min_size=1, max_size=4, unique=True), st.data())
def test_many_objects_with_the_same_keys_are_written_the_same(keys: list[str], data: st.DataObject) -> None:
    """Rows of a table, whose columns hold texts, numbers, nothing, lists or a mixture."""
    kinds = [st.text(max_size=3), st.integers(), st.none(), st.booleans(), st.just([]), SCALARS, DOCUMENTS]
    columns = [st.one_of(*data.draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=2))) for _ in keys]
    count = data.draw(st.integers(14, 20))
    rows = [dict(zip(keys, [data.draw(column) for column in columns], strict=True)) for _ in range(count)]
    if data.draw(st.booleans()):
        rows[-1] = dict(reversed(rows[-1].items()))
    document = {"rows": rows}
    assert dumps(document, default) == json.dumps(document, ensure_ascii=False, indent=2, default=default)


@given(st.dictionaries(st.text(max_size=4), st.just(None), min_size=1, max_size=4), st.data())
def test_columns_are_written_as_the_objects_that_they_are_of(names: dict[str, None], data: st.DataObject) -> None:
    """Rows of which there are only the columns: on top, within objects, within lists, and none at all."""
    kinds = [st.text(max_size=3), st.integers(), st.none(), st.just([]), SCALARS, DOCUMENTS]
    count = data.draw(st.integers(0, 4))
    drawn = {
        name: [data.draw(kind) for _ in range(count)] for name in names for kind in [data.draw(st.sampled_from(kinds))]
    }
    listed = [dict(zip(names, row, strict=True)) for row in zip(*drawn.values(), strict=True)]
    for made, rows in (
        ({"rows": Rows(drawn), "more": 1}, {"rows": listed, "more": 1}),
        ([Rows(drawn)], [listed]),
        (Rows(drawn), listed),
    ):
        assert dumps(made, default) == json.dumps(rows, ensure_ascii=False, indent=2, default=default)


def test_a_long_list_comes_row_by_row() -> None:
    """Its text is not put together before all of the document is."""
    document = {"a": 1, "rows": [{"n": number, "t": "%"} for number in range(100)]}
    assert len(pieces(document, default)) > 100
    assert "".join(pieces(document, default)) == json.dumps(document, indent=2)
