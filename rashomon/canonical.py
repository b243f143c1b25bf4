"""What makes two requests the same: a canonical form of their content, and its digest.

Two requests are equal when kind, name, method, URL and body are; a JSON body is compared as a value
(key order and white space do not count, order of lists and the type of numbers do), a multipart body
without its random boundary, any other body byte for byte. Headers do not count: they carry dates,
retry counters, keys and SDK versions. A digest carries its algorithm: `b2:<32 hex digits>`.
"""

from __future__ import annotations

import json
from typing import Any

from rashomon.model import Call, Head, Kind, Request

_BOUNDARY = "rashomon-boundary"
_encode = json.JSONEncoder(sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode


_blake2b: Any = None


def digest(data: bytes) -> str:
    """Name a piece of content: BLAKE2b, 128 bits, as `b2:<hex>`."""
    global _blake2b
    if _blake2b is None:
        from hashlib import blake2b  # loads OpenSSL; not at import time

        _blake2b = blake2b
    return "b2:" + _blake2b(data, digest_size=16).hexdigest()  # type: ignore[no-any-return]


def header(head: Head | None, name: str) -> str:
    """The first value of a header (its name in lower case), or the empty string."""
    size = len(name)
    for key, value in (head or {}).get("headers", ()):
        # what has another length is not equal in lower case either: `name` is ASCII
        if len(key) == size and _text(key).lower() == name:
            return _text(value)
    return ""


def _text(raw: str | bytes) -> str:
    """A header as text; in flight they are bytes, on a tape they are not."""
    return raw.decode("latin-1") if isinstance(raw, bytes) else raw


def json_body(head: Head | None, body: bytes) -> Any:
    """The body as a JSON value; raises ValueError when it is none."""
    if not body or body[:1] not in b'{["-0123456789tfn \t\r\n':
        raise ValueError("not JSON")
    return json.loads(body)


def canonical_json(value: Any) -> bytes:
    """One spelling for one JSON value. 1 and 1.0 differ; NaN is kept; lone surrogates survive."""
    return _encode(value).encode("ascii")


def canonical_body(request: Request) -> bytes:
    """The body in the form in which it is compared."""
    body = request.body
    content_type = header(request.head, "content-type")
    if content_type.startswith("multipart/") and "boundary=" in content_type:
        boundary = content_type.split("boundary=", 1)[1].split(";")[0].strip().strip('"')
        return body.replace(boundary.encode(), _BOUNDARY.encode()) if boundary else body
    try:
        return canonical_json(json_body(request.head, body))
    except (ValueError, RecursionError):
        return body


def canonical_url(kind: Kind, url: str) -> str:
    """The URL as it is compared. An LLM's address may move (`OPENAI_BASE_URL`); its path may not."""
    if kind != Kind.LLM or "://" not in url:
        return url.split("#", 1)[0]
    rest = url.split("#", 1)[0].split("://", 1)[1]
    return "/" + rest.split("/", 1)[1] if "/" in rest else "/"


def content_digest(call: Call) -> str:
    """The digest under which a call is looked up on a tape."""
    return digest_of(call, canonical_body(call.request))


def digest_of(call: Call, body: bytes) -> str:
    """The same for who has the body in its canonical form already."""
    return digest(address_of(call.kind, call.name, call.request.head) + body)


def address_of(kind: Kind, name: str, head: Head) -> bytes:
    """What stands before a call's body when its digest is taken."""
    url = canonical_url(kind, str(head.get("url", "")))
    server = (str(head["server"]),) if "server" in head else ()
    address = "\n".join((kind, name, str(head.get("method", "")), url, *server))
    return address.encode("utf-8", "surrogatepass") + b"\0"
