"""trio: its tasks get lanes, so that each gets the answers of its own calls.

trio puts the tasks of a turn in an order of chance, by a clock that nothing here stands in for. So completions are not
conducted, and a call that was cancelled waits, in a replay, until something cancels it.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

from rashomon import boundary
from rashomon.recorders import lanes
from rashomon.recorders.coverage import user_frame

ORDER = "order of tasks on trio"
"""What a trace lists as uncontrolled when trio runs in it."""
_WHY = "trio chooses it by chance, and keeps the real clock; each task gets the answers of its own calls"


def patch(module: Any) -> None:
    """Patch the imported `trio._core._run`."""
    original = module.Runner.spawn_impl

    @functools.wraps(original)
    def spawn_impl(self: Any, async_fn: Any, args: Any, nursery: Any, name: Any, **options: Any) -> Any:
        task = original(self, async_fn, args, nursery, name, **options)
        guard: Any = boundary.guard_here()
        parent = getattr(nursery, "parent_task", None)
        if guard is None or parent is None or lanes.is_quiet():
            return task
        if parent is getattr(self, "init_task", None):  # the main task is its caller's line, trio's own are nobody's
            if getattr(self, "main_task", None) is None and not options.get("system_task"):
                getattr(guard, "scribe", guard).uncontrolled(ORDER, _WHY, user_frame())
            return task
        with contextlib.suppress(RuntimeError):  # a context of the program's own, in which it is just now
            lanes.put_on(task.context, lanes.spawn())
        return task

    module.Runner.spawn_impl = spawn_impl
