"""Why a call found no answer, and where a finished replay left its recording: in sentences.

Pure, and bounded: of thousands of candidates, those of the same kind and name are compared by length and
shared ends, the best few by their words, and only what is named is compared in full.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from rashomon import disk, telemetry, views
from rashomon.canonical import content_digest
from rashomon.model import Call, Divergence, End, Json, Kind, Response, Step, Uncontrolled
from rashomon.replay.differences import (
    Difference,
    request_differences,
    same_input,
    strict_differences,
)
from rashomon.replay.flow import NOTHING, Sources, place
from rashomon.replay.likeness import LIKE, overlap, sketch
from rashomon.replay.origins import origins
from rashomon.replay.words import word_diff

_SKETCHED = 16
_READ = 600_000
_MANY = 200
_FEWEST = 4
_SAMPLE = 16
_SAMPLES = 6
_DIGESTED = 500_000
_LINES = 6
_REASONS = 4
_NOTHING = Response(None, (), End.OPEN)


class Near(NamedTuple):
    """A recorded step that resembles a call: how much (0 to 1), why it is not the one, and where.

    `reasons` are short sentences without a full stop; `paths` the JSON paths that differ.
    """

    step: Step
    similarity: float
    reasons: tuple[str, ...]
    paths: tuple[str, ...]


def nearest(call: Call, candidates: Sequence[Step], limit: int = 3) -> list[Near]:
    """The recorded steps that resemble a call most, the best first; of equal ones the earlier."""
    asked = _as_step(call)
    return [_near(asked, step, alike) for alike, step in _ranked(call, asked, candidates)[:limit]]


def alike_steps(call: Call, candidates: Sequence[Step], limit: int) -> list[Step]:
    """`nearest` without its reasons."""
    return [step for _, step in _ranked(call, _as_step(call), candidates)[:limit]]


def _ranked(call: Call, asked: Step, candidates: Sequence[Step]) -> list[tuple[float, Step]]:
    said = sketch(views.request_view(asked))
    ranked = []
    for step in _shortlist(call, candidates):
        alike = overlap(said, sketch(views.request_view(step)))
        if step.name != call.name:
            alike *= 0.5 if step.kind == call.kind else 0.25
        elif alike == 1.0 and step.request.body != call.request.body:
            alike = 1.0 if same_input(step, asked) else 0.99
        ranked.append((alike, step))
    ranked.sort(key=lambda item: -item[0])
    return ranked


def explain_miss(
    call: Call, candidates_unconsumed: Sequence[Step], consumed: Sequence[Step], sources: Sources = NOTHING
) -> Divergence:
    """Why no recorded step answers a call: the nearest step, where it differs and why, or that it is used up.

    `sources` tells where differences may come from; without it, only what can be seen in the requests is told.
    """
    used_up = _equal_one(call, consumed)
    if used_up is not None:
        return _explain_used_up(call, used_up, consumed)
    near = nearest(call, candidates_unconsumed)
    named = [item for item in near if (item.step.kind, item.step.name) == (call.kind, call.name)]
    if not named:
        return _explain_unknown(call, near, consumed)
    best = named[0]
    where = f"{best.paths[0]} differs" if best.paths else "its request differs"
    more = f", and {len(best.paths) - 1} more" if len(best.paths) > 1 else ""
    summary = f"{_named(call)} is not in the recording; the nearest is step {best.step.id}, where {where}{more}."
    detail = _with_origins(best, call, consumed, sources)
    for other in named[1:]:
        detail.append(f"step {other.step.id} is further away ({other.similarity:.0%} alike): {other.reasons[0]}")
    return Divergence("missed", summary, None, best.step.id, best.paths, tuple(detail[:_LINES]))


def _with_origins(best: Near, call: Call, consumed: Sequence[Step], sources: Sources) -> list[str]:
    """The reasons of the nearest step, each with where it comes from."""
    found = _differences(best.step, _as_step(call))
    causes = origins(found, sources, consumed)
    told = [reason + cause.sentence for reason, cause in zip(best.reasons, causes, strict=False)]
    beyond = [one for one in sources.uncontrolled if not telemetry.is_one(one) and not disk.is_one(one)]
    if beyond and not all(cause.whole for cause in causes):
        told.append(_uncontrolled(beyond))
    return told + list(best.reasons[len(causes) :])


def _uncontrolled(found: Sequence[Uncontrolled]) -> str:
    first = found[0]
    more = f", and {len(found) - 1} more" if len(found) > 1 else ""
    return f"not controlled in this program: {first.what}{place(first.site)}, because {first.reason.rstrip('.')}{more}"


# ------------------------------------------------------------------------------------------- misses


def _explain_used_up(call: Call, used_up: Step, consumed: Sequence[Step]) -> Divergence:
    times = sum(same_input(step, used_up) for step in consumed if step.request.body == used_up.request.body)
    count = "once" if times <= 1 else f"{times} times"
    summary = f"{_named(call)} was recorded {count}, and was asked for once more."
    detail = (f"the answer of step {used_up.id} has already been served",)
    return Divergence("missed", summary, None, used_up.id, (), detail)


def _explain_unknown(call: Call, near: list[Near], consumed: Sequence[Step]) -> Divergence:
    """No step of this kind and name is left."""
    spent = [step for step in consumed if (step.kind, step.name) == (call.kind, call.name)]
    if spent:
        closest = nearest(call, spent, 1)[0]
        count = len(spent)
        summary = f"{_named(call)} is not in the recording, whose calls of {call.name} ({count}) were all served."
        detail = [f"step {closest.step.id}, already served, is the most alike: {closest.reasons[0]}"]
        return Divergence("missed", summary, None, closest.step.id, closest.paths, tuple(detail))
    summary = f"{_named(call)} is not in the recording, and nothing in it has the name {call.name}."
    if not near or near[0].similarity < LIKE / 2:
        return Divergence("missed", summary)
    best = near[0]
    detail = [f"step {best.step.id} is the most alike: {best.reasons[0]}", *best.reasons[1:]]
    return Divergence("missed", summary, None, best.step.id, best.paths, tuple(detail[:_LINES]))


def _equal_one(call: Call, consumed: Sequence[Step]) -> Step | None:
    asked = _as_step(call)
    for step in consumed:
        if step.request.body == call.request.body and same_input(step, asked):
            return step
    wanted, size, read = content_digest(call), len(call.request.body), 0
    for step in consumed:  # the same value in another spelling has about the same size
        if (step.kind, step.name) != (call.kind, call.name) or abs(len(step.request.body) - size) > size // 4 + 16:
            continue
        if content_digest(_call(step)) == wanted:
            return step
        read += len(step.request.body)
        if read > _DIGESTED:
            break
    return None


def _call(step: Step) -> Call:
    return Call(step.kind, step.name, step.request)


def _as_step(call: Call) -> Step:
    return Step("", 0, call.kind, call.name, (), 0, call.request, _NOTHING)


def _named(call: Call) -> str:
    """The call as the subject of a sentence."""
    if call.kind == Kind.LLM:
        return f"The call {views.request_title(_as_step(call))}"
    return views.request_title(_as_step(call))


def _near(asked: Step, step: Step, alike: float) -> Near:
    found = _differences(step, asked)
    reasons = [_reason(item) for item in found[:_REASONS]]
    if len(found) > _REASONS:
        reasons.append(f"{len(found) - _REASONS} more differences")
    if not found:
        reasons.append("it asks the same, and its answer is given to another call")
    return Near(step, alike, tuple(reasons), tuple(item.path for item in found))


def _differences(step: Step, asked: Step) -> list[Difference]:
    """Where two requests differ; when only in generated ids, then there."""
    return request_differences(step, asked) or strict_differences(step, asked)


# ----------------------------------------------------------------------------------------- shortlist


def _shortlist(call: Call, candidates: Sequence[Step]) -> list[Step]:
    """The few steps that are worth reading, in their own order."""
    like = [step for step in candidates if step.name == call.name and step.kind == call.kind]
    if not like:
        like = [step for step in candidates if step.kind == call.kind] or list(candidates)
    body = call.request.body
    few = max(_FEWEST, min(_SKETCHED, _READ // (len(body) + 1)))
    if len(like) > _MANY:
        like = _best(body, like, _MANY, _sampled(body))
    return _best(body, like, few, partial(_shared_ends, body)) if len(like) > few else like


def _best(body: bytes, steps: list[Step], many: int, shared: Callable[[bytes], int]) -> list[Step]:
    """The steps that share most with a body, and differ least in length, in their own order."""
    size = len(body)
    others = [step.request.body for step in steps]
    ranked = sorted((-shared(other), abs(size - len(other)), n) for n, other in enumerate(others))
    return [steps[n] for n in sorted(n for _, _, n in ranked[:many])]


def _sampled(body: bytes) -> Callable[[bytes], int]:
    """About how much another body has of this one: how many samples of it stand there at the same place, as counted
    from the beginning or from the end."""
    gap = max(_SAMPLE, len(body) // _SAMPLES)
    places = range(0, max(1, len(body) - _SAMPLE), gap)
    front = [(slice(at, at + _SAMPLE), body[at : at + _SAMPLE]) for at in places]
    back = [(slice(-at - _SAMPLE - 1, -at - 1), body[-at - _SAMPLE - 1 : -at - 1]) for at in places]
    probes = [probe for probe in (*front, *back) if probe[1]]

    def shared(other: bytes) -> int:
        count = 0
        for where, sample in probes:
            if other[where] == sample:
                count += 1
        return count

    return shared


def _shared_ends(a: bytes, b: bytes) -> int:
    """How many bytes of two bodies are their common beginning and end."""
    shorter = min(len(a), len(b))
    start = _common(shorter, lambda low, high: a[low:high] == b[low:high])
    rest = shorter - start
    return start + _common(rest, lambda low, high: a[len(a) - high : len(a) - low] == b[len(b) - high : len(b) - low])


def _common(most: int, equal: Callable[[int, int], bool]) -> int:
    """How far two bodies are equal: in blocks that double, then by halves of the last one."""
    low, block = 0, 32
    while low < most and equal(low, min(most, low + block)):
        low = min(most, low + block)
        block *= 2
    high = min(most, low + block)
    while low < high:
        middle = (low + high + 1) // 2
        if equal(low, middle):
            low = middle
        else:
            high = middle - 1
    return low


# ------------------------------------------------------------------------------------------- reasons


def _reason(difference: Difference) -> str:
    """One difference as a short sentence, without a full stop."""
    path, op, left, right = difference
    if op == "added":
        return f"{path} is new: {_shown(right)}"
    if op == "removed":
        return f"{path} is gone: {_shown(left)}"
    if op == "text" and isinstance(left, str) and isinstance(right, str):
        before, after = _around_first_change(left, right)
        return f"{path} differs: {before} → {after}"
    return f"{path}: {_shown(left)} → {_shown(right)}"


def _shown(value: Json) -> str:
    return views.text_of(value, 60) if value != "" else '""'


def _around_first_change(left: str, right: str) -> tuple[str, str]:
    """Both texts from a little before the first word that differs."""
    lead = ""
    gone = new = ""
    for op, text in word_diff(left, right)[:3]:
        if op == "same":
            if gone or new:
                break
            lead = text
        elif op == "removed":
            gone = text
        else:
            new = text
    start = len(lead)
    context = max(0, start - 24)
    mark = "…" if context else ""
    shown = [f'"{mark}{views.text_of(text[context : start + 60], 60)}{_more(text, start)}"' for text in (left, right)]
    return shown[0], shown[1]


def _more(text: str, start: int) -> str:
    return "…" if len(text) > start + 60 else ""
