"""Recorded HTTP traffic, served again byte for byte.

The n-th request with a method, target and body gets the n-th answer recorded for them. Bodies that are JSON
count as equal when their values are, because SDKs differ in spaces and in the order of keys.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from .http import Headers, Received, Response, json_response
from .pacing import Chunking, by_event

HOP_BY_HOP = frozenset({"transfer-encoding", "content-length", "connection", "keep-alive"})
_EVENT = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One recorded interaction. `target` is path and query; `body` is exactly what goes over the wire.

    A body that was stored decoded must come without its `content-encoding` header.
    """

    method: str
    target: str
    request_body: bytes
    status: int
    headers: Headers
    body: bytes

    @property
    def key(self) -> bytes:
        """What a request must have for this answer."""
        return _key(self.method, self.target, self.request_body)

    @property
    def content_type(self) -> str:
        """The media type of the answer, in lower case, "" when it has none."""
        return next((value.lower() for name, value in self.headers if name.lower() == "content-type"), "")


def _key(method: str, target: str, body: bytes) -> bytes:
    try:
        body = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":")).encode()
    except ValueError:
        pass  # not JSON: the bytes themselves are compared
    return blake2b(f"{method.upper()} {target}\n".encode() + body, digest_size=20).digest()


def split_events(body: bytes) -> Iterator[bytes]:
    """The events of a stream, each with the empty line that ends it; joined, they are the body."""
    end = 0
    for match in _EVENT.finditer(body):
        yield match.group()
        end = match.end()
    if end < len(body):
        yield body[end:]


class Cassette:
    """Recorded interactions, handed out in the order in which they were recorded."""

    def __init__(self, recorded: Iterable[Recorded]) -> None:
        self.interactions = tuple(recorded)
        self._answers: dict[bytes, list[Recorded]] = {}
        self._served: dict[bytes, int] = {}
        self._lock = threading.Lock()
        for interaction in self.interactions:
            self._answers.setdefault(interaction.key, []).append(interaction)

    @property
    def unserved(self) -> int:
        """How many interactions nobody has asked for yet."""
        with self._lock:
            return len(self.interactions) - sum(self._served.values())

    def take(self, request: Received) -> Recorded | None:
        """The next answer for a request, None when there is none left."""
        key = _key(request.method, request.target, request.body)
        with self._lock:
            answers, served = self._answers.get(key, ()), self._served.get(key, 0)
            if served >= len(answers):
                return None
            self._served[key] = served + 1
            return answers[served]

    def rewind(self) -> None:
        """Serve everything again from the start."""
        with self._lock:
            self._served.clear()


def replayed(recorded: Recorded, chunking: Chunking = by_event) -> Response:
    """The answer that carries a recording: its status, its headers but for the framing, its exact bytes."""
    headers = tuple((name, value) for name, value in recorded.headers if name.lower() not in HOP_BY_HOP)
    encoded = any(name.lower() == "content-encoding" for name, _ in headers)
    streamed = "event-stream" in recorded.content_type
    was_chunked = any(name.lower() == "transfer-encoding" and "chunked" in value for name, value in recorded.headers)
    units = split_events(recorded.body) if streamed and not encoded else [recorded.body]
    return Response(
        recorded.status,
        headers,
        chunking(units),
        framing="chunked" if streamed or was_chunked else "length",
    )


def missed(request: Received, cassette: Cassette) -> Response:
    """The answer to a request that was not recorded: a 404 that names the recordings of the same target."""
    near = sum(1 for entry in cassette.interactions if (entry.method, entry.target) == (request.method, request.target))
    message = (
        f"No recorded answer is left for {request.method} {request.target} with this body; "
        f"{near} of {len(cassette.interactions)} recordings have this method and target. "
        "Send the recorded request, or rewind the cassette."
    )
    return json_response(404, {"error": {"message": message, "type": "cassette_miss"}})


def save(path: Path | str, recorded: Iterable[Recorded]) -> None:
    """Write interactions as JSON lines, the bodies in base64."""
    lines = []
    for entry in recorded:
        value = {
            "method": entry.method,
            "target": entry.target,
            "request_body": base64.b64encode(entry.request_body).decode(),
            "status": entry.status,
            "headers": [list(header) for header in entry.headers],
            "body": base64.b64encode(entry.body).decode(),
        }
        lines.append(json.dumps(value, ensure_ascii=False) + "\n")
    Path(path).write_text("".join(lines), encoding="utf-8")


def load(path: Path | str) -> Cassette:
    """Read a file that `save` wrote, or all `*.jsonl` files of a folder in the order of their names.

    Raises ValueError for a line that is no interaction and FileNotFoundError for an absent path.
    """
    path = Path(path)
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    recorded = []
    for file in files:
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
            try:
                recorded.append(_interaction(json.loads(line)))
            except (ValueError, KeyError, TypeError) as exc:
                raise ValueError(f"{file}:{number} is no recorded interaction. Write it with cassettes.save.") from exc
    return Cassette(recorded)


def _interaction(value: dict[str, object]) -> Recorded:
    headers = value["headers"]
    if not isinstance(headers, list):
        raise TypeError("headers are no list")
    return Recorded(
        str(value["method"]),
        str(value["target"]),
        base64.b64decode(str(value["request_body"]), validate=True),
        int(str(value["status"])),
        tuple((str(name), str(text)) for name, text in headers),
        base64.b64decode(str(value["body"]), validate=True),
    )
