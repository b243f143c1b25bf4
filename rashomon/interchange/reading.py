"""A file of another tool as traces, whatever it is: told by its content, not by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rashomon.errors import DamagedData, UsageError
from rashomon.interchange import documents, messages, spans, traces
from rashomon.interchange.documents import Documents
from rashomon.interchange.spans import Span
from rashomon.model import Tape

_KNOWN = (
    "Known are OTLP/JSON, spans as SDKs print them or Phoenix exports them, and lists of chat messages; "
    "each as it is, one a line, or gzipped."
)
_SMALL = 3


def read(path: Path | str) -> list[Tape]:
    """The traces of a file that another tool made: OTLP/JSON, OpenInference spans, or lists of messages.

    Their `provenance["imported"]` says `format`, `file` and what they lack. Raises `UsageError` for a file that is none
    of these, `DamagedData` for one that is broken.
    """
    found = documents.load(path)
    name, changed_ns = os.path.basename(path), int(os.stat(path).st_mtime_ns)
    spanned = list(_spans(found))
    if spanned:
        tapes = traces.tapes_of(spanned, traces.Source(name, len(found.unread), changed_ns))
        if not tapes:
            raise UsageError(
                f"{path} has {len(spanned)} spans, none of which is a call of a model or of a tool.",
                "Export spans with the attributes of OpenTelemetry's GenAI conventions or of OpenInference.",
            )
        return tapes
    try:
        read_messages = messages.read_all(found, name, changed_ns)
    except RecursionError:
        raise DamagedData(f"{path} is nested too deeply to be read.", "Give another file.") from None
    if not read_messages:
        raise UsageError(f"{path} holds neither spans nor messages: {_looks(found)}.", _KNOWN)
    return read_messages


def _spans(found: Documents) -> list[Span]:
    return [span for value in found.values for span in _spans_in(value, 0)]


def _spans_in(value: Any, depth: int) -> list[Span]:
    """The spans of one JSON value: an export request, a span, or a list or page of either."""
    if depth > _SMALL:
        return []
    if spans.is_otlp(value):
        return list(spans.otlp_spans(value))
    if spans.is_dump(value):
        return [spans.dumped_span(value)]
    if isinstance(value, list):
        return [span for one in value for span in _spans_in(one, depth + 1)]
    if isinstance(value, dict):
        for name in ("data", "spans", "batches", "traces", "resource_spans"):
            if isinstance(value.get(name), list):
                listed = value[name]
                if name == "batches":  # Tempo's name for resourceSpans
                    return list(spans.otlp_spans({"resourceSpans": listed}))
                return _spans_in(listed, depth + 1)
    return []


def _looks(found: Documents) -> str:
    """What a JSON file that nobody knows looks like, in a few words."""
    value = found.values[0]
    if isinstance(value, dict):
        names = ", ".join(repr(str(name)[:30]) for name in list(value)[:5])
        return f"it is an object with {names or 'nothing in it'}"
    if isinstance(value, list):
        return f"it is a list of {len(value)}"
    return f"it is {type(value).__name__} {str(value)[:30]!r}"
