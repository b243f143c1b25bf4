"""The terminal application as its reader sees it: screens as text, keys, empty and failing states."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rashomon import notes
from rashomon.errors import DamagedData, TraceNotFound
from rashomon.model import Launched, Step, Tape
from rashomon.tapes import write_tape
from rashomon.tui.app import RashomonApp
from rashomon.tui.glyphs import ASCII, UNICODE, Glyphs
from rashomon.tui.lines import LineList
from rashomon.tui.model import TraceItem
from rashomon.tui.notes import NoteItem
from rashomon.tui.screens import page
from rashomon.tui.screens.diff import DiffScreen
from rashomon.tui.screens.help import HelpScreen
from rashomon.tui.screens.trace import TraceScreen
from rashomon.tui.screens.traces import TracesScreen
from rashomon.tui.source import StoreSource
from rashomon.tui.text import TextPane
from tests.snapshots.sample_traces import FakeSource, family, hostile, recording, stubbed_replay
from tests.snapshots.screen_text import assert_screen, press, screen_text, settled
from tests.steps import llm, said, tape

SIZES = [(100, 30), (160, 45)]


@pytest.fixture(autouse=True)
def fixed_surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """One time zone, no animations, colours on."""
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    monkeypatch.delenv("NO_COLOR", raising=False)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def app_of(*tapes: Tape, refs: tuple[str, ...] = (), glyphs: Glyphs = UNICODE) -> RashomonApp:
    """The application over tapes, without the rest of a cursor."""
    return RashomonApp(FakeSource(tapes), refs, glyphs, rest_s=0)


def cursor(app: RashomonApp) -> int:
    """The row that the cursor of the screen's list is on."""
    return app.screen.query_one(LineList).cursor


@pytest.mark.parametrize("size", SIZES, ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("traces", ["j", "m", "j", "j"]),
        ("trace", ["enter", "n"]),
        ("replay", ["j", "j", "enter"]),
        ("diff", ["j", "j", "d"]),
        ("diff_text", ["j", "j", "d", "G"]),
        ("identical", ["j", "d"]),
        ("keys", ["question_mark"]),
        ("traces_filter", ["slash", "type:outcome:error -has:parent", "enter"]),
        ("trace_filter", ["enter", "slash", "type:kind:llm,http ms>1s", "enter"]),
        ("filter_error", ["slash", "type:outcome:error", "type:outcome:error kynd:llm"]),
    ],
)
async def test_screens(name: str, keys: list[str], size: tuple[int, int]) -> None:
    """Each screen shows what it did when it was last looked at."""
    app = app_of(*family())
    async with app.run_test(size=size) as pilot:
        await press(pilot, *keys)
        assert_screen(app, f"{name}-{size[0]}x{size[1]}")


@pytest.mark.parametrize("steps", [True, False], ids=["steps", "none"])
async def test_ends_that_differ_are_told(steps: bool) -> None:
    """Traces whose steps are the same may have printed or returned something else, or failed."""
    left = recording() if steps else recording()._replace(steps=())
    ended = left.trace._replace(id="0192f00d", parent=left.trace.id, exit_code=(left.trace.exit_code or 0) + 3)
    app = app_of(left, left._replace(trace=ended))
    async with app.run_test(size=(160, 30)) as pilot:
        await press(pilot, "j", "d")
        assert isinstance(app.screen, DiffScreen)
        assert "identical │ another exit code" in screen_text(app)
        assert "The program ended with exit code 1 in the recording, 4 in the replay." in screen_text(app)


async def test_a_filter_narrows_the_list_and_escape_gives_it_back() -> None:
    """`/` takes a filter; the list follows; a mistake is pointed at and the last good result stays; Esc undoes."""
    app = app_of(*family())
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "slash", "type:outcome:error")
        assert "filter outcome:error: 2 of 3" in screen_text(app)
        await press(pilot, "type:outcome:error kynd:x")
        text = screen_text(app)
        assert "There is no field 'kynd'. Did you mean kind?" in text
        assert " " * 17 + "^^^^\n" in text
        assert "filter outcome:error: 2 of 3" in text
        await press(pilot, "escape")
        assert "3 traces in ~/shop/.rashomon" in screen_text(app)
        assert isinstance(app.screen, TracesScreen)


async def test_a_filter_that_nothing_matches_says_so() -> None:
    """An empty result names the filter and the way back."""
    app = app_of(*family())
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "slash", "type:name:nobody", "enter")
        assert "0 of 3 traces match  name:nobody" in screen_text(app)
        await press(pilot, "enter", "d", "y", "slash", "escape")
        assert "3 traces in" in screen_text(app)


async def test_what_a_trace_cannot_be_asked_is_told_under_the_filter() -> None:
    """An error that only the search finds stands under the bar too."""
    app = app_of(*family())
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "slash", "type:status:404", "enter")
        assert "A trace has no HTTP status" in screen_text(app)


async def test_the_steps_of_a_trace_are_filtered_and_the_cursor_stays_on_its_step() -> None:
    """In the steps the same language chooses steps; keys work on what is left."""
    app = app_of(*family(), refs=("7f3c",))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "G", "k", "slash", *"to", "type:kind:tool", "enter")
        assert "filter kind:tool: 3 of 7" in screen_text(app)
        assert "issue_refund" in app.screen.query_one(LineList).get_line_text(cursor(app))
        await press(pilot, "g", "j")
        assert "refund_policy" in app.screen.query_one(LineList).get_line_text(cursor(app))
        await press(pilot, "escape")
        assert "refund_policy" in app.screen.query_one(LineList).get_line_text(cursor(app))
        assert "7 steps" in screen_text(app)


async def test_a_home_without_traces_names_the_next_command() -> None:
    """The empty list says how to record, and how to see something at once."""
    app = app_of()
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "enter", "d", "m", "n", "y")
        assert "No traces in ~/shop/.rashomon" in screen_text(app)
        assert "rashomon record -- python agent.py" in screen_text(app)
        assert "rashomon demo" in screen_text(app)


async def test_a_trace_without_steps_says_so() -> None:
    """A trace in which nothing was recorded opens as a sentence, and its keys do nothing."""
    app = app_of(tape([], "0123456789"), refs=("0123",))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "n", "F", "y", "enter", "j")
        assert "No calls were recorded in this trace." in screen_text(app)


async def test_n_and_shift_n_walk_the_groups_of_differences() -> None:
    """`n` goes to the next group, `N` back to where it came from, and neither beyond the last."""
    app = app_of(*family(), refs=("7f3c", "815e"))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "g")
        seen = []
        for key in ("n", "n", "n", "N"):
            await press(pilot, key)
            seen.append(cursor(app))
        assert seen == [2, 4, 4, 2]


async def test_a_diff_opens_at_the_first_divergence() -> None:
    """Not the stub that you asked for, nor the call inside of it: the first step that then differed."""
    app = app_of(*family(), refs=("7f3c", "815e"))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "G")
        assert cursor(app) == 7
        await press(pilot, "F")
        line = app.screen.query_one(LineList).get_line_text(cursor(app))
        assert "issue_refund" in line
        assert " ≠ " in line
        assert "escalate" in line


async def test_n_and_f_in_a_replay_go_to_what_left_the_recording() -> None:
    """In the steps of a replay, both keys stop at the recorded divergence."""
    app = app_of(*family(), refs=("815e",))
    async with app.run_test(size=(100, 30)) as pilot:
        for key in ("n", "F"):
            await press(pilot, "g", key)
            assert cursor(app) == 3
        assert "asks for escalate where the recording asked for issue_refund" in screen_text(app)


async def test_d_in_a_replay_aligns_it_with_its_parent() -> None:
    """`d` needs no mark in a replay."""
    app = app_of(*family(), refs=("815e",))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "d")
        assert isinstance(app.screen, DiffScreen)
        assert "7f3c1a2b0000 ⇄ 815e3c4d0000" in screen_text(app)


async def test_d_compares_with_the_marked_trace() -> None:
    """A mark comes before the parent, and the marked trace stands on the left."""
    app = app_of(*family())
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "j", "m", "j", "d")
        assert "804d2b3c0000 ⇄ 815e3c4d0000" in screen_text(app)


async def test_d_without_anything_to_compare_says_what_is_missing() -> None:
    """A recording has no parent: the message names the key that marks."""
    app = app_of(*family())
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await press(pilot, "d")
        assert isinstance(app.screen, TracesScreen)
        assert "nothing to compare this trace with" in screen_text(app)


async def test_q_goes_back_and_quits_from_the_first_list() -> None:
    """`q` leaves screen by screen; escape leaves them too, and never the application."""
    app = app_of(*family(), refs=("7f3c", "815e"))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "question_mark")
        assert isinstance(app.screen, HelpScreen)
        await press(pilot, "q")
        assert isinstance(app.screen, DiffScreen)
        await press(pilot, "escape")
        assert isinstance(app.screen, TracesScreen)
        await press(pilot, "escape", "enter")
        assert isinstance(app.screen, TraceScreen)
        await press(pilot, "q")
        await pilot.press("q")
    assert app.return_code == 0


async def test_ctrl_q_quits_from_anywhere() -> None:
    """One key leaves the application from the innermost screen."""
    app = app_of(*family(), refs=("815e",))
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        await pilot.press("ctrl+q")
    assert not app.is_running


async def test_u_unfolds_and_folds_again() -> None:
    """A run of identical steps is one counted line, until `u`."""
    steps = [llm(said(f"answer {number}")) for number in range(12)]
    left = tape(steps, "aaaaaaaa")
    right = tape([*steps[:-1], llm(said("another answer"))], "bbbbbbbb")
    app = app_of(left, right, refs=("aaaa", "bbbb"))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "g")
        assert "9 identical steps" in screen_text(app)
        await press(pilot, "u")
        assert '"answer 3"' in screen_text(app)
        await press(pilot, "j", "j", "u")
        assert "9 identical steps" in screen_text(app)
        assert cursor(app) == 0
        await press(pilot, "U")
        assert "9 identical steps" not in screen_text(app)


async def test_y_copies_the_step_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clipboard holds the whole step, raw, and the window says how much that is."""
    monkeypatch.setattr(page, "COPIED_S", 600)  # a busy machine may be slower than a reader
    app = app_of(recording(), refs=("7f3c",))
    async with app.run_test(size=(100, 30), notifications=True) as pilot:
        await press(pilot, "j", "y")
        copied = json.loads(app.clipboard)
        assert copied["step"] == 1
        assert copied["request"] == {"order_id": "A-1042"}
        assert copied["response"]["status"] == "delivered"
        assert "Copied step 1 as JSON" in screen_text(app)


async def test_tab_reaches_the_panes_and_z_zooms_one() -> None:
    """Keys of movement go to the pane that has the focus; `z` gives it the window, `q` takes it back."""
    app = app_of(recording(), refs=("7f3c",))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "tab", "j", "j")
        pane = app.screen.query_one("#request", TextPane)
        assert app.focused is pane
        assert pane.scroll_offset.y == 2
        assert cursor(app) == 0
        await press(pilot, "z")
        assert pane.size.height > 20
        await press(pilot, "J", "q")
        assert cursor(app) == 1
        assert isinstance(app.screen, TraceScreen)
        assert pane.size.height < 20


@pytest.mark.parametrize("keys", [[], ["enter"], ["enter", "G"], ["d"]], ids=["list", "llm", "http", "diff"])
async def test_foreign_text_is_shown_literally(keys: list[str]) -> None:
    """Markup, escape sequences and direction marks of a recording never reach the terminal as such."""
    other = hostile()
    other = other._replace(trace=other.trace._replace(id="ffff", parent=hostile().trace.id, started_ns=0))
    app = app_of(hostile(), other)
    async with app.run_test(size=(160, 45)) as pilot:
        await press(pilot, "j", *keys)
        shown = screen_text(app)
        assert "no markup" in shown
        assert "[bold red]no markup" in shown or "[/nope]" in shown or "%5B" in shown
        assert not set("\x1b\u202e\ud800\t") & set(shown)


@pytest.mark.parametrize("size", [(59, 30), (100, 14), (20, 5)])
async def test_a_small_window_says_what_it_needs(size: tuple[int, int]) -> None:
    """Below 60x15 there is one line and no traceback."""
    app = app_of(*family())
    async with app.run_test(size=size) as pilot:
        await press(pilot, "j", "enter", "question_mark", "q")
        shown = " ".join(screen_text(app).split())
        assert f"now {size[0]}x{size[1]})" in shown
        assert "refund-agent" not in shown


async def test_every_size_down_to_the_least_works() -> None:
    """The narrowest window still shows list and steps, with fewer columns."""
    app = app_of(*family())
    async with app.run_test(size=(60, 15)) as pilot:
        await press(pilot, "j", "j")
        assert "815e3c4d" in screen_text(app)
        await press(pilot, "enter")
        assert "escalate" in screen_text(app)


async def test_ascii_glyphs_for_terminals_without_unicode() -> None:
    """With the ASCII set, nothing but the recorded text is beyond ASCII."""
    app = app_of(*family(), refs=("7f3c", "815e"), glyphs=ASCII)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        beyond = {character for character in screen_text(app) if not character.isascii()}
        assert beyond <= set("→…")  # titles of steps, which every command prints


async def test_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves no hue on the screen, and the text is the same."""
    monkeypatch.setenv("NO_COLOR", "1")
    app = app_of(*family(), refs=("7f3c", "815e"))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "G", "F")
        assert app.no_color
        assert " ≠ " in screen_text(app)


async def test_a_home_on_disk_is_taken_in_and_shown(tmp_path: Path) -> None:
    """Journals that nobody has ingested yet are in the list, and two of them open aligned."""
    (tmp_path / "journals").mkdir()
    for one in family():
        write_tape(tmp_path / "journals" / f"{one.trace.id}.rsj", one)
    app = RashomonApp(StoreSource(tmp_path), ("7f3c", "815e"), UNICODE, rest_s=0)
    async with app.run_test(size=(120, 30)) as pilot:
        await press(pilot, "F")
        assert "⊕" in screen_text(app)
        await press(pilot, "q", "j", "j")
        assert "└ refund-agent  stub" in app.screen.query_one(LineList).get_line_text(2)
        assert "3 traces" in screen_text(app)


async def test_notes_stand_beside_what_they_are_on() -> None:
    """The list marks a trace with notes and tells them; opened, their steps are marked, and say what was written."""
    one, other = recording(), stubbed_replay()
    step = one.steps[1].id
    written = [
        NoteItem(None, "refunded [b]twice[/b]", ("incident",), "ada", 10**18),
        NoteItem(step, "stale\npolicy", ("root-cause", "p1"), None, 10**18),
    ]
    app = RashomonApp(FakeSource([one, other], {one.trace.id: written}), glyphs=UNICODE, rest_s=0)
    async with app.run_test(size=(160, 30)) as pilot:
        await settled(pilot)
        lines = app.screen.query_one(LineList)
        assert [" ✎ " in lines.get_line_text(number) for number in range(2)] == [True, False]
        preview = app.screen.query_one("#preview", TextPane)
        assert "refunded [b]twice[/b] [incident]  ada, 09-09 01:46" in preview.text
        await press(pilot, "j")
        assert "✎" not in preview.text
        await press(pilot, "k", "enter")
        assert "2 notes" in screen_text(app)
        lines, facts = app.screen.query_one(LineList), app.screen.query_one("#facts", TextPane)
        assert [number for number in range(len(one.steps)) if "✎" in lines.get_line_text(number)] == [1]
        await press(pilot, "g")
        assert "refunded [b]twice[/b] [incident]" in facts.text
        await press(pilot, "j")
        assert "stale policy [root-cause] [p1]  somebody" in facts.text
        await press(pilot, "j")
        assert "✎" not in facts.text


async def test_a_note_in_the_store_is_told(tmp_path: Path) -> None:
    """What `rashomon note` wrote is read with the home's traces."""
    (tmp_path / "journals").mkdir()
    write_tape(tmp_path / "journals" / "one.rsj", recording())
    trace, step = recording().trace.id, recording().steps[2].id
    note = notes.Note(notes.new_id(), trace, step, 10**18, "ada", "look here", ("p1",), {})
    assert notes.write(tmp_path, note)
    source = StoreSource(tmp_path)
    assert [item.notes for item in source.traces()] == [1]
    assert source.notes(trace) == [NoteItem(step, "look here", ("p1",), "ada", 10**18)]


async def test_an_unknown_reference_ends_with_the_error() -> None:
    """What cannot be opened is told by the command line, not by a screen."""
    app = app_of(*family(), refs=("nope",))
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
    assert isinstance(app.failure, TraceNotFound)


class DamagedSource(FakeSource):
    """A home in which one thing after the other cannot be read."""

    def traces(self) -> list[TraceItem]:
        """Nothing can be listed, when it is empty."""
        if not super().traces():
            raise DamagedData("store.duckdb is not a database.", "Move it away and run rashomon ingest.")
        return super().traces()

    def tape(self, trace_id: str) -> Tape:
        """No trace can be opened."""
        raise DamagedData("Part b2:77 is missing.", "Run rashomon ingest.")


async def test_a_home_that_cannot_be_read_is_told_in_place_of_the_list() -> None:
    """What is wrong and what to do, in the window; nothing ends."""
    app = RashomonApp(DamagedSource(), glyphs=UNICODE, rest_s=0)
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "j", "enter")
        assert "store.duckdb is not a database." in screen_text(app)
        assert "Move it away and run rashomon ingest." in screen_text(app)


@pytest.mark.parametrize("keys", [["enter"], ["j", "d"]], ids=["trace", "diff"])
async def test_a_trace_that_cannot_be_read_is_told_in_its_place(keys: list[str]) -> None:
    """The screen says what is wrong, and `q` goes back to a list that works."""
    app = RashomonApp(DamagedSource([recording(), stubbed_replay()]), glyphs=UNICODE, rest_s=0)
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, *keys)
        assert "Part b2:77 is missing." in screen_text(app)
        await press(pilot, "q")
        assert "refund-agent" in screen_text(app)


async def test_reload_shows_what_is_new_and_stays_on_the_trace() -> None:
    """ctrl+r takes in what was recorded since, under the same cursor."""
    source = FakeSource([recording()])
    app = RashomonApp(source, glyphs=UNICODE, rest_s=0)
    async with app.run_test(size=(100, 30)) as pilot:
        await settled(pilot)
        source.add(hostile())
        await press(pilot, "ctrl+r")
        assert "2 traces" in screen_text(app)
        assert "7f3c1a2b" in app.screen.query_one(LineList).get_line_text(cursor(app))


async def test_what_is_copied_is_made_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step may have megabytes: the keys go on meanwhile, on both screens that copy content."""
    made: list[bool] = []

    def view(step: Step) -> dict[str, Any]:
        made.append(threading.current_thread() is threading.main_thread())
        return {"request": "half \ud83d of an emoji", "response": None}

    tapes = family()
    for refs in ((tapes[0].trace.id,), (tapes[0].trace.id, tapes[1].trace.id)):
        app = app_of(*tapes, refs=refs)
        async with app.run_test(size=(100, 30)) as pilot:
            await settled(pilot)
            with monkeypatch.context() as patched:
                patched.setattr("rashomon.views.step_view", view)
                await press(pilot, *("u", "y")[2 - len(refs) :])
            assert r"half \ud83d of an emoji" in app.clipboard
    assert made
    assert not any(made)


async def test_programs_that_are_not_python_stand_beside_complete() -> None:
    """Nobody knows what they reached: the trail does not say plain `complete`."""
    alone = recording()
    curl = Launched(("curl", "http://example.com"), (0,))
    app = app_of(alone._replace(trace=alone.trace._replace(launched=(curl,))), refs=("7f3c",))
    async with app.run_test(size=(140, 30)) as pilot:
        await settled(pilot)
        assert "complete but for 1 program that is not Python" in screen_text(app)
