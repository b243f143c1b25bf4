"""Faults: the ways in which a provider's answer goes wrong, as values that a test can script.

A fault reaches a request in one of four ways, the first that applies wins:

1. the request header ``x-rashomon-fault: SPEC``;
2. ``metadata={"fault": "SPEC"}`` in the body, or a model called ``fault:SPEC``;
3. the server's list, ``ProviderServer(faults=[Fault.status(429, times=2)])``, consumed in order;
4. the model function, which returns a `Fault` instead of a `Reply`.

SPEC is ``KIND[:NAME=VALUE[,NAME=VALUE]...]``, for example ``429:retry_after=2`` or ``cut:after=3``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, get_args

from .http import Received

FaultKind: TypeAlias = Literal["status", "malformed", "disconnect", "cut", "stall", "endless", "error_event"]
KINDS: tuple[str, ...] = get_args(FaultKind)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    - `status`: the provider's error shape with status `code`; `retry_after` (seconds) as a header
    - `malformed`: status 200 and a JSON body that ends in the middle; in a stream, an event that does
    - `disconnect`: the connection closes before a status line
    - `cut`: the connection closes after `after` chunks of a stream, or in the middle of a plain body
    - `stall`: after `after` chunks nothing more comes until the client leaves or the server stops
    - `endless`: the answer goes on until the client leaves or the server stops
    - `error_event`: a stream that sends the provider's error event after `after` events, and ends

    `times` requests get it; `match` limits it to requests for which the function is true.
    """

    kind: FaultKind
    code: int = 200
    retry_after: float | None = None
    message: str | None = None
    after: int = 2
    times: int = 1
    match: Callable[[Received], bool] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"There is no fault called {self.kind!r}. Use one of {', '.join(KINDS)}.")
        if self.kind == "status" and not 400 <= self.code <= 599:
            raise ValueError(f"{self.code} is not an error status. Use one from 400 to 599.")
        if self.after < 0 or self.times < 1:
            raise ValueError(f"after={self.after}, times={self.times} make no sense. Use after >= 0, times >= 1.")

    @staticmethod
    def status(code: int, *, retry_after: float | None = None, message: str | None = None, times: int = 1) -> Fault:
        """An answer with an error status in the provider's own shape."""
        return Fault("status", code, retry_after, message, times=times)

    @staticmethod
    def malformed(*, times: int = 1) -> Fault:
        """A JSON body, or a JSON event of a stream, that ends in the middle."""
        return Fault("malformed", times=times)

    @staticmethod
    def disconnect(*, times: int = 1) -> Fault:
        """A connection that closes before any byte of the answer."""
        return Fault("disconnect", times=times)

    @staticmethod
    def cut(after: int = 2, *, times: int = 1) -> Fault:
        """A connection that closes after `after` chunks of a stream, or in the middle of a plain body."""
        return Fault("cut", after=after, times=times)

    @staticmethod
    def stall(after: int = 2, *, times: int = 1) -> Fault:
        """An answer that falls silent after `after` chunks."""
        return Fault("stall", after=after, times=times)

    @staticmethod
    def endless(*, times: int = 1) -> Fault:
        """An answer that never ends."""
        return Fault("endless", times=times)

    @staticmethod
    def error_event(after: int = 2, *, message: str | None = None, times: int = 1) -> Fault:
        """A stream in which the provider reports an error after `after` events."""
        return Fault("error_event", after=after, message=message, times=times)

    def only(self, match: Callable[[Received], bool] | str) -> Fault:
        """The same fault for matching requests only; a text matches paths that end with it."""
        if isinstance(match, str):
            ending = match
            return replace(self, match=lambda request: request.path.endswith(ending))
        return replace(self, match=match)

    @staticmethod
    def parse(spec: str) -> Fault:
        """Read a SPEC (see the module's docstring). Raises ValueError when it is none."""
        kind, _, rest = spec.strip().partition(":")
        options: dict[str, Any] = {}
        for pair in filter(None, rest.split(",")):
            name, _, value = pair.partition("=")
            options[name.strip()] = value.strip()
        reading: dict[str, Callable[[str], Any]] = {
            "retry_after": float,
            "after": int,
            "message": str,
            "times": int,
        }
        unknown = sorted(set(options) - set(reading))
        if unknown:
            raise ValueError(f"{spec!r} has the unknown option {unknown[0]!r}. Use one of {', '.join(reading)}.")
        try:
            values = {name: reading[name](value) for name, value in options.items()}
        except ValueError as exc:
            raise ValueError(f"{spec!r} has a value that is no number. Write it like 429:retry_after=2.") from exc
        if kind.isdigit():
            return Fault("status", int(kind), **values)
        if kind not in KINDS or kind == "status":
            raise ValueError(f"There is no fault called {kind!r}. Use a status like 429, or one of {', '.join(KINDS)}.")
        return Fault(kind, **values)  # type: ignore[arg-type]  # checked against KINDS above


@dataclass(eq=False, slots=True)
class _Waiting:
    fault: Fault
    left: int


class FaultQueue:
    """The server's list of faults; each is handed out `times` times, to requests that it matches."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._waiting = [_Waiting(fault, fault.times) for fault in faults]
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> None:
        """Append one fault; it is used after those that wait already."""
        with self._lock:
            self._waiting.append(_Waiting(fault, fault.times))

    def take(self, request: Received) -> Fault | None:
        """The first waiting fault that this request matches, or None."""
        with self._lock:
            for entry in self._waiting:
                if entry.fault.match is None or entry.fault.match(request):
                    entry.left -= 1
                    if not entry.left:
                        self._waiting.remove(entry)
                    return entry.fault
        return None


def asked_for(request: Received) -> Fault | None:
    """The fault that the request itself asks for (see the module). ValueError for a bad SPEC."""
    spec = request.header("x-rashomon-fault")
    if spec is None and b"fault" in request.body:
        body = request.json()
        if isinstance(body, dict):
            metadata, model = body.get("metadata"), body.get("model")
            if isinstance(metadata, dict) and isinstance(metadata.get("fault"), str):
                spec = metadata["fault"]
            elif isinstance(model, str) and model.startswith("fault:"):
                spec = model.removeprefix("fault:")
    return Fault.parse(spec) if spec else None
