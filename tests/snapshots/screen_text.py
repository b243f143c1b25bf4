"""The screen of a running application as text, and the texts that it is held to."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from textual.app import App
from textual.pilot import Pilot
from textual.widgets import Input
from textual.worker import WorkerCancelled

TYPE = "type:"
"""What follows it is typed at once into the screen's input."""

SCREENS = Path(__file__).parent / "screens"


def screen_text(app: App[int]) -> str:
    """What the window shows. The compositor is Textual's own; this is the one place that reaches for it."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip).rstrip() for strip in strips) + "\n"


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Press keys one by one, and wait until all that they set going has been shown."""
    await settled(pilot)
    for key in keys:
        if key.startswith(TYPE):
            pilot.app.screen.query_one(Input).value = key.removeprefix(TYPE)
        else:
            await pilot.press(key)
        await settled(pilot)


async def settled(pilot: Pilot[int]) -> None:
    """Wait for workers, for what they told, and for the workers that this started."""
    for _ in range(3):
        await pilot.pause()
        with suppress(WorkerCancelled):  # a newer question took the place of one that was being answered
            await pilot.app.workers.wait_for_complete()
    for _ in range(2):  # a scroll bar that appears makes a pane narrower, and its text is wrapped once more
        await pilot.pause()


def assert_screen(app: App[int], name: str) -> None:
    """The window is as in `screens/NAME.txt`; RASHOMON_WRITE_SCREENS=1 writes that file anew."""
    path, shown = SCREENS / f"{name}.txt", screen_text(app)
    if os.environ.get("RASHOMON_WRITE_SCREENS"):
        path.write_text(shown, encoding="utf-8")
    assert shown == path.read_text(encoding="utf-8")
