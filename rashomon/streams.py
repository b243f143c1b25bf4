"""Answers that come piece by piece, as the events that they are made of.

Two framings: server-sent events (HTML standard §9.2), and the event stream of Amazon's services
(`application/vnd.amazon.eventstream`: docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html). What the
events mean is for `rashomon.dialects`.
"""

from __future__ import annotations

import binascii
import json
import zlib
from typing import Any

from rashomon.model import Json

Event = tuple[str, Json]
"""An event of a stream: its name (or the empty string) and its data as JSON (or text)."""

DAMAGED = "$damaged"
"""Name of the event that stands for bytes which are no whole, undamaged message; its data tells their size and hex."""

_decoder = json.JSONDecoder(parse_constant=str)
_decode = _decoder.decode
_scan = _decoder.scan_once  # type: ignore[attr-defined]  # what `decode` calls, without a look for white space


def parse_json(text: str | bytes) -> Json:
    """The JSON value, with NaN and infinities as their names; raises ValueError for anything else."""
    try:
        if isinstance(text, bytes):
            text = _json_text(text)
        value: Json
        try:
            value, end = _scan(text, 0)
        except StopIteration:  # it begins with white space, or is none
            end = -1
        if end != len(text):
            value = _decode(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    return value


def _json_text(data: bytes) -> str:
    if data[:1] in (b"{", b"[") and data[1:2] != b"\0":
        return data.decode("utf-8", "surrogatepass")
    return data.decode(json.detect_encoding(data), "surrogatepass")


def event_data(text: str) -> Json:
    """The data of an event: an object or a list where it holds one, else the text (`[DONE]`, or cut in the middle)."""
    if text[:1] != "{" and text[:1] != "[":
        return text
    try:
        value, end = _scan(text, 0)
        return value if end == len(text) else parse_json(text)
    except (StopIteration, ValueError, RecursionError):
        return text


def cut_list(data: bytes) -> list[Json]:
    """The elements of a JSON list that was cut, as far as they are whole; none of what is no list."""
    text = data.decode("utf-8", "replace").lstrip()
    found: list[Json] = []
    at = 1
    try:
        while text[:1] == "[":
            while text[at] in ", \t\r\n":
                at += 1
            value, at = _scan(text, at)
            found.append(value)
    except (IndexError, StopIteration, ValueError, RecursionError):
        pass  # here it was cut
    return found


def sse_events(body: bytes) -> list[tuple[str, str]]:
    """The server-sent events of a body: (event name or "", data), as the HTML standard §9.2 reads them.

    One liberty: an event that the end of the body cuts off is given too, since it was received.
    """
    text = body.decode("utf-8", "replace").removeprefix("\ufeff")
    # not str.splitlines: it also splits at form feeds and U+2028, which JSON strings may hold
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    events: list[tuple[str, str]] = []
    for block in text.split("\n\n"):
        if block[:6] == "data: " and "\n" not in block:
            events.append(("", block[6:]))
        elif block:
            first, _, rest = block.partition("\n")
            if first[:7] == "event: " and rest[:6] == "data: " and "\n" not in rest:
                events.append((first[7:], rest[6:]))
            else:
                _read_block(block, events)
    return events


def _read_block(block: str, events: list[tuple[str, str]]) -> None:
    name, data = "", list[str]()
    for line in block.split("\n"):
        if line.startswith("data:"):
            data.append(line[6:] if line[5:6] == " " else line[5:])
        elif line.startswith("event:"):
            name = line[7:] if line[6:7] == " " else line[6:]
    if data:
        events.append((name, "\n".join(data)))


# ------------------------------------------------------------------------------- Amazon's event stream

_PRELUDE = 12  # total length, length of the headers, CRC-32 of both
_LONGEST = 24 * 1024 * 1024  # beyond what the services send; a damaged length asks for more
_FIXED = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}  # size of a header's value by its type
_STRING, _BYTES = 7, 6


def is_aws_stream(body: bytes) -> bool:
    """True when the body begins with a message of an Amazon event stream: its prelude has its own checksum."""
    return len(body) >= _PRELUDE and zlib.crc32(body[:8]) == int.from_bytes(body[8:12])


def aws_events(body: bytes) -> list[Event]:
    """The messages of an Amazon event stream: (type of the event, error or exception, payload as JSON or text).

    Each message's checksums are verified. Reading ends at the first message that is cut or damaged: all bytes from
    there on are one event named `DAMAGED`. A payload that carries another event's bytes (`{"bytes": <base64>}`, as
    Bedrock's invoke-with-response-stream does) is given as that event.
    """
    events: list[Event] = []
    at = 0
    while at < len(body):
        message = _aws_message(body, at)
        if message is None:
            events.append((DAMAGED, {"$bytes": body[at : at + 64].hex(), "size": len(body) - at}))
            break
        end, name, payload = message
        events.append((name, _inner(payload)))
        at = end
    return events


def _aws_message(body: bytes, at: int) -> tuple[int, str, bytes] | None:
    """The end, the type and the payload of the message that begins there; None when it is cut or damaged."""
    prelude = body[at : at + _PRELUDE]
    size, inside = int.from_bytes(prelude[:4]), int.from_bytes(prelude[4:8])
    end = at + size
    if len(prelude) < _PRELUDE or not _PRELUDE + 4 + inside <= size <= _LONGEST or end > len(body):
        return None
    if zlib.crc32(prelude[:8]) != int.from_bytes(prelude[8:]):
        return None
    if zlib.crc32(body[at : end - 4]) != int.from_bytes(body[end - 4 : end]):
        return None
    start = at + _PRELUDE + inside
    headers = _aws_headers(body[at + _PRELUDE : start])
    name = headers.get(":event-type") or headers.get(":exception-type") or headers.get(":error-code") or ""
    payload = body[start : end - 4]
    if not payload and ":error-message" in headers:
        payload = json.dumps({"message": headers[":error-message"]}).encode()
    return end, name, payload


def _aws_headers(data: bytes) -> dict[str, str]:
    """The headers that are texts."""
    found: dict[str, str] = {}
    at = 0
    while at < len(data):
        stop = at + 1 + data[at]
        name, kind, at = data[at + 1 : stop].decode("utf-8", "replace"), data[stop : stop + 1], stop + 1
        if not kind:
            break
        if kind[0] in (_STRING, _BYTES):
            size = int.from_bytes(data[at : at + 2])
            at += 2
            if kind[0] == _STRING:
                found[name] = data[at : at + size].decode("utf-8", "replace")
        elif kind[0] in _FIXED:
            size = _FIXED[kind[0]]
        else:
            break
        at += size
    return found


def _inner(payload: bytes) -> Json:
    value = event_data(payload.decode("utf-8", "replace"))
    packed: Any = value.get("bytes") if isinstance(value, dict) else None
    if not isinstance(packed, str):
        return value
    try:
        return event_data(binascii.a2b_base64(packed, strict_mode=True).decode("utf-8"))
    except ValueError:  # binascii.Error too: no base64, or no text
        return value
