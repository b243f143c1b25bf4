"""What an SDK finds out about the machine at its first call, without a thread.

The async clients that Stainless generates (openai, anthropic) look up the operating system in a thread when a client
makes its first call. That thread would be the doing of whoever comes first: if that is the body of a tool, which a
replay does not run, it is another line of the program in the replay, and the names of all that this one starts shift.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from rashomon.boundary import guard_here


def patch(module: ModuleType) -> None:
    """Let a `_base_client` look up its platform where it stands, as its blocking clients do; once in a process."""
    in_thread, look_up = getattr(module, "asyncify", None), getattr(module, "get_platform", None)
    if in_thread is None or look_up is None:  # a version that does it in another way
        return
    known = functools.cache(look_up)

    async def at_once() -> Any:
        return known()

    @functools.wraps(in_thread)
    def asyncify(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
        if function is look_up and guard_here() is not None:
            return at_once
        given: Callable[..., Awaitable[Any]] = in_thread(function)
        return given

    module.asyncify = asyncify  # type: ignore[attr-defined]
