"""What each fault does to an answer."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import replace

from .faults import Fault
from .http import Ending, Response
from .provider_shapes import Provider, error_event, error_response
from .wire import ApiError, Ids

_TEXT_DELTA = re.compile(rb'"delta":\{"content":"[^"]|"type":"text_delta"|response\.output_text\.delta')


def is_stream(response: Response) -> bool:
    """Whether an answer is a stream of events."""
    return any(name == "content-type" and "event-stream" in value for name, value in response.headers)


def refusing(fault: Fault, provider: Provider, ids: Ids, now: float) -> Response | None:
    """The answer of a fault that needs no proper answer to spoil, None for the others."""
    if fault.kind == "disconnect":
        return Response(0)
    if fault.kind == "status":
        return error_response(provider, ApiError(fault.code, fault.message or ""), ids, now, fault.retry_after)
    return None


def spoil_units(fault: Fault, response: Response, provider: Provider, ids: Ids) -> Response:
    """Faults in what is said, before it is cut into pieces: malformed, endless, error_event."""
    if fault.kind == "malformed":
        return replace(response, pieces=_malformed(response))
    if fault.kind == "endless":
        return replace(response, pieces=_endless(response), framing="chunked")
    if fault.kind == "error_event" and is_stream(response):
        error = ApiError(529 if provider == "anthropic" else 500, fault.message or "")
        last = error_event(provider, error, ids.base62("req_", 24))
        return replace(response, pieces=itertools.chain(itertools.islice(response.pieces, fault.after), [last]))
    return response


def spoil_pieces(fault: Fault, response: Response) -> Response:
    """Faults in how it is sent, after it was cut into pieces: cut and stall."""
    if fault.kind not in ("cut", "stall"):
        return response
    ending: Ending = "cut" if fault.kind == "cut" else "stall"
    if response.framing == "chunked":
        return replace(response, pieces=itertools.islice(response.pieces, fault.after), ending=ending)
    body = b"".join(response.pieces)
    return replace(response, pieces=(body[: len(body) // 2],), declared_length=len(body), ending=ending)


def _malformed(response: Response) -> Iterator[bytes]:
    if not is_stream(response):
        body = b"".join(response.pieces)
        yield body[: len(body) * 2 // 3]
        return
    units = iter(response.pieces)
    yield from itertools.islice(units, 2)
    for unit in itertools.islice(units, 1):
        yield unit.rstrip()[:-7] + b"\n\n"


def _endless(response: Response) -> Iterator[bytes]:
    if not is_stream(response):
        yield from itertools.repeat(b" " * 64)  # white space may precede a JSON value
    for unit in response.pieces:
        yield unit
        if _TEXT_DELTA.search(unit):
            yield from itertools.repeat(unit)
    yield from itertools.repeat(b": keep-alive\n\n")  # an answer without text, for example a tool call
