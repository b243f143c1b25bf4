"""Tasks that are given a context (`create_task(coro, context=…)`), which several of them may share.

What is kept in contexts about a line of control, its lane and the call that it is inside of, is then not one line's: a
task would be taken to be inside of the live call that another one waits for, and its own calls for a part of that. So
such a task has values of its own, which are there while it runs and at no other time. The program's own variables are
shared as it wants them to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextvars import Context, ContextVar
from typing import Any

from rashomon import boundary
from rashomon.recorders import lanes

_OF_A_LINE: tuple[ContextVar[Any], ...] = (lanes._line, lanes._quiet, boundary.inside, boundary._local)


def on_a_line_of_its_own(coro: Any, context: Context, line: lanes.Line) -> Any:
    """The coroutine of a new task, which is given a context. What is no coroutine stays what it is."""
    if not asyncio.iscoroutine(coro):
        return coro
    enclosing = context.get(boundary.inside)
    if enclosing is None or enclosing.leaf:  # another task waits for that call
        enclosing = boundary.inside.get()
    quiet, interceptor = context.get(lanes._quiet, False), context.get(boundary._local)
    return Apart(coro, _OF_A_LINE, (line, quiet, enclosing, interceptor))


class Apart(Coroutine[Any, Any, Any]):
    """Another coroutine, run step by step with its own values of some variables."""

    __slots__ = ("__weakref__", "_coro", "_values", "_variables")

    def __init__(self, coro: Any, variables: Sequence[ContextVar[Any]], values: Sequence[Any]) -> None:
        self._coro, self._variables, self._values = coro, variables, values

    def send(self, value: Any, /) -> Any:
        """As the coroutine's own."""
        return self._step(self._coro.send, value)

    def throw(self, *error: Any) -> Any:
        """As the coroutine's own."""
        return self._step(self._coro.throw, *error)

    def close(self) -> None:
        """As the coroutine's own."""
        self._step(self._coro.close)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coro.__await__()  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._coro, name)  # its name, its frame: what shows tasks asks for these

    def _step(self, method: Callable[..., Any], *args: Any) -> Any:
        variables = self._variables
        others = [variable.get() for variable in variables]
        _set(variables, self._values)
        try:
            return method(*args)
        finally:
            self._values = [variable.get() for variable in variables]
            _set(variables, others)


def _set(variables: Sequence[ContextVar[Any]], values: Sequence[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.set(value)
