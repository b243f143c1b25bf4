"""The fields that a filter can name: what each is about, what its values look like, what it says of itself.

`docs/filter.md` has its tables from here. Values are read and written here too, so that what is written of a value
is read as the same value again.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple

from rashomon import measures


class Sort(StrEnum):
    """What the values of a field are."""

    WORD = "word"
    TEXT = "text"
    COUNT = "count"
    DURATION = "duration"
    MONEY = "money"
    SIZE = "size"
    STEP = "step"
    STATUS = "status"
    MOMENT = "moment"
    TAG = "tag"


class Field(NamedTuple):
    """A field: its name, other names, what its values are, what it is about, and one sentence for people.

    `about` is `step`, `trace` or `both`; `words` are the values of a field that has a fixed set of them.
    """

    name: str
    sort: Sort
    about: str
    says: str
    example: str
    words: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


KINDS = ("llm", "tool", "http", "mcp", "note")
ENDS = ("complete", "closed", "cancelled", "error", "leaked", "open")
GRADES = ("exact", "explained", "drifted", "stubbed", "live", "missed")
OUTCOMES = ("ok", "error", "killed", "open")
STATUS_WORDS = ("ok", "err", "open")
STEP_HAS = ("note", "label", "error", "div", "cost", "tokens", "model", "reasoning", "refusal", "calls", "stream",
            "marks", "parent")  # fmt: skip
TRACE_HAS = ("note", "label", "error", "div", "cost", "tokens", "model", "loss", "parent", "swap", "tag")

_S, _T, _B = "step", "trace", "both"

FIELDS: tuple[Field, ...] = (
    Field("kind", Sort.WORD, _S, "what the step talked to", "kind:llm,tool", KINDS),
    Field("tool", Sort.TEXT, _S, "name of a tool that was called", "tool:refund*"),
    Field("step", Sort.STEP, _S, "number of the step in its trace, or its id", "step:30..60"),
    Field("lane", Sort.TEXT, _S, "line of control; `root` for the first one", "lane:0.2"),
    Field("end", Sort.WORD, _S, "how the answer ended", "end:cancelled,open", ENDS),
    Field("grade", Sort.WORD, _S, "in a replay, how the answer was found", "grade:missed", GRADES),
    Field("dialect", Sort.TEXT, _S, "how an LLM call was read", "dialect:anthropic*"),
    Field("finish", Sort.TEXT, _S, "why the model stopped, in the provider's word", "finish:length"),
    Field("title", Sort.TEXT, _S, "the line that a list shows of the step", "title:A-1042"),
    Field("said", Sort.TEXT, _S, "what the model said, streams put together", 'said~"no refund"'),
    Field("body", Sort.TEXT, _S, "everything that the step carried, both ways", 'body~"refund.*window"'),
    Field("request", Sort.TEXT, _S, "what went out", "request:A-1042"),
    Field("response", Sort.TEXT, _S, "what came back", 'response~"status.*late"'),
    Field("cached", Sort.COUNT, _S, "input tokens read from the provider's cache", "cached>1k"),
    Field("reasoning", Sort.COUNT, _S, "output tokens spent on reasoning", "reasoning>2k"),
    Field("size", Sort.SIZE, _S, "bytes of both bodies", "size>1MB"),
    Field("name", Sort.TEXT, _B, "name of the step (a tool, or method and host), or of the trace", "name:refund*"),
    Field("status", Sort.STATUS, _B, "`ok`, `err` or `open`; of a step also its HTTP status", "status:err",
          STATUS_WORDS),
    Field("cost", Sort.MONEY, _B, "price in US dollars; what has no known price never matches", "cost>0.01"),
    Field("ms", Sort.DURATION, _B, "how long it took; a bare number is milliseconds", "ms>2s", (),
          ("took", "duration")),
    Field("tok", Sort.COUNT, _B, "tokens read and written", "tok>8k", (), ("tokens",)),
    Field("in", Sort.COUNT, _B, "tokens read", "in>100k", (), ("input_tokens",)),
    Field("out", Sort.COUNT, _B, "tokens written", "out<10", (), ("output_tokens",)),
    Field("model", Sort.TEXT, _B, "model that was asked; of a trace, one of its models", "model:m-2"),
    Field("error", Sort.TEXT, _B, "type and text of the exception or of the provider's error", "error:timeout"),
    Field("label", Sort.TEXT, _B, "label of a note; of a trace, one on it or on its steps", "label:p1"),
    Field("note", Sort.TEXT, _B, "text of a note; of a trace, one on it or on its steps", "note:stale"),
    Field("div", Sort.TEXT, _B, "kind of a divergence of a replay", "div:missed"),
    Field("has", Sort.WORD, _B, "whether it has one at all", "has:note", tuple(dict.fromkeys(STEP_HAS + TRACE_HAS))),
    Field("trace", Sort.TEXT, _T, "id of the trace, or its beginning", "trace:0198f2"),
    Field("outcome", Sort.WORD, _T, "how the trace ended", "outcome:killed", OUTCOMES),
    Field("since", Sort.MOMENT, _T, "started since then: an age or a date", "since:7d"),
    Field("until", Sort.MOMENT, _T, "started before then: an age or a date", "until:2026-11-20"),
    Field("tag", Sort.TAG, _T, "a tag, or a tag and its value", "tag:env=prod"),
    Field("steps", Sort.COUNT, _T, "number of steps", "steps>1k"),
    Field("failures", Sort.COUNT, _T, "number of steps that failed", "failures>0"),
)  # fmt: skip

BY_NAME: dict[str, Field] = {name: field for field in FIELDS for name in (field.name, *field.aliases)}

NUMERIC = (Sort.COUNT, Sort.DURATION, Sort.MONEY, Sort.SIZE, Sort.STEP, Sort.STATUS)
"""Fields with these sorts compare and have ranges."""

_COUNTS = {"": 1, "k": 1000, "m": 1_000_000, "g": 1_000_000_000}
_DURATIONS = {"us": 1, "µs": 1, "": 1000, "ms": 1000, "s": 1_000_000, "m": 60_000_000, "h": 3_600_000_000}
_UNITS: dict[Sort, dict[str, int]] = {
    Sort.COUNT: _COUNTS,
    Sort.DURATION: _DURATIONS,
    Sort.MONEY: {"": 1},
    Sort.STEP: {"": 1},
    Sort.STATUS: {"": 1},
}
_WRITTEN = {Sort.DURATION: (("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1))}
_NUMBER = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)([a-zµ]*)", re.I)
_DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:?\d\d)?)?", re.A)

EXPECTED: dict[Sort, str] = {
    Sort.COUNT: "a number such as 500, 8k or 1.5M",
    Sort.DURATION: "a length of time such as 250ms, 2s or 1.5m",
    Sort.MONEY: "an amount in US dollars such as 0.01 or $2",
    Sort.SIZE: "a number of bytes such as 500, 20kB or 1MB",
    Sort.STEP: "a step's number such as 30, a range such as 30..60, or an id such as 0.3",
    Sort.STATUS: "ok, err or open, or an HTTP status such as 404, 4xx or 400..499",
    Sort.MOMENT: "an age such as 30m, 24h, 7d or 1y, or a date such as 2026-11-20",
    Sort.TAG: "a tag such as env, or a tag and its value such as env=prod",
}
"""What a value of a field looks like, for who wrote something else."""


def number(sort: Sort, text: str) -> float | None:
    """A number with its unit, in the field's base unit (microseconds, dollars, bytes, one); None for what is none."""
    if sort is Sort.SIZE:
        return measures.size_of(text)
    bare = text[1:] if sort is Sort.MONEY and text.startswith("$") else text
    found = _NUMBER.fullmatch(bare)
    if found is None:
        return None
    unit = _UNITS[sort].get(found[2].lower())
    if unit is None:
        return None
    if sort is Sort.MONEY:
        return float(found[1])
    value = float(found[1]) * unit if "." in found[1] else int(found[1]) * unit
    if sort in (Sort.STEP, Sort.STATUS) and "." in found[1]:
        return None
    return int(value) if value == int(value) else value


def written(sort: Sort, value: float) -> str:
    """A number as `number` reads it."""
    for unit, size in _WRITTEN.get(sort, ()):
        if value == int(value) and int(value) % size == 0:
            return f"{int(value) // size}{unit}"
    if sort is Sort.DURATION:
        return f"{value:.9f}us"
    return f"{value:.9f}".rstrip("0") if value != int(value) else str(int(value))


def is_moment(text: str) -> bool:
    """True for an age or a date."""
    return measures.age_ns(text) is not None or _date_ns(text) is not None


def moment_ns(text: str, now_ns: int) -> int:
    """An age before now, or a date, as Unix nanoseconds."""
    age_ns = measures.age_ns(text)
    if age_ns is not None:
        return now_ns - age_ns
    moment = _date_ns(text)
    assert moment is not None, text  # the parser took it
    return moment


def _date_ns(text: str) -> int | None:
    """A date as Unix nanoseconds, on this machine's clock unless it has `Z` or an offset; None for what is none."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    from datetime import datetime, timedelta, timezone

    *parts, fraction, zone = found.groups()
    year, month, day, hour, minute, second = (int(part or 0) for part in parts)
    try:
        there = None
        if zone is not None:
            minutes = 0 if zone == "Z" else int(zone[1:3]) * 60 + int(zone[-2:])
            there = timezone(timedelta(minutes=-minutes if zone[0] == "-" else minutes))
        seconds = int(datetime(year, month, day, hour, minute, second, tzinfo=there).timestamp())
    except (ValueError, OverflowError, OSError):  # the 31st of February, or years that a clock cannot show
        return None
    return seconds * 1_000_000_000 + int((fraction or "0").ljust(9, "0"))


def nearest(name: str, among: tuple[str, ...]) -> str | None:
    """The name that was probably meant."""
    from difflib import get_close_matches  # only for who mistyped

    found = get_close_matches(name.lower(), among, 1, 0.6)
    return found[0] if found else None


def markdown() -> str:
    """All fields as Markdown tables: the body of docs/filter.md between its two markers."""
    heads = {
        _S: "About steps",
        _B: "About both: about what is listed, unless `step.` or `trace.` says otherwise",
        _T: "About traces",
    }
    parts = []
    for about, head in heads.items():
        rows = [
            f"| `{field.name}`{''.join(f', `{one}`' for one in field.aliases)} | {field.says} | `{field.example}` |"
            for field in FIELDS
            if field.about == about
        ]
        parts.append("\n".join([f"### {head}", "", "| field | is | example |", "|---|---|---|", *rows]))
    return "\n\n".join(parts)
