"""Progress of long work: a bar on stderr, only while a terminal is looking, and only if it takes long."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_S = 0.3
"""Work that is done sooner shows nothing; rich is not even loaded."""


class Bar:
    """`with Bar("ingesting") as bar: work(progress=bar.tell)`."""

    def __init__(self, what: str) -> None:
        self._what, self._started = what, time.monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        return self

    def tell(self, done: int, total: int) -> None:
        """So much is done of so much."""
        if self._bar is None:
            if not sys.stderr.isatty() or time.monotonic() - self._started < PATIENCE_S:
                return
            self._show()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done, total=total)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(self._what, total=None)
        self._bar.start()

    def __exit__(self, *exc_info: object) -> None:
        if self._bar is not None:
            self._bar.stop()
