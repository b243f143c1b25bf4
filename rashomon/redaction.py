"""Secrets are replaced before anything reaches the disk, by placeholders that keep replay possible.

`<secret:api_key:3f9a12c4>`: what it was, and eight digits of a keyed hash, so that equal secrets have
equal placeholders within one home and nothing can be computed back. A placeholder needs no escaping
in JSON, msgpack text or a URL query, so a valid body stays valid. What is replaced:

- headers, query parameters and JSON fields whose names say so;
- the values of environment variables whose names say so (8 characters or more, no numbers, no paths);
- text with the shape of a known credential.

A body is searched once for the rarest letters of anything that can be a secret; the exact patterns run only
where that finds something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rashomon import credentials

_ENV_NAME = re.compile(r"API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|TOKEN|SECRET|PASSW(OR)?D|CREDENTIAL|(^|_)(KEY|AUTH)$", re.I)
_PLAIN = re.compile(r"^(/.*|~.*|\d+([.:]\d+)*|true|false|none|null|disabled?|enabled?)$", re.I)
_HEADER_NAME = re.compile(
    r"^(proxy-)?authorization$|cookie|api[-_]?key|(^|[-_])(token|secret|password|credential|signature)$", re.I
)
_FIELDS = ("password", "passwd", "api_key", "apikey", "apiKey", "client_secret", "access_token", "refresh_token",
           "id_token", "private_key", "secret_key", "secret_access_key")  # fmt: skip
_FIELD_NEEDLES = (b"passw", b'_key"', b"_key\\", b"apikey", b"apiKey", b"client_secret", b'_token"', b"_token\\")
_ENCODED_FIELD = re.compile(
    rb"passw|_key|_token|api[kK]ey|_secret|\$headers|\$url"
)  # in msgpack no quote follows a name
_QUERY = re.compile(r"([?&](?:api[-_]?key|key|access_token|token|sig|signature|secret|password)=)([^&#]+)", re.I)
_QUERY_IN_TEXT = re.compile(_QUERY.pattern.replace("[^&#]+", r"[^&#\s\"'<>\\]{8,}"), re.I)
_QUERY_IN_BYTES = re.compile(_QUERY_IN_TEXT.pattern.encode(), re.I)
_USERINFO = re.compile(r"(?<=://)([^/@?#\s]*:[^/@?#\s]*)(?=@)")

# Matches wherever one of the shapes or fields does. Each alternative begins with a letter, not a class: only so
# does `re` skip ahead to the few places where one can begin; and with letters that are rare in text.
# (What stands before such a letter is looked at behind it: every third random identifier has a J.)
_TRIGGER = (
    rb'k-[A-Za-z0-9_\-]{16}|key\\*"\s*:|Key\\*"\s*:|KIA[0-9A-Z]|SIA[0-9A-Z]|Iza[0-9A-Za-z_\-]'
    rb'|J(?<=eyJ)[A-Za-z0-9_\-]{8}|xox[abeprs]-|bearer |Bearer |wd\\*"\s*:|word\\*"\s*:|_token\\*"\s*:'
    rb'|_secret\\*"\s*:|gh[pos]_|github_pat_|-----BEGIN'
)
MIN_SECRET = 8
"""Text that is shorter is searched for nothing."""
MARGIN = 4096
"""How far around a changed stretch of a body a secret may reach."""
_RUN = re.compile(rb"[\"\\]*[^\s\"'\\,;{}()<>\[\]]*\Z")
_OPEN_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~+/= :")


class Redactor:
    """Finds and replaces the secrets of one home and one environment."""

    def __init__(
        self, key: bytes, environ: Mapping[str, str], fields: Sequence[str] = (), patterns: Sequence[str] = ()
    ) -> None:
        self._key = key
        self._digest: Any = None  # of no secret yet; loaded with the first
        self._placeholders: dict[tuple[str, bytes], bytes] = {}
        self._adopted: dict[str, bytes] = {}
        self._header_names: dict[str | bytes, bool] = {}
        names = [*_FIELDS, *fields]
        joined = "|".join(re.escape(name) for name in names).encode()
        key = rb'"(?:' + joined + rb')\\*"\s*:\s*'
        self._fields = (
            re.compile(rb"(" + key + rb'")((?:[^"\\\n]|\\[^\n])+)(?=")', re.I),
            # the same inside a JSON text that is a string of another: quotes are escaped once more
            re.compile(rb"(\\" + key + rb'\\")((?:\\\\\\"|(?!\\")[^\n])+)(?=\\")', re.I),
        )
        self._open_field = re.compile(rb'[\\"]*(?:' + joined + rb')[\\"]*\s*:?\s*\Z', re.I)
        self._field_names = frozenset(name.lower() for name in names)
        self._values = _environment_values(environ)
        self._patterns = [re.compile(pattern.encode()) for pattern in patterns]
        self._field_needles = (*_FIELD_NEEDLES, *(name.encode() for name in fields))
        values = [value for value, _ in self._values]
        trigger = re.compile(_TRIGGER)
        own = [re.escape(text) for text in values if trigger.search(text) is None]
        own += [re.escape(name.encode()) for name in fields]
        self.trigger = re.compile(b"|".join([_TRIGGER, *own, *(pattern.encode() for pattern in patterns)])).search
        self.open_bytes = _OPEN_BYTES.union(b'"\\', *values)
        self._urls: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def suspicious(self, data: bytes) -> bool:
        """False when nothing in `data` can be a secret. Cheap; True proves nothing."""
        return self.trigger(data) is not None

    def suspicious_encoding(self, data: bytes) -> bool:
        """`suspicious` for msgpack, where names of fields stand without quotes."""
        if self.suspicious(data) or _ENCODED_FIELD.search(data) is not None:
            return True
        return b"://" in data and _QUERY_IN_BYTES.search(data) is not None

    def placeholder(self, name: str, secret: bytes) -> bytes:
        """What stands for this secret: equal for equal secrets, whatever they are called."""
        known = self._placeholders.get((name, secret))
        if known is None and name in self._adopted:
            known = self._placeholders[(name, secret)] = self._adopted.pop(name)
        if known is None:
            digest = self._digest.copy() if self._digest is not None else self._first_digest()
            digest.update(secret)
            known = f"<secret:{name}:{digest.hexdigest()}>".encode()
            if name != "cookie" and len(self._placeholders) < 10_000:  # a server's cookie may be new each time
                self._placeholders[(name, secret)] = known
        return known

    def _first_digest(self) -> Any:
        try:
            from _blake2 import blake2b  # what `hashlib` has it from, which would load OpenSSL as well
        except ImportError:
            from hashlib import blake2b

        self._digest = blake2b(key=self._key, digest_size=4)
        return self._digest.copy()

    def adopt(self, placeholders: Mapping[str, bytes]) -> None:
        """Let the first secret of each of these names have this placeholder: that of a recording from another home.

        That home had another key, so that equal secrets have other digits there. A second secret of the same name is
        another one, and gets a placeholder of its own.
        """
        self._adopted = dict(placeholders)

    def content(self, data: bytes) -> bytes:
        """A body with its secrets replaced; the very same object when there are none."""
        if not self.suspicious(data):
            return data
        out, position = [], 0
        for start, end, placeholder in self.replacements(data):
            out += [data[position:start], placeholder]
            position = end
        return b"".join([*out, data[position:]]) if position else data

    def replacements(self, data: bytes) -> list[tuple[int, int, bytes]]:
        """The secrets of `data`: start, end, and what stands for it; in order, overlapping ones joined."""
        merged: list[tuple[int, int, str]] = []
        for start, end, name in sorted(self._spans(data), key=lambda span: (span[0], -span[1])):
            if merged and start < merged[-1][1]:
                first, last, label = merged[-1]
                merged[-1] = (first, max(last, end), label)
            else:
                merged.append((start, end, name))
        return [(start, end, self.placeholder(name, data[start:end])) for start, end, name in merged]

    def _spans(self, data: bytes) -> Iterator[tuple[int, int, str]]:
        for value, name in self._values:
            start = data.find(value)
            while start >= 0:
                yield start, start + len(value), name
                start = data.find(value, start + len(value))
        yield from credentials.spans(data)
        for pattern in self._fields if self._has_field(data) else ():
            for found in pattern.finditer(data):
                if not found[2].startswith(b"<secret:"):
                    yield (*found.span(2), "field")
        for pattern in self._patterns:
            for found in pattern.finditer(data):
                yield (*found.span(), "pattern")

    def _has_field(self, data: bytes) -> bool:
        return any(needle in data for needle in self._field_needles)

    def text(self, text: str) -> str:
        """`content` for text."""
        if len(text) < MIN_SECRET:
            return text
        data = text.encode("utf-8", "surrogatepass")
        replaced = self.content(data)
        return text if replaced is data else replaced.decode("utf-8", "surrogatepass")

    def name(self, name: str) -> str:
        """The name of a step: `text`, remembered, for there are few."""
        known = self._names.get(name)
        if known is None:
            known = self.text(name)
            if len(self._names) < 1000:
                self._names[name] = known
        return known

    def url(self, url: str) -> str:
        """A URL without its credentials: user information and telling query parameters."""
        known = self._urls.get(url)
        if known is None:
            known = self._url(url)
            if len(self._urls) < 1000:
                self._urls[url] = known
        return known

    def _url(self, url: str) -> str:
        if "@" in url:
            url = _USERINFO.sub(lambda found: self._named("userinfo", found[1]), url)
        if "?" in url:
            url = _QUERY.sub(lambda found: found[1] + self._named("query", found[2]), url)
        return self.text(url)

    def _queries(self, text: str) -> str:
        """Text with the telling parameters of addresses in it replaced: errors of clients quote them."""
        return _QUERY_IN_TEXT.sub(lambda found: found[1] + self._named("query", found[2]), text)

    def _named(self, name: str, secret: str) -> str:
        return self.placeholder(name, secret.encode("utf-8", "surrogatepass")).decode()

    def is_secret(self, name: str | bytes) -> bool:
        """Whether the name of a header says that its value is a secret."""
        secret = self._header_names.get(name)
        if secret is None:
            text = name.decode("latin-1") if isinstance(name, bytes) else name
            secret = bool(_HEADER_NAME.search(text)) and "ratelimit" not in text.lower()
            if len(self._header_names) < 1000:
                self._header_names[name] = secret
        return secret

    def header(self, name: str, value: str) -> str:
        """The value of a header, or a placeholder when the name says that it is secret."""
        secret = self.is_secret(name)
        if value.startswith("<secret:"):  # a replay writes what the tape holds
            return value
        if not secret:
            return self.text(value)
        lower = name.lower()
        if lower == "set-cookie":  # its attributes stay, so that a replayed client finds them
            cookie, end, attributes = value.partition(";")
            return self._cookie(cookie) + end + attributes
        if "cookie" in lower:
            return ";".join(map(self._cookie, value.split(";")))
        return self._named(lower.replace("-", "_"), value)

    def _cookie(self, cookie: str) -> str:
        """A cookie without its value; its name stays."""
        key, _, secret = cookie.partition("=")
        if not secret or secret.startswith("<secret:"):
            return cookie
        return f"{key}={self._named('cookie', secret)}"

    def deep(self, value: Any) -> Any:
        """Any msgpack-able value with its secrets replaced, fields by name and parameters of addresses included."""
        if isinstance(value, str):
            return self.text(self._queries(value) if "://" in value else value)
        if isinstance(value, bytes):
            return self.encoded(value)
        if isinstance(value, dict):
            return {self.deep(key): self._deep_field(key, item) for key, item in value.items()}
        if isinstance(value, list) or type(value) is tuple:
            return [self.deep(item) for item in value]
        return value  # an extension value, a tuple of msgpack's own, was redacted when it was unpacked

    def _deep_field(self, key: Any, item: Any) -> Any:
        if key == "$url" and isinstance(item, str):  # as `rashomon.libraries` writes it
            return self.url(item)
        if key == "$headers" and isinstance(item, list):
            return [self._pair(pair) for pair in item]
        if isinstance(key, str) and key.lower() in self._field_names and isinstance(item, (str, bytes)) and item:
            secret = item.encode("utf-8", "surrogatepass") if isinstance(item, str) else item
            if not secret.startswith(b"<secret:"):
                placeholder = self.placeholder("field", secret)
                return placeholder.decode() if isinstance(item, str) else placeholder
        return self.deep(item)

    def _pair(self, pair: Any) -> Any:
        """A header of a client's object, name and value."""
        if not (isinstance(pair, list) and len(pair) == 2):
            return self.deep(pair)
        name, value = pair
        if isinstance(name, bytes) and isinstance(value, bytes):
            return [name, self.header(name.decode("latin-1"), value.decode("latin-1")).encode("latin-1", "replace")]
        if isinstance(name, str) and isinstance(value, str):
            return [name, self.header(name, value)]
        return [name, self.deep(value)]

    def encoded(self, data: bytes) -> bytes:
        """A `rashomon.values` encoding with its secrets replaced: rebuilt, so that lengths stay true."""
        if not self.suspicious_encoding(data):
            return data
        import msgpack

        def inner(code: int, content: bytes) -> msgpack.ExtType:
            return msgpack.ExtType(code, self.encoded(content))

        try:
            value = msgpack.unpackb(data, ext_hook=inner, strict_map_key=False, max_ext_len=len(data))
        except Exception:  # not an encoding but plain bytes
            return self.content(data)
        if isinstance(value, int):  # one byte of text is also a msgpack number
            return self.content(data)
        return msgpack.packb(self.deep(value), use_bin_type=True)  # type: ignore[no-any-return]

    def open_end(self, data: bytes) -> int:
        """Where a secret may lie that the next chunk continues; `len(data)` if nowhere."""
        size = len(data)
        if not self.suspicious(data):
            return min(self._begun(data), size)
        if data.endswith(b"\n") and not self._spans_lines(data[-MARGIN:]):
            return size  # no text of JSON goes on behind a line's end
        cut = max(0, size - MARGIN)
        for start, end, _ in self.replacements(data):
            if start < cut < end:
                cut = start
        return cut

    def _begun(self, data: bytes) -> int:
        """Where the first letters of a secret may stand at the end of clean data."""
        window = data[-256:]
        run = _RUN.search(window)
        cut = len(data) - len(run[0]) if run is not None else len(data)
        field = self._open_field.search(window)
        if field is not None:
            cut = min(cut, len(data) - len(field[0]))
        for value, _ in self._values:
            for length in range(min(len(value) - 1, len(window)), 0, -1):
                if window.endswith(value[:length]):
                    cut = min(cut, len(data) - length)
                    break
        return cut

    def _spans_lines(self, data: bytes) -> bool:
        """Whether a secret may go on behind the line's end that `data` ends with."""
        if b"-----BEGIN" in data or self._open_field.search(data[-256:]) is not None:
            return True
        return any(b"\n" in value for value, _ in self._values)


_PLACEHOLDER = re.compile(rb"<secret:([^:<>\s\"\\]{1,200}):[0-9a-f]{8}>")


def lone_placeholders(bodies: Iterable[bytes]) -> dict[str, bytes]:
    """The placeholders in these bodies by their names, of those names that stand for one secret only."""
    found: dict[str, set[bytes]] = {}
    for body in bodies:
        if b"<secret:" in body:
            for match in _PLACEHOLDER.finditer(body):
                found.setdefault(match[1].decode("utf-8", "replace"), set()).add(match[0])
    return {name: known.pop() for name, known in found.items() if len(known) == 1}


def _environment_values(environ: Mapping[str, str]) -> list[tuple[bytes, str]]:
    """Secret values of the environment in every spelling a body may hold them, longest first."""
    import json

    found: dict[bytes, str] = {}
    for name, value in environ.items():
        if len(value) < MIN_SECRET or not _ENV_NAME.search(name) or _PLAIN.match(value) or name.startswith("RASHOMON_"):
            continue
        label = name.lower()
        for spelling in (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
            found.setdefault(spelling.encode("utf-8", "surrogateescape"), label)
    return sorted(found.items(), key=lambda item: -len(item[0]))


class StreamRedactor:
    """Redacts an answer that arrives in pieces; a secret may lie across two of them.

    Both methods return what may be written now, as (piece, bytes): bytes to add to that piece. What may be
    the beginning of a secret waits for the next piece; boundaries stay where they were, and a secret that
    lies across one is written to the piece in which it began.
    """

    __slots__ = ("_redactor", "count", "held")

    def __init__(self, redactor: Redactor, count: int = 0) -> None:
        self._redactor = redactor
        self.held: list[tuple[int, bytes]] = []
        self.count = count
        """How many pieces there have been."""

    def passes(self, data: bytes) -> bool:
        """True when this piece may be written as it is: it holds no secret and no beginning of one."""
        if not data or self.held:
            return False
        return data[-1] not in self._redactor.open_bytes and self._redactor.trigger(data) is None

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """What may be written once this piece is there; the last one named is the new piece, maybe empty."""
        number = self.count
        self.count += 1
        if self.passes(data):
            return [(number, data)]
        self.held.append((number, data))
        whole = b"".join([held for _, held in self.held])
        safe = self._release(whole, self._redactor.open_end(whole))
        return safe if safe and safe[-1][0] == number else [*safe, (number, b"")]

    def finish(self) -> list[tuple[int, bytes]]:
        """What was waiting."""
        if not self.held:
            return []
        whole = b"".join([held for _, held in self.held])
        return self._release(whole, len(whole))

    def _release(self, whole: bytes, cut: int) -> list[tuple[int, bytes]]:
        """Let go of what lies before `cut`, redacted, each byte to its piece."""
        replacements = self._redactor.replacements(whole[:cut]) if self._redactor.suspicious(whole[:cut]) else []
        released: list[tuple[int, bytes]] = []
        kept: list[tuple[int, bytes]] = []
        start = 0
        for number, held in self.held:
            end = start + len(held)
            out = _redacted_slice(whole, start, min(end, cut), replacements)
            if out:
                released.append((number, out))
            if end > cut:
                kept.append((number, held[max(0, cut - start) :]))
            start = end
        self.held = kept
        return released


def _redacted_slice(data: bytes, start: int, end: int, replacements: list[tuple[int, int, bytes]]) -> bytes:
    """`data[start:end]` with what stands for the secrets that begin in it, and without the rest of earlier ones."""
    out, position = [], start
    for first, last, placeholder in replacements:
        if last <= start or first >= end:
            continue
        if first >= start:
            out += [data[position:first], placeholder]
        position = max(position, last)
    return b"".join([*out, data[position:end]])
