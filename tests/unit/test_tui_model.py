"""The rows and lines of the terminal application, without the application."""

from __future__ import annotations

import json
import unicodedata
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from rashomon.model import Json, Lane, Tape, Trace
from rashomon.replay.alignment import align
from rashomon.replay.differences import differences
from rashomon.tui import actions
from rashomon.tui.aligned import AlignedRows
from rashomon.tui.document import difference_lines, json_lines
from rashomon.tui.glyphs import ASCII, UNICODE, Glyphs, choose
from rashomon.tui.model import TraceItem, TraceRows, shortest
from rashomon.tui.paint import CURSORS, STYLES, strip_of
from rashomon.tui.spans import (
    Column,
    Span,
    count_of,
    crop,
    fit,
    layout,
    plain,
    text_of,
    wrap,
)
from rashomon.tui.steps import MAX_LANES, StepRows, lane_graph, step_json
from tests.steps import llm, said, tape, tool

ROOT = Path(__file__).resolve().parents[2]
ANY_TEXT = st.text(st.characters(), max_size=60) | st.sampled_from(
    ["\x1b]0;title\x07", "\ud800\udfff", "\u202egnp.exe", "👩\u200d👩\u200d👧", "\t\0\x7f", "e\u0301" * 40, "全角" * 30]
)


def numbered(count: int, changed: set[int] = frozenset()) -> Tape:  # type: ignore[assignment]
    """A tape of so many answers; those at `changed` say something else."""
    return tape([llm(said(f"answer {n}{' changed' if n in changed else ''}")) for n in range(count)])


# ---------------------------------------------------------------------------------------------- spans


@given(st.lists(ANY_TEXT, max_size=6), st.integers(0, 120))
def test_a_painted_line_is_exactly_as_wide_as_the_window(texts: list[str], width: int) -> None:
    """Whatever was recorded, a line never raises, fills its cells, and holds nothing that drives a terminal."""
    strip = strip_of(tuple(Span(text) for text in texts), width, Style.null(), lambda _: Style.null())
    assert strip.cell_length == width
    assert sum(cell_len(segment.text) for segment in strip) == width
    for character in strip.text:
        assert unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


@given(ANY_TEXT, st.integers(0, 60), st.booleans(), st.booleans())
def test_fit_is_exact(text: str, width: int, right: bool, middle: bool) -> None:
    """A cell of a table has the width of its column, whatever it holds."""
    assert cell_len(fit(text, width, right, middle)) == width


def test_fit_cuts_names_in_the_middle() -> None:
    """The end of a name tells it apart as often as its beginning."""
    assert fit("search_orders_by_customer", 16, middle=True) == "search_ord…tomer"
    assert fit("search_orders_by_customer", 16) == "search_orders_b…"


@given(ANY_TEXT.map(plain), st.integers(1, 40))
def test_wrapped_rows_are_the_line(text: str, width: int) -> None:
    """Rows keep the order and every character but the spaces they broke at."""
    rows = wrap(text, width)
    assert rows[0][0] == 0
    assert rows[-1][1] == len(text)
    for (_, end), (start, _) in pairwise(rows):
        assert start == end or (start == end + 1 and text[end] == " ")
    if text.isascii():
        assert all(end - start <= width for start, end in rows)


def test_a_line_of_a_megabyte_is_cut() -> None:
    """What no one can read costs nothing to show."""
    strip = strip_of((Span("x" * 1_000_000),), 80, Style.null(), lambda _: Style.null())
    assert strip.cell_length == 80
    assert len(plain("\x1b[31m" + "x" * 1_000_000)) <= 20_000


def test_crop_keeps_styles() -> None:
    """A wrapped row looks like the part of the line that it is."""
    line = (Span("abc", "key"), Span("def", "string"))
    assert crop(line, 2, 5) == (Span("c", "key"), Span("de", "string"))
    assert crop(line, 0, 6) == line


def test_columns_are_dropped_and_never_squeezed() -> None:
    """A narrow window loses whole columns, the least important one first."""
    columns = [Column("name", "", 0), Column("time", "", 6, keep=5), Column("note", "", 20, keep=1)]
    assert [column.name for column in layout(columns, 80)] == ["name", "time", "note"]
    assert [column.name for column in layout(columns, 50)] == ["name", "time"]
    assert [column.name for column in layout(columns, 30)] == ["name"]
    assert [column.width for column in layout(columns, 50)] == [43, 6]


@given(st.integers(0, 10**12))
def test_counts_are_short(number: int) -> None:
    """A count is at most five characters."""
    assert len(count_of(number)) <= 5


@pytest.mark.parametrize("glyphs", [UNICODE, ASCII], ids=["unicode", "ascii"])
def test_every_sign_is_one_cell(glyphs: Glyphs) -> None:
    """Columns stay straight: a sign has the width of one cell, and the ASCII ones are ASCII."""
    signs = [*glyphs.kinds.values(), *glyphs.grades.values(), *(s for s in glyphs if isinstance(s, str))]
    assert [sign for sign in signs if cell_len(sign) != 1 and sign != "->"] == []
    assert glyphs is UNICODE or all(sign.isascii() for sign in signs)


@pytest.mark.parametrize(
    ("environ", "glyphs"),
    [({}, UNICODE), ({"LANG": "en_GB.UTF-8"}, UNICODE), ({"LC_ALL": "C"}, ASCII), ({"TERM": "linux"}, ASCII),
     ({"RASHOMON_ASCII": "1"}, ASCII), ({"RASHOMON_ASCII": "0", "TERM": "linux"}, UNICODE)],
)  # fmt: skip
def test_the_terminal_chooses_the_signs(environ: dict[str, str], glyphs: Glyphs) -> None:
    """A terminal that cannot show the signs gets letters; the user's word counts first."""
    assert choose(environ) is glyphs


# --------------------------------------------------------------------------------------------- traces


def item(ident: str, started: int, parent: str | None = None) -> TraceItem:
    """A trace in the list."""
    return TraceItem(ident, f"name {ident}", started, parent=parent)


def test_families_stand_together_newest_first() -> None:
    """A replay stands under its recording, and a fresh replay brings its family to the top."""
    items = [item("old", 1), item("new", 5), item("replay", 9, parent="old"), item("again", 10, parent="replay")]
    rows = TraceRows(items, UNICODE)
    assert [rows[number].id for number in range(len(rows))] == ["old", "replay", "again", "new"]
    assert "└ name replay" in text_of(rows.line(1, 100))
    assert "  └ name again" in text_of(rows.line(2, 100))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9) | st.none()), unique_by=lambda pair: pair[0]))
def test_no_trace_is_ever_lost(pairs: list[tuple[int, int | None]]) -> None:
    """Each trace stands in the list once, with parents missing, its own, or in a circle."""
    items = [item(str(one), one, parent=None if above is None else str(above)) for one, above in pairs]
    rows = TraceRows(items, UNICODE)
    assert sorted(rows[number].id for number in range(len(rows))) == sorted(one.id for one in items)


@given(ANY_TEXT, st.integers(1, 200))
def test_rows_of_traces_fit_for_any_name(name: str, width: int) -> None:
    """A foreign name is fitted like any other; only the columns that always stay can be too wide."""
    rows = TraceRows([TraceItem("0123456789", name, 1, error=name, tags=((name, name),))], UNICODE)
    assert cell_len(text_of(rows.line(0, width))) <= max(width, 16)


def test_ids_are_shown_as_far_as_they_differ() -> None:
    """The short id is unique in the list."""
    assert shortest([f"{'a' * 13}1xxxxxxxx", f"{'a' * 13}2xxxxxxxx", "b" * 26]) == 14
    assert shortest(["a" * 26, "b" * 26]) == shortest([]) == 12
    assert shortest(["a" * 26, "a" * 26 + "b"]) == 27


# ---------------------------------------------------------------------------------------------- steps


@given(st.lists(st.tuples(st.integers(0, 20)), max_size=40))
def test_lane_graph_marks_each_step_once(lanes: list[Lane]) -> None:
    """However many lanes a trace has, each step has one mark within the drawn columns."""
    steps = tape([llm(said("x"))._replace(lane=lane) for lane in lanes]).steps
    for drawn in lane_graph(steps, "|"):
        assert drawn.count("*") == 1
        assert len(drawn) <= MAX_LANES


def test_lanes_close_when_they_have_ended() -> None:
    """A lane is drawn from its first step to its last, and its column is free after that."""
    lanes: list[Lane] = [(), (0,), (1,), (0,), (), (2,), ()]
    steps = tape([llm(said("x"))._replace(lane=lane) for lane in lanes]).steps
    assert lane_graph(steps, "|") == ["*", "|*", "||*", "|*", "*", "|*", "*"]


def test_steps_in_trouble_are_stops() -> None:
    """`n` stops at an HTTP error and nowhere else in a recording without a replay."""
    rows = StepRows(tape([llm(said("x")), llm(b"{}", status=429), llm(said("y"))]), UNICODE)
    assert list(rows.stops) == [1]
    assert rows.first is None
    assert "429" in text_of(rows.line(1, 100))


def test_an_error_within_an_answer_is_trouble() -> None:
    """What an answer of status 200 says is not to be seen in its head: the application is told of it."""
    steps = tape([llm(said("x")), llm(b'{"error": {"message": "overloaded"}}'), llm(b"{}", status=429)])
    rows = StepRows(steps, UNICODE, failing={step.id for step in steps.steps[1:]})
    assert list(rows.stops) == [1, 2]
    assert "error" in text_of(rows.line(1, 100))
    assert "429" in text_of(rows.line(2, 100))


def test_a_step_as_json_holds_both_sides() -> None:
    """What is copied can be parsed, and holds what went out and what came back."""
    step = tool({"order_id": "A"}, {"status": "late"})
    copied = json.loads(step_json(Trace("t", "t", 0), step))
    assert (copied["request"], copied["response"]) == ({"order_id": "A"}, {"status": "late"})


# -------------------------------------------------------------------------------------------- aligned


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 30), st.sets(st.integers(0, 29), max_size=4), st.integers(60, 160))
def test_folds_hide_nothing(count: int, changed: set[int], width: int) -> None:
    """Folded rows and shown rows together are all pairs, in order, however they are opened and closed."""
    alignment = align(numbered(count), numbered(count, changed))
    rows = AlignedRows(alignment, UNICODE)

    def covered() -> list[int]:
        return [row.pair + k for row in rows._rows for k in range(max(1, row.folded))]

    everything = list(range(len(alignment.pairs)))
    assert covered() == everything
    for number in range(len(rows)):
        assert cell_len(text_of(rows.line(number, width))) <= width
    if len(rows):
        rows.toggle_all(0)
        assert covered() == everything
        assert not any(rows.is_fold(number) for number in range(len(rows)))
        rows.toggle(len(rows) // 2)
        assert covered() == everything
    assert all(rows.pair(stop) is not None for stop in rows.stops)


def test_identical_traces_have_no_stop() -> None:
    """There is nowhere to go when nothing differs."""
    rows = AlignedRows(align(numbered(9), numbered(9)), UNICODE)
    assert (list(rows.stops), rows.first, len(rows)) == ([], None, 1)
    assert "9 identical steps" in text_of(rows.line(0, 80))


def test_another_tool_is_another_action() -> None:
    """Other words are `≈`; another tool called, or a failure in place of an answer, is `≠`."""
    left = [llm(said("one")), llm(said(None, ("c1", "refund", {}))), llm(said("two"))]
    right = [llm(said("ONE")), llm(said(None, ("c1", "escalate", {}))), llm(b"{}", status=500)]
    rows = AlignedRows(align(tape(left), tape(right, "right")), UNICODE)
    assert [rows.sign(number)[0] for number in range(len(rows))] == ["≈", "≠", "≠"]


# ------------------------------------------------------------------------------------------ documents

ANY_JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(ANY_JSON.filter(lambda value: "\n" not in json.dumps(value).replace("\\n", "\n")))
def test_json_without_line_breaks_is_shown_as_json(value: Json) -> None:
    """What the pane shows can be parsed again."""
    assert json.loads("\n".join(text_of(line) for line in json_lines(value))) == value


@given(ANY_JSON, ANY_JSON)
def test_differences_of_any_values_can_be_shown(left: Json, right: Json) -> None:
    """Whatever stood there and stands there now, its path and both sides are lines."""
    for difference in differences(left, right, "request"):
        lines = difference_lines(difference, UNICODE)
        assert difference.path in text_of(lines[0])
        assert len(lines) > 1


def test_text_with_line_breaks_stands_as_text() -> None:
    """A prompt is read as it was written, without escapes."""
    lines = [text_of(line) for line in json_lines({"content": "You are an agent.\nBe brief."})]
    assert lines == ["{", '  "content": |', "    You are an agent.", "    Be brief.", "}"]


# ------------------------------------------------------------------------------------ keys and styles


def test_no_key_means_two_things_in_one_place() -> None:
    """A key of a screen is not also a key of its lists, or of every screen."""
    shared = [*actions.of_place(actions.Place.LINES), *actions.of_place(actions.Place.EVERYWHERE)]
    for place in (actions.Place.TRACES, actions.Place.TRACE, actions.Place.DIFF):
        keys = [key for action in [*actions.of_place(place), *shared] for key in action.keys.split(",")]
        assert len(keys) == len(set(keys))
    assert len({action.id for action in actions.ACTIONS}) == len(actions.ACTIONS)


def test_the_docs_have_every_key() -> None:
    """docs/tui.md holds the tables that the registry makes, word for word."""
    page = (ROOT / "docs" / "tui.md").read_text(encoding="utf-8")
    written = page.partition("<!-- keys -->\n")[2].partition("\n<!-- /keys -->")[0]
    assert written.strip() == actions.markdown()


def test_every_style_has_a_look() -> None:
    """The style sheet names each style that lines may use, and no other."""
    sheet = (Path(actions.__file__).parent / "lines.tcss").read_text(encoding="utf-8")
    named = {word.strip(" ,{") for word in sheet.split() if word.startswith(".line--")}
    assert named == {f".line--{name}" for name in (*STYLES, *CURSORS)}
