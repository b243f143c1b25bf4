"""Generated identifiers under a neutral name, so that two requests that differ only in them can be recognised.

An identifier is generated when its form says so: a UUID, a ULID, 16 or more hexadecimal digits, a provider's
`call_…` or `toolu_…`; in fields that hold ids, any mixed token of 16 characters or more. Form alone proves little:
a UUID may name a customer. Two requests are therefore equal only when one-to-one renaming holds over the whole
replay, and none of the renamed ids is known from elsewhere on the tape. Where an id selects what is answered (in
an address, in the arguments of a tool, in a reference to what a provider keeps), it is content.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rashomon.canonical import canonical_body, canonical_json, canonical_url, digest
from rashomon.model import Call, Kind, Step

_EDGE = rb"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_END = rb"(?![A-Za-z0-9])"
_PREFIX = rb"(?:call|toolu|srvtoolu|chatcmpl|msg|fc|run|req|trace|span)[-_]{1,2}"
_TOKEN = re.compile(
    _EDGE
    + rb"(?:(?P<prefixed>" + _PREFIX + rb"(?=[A-Za-z]*[0-9])[A-Za-z0-9]{8,}(?!-[0-9A-Fa-f]{4}-))"
    + rb"|(?P<uuid>[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9A-F]{8}-(?:[0-9A-F]{4}-){3}[0-9A-F]{12})"
    + rb"|(?P<hex>(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{16,}|(?=[0-9]*[A-F])(?=[A-F]*[0-9])[0-9A-F]{16,})"
    + rb"|(?P<ulid>01[0-9A-HJKMNP-TV-Z]{24}))"
    + _END
)  # fmt: skip
_PREFIXED = re.compile(_PREFIX + rb"([A-Za-z0-9]{8,})")
_IN_ID_FIELD = re.compile(rb'"(\w{0,40}(?:id|Id|ID))\\*"\s*:\s*\\*"(?P<opaque>[A-Za-z0-9_-]{16,64})(?=\\*")')
_MIXED = re.compile(rb"(?=.*[0-9])(?=.*[a-z])(?=.*[A-Z])")
_FIELD = re.compile(rb'([A-Za-z_][\w-]*)(?:\\*"\s*:\s*\\*"|[\xa0-\xbf]|\xd9.)\Z', re.DOTALL)
"""The name of the field that the text before an id ends in: in JSON, in JSON within a string, or in msgpack."""

_REFERENCE = re.compile(rb"(?:resp|file|asst|thread|vs|batch|conv|pmpt|cntr|upload|ft)[-_]\Z")
"""Prefixes of what a provider keeps under an id: another id is another thing."""
_REFERENCES = frozenset(
    (b"previousresponseid", b"fileid", b"container", b"containerid", b"assistantid", b"conversation", b"vectorstoreid")
)
_CORRELATION = frozenset(
    (
        *(b"requestid", b"clientrequestid", b"xrequestid", b"idempotencykey", b"idempotencyid", b"correlationid"),
        *(b"traceid", b"spanid", b"parentspanid", b"toolcallid", b"tooluseid", b"callid", b"invocationid"),
        *(b"nonce", b"progresstoken"),
    )
)
"""Fields whose ids name the call itself, and not what it is about; without `_` and `-`, in small letters."""

_KNOWN = re.compile(rb"[0-9A-Za-z_-]{8,}")
_RUN = re.compile(rb"[0-9A-Za-z]{8,}")
_ANY_HEX = re.compile(rb"[0-9a-f]{16,}|[0-9A-F]{16,}")
_ESCAPE = re.compile(rb"\\+[bfnrt]?")
_ANY_UUID = re.compile(rb"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")


class Renaming(NamedTuple):
    """A request with its generated ids under neutral names: `form` is a digest of that, `ids` are the ids in the order
    of their first use, as they were spelled there. Empty `ids`: there is nothing to rename."""

    form: str
    ids: tuple[bytes, ...]


def neutral(call: Call) -> Renaming:
    """The request with its generated ids renamed."""
    body = canonical_body(call.request)
    order: dict[bytes, int] = {}
    ids: list[bytes] = []
    out: list[bytes] = []
    position = 0
    for start, end, shape in _spans(call.kind, body):
        spelled = body[start:end]
        number = order.setdefault(core(spelled), len(order))
        if number == len(ids):
            ids.append(spelled)
        out += (body[position:start], b"\0%s:%d#%d\0" % (shape, end - start, number))
        position = end
    if not ids:
        return Renaming("", ())
    head = call.request.head
    address = (call.kind, call.name, str(head.get("method", "")), canonical_url(call.kind, str(head.get("url", ""))))
    out.append(body[position:])
    return Renaming(digest("\n".join(address).encode("utf-8", "surrogatepass") + b"\0" + b"".join(out)), tuple(ids))


def core(spelled: bytes) -> bytes:
    """One name for all spellings of an id: a UUID without dashes and in small letters, `call_…` without `call_`."""
    if _ANY_UUID.fullmatch(spelled):
        return spelled.replace(b"-", b"").lower()
    prefixed = _PREFIXED.fullmatch(spelled)
    return spelled.lower() if _is_hex(spelled) else prefixed[1] if prefixed else spelled


def _is_hex(text: bytes) -> bool:
    return len(text) >= 16 and not text.strip(b"0123456789abcdefABCDEF")


def _spans(kind: Kind, body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Where generated ids stand that may be renamed there, and their shape; in order, without overlaps."""
    found = map(_span, _TOKEN.finditer(body))
    spans = [(start, end, shape) for start, end, shape in found if _may_be_renamed(kind, body, start, shape)]
    if kind is Kind.LLM:
        taken = {start for start, _, _ in spans}
        for match in _IN_ID_FIELD.finditer(body):
            start, end = match.span("opaque")
            fresh = _MIXED.match(match["opaque"]) and taken.isdisjoint(range(start, end))
            if fresh and _plain(match[1]) not in _REFERENCES and not _REFERENCE.match(match["opaque"]):
                spans.append((start, end, b"opaque"))
        spans.sort()
    yield from spans


def _span(match: re.Match[bytes]) -> tuple[int, int, bytes]:
    shape = match.lastgroup or ""
    spelled = match[shape]
    kind = spelled[: -len(core(spelled))] if shape == "prefixed" else b"" if spelled == spelled.lower() else b"upper"
    return (*match.span(shape), shape.encode() + b" " + kind)


def _may_be_renamed(kind: Kind, body: bytes, start: int, shape: bytes) -> bool:
    before = body[max(0, start - 64) : start]
    if _REFERENCE.search(before):
        return False
    named = _FIELD.search(before)
    field = b"" if named is None else _plain(named[1])
    if kind is Kind.LLM:
        return field not in _REFERENCES
    return shape.startswith(b"prefixed") or field in _CORRELATION


def _plain(field: bytes) -> bytes:
    return field.replace(b"_", b"").replace(b"-", b"").lower()


class Identifiers:
    """Which live id stands for which recorded one, over a whole replay. An id that is bound once stays bound.

    Ids that occur in a recorded answer are bound to themselves: a replay serves the same bytes. An id of the tape
    is never the new name of another one.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._live: dict[bytes, bytes] = {}
        self._recorded: dict[bytes, bytes] = {}
        self._answered: set[bytes] | None = None
        self._known: set[bytes] = set()

    def agree(self, renaming: Renaming) -> None:
        """A request was made with the ids that were recorded: they stand for themselves."""
        for spelled in renaming.ids:
            self._bind(core(spelled), core(spelled))

    def fit(self, recorded: Renaming, live: Renaming) -> bool:
        """True when the ids of two requests of one form may stand for each other. Binds nothing."""
        return all(self._fits(core(a), core(b)) for a, b in zip(recorded.ids, live.ids, strict=True))

    def bind(self, recorded: Renaming, live: Renaming) -> None:
        """From here on the ids of these two requests stand for each other; they must `fit`."""
        for a, b in zip(recorded.ids, live.ids, strict=True):
            self._bind(core(a), core(b))

    def _fits(self, recorded: bytes, live: bytes) -> bool:
        if self._live.get(recorded, live) != live or self._recorded.get(live, recorded) != recorded:
            return False
        if recorded == live:
            return True
        self._read_tape()
        assert self._answered is not None
        return recorded not in self._answered and live not in self._known

    def _bind(self, recorded: bytes, live: bytes) -> None:
        self._live.setdefault(recorded, live)
        self._recorded.setdefault(live, recorded)

    def _read_tape(self) -> None:
        """Once, when the first id is to be renamed: which ids the tape knows."""
        if self._answered is not None:
            return
        asked: set[bytes] = set()
        told: set[bytes] = set()
        for step in self._steps:
            asked.update(_tokens(step.request.body))
            asked.update(_tokens(str(step.request.head.get("url", "")).encode("utf-8", "replace")))
            told.update(*map(_tokens, _answer_texts(step)))
        self._answered = {name for token in told for name in _names(token)}
        self._known = {name for token in asked - told for name in _names(token)} | self._answered


def _answer_texts(step: Step) -> Iterator[bytes]:
    from rashomon import views

    yield step.response.body
    yield canonical_json(views.response_view(step))  # of a stream: put together, ids are cut anywhere
    for _, value in (step.response.head or {}).get("headers", ()):
        yield value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def _tokens(text: bytes) -> set[bytes]:
    """Everything in a text that could hold an id, whatever stands around it: rather too much than too little."""
    found = set(_KNOWN.findall(text))
    if b"\\" in text:  # what looks like a letter may be the end of an escape
        found.update(_KNOWN.findall(_ESCAPE.sub(b" ", text)))
    return found


def _names(token: bytes) -> Iterator[bytes]:
    """What could be an id within a stretch of letters, digits and dashes."""
    yield token
    yield from _RUN.findall(token)
    for pattern in (_ANY_HEX, _ANY_UUID):
        for spelled in pattern.findall(token):
            yield core(spelled)
