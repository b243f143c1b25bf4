"""Plain HTTP endpoints beside the providers', so that a demo agent's tools can call something real."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from .faults import Fault
from .http import Received, Response, json_response

Route: TypeAlias = Callable[[Received], Any | Awaitable[Any]]
_FIELD = re.compile(r"\{(\w+)\}")


class Routes:
    """Functions by method and path pattern; `{name}` in a pattern matches one segment and lands in `params`.

    A function returns a value for JSON, a pair (status, value), a `Response` or a `Fault`.
    """

    def __init__(self, routes: Mapping[tuple[str, str], Route] | None = None) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Route]] = []
        for (method, pattern), function in (routes or {}).items():
            self.add(method, pattern, function)

    def add(self, method: str, pattern: str, function: Route) -> None:
        """Add one endpoint; the first that matches is used. ValueError for a pattern without a slash."""
        if not pattern.startswith("/"):
            raise ValueError(f"The route {pattern!r} is no path. Start it with a slash.")
        parts = _FIELD.split(pattern)
        regex = "".join(f"(?P<{part}>[^/]+)" if place % 2 else re.escape(part) for place, part in enumerate(parts))
        self._routes.append((method.upper(), re.compile(regex), function))

    def find(self, request: Received) -> tuple[Route, Received] | None:
        """The function for a request, and the request with its `params`."""
        for method, regex, function in self._routes:
            match = regex.fullmatch(request.path)
            if match and method == request.method:
                return function, replace(request, params=match.groupdict())
        return None


def route_response(value: Any) -> Response | Fault:
    """What a route's function returned, as an answer."""
    if isinstance(value, (Response, Fault)):
        return value
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], int):
        return json_response(value[0], value[1])
    return json_response(200, value)
