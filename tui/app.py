"""The terminal application: screens over a source of traces."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from textual.app import App

from rashomon.errors import RashomonError, UsageError
from rashomon.tui.background import Background
from rashomon.tui.glyphs import Glyphs, choose
from rashomon.tui.screens.page import Page
from rashomon.tui.source import StoreSource, TraceSource

REST_S = 0.04
"""The cursor must rest this long, in seconds, before the content below it is fetched."""


def run(home: Path, refs: Sequence[str] = ()) -> int:
    """Open the application on a home: the list, one trace, or two aligned. Gives the exit code.

    The process ends at once when the application was left while it still worked: whoever quits is not kept waiting.
    Raises `RashomonError` when a reference means no trace, or when the home cannot be read for it.
    """
    if len(refs) > 2:
        raise UsageError(f"{len(refs)} traces cannot be opened together.", "Name one, or two to compare.")
    app = RashomonApp(StoreSource(home), refs)
    busy = False
    gc.freeze()  # what the libraries made stays as long as the application: do not look at it again
    try:
        app.run()
    finally:
        gc.unfreeze()  # else native modules report leaks when the interpreter ends
        busy = app.background.close()
    if app.failure is not None:
        raise app.failure
    code = app.return_code or 0
    if busy:  # an alignment or an ingestion that nobody waits for: an interpreter would not end before it does
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return code


class RashomonApp(App[int]):
    """The application. `source` gives the traces; `refs` name up to two that are opened at once."""

    TITLE = "rashomon"
    CSS_PATH = "lines.tcss"
    ENABLE_COMMAND_PALETTE = False
    PAUSE_GC_ON_SCROLL = True
    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (60, "-slim"), (80, "-narrow"), (120, "-wide"), (200, "-ultra")]
    VERTICAL_BREAKPOINTS = [(0, "-flat"), (15, "-short"), (24, "-normal"), (40, "-tall")]

    def __init__(
        self,
        source: TraceSource,
        refs: Sequence[str] = (),
        glyphs: Glyphs | None = None,
        rest_s: float = REST_S,
    ) -> None:
        self.source = source
        self.glyphs = choose() if glyphs is None else glyphs
        self.rest_s = rest_s
        self.marked: str | None = None
        """The id of the marked trace."""
        self.failure: RashomonError | None = None
        """Why the application ended by itself."""
        self.background = Background()
        self._refs = tuple(refs)
        super().__init__()

    @property
    def depth(self) -> int:
        """How many screens lie above the terminal."""
        return len(self.screen_stack) - 1

    def on_mount(self) -> None:
        """Open the list, and on it what was asked for."""
        from rashomon.tui.screens.traces import TracesScreen

        if not self.is_headless:
            self._end_in_order()
        self.animation_level = "none"
        self.set_class(self.glyphs.ascii, "-ascii")
        first = TracesScreen()
        _ = self.push_screen(first)
        if self._refs:
            self.call_after_refresh(self._resolve_refs, first)

    def _end_in_order(self) -> None:
        """Give the terminal back when the application is told to end; by default nothing would be undone."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, partial(self.exit, return_code=128 + number))

    def _resolve_refs(self, page: Page) -> None:
        page.in_background("refs", self._find_refs, self._open_refs)

    def _find_refs(self) -> list[str]:
        return [self.source.resolve(reference) for reference in self._refs]

    def end_with(self, failure: RashomonError) -> None:
        """Leave the terminal to the error: what was asked for on the command line cannot be opened."""
        self.failure = failure
        self.exit(failure.exit_code)

    def _open_refs(self, found: list[str]) -> None:
        if len(found) == 1:
            self.open_trace(found[0])
        else:
            self.open_diff(found[0], found[1])

    def open_trace(self, trace_id: str) -> None:
        """Show the steps of a trace."""
        from rashomon.tui.screens.trace import TraceScreen

        _ = self.push_screen(TraceScreen(trace_id))

    def open_diff(self, left: str, right: str) -> None:
        """Show two traces aligned."""
        from rashomon.tui.screens.diff import DiffScreen

        _ = self.push_screen(DiffScreen(left, right))
