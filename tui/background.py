"""Work in threads that never holds up the end of the application."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

T = TypeVar("T")

GRACE_S = 0.5
"""So long, in seconds, the end of the application waits for work that nobody needs any more."""


class Background:
    """Threads for one application. The loop's own would be waited for when it ends, however long they take."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(max_workers=6, thread_name_prefix="rashomon-tui")
        self._going: set[Future[Any]] = set()

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` gives or raises. When the caller is cancelled, work that waits is dropped; what runs, runs on."""
        future = self._threads.submit(work)
        self._going.add(future)
        future.add_done_callback(self._going.discard)
        return await asyncio.wrap_future(future)

    def close(self) -> bool:
        """Take no more work, and drop what waits. True when something still runs after a moment of grace."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        return bool(wait(list(self._going), timeout=GRACE_S).not_done)
