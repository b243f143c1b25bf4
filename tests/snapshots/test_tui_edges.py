"""The terminal application where it is least comfortable: low windows, huge bodies, slow work, homes that change."""

from __future__ import annotations

import asyncio
import io
import sys
import threading

import pytest
from textual import events
from textual.widgets import Input

from rashomon.commands import tui as command
from rashomon.errors import DamagedData
from rashomon.model import Divergence, Step, Tape
from rashomon.tui import background
from rashomon.tui.app import RashomonApp
from rashomon.tui.background import Background
from rashomon.tui.document import MAX_LINES, request_lines, response_lines
from rashomon.tui.glyphs import UNICODE, Glyphs
from rashomon.tui.lines import LineList
from rashomon.tui.model import TraceItem
from rashomon.tui.screens import page, trace
from rashomon.tui.screens.trace import TraceScreen
from rashomon.tui.screens.traces import TracesScreen
from rashomon.tui.spans import MAX_LINE, Line, text_of
from rashomon.tui.text import TextPane
from tests.snapshots.sample_traces import FakeSource, exact_replay, family, recording, stubbed_replay
from tests.snapshots.screen_text import press, screen_text, settled
from tests.steps import llm, said, tape, tool


def app_of(*tapes: Tape, refs: tuple[str, ...] = (), source: FakeSource | None = None) -> RashomonApp:
    """The application over tapes, without the rest of a cursor."""
    return RashomonApp(source or FakeSource(tapes), refs, UNICODE, rest_s=0)


# ------------------------------------------------------------------------------------------ low windows


async def test_in_a_low_window_the_content_of_a_step_takes_the_place_of_the_list() -> None:
    """Enter shows what there is no room for beside the list, J goes on in it, q goes back to the list."""
    app = app_of(*family(), refs=("7f3c",))
    async with app.run_test(size=(80, 20)) as pilot:
        await press(pilot, "g")
        assert "You are a refund agent." not in screen_text(app)
        await press(pilot, "enter")
        assert "You are a refund agent." in screen_text(app)
        assert app.focused is app.screen.query_one("#response")
        await press(pilot, "J")
        assert '"order_id": "A-1042"' in screen_text(app)
        await press(pilot, "q")
        assert isinstance(app.screen, TraceScreen)
        assert "issue_refund(" in screen_text(app)
        assert app.focused is app.screen.query_one("#steps")
        await press(pilot, "q")
        assert isinstance(app.screen, TracesScreen)


async def test_a_window_made_low_shows_where_the_keys_go() -> None:
    """Whoever reads a step when the window shrinks goes on reading it; a filter brings the list back."""
    app = app_of(*family(), refs=("7f3c",))
    async with app.run_test(size=(80, 30)) as pilot:
        await press(pilot, "enter")
        await pilot.resize_terminal(80, 18)
        await settled(pilot)
        assert "response" in screen_text(app)
        assert "refund_policy(region" not in screen_text(app)
        await press(pilot, "slash")
        assert "refund_policy(region" in screen_text(app)


@pytest.mark.parametrize("sizes", [[(30, 8), (100, 30)], [(100, 30), (30, 8), (100, 30)]], ids=["begun", "made"])
async def test_keys_work_when_a_window_that_was_too_small_has_grown(sizes: list[tuple[int, int]]) -> None:
    """The list has the focus again, whether the window began too small or was made so."""
    app = app_of(*family())
    async with app.run_test(size=sizes[0]) as pilot:
        for size in sizes[1:]:
            await pilot.resize_terminal(*size)
            await settled(pilot)
        await press(pilot, "j")
        assert app.screen.query_one(LineList).cursor == 1


@pytest.mark.parametrize(("keys", "pane"), [(["tab"], "#preview"), (["d", "tab"], "#differences")])
async def test_z_gives_every_pane_the_whole_window(keys: list[str], pane: str) -> None:
    """Panes of a height of their own fill the window too."""
    app = app_of(recording(), exact_replay(), stubbed_replay())
    async with app.run_test(size=(80, 22 if pane == "#differences" else 30)) as pilot:
        await press(pilot, "j", "j", *keys, "z")
        assert app.focused is app.screen.query_one(pane)
        assert app.screen.query_one(pane).size.height >= 18


async def test_facts_that_are_longer_than_their_place_can_be_scrolled() -> None:
    """A divergence told at length is reached by Tab; short facts are passed over."""
    why = Divergence("changed", " ".join(f"reason{number}" for number in range(200)), "0.3")
    replay = stubbed_replay()
    app = app_of(replay._replace(trace=replay.trace._replace(divergences=(why,))), refs=("815e",))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "F")
        assert "reason199" not in screen_text(app)
        await press(pilot, "tab", "G")
        assert "reason199" in screen_text(app)
        await press(pilot, "z", "g")
        assert "reason0" in screen_text(app)
        assert "reason199" in screen_text(app)
        await press(pilot, "q", "shift+tab", "g", "tab")
        assert app.focused is app.screen.query_one("#request")


# ----------------------------------------------------------------------------------------- huge content


def test_an_answer_of_very_many_lines_is_cut_and_says_so() -> None:
    """What is shown of it is bounded, and names the command that prints the rest."""
    lines = response_lines(llm(said("line\n" * 300_000)), UNICODE)
    told = [text_of(line) for line in lines if "rashomon show TRACE STEP prints all" in text_of(line)]
    assert len(lines) < 2 * MAX_LINES
    assert told[0].startswith("cut after 10,000 lines")
    assert len(told) == 2  # of what was said, and of the whole


def test_a_very_long_line_is_cut_and_says_so() -> None:
    """A line without an end shows its beginning, and how much of it is missing."""
    lines = request_lines(tool({"text": "x" * 1_000_000}))
    cut = next(text_of(line) for line in lines if "xxx" in text_of(line))
    assert len(cut) < MAX_LINE + 200
    assert cut.endswith("980,012 more characters: rashomon show TRACE STEP prints all")


async def test_no_character_is_lost_where_a_long_text_wraps() -> None:
    """Rows end before the scroll bar, also when it has only just appeared."""
    text = "".join(f"{number:04}" for number in range(900))
    app = app_of(tape([tool({}, "short"), tool({}, text)], "aaaaaaaa"), refs=("aaaa",))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "j")
        pane = app.screen.query_one("#response", TextPane)
        seen = pane.scrollable_size
        shown = "".join(pane.render_line(y).text[: seen.width].strip() for y in range(seen.height))
        assert shown.strip('"') in text


async def test_an_error_that_is_longer_than_the_window_goes_on_in_the_next_line() -> None:
    """In place of a list, what is wrong and what to do are told whole."""

    class FarAway(FakeSource):
        def traces(self) -> list[TraceItem]:
            raise DamagedData(f"{'/a/very/long/way' * 6}/store.duckdb is no database.", "Move it away, to the end.")

    app = app_of(source=FarAway())
    async with app.run_test(size=(70, 24)) as pilot:
        await settled(pilot)
        shown = screen_text(app)
        assert "is no database." in " ".join(shown.replace("│", " ").split())
        assert "to the end." in shown


async def test_content_that_is_slow_to_make_never_stands_beside_another_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a step is still being read, the panes say so instead of showing the one before."""
    going_on = threading.Event()

    def slow(step: Step, glyphs: Glyphs) -> list[Line]:
        assert step.index != 1 or going_on.wait(60)
        return response_lines(step, glyphs)

    monkeypatch.setattr(trace, "response_lines", slow)
    monkeypatch.setattr(page, "PATIENCE_S", 0.01)
    app = app_of(tape([tool({}, "first answer"), tool({}, "second answer")], "aaaaaaaa"), refs=("aaaa",))
    async with app.run_test(size=(160, 30)) as pilot:
        await settled(pilot)
        pane = app.screen.query_one("#response", TextPane)
        assert "first answer" in pane.text
        await pilot.press("j")
        while "first answer" in pane.text:
            await pilot.pause(0.01)
        going_on.set()
        await settled(pilot)
        assert "second answer" in pane.text


async def test_the_end_does_not_wait_for_work_that_nobody_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing drops what waits, and tells that something still runs."""
    monkeypatch.setattr(background, "GRACE_S", 0)
    started, going_on, threads = threading.Event(), threading.Event(), Background()

    def work() -> bool:
        started.set()
        return going_on.wait(60)

    asked = asyncio.ensure_future(threads.run(work))
    await asyncio.to_thread(started.wait, 60)
    assert threads.close()
    going_on.set()
    assert await asked
    assert not Background().close()


# -------------------------------------------------------------------------------------------- filters


async def test_a_filter_that_chooses_no_step_leaves_no_content_of_one() -> None:
    """Beside an empty list stands nothing that could be taken for a result."""
    app = app_of(*family(), refs=("7f3c",))
    async with app.run_test(size=(160, 45)) as pilot:
        await press(pilot, "g", "slash", "type:kind:mcp", "enter")
        assert "0 of 7 steps match" in screen_text(app)
        assert "You are a refund agent." not in screen_text(app)


async def test_several_lines_pasted_are_one_filter() -> None:
    """No line of what was copied elsewhere is dropped in silence, and control characters are."""
    app = app_of(*family())
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "slash")
        app.screen.query_one(Input).post_message(events.Paste("outcome:error\n  \x1b[31m-has:parent\n"))
        await settled(pilot)
        assert app.screen.query_one(Input).value == "outcome:error -has:parent"
        assert "1 of 3" in screen_text(app)


async def test_what_is_wrong_with_a_filter_is_told_whole() -> None:
    """A long explanation goes on in the next line."""
    app = app_of(*family(), refs=("7f3c",))
    async with app.run_test(size=(70, 24)) as pilot:
        await press(pilot, "slash", "type:kind:zzz")
        shown = screen_text(app)
        assert "kind must be one of" in shown
        assert "kind:llm" in " ".join(shown.split())


# ---------------------------------------------------------------------------------- homes that change


async def test_the_steps_of_a_trace_that_goes_on_are_read_again() -> None:
    """Ctrl+R in an open trace shows what was recorded since, and the cursor stays."""
    begun = recording()
    source = FakeSource([begun._replace(steps=begun.steps[:4])])
    app = app_of(source=source, refs=("7f3c",))
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "g", "j")
        assert "4 steps" in screen_text(app)
        source.add(begun)
        await press(pilot, "ctrl+r")
        assert "7 steps" in screen_text(app)
        assert app.screen.query_one(LineList).cursor == 1


class GoneSource(FakeSource):
    """A home that can be read until `gone` is set."""

    gone = False

    def traces(self) -> list[TraceItem]:
        """Nothing can be listed any more."""
        if self.gone:
            raise DamagedData("The home is gone.", "Choose another one with --home.")
        return super().traces()

    def tape(self, trace_id: str) -> Tape:
        """No trace can be read any more."""
        if self.gone:
            raise DamagedData("The trace is gone.", "Choose another one.")
        return super().tape(trace_id)


async def test_keys_do_nothing_to_rows_that_an_error_took_the_place_of() -> None:
    """After a reload that failed, nothing that is not seen is opened, copied or counted."""
    source = GoneSource(family())
    app = app_of(source=source)
    async with app.run_test(size=(100, 30)) as pilot:
        await press(pilot, "j", "enter")
        source.gone = True
        await press(pilot, "ctrl+r")
        assert "The trace is gone." in screen_text(app)
        assert "response" in screen_text(app)
        assert "assistant" not in screen_text(app)
        await pilot.press("y", "n", "F", "enter", "j", "q", "ctrl+r")
        await settled(pilot)
        assert "The home is gone." in screen_text(app)
        assert "3 traces" not in screen_text(app)
        await pilot.press("enter", "d", "m", "n", "y")
        assert isinstance(app.screen, TracesScreen)
        source.gone = False
        await press(pilot, "ctrl+r", "enter")
        assert isinstance(app.screen, TraceScreen)


# ------------------------------------------------------------------------------------------ terminals


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
def test_without_a_terminal_on_each_side_it_is_not_opened(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads stdin and draws on stderr: redirected, either would leave a window without keys, or none."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, Terminal())
    assert command.at_terminal()
    monkeypatch.setattr(sys, stream, io.StringIO())
    assert not command.at_terminal()
