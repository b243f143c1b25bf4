"""Where the differences of a request come from, as ends of sentences: a read of the clock or of chance, an answer that
was not the recorded one, another order. Nothing is said where nothing can be followed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rashomon.canonical import canonical_json
from rashomon.model import End, Json, Read, Step
from rashomon.replay.causes import Followed, traced
from rashomon.replay.differences import Content, Difference
from rashomon.replay.flow import Flowed, Reading, Sources, Substitution, bounded, called, follow, origin, place, shared
from rashomon.replay.renderings import SHORTEST, spellings

_SOUGHT = 500
"""In so many answers, the last ones, a value is looked for."""
_READS = 128
_TOLD = 2
_TIME = re.compile(
    r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}|[0-9]{1,2}:[0-9]{2}(?::[0-9]{2}(?:[.,][0-9]+)?)?"
    r"|(?<![0-9.])1[0-9]{9}(?:[0-9]{3}|[0-9]{6}|[0-9]{9})?(?:\.[0-9]+)?(?![0-9])"
)
_ID = re.compile(
    r"(?<![0-9A-Za-z])(?:[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?=[a-f]*[0-9])[0-9a-f]{16,}|01[0-9A-Z]{24}"
    r"|(?:call|toolu|msg|run|req|fc)[-_]+(?=[A-Za-z]*[0-9])[0-9A-Za-z]{8,})(?![0-9A-Za-z])"
)


class Origin(NamedTuple):
    """Where a difference comes from, as the end of a sentence about it; `whole` when that accounts for both sides."""

    sentence: str
    whole: bool


def origins(found: Sequence[Difference], sources: Sources, served: Sequence[Step]) -> list[Origin]:
    """For each difference between a recorded request and a call: ", read from time.time() at agent.py:34, …";
    empty where its origin is not known. `served` are the steps whose answers the program has got."""
    followed = traced(found, [_as_followed(one) for one in sources.substitutions])
    return [
        _whole(difference, found, sources, cause, served)
        or Origin(_of_recorded_read(difference, sources.reads) or _of_form(difference), False)
        for difference, cause in zip(found, followed, strict=True)
    ]


def _whole(
    difference: Difference, found: Sequence[Difference], sources: Sources, cause: int | None, served: Sequence[Step]
) -> Origin | None:
    sentence = _of_reads(difference, sources)
    if not sentence and cause is not None:
        sentence = _of_answer(sources.substitutions[cause])
    sentence = sentence or _of_order(difference, found, served)
    return Origin(sentence, True) if sentence else None


def _of_reads(difference: Difference, sources: Sources) -> str:
    flowed: list[Flowed] = follow(difference, sources) or []
    told = dict.fromkeys(_told(one.reading, sources) for one in flowed)
    return "".join(f", {one}" for one in list(told)[:_TOLD])


def _told(reading: Reading, sources: Sources) -> str:
    reason = reading.reason or next((one.reason for one in sources.uncontrolled if one.what == reading.what), "")
    return origin(reading) + (f", which is not controlled because {reason.rstrip('.')}" if reason else "")


def _as_followed(one: Substitution) -> Followed:
    kind, name, request = one.call
    step = Step("", 0, kind, name, (), 0, request, one.response)
    return Followed(None if one.recorded is None else Content(one.recorded), Content(step), False, True)


def _of_answer(one: Substitution) -> str:
    of = "" if one.recorded is None else f" ({one.recorded.id})"
    return f", which follows from the {one.how} answer of {one.call.name}{of}"


# --------------------------------------------------------------------------------------------- order


def _of_order(difference: Difference, found: Sequence[Difference], served: Sequence[Step]) -> str:
    """Something that the recording has elsewhere, or lines that stand in another order."""
    left, right = difference.left, difference.right
    if (
        isinstance(left, str)
        and isinstance(right, str)
        and "\n" in left
        and sorted(left.splitlines()) == sorted(right.splitlines())
    ):
        return ": the same lines in another order"
    if right is None or isinstance(right, (bool, int, float)) or len(canonical_json(right)) < SHORTEST + 2:
        return ""
    if not any(other is not difference and _same(other.left, right) for other in found):
        return ""
    step = _answered(right, served)
    return (
        ", which the recording has in another order"
        if step is None
        else (f", which contains the recorded answer of {step.id} in another order")
    )


def _same(left: Json, right: Json) -> bool:
    return type(left) is type(right) and left == right


def _answered(value: Json, served: Sequence[Step]) -> Step | None:
    """The step whose answer holds the longest text of a value."""
    text = max(_texts(value), key=len, default="")
    if len(text) < SHORTEST:
        return None
    spelled = (text.encode("utf-8", "surrogatepass"), canonical_json(text)[1:-1])
    for step in reversed(served[-_SOUGHT:]):
        if step.response.end is End.COMPLETE and any(one in step.response.body for one in spelled):
            return step
    return None


def _texts(value: Json) -> list[str]:
    if isinstance(value, dict):
        return [text for key, item in value.items() if not key.endswith("id") for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


# ----------------------------------------------------------------------------- what cannot be followed whole


def _of_recorded_read(difference: Difference, reads: Sequence[Read]) -> str:
    """The recorded side stands for a value that the recording read; what gave the live side is not known."""
    changed = _changed(difference)
    if changed is None:
        return ""
    text, start, end = changed
    for read in reversed([one for one in reads if one.kind != "sleep"][-_READS:]):
        for spelling in spellings(read.value, read.what):
            if _stands(spelling.text, text, max(0, start - len(spelling.text) + 1), end + len(spelling.text) - 1):
                return f", where the recording has what it read from {called(read.what)}{place(read.site)}"
    return ""


def _stands(value: str, text: str, start: int, end: int) -> bool:
    """Whether a value stands between two places of a text, and not within a longer number or word."""
    at = text.find(value, start, end)
    while at >= 0 and not bounded(text, at, at + len(value)):
        at = text.find(value, at + 1, end)
    return at >= 0


def _changed(difference: Difference) -> tuple[str, int, int] | None:
    """The recorded text of a difference, and from where to where it differs."""
    left, right = difference.left, difference.right
    if not isinstance(left, str) or not isinstance(right, str):
        if type(left) is not type(right) or not isinstance(left, (int, float)) or isinstance(left, bool):
            return None
        left, right = repr(left), repr(right)
    start = shared(left, 0, right, 0)
    end = shared(left[start:][::-1], 0, right[start:][::-1], 0)
    return left, start, max(start + 1, len(left) - end)


def _of_form(difference: Difference) -> str:
    left, right = difference.left, difference.right
    if not isinstance(left, str) or not isinstance(right, str):
        return ""
    for pattern, what in ((_ID, "a generated id"), (_TIME, "a time")):
        if pattern.search(left) and pattern.sub("", left) == pattern.sub("", right):
            return f", which looks like {what} from a source that is not recorded"
    return ""
