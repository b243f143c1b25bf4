"""How runs of one program differ from each other: two live ones, or several replays of one recording. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest

from rashomon import disk, views
from rashomon.commands.doctor_findings import (
    BEYOND,
    Control,
    Finding,
    Run,
    beyond_recording,
    files_apart,
    of_reads,
    of_source,
    of_surroundings,
    readings_apart,
    sources_of,
    told_origin,
)
from rashomon.commands.doctor_output import UNFOLLOWED, around, of_ending
from rashomon.commands.terminal import plural
from rashomon.model import Call, Divergence, End, Event, Grade, Site, Step, Tape
from rashomon.replay.alignment import Alignment, Mark, Pair, align
from rashomon.replay.differences import Difference, step_differences
from rashomon.replay.flow import Sources, Substitution
from rashomon.replay.origins import Origin

_TOLD = 4
_SHOWN = 48
_SEEN = 500
"""Of the steps before another one, the last so many may be what it follows from."""
_SOUGHT = 50
"""Of so many answers that were others, the last ones, it is tried whether a difference follows from them."""
_TRIED = re.compile(r" at (?P<file>[^\n]+):(?P<line>\d+) in (?P<function>[^\n]+)\.$")
_ORDERED = {
    Control.CONTROLLED: 0,
    Control.VIRTUAL: 1,
    Control.UNCONTROLLED: 2,
}
_GROUPS = ("clock", "chance", "sleep", "process", "environment", "order", "subprocess", "connection", "library",
           "telemetry", "file", "recording", "request", "answer", "output", "exit")  # fmt: skip


def examine_replays(recorded: Run, replays: Sequence[Run]) -> list[Finding]:
    """Everything that a recording and its replays tell, sorted by control and by group."""
    found = of_reads(recorded.tape) + of_surroundings(recorded.tape)
    for replay in replays:
        found += of_replay(recorded, replay)
    for other in replays[1:]:
        found += _of_replays(replays[0], other)
    return in_order(merged(found))


def examine_live(first: Run, second: Run) -> list[Finding]:
    """What varies by itself between two live runs, sorted by control and by group."""
    apart = readings_apart(first.tape, second.tape)
    found = of_reads(first.tape, apart) + _surroundings_of(first, second)
    alignment = align(first.tape, second.tape)
    sources = sources_of(first, second)
    for at, pair in enumerate(alignment.pairs):
        if pair.mark is not Mark.SAME:
            found.append(
                _of_pair(pair, alignment.pairs, _with_answers(sources, alignment.pairs[max(0, at - _SEEN) : at]))
            )
    found += _of_completions(alignment, first.tape, second.tape)
    found += of_ending(first, second, _with_answers(sources, alignment.pairs))
    return in_order(merged(found))


def merged(found: Sequence[Finding]) -> list[Finding]:
    """Each fact once: several replays find the same, and what one refused is what the recording could not control."""
    kept: list[Finding] = []
    known: dict[tuple[object, ...], int] = {}
    for one in found:
        key = one.group, one.what, one.control, one.site, one.example
        at = known.get(key)
        if at is None:
            at = next((at for at, other in enumerate(kept) if _says_more(one, other)), None)
        if at is None:
            known[key] = len(kept)
            kept.append(one)
        else:
            kept[at] = _joined(kept[at], one)
    return kept


def _says_more(one: Finding, other: Finding) -> bool:
    """True for what a replay tells of a source that the recording has listed already."""
    if one.group != other.group or (one.group != "connection" and one.control is not Control.VIRTUAL):
        return False
    here = one.site is not None and other.site is not None and one.site[:2] == other.site[:2]
    if one.group == "connection":  # the replay refused it
        return here or other.what in one.what
    return here and one.what == other.what  # it was read beyond the recording


def _joined(first: Finding, second: Finding) -> Finding:
    """Two findings of one fact. Of an output, the first one's lines are enough."""
    output = first.group == "output"
    return first._replace(
        control=max(first.control, second.control, key=_ORDERED.__getitem__),
        times=first.times + output,
        changes=first.changes or second.changes,
        varies=first.varies if second.varies is None else bool(first.varies or second.varies),
        detail=first.detail if output else tuple(dict.fromkeys((*first.detail, *second.detail))),
        advice=second.advice if len(second.advice) > len(first.advice) else first.advice,
    )


def in_order(found: Sequence[Finding]) -> list[Finding]:
    """Sorted: controlled ones first, then by group, then by place."""
    return sorted(
        found,
        key=lambda one: (
            _ORDERED[one.control],
            one.changes,
            _GROUPS.index(one.group),
            ("", 0) if one.site is None else one.site[:2],
        ),
    )


# ------------------------------------------------------------------------------------------------ where a replay left


def of_replay(recorded: Run, replay: Run) -> list[Finding]:
    """What one replay tells of the recording: where it left it, and what it had to explain away."""
    apart = readings_apart(recorded.tape, replay.tape, BEYOND)
    found = beyond_recording(apart)
    found += [_of_divergence(one, replay.tape) for one in replay.divergences if one.kind != "exit"]
    found += _of_matches(replay.tape.steps)
    known = {one.what for one in recorded.tape.trace.uncontrolled}
    found += [
        of_source(one, replay.tape.trace)
        for one in replay.tape.trace.uncontrolled
        if one.what not in known and not disk.is_one(one)
    ]
    found += files_apart(recorded.tape.trace, replay.tape.trace)
    ending = of_ending(recorded, replay, sources_of(recorded, replay))
    if replay.divergences:
        ending = [
            one._replace(advice="Mend what comes before it in this list: it may follow from that.") for one in ending
        ]
    return found + ending


_DIVERGED = {
    "missed": "Pass what differs in from outside, or read it in the program's own code, where it is recorded.",
    "drifted": "Pass what differs in from outside, or read it in the program's own code, where it is recorded.",
    "live": "Pass what differs in from outside, or read it in the program's own code, where it is recorded.",
    "ambiguous": "Make each of these calls in a task of its own, or put something into it that tells it apart.",
    "cancelled": "Look at what cancels it: a timeout, or a race with another call whose order is not kept.",
    "unplayable": "Have the tool give and take what can be written down (docs/formats/values.md), or stub it: --stub.",
    "unserved": "Look at the first difference above: from there on the program took another way.",
    "result": "See where the runs part: compare their traces with rashomon diff.",
}
_ESCAPES = {"reach": "connection", "reached": "connection", "resolve": "connection", "run": "subprocess",
            "write": "file"}  # fmt: skip


def _of_divergence(one: Divergence, tape: Tape) -> Finding:
    if one.kind == "escaped":
        return _of_escape(one)
    step = next((step for step in tape.steps if step.id == one.step), None)
    what = one.summary if step is None else f"{step.name}: {one.summary}"
    advice = _DIVERGED.get(one.kind, "See where the runs part: compare their traces with rashomon diff.")
    if any("a library's own reads are not recorded" in line for line in one.detail):
        advice = "Set RASHOMON_USER_CODE=PACKAGE if the package that reads it is yours, or pass the value in."
    return Finding("request", what, Control.UNCONTROLLED, changes=True, detail=one.detail[:6], advice=advice)


def _of_escape(one: Divergence) -> Finding:
    """What the replay refused, or could not refuse."""
    tried = _TRIED.search(one.summary)
    site = Site(tried["file"], int(tried["line"]), tried["function"]) if tried else None
    words = one.summary.removeprefix("The program tried to ").removeprefix("The program ").split(" ")
    allow = next((line for line in one.detail if "--allow" in line), "")
    opening = allow.removeprefix("To allow it: ")
    what = one.summary[: tried.start()] if tried else one.summary
    return Finding(
        _ESCAPES.get(words[0], "connection"),
        what.removeprefix("The program tried to ").rstrip("."),
        Control.UNCONTROLLED,
        site,
        changes=True,
        detail=(f"refused in the replay: {one.detail[0]}",) if tried and one.detail else one.detail[:1],
        advice="Do it in a function marked @rashomon.tool" + (f", or allow it: {opening}" if opening else "") + ".",
    )


def _of_matches(steps: Sequence[Step]) -> list[Finding]:
    found = []
    renamed = [step for step in steps if step.match is not None and "ids renamed" in step.match.detail]
    if renamed:
        found.append(
            Finding(
                "chance",
                "generated ids in requests",
                Control.CONTROLLED,
                None,
                len(renamed),
                renamed[0].name,
                detail=("they differ in each run, and are renamed to the recorded ones",),
            )
        )
    for step in steps:
        if step.match is not None and step.match.grade is Grade.EXPLAINED:
            found.append(
                Finding(
                    "request",
                    step.name,
                    Control.VIRTUAL,
                    example=f"step {step.index}",
                    detail=(step.match.detail,),
                    advice="Set RASHOMON_USER_CODE=PACKAGE if the package that reads it is yours, or pass the value "
                    "in.",
                )
            )
    return found


# ------------------------------------------------------------------------------------------------ replays compared


def _of_replays(first: Run, other: Run) -> list[Finding]:
    """Where two replays of one recording are not the same run."""
    found = []
    apart = readings_apart(first.tape, other.tape)
    if apart:
        found.append(_unlike("reads", f"{plural(len(apart), 'read')} had other values in another replay"))
    left, right = _served(first.tape), _served(other.tape)
    if left != right:
        at = next(n for n, (a, b) in enumerate(zip_longest(left, right)) if a != b)
        found.append(_unlike("steps", f"they part at step {at}"))
    if first.output.read_bytes() != other.output.read_bytes():
        found += [
            one._replace(what=f"{one.what}, between two replays")
            for one in of_ending(first, other, sources_of(first, other))
        ]
    return found


def _unlike(what: str, detail: str) -> Finding:
    return Finding(
        "answer",
        f"{what} of two replays",
        Control.UNCONTROLLED,
        changes=True,
        detail=(detail,),
        advice="See where they part: compare their traces with rashomon diff.",
    )


def _served(tape: Tape) -> list[tuple[object, ...]]:
    """What each lane was answered from, in the lane's own order."""
    steps = sorted(tape.steps, key=lambda step: (step.lane, step.index))
    return [(step.lane, step.kind, step.name, None if step.match is None else step.match.recorded) for step in steps]


# ------------------------------------------------------------------------------------------------------- live runs


def _surroundings_of(first: Run, second: Run) -> list[Finding]:
    """The surroundings of the first run, and whether the second one's are others."""
    others = of_surroundings(second.tape)
    known = {(one.group, one.what, one.site): one for one in others}
    found = []
    for one in of_surroundings(first.tape):
        other = known.pop((one.group, one.what, one.site), None)
        found.append(one._replace(varies=other is None or (one.example, one.times) != (other.example, other.times)))
    return found + [one._replace(varies=True) for one in known.values()]


def _with_answers(sources: Sources, pairs: Sequence[Pair]) -> Sources:
    """The sources, and the answers that the second run got otherwise."""
    others = []
    for mark, left, right, *_ in pairs:
        if mark in (Mark.OUTPUT, Mark.BOTH) and left is not None and right is not None:
            call = Call(right.kind, right.name, right.request)
            others.append(Substitution("other", call, right.response, left))
    return sources._replace(substitutions=others[-_SOUGHT:])


def _of_pair(pair: Pair, pairs: Sequence[Pair], sources: Sources) -> Finding:
    step = pair.left or pair.right
    assert step is not None
    group = {Mark.OUTPUT: "answer", Mark.MOVED: "order"}.get(pair.mark, "request")
    found = _differences(pair, "response" if group == "answer" else "request")
    told = [] if group == "answer" else [told_origin(one, sources) for one in found]
    lines = [_told(one, origin) for one, origin in zip_longest(found[:_TOLD], told[:_TOLD])]
    control, advice = Control.CONTROLLED, ""
    if pair.cause is not None:
        cause = pairs[pair.cause].left or pairs[pair.cause].right
        lines.append("it follows from " + ("another step" if cause is None else f"step {cause.index}, {cause.name}"))
    elif group == "answer":
        lines.append("the same request, answered otherwise: a replay plays back the recorded answer")
    elif group == "order":
        lines.append("it was made by another task or thread, or at another place among its calls")
    elif not told or not all(origin.whole for origin in told):
        control, advice = Control.UNCONTROLLED, UNFOLLOWED
    return Finding(group, f"{step.name} ({_MARKS[pair.mark]})", control, None, 1, f"step {step.index}", True,
                   True, tuple(lines), advice)  # fmt: skip


def _differences(pair: Pair, side: str) -> list[Difference]:
    """What differs on one side: in the answer without what is counted there, or in the request with its address."""
    if pair.left is None or pair.right is None:
        return []
    found = step_differences(pair.left, pair.right)
    if side == "response":
        return [one for one in found if one.path.startswith(side) and not one.path.startswith("response.usage")]
    return [one for one in found if not one.path.startswith("response")]


_MARKS = {
    Mark.OUTPUT: "another answer",
    Mark.INPUT: "another request",
    Mark.BOTH: "another request, another answer",
    Mark.MISSING: "only in the first run",
    Mark.EXTRA: "only in the second run",
    Mark.MOVED: "moved",
}


def _told(difference: Difference, origin: Origin | None) -> str:
    left, right = difference.left, difference.right
    if isinstance(left, str) and isinstance(right, str):
        shown = around(left, right, _SHOWN), around(right, left, _SHOWN)
    else:
        shown = views.text_of(left, _SHOWN), views.text_of(right, _SHOWN)
    return f"{difference.path}: {shown[0]} → {shown[1]}" + (
        f", {origin.sentence}" if origin and origin.sentence else ""
    )


def _of_completions(alignment: Alignment, first: Tape, second: Tape) -> list[Finding]:
    """Whether the answers that both runs got came in the same order."""
    left, right = _ends(first), _ends(second)
    pairs = [(pair.left, pair.right) for pair in alignment.pairs if pair.left is not None and pair.right is not None]
    both = [(a, b) for a, b in pairs if a.id in left and b.id in right]
    as_first: list[tuple[Step, Step]] = sorted(both, key=lambda pair: left[pair[0].id])
    as_second = sorted(both, key=lambda pair: right[pair[1].id])
    if as_first == as_second:
        return []
    at = next(n for n, (a, b) in enumerate(zip(as_first, as_second, strict=True)) if a != b)
    a, b = as_first[at][0], as_second[at][0]
    detail = f"step {a.index}, {a.name}, ended before step {b.index}, {b.name}; in the other run after it"
    return [
        Finding(
            "order",
            "answers that came in another order",
            Control.CONTROLLED,
            varies=True,
            changes=True,
            detail=(detail, "a replay hands them out as recorded"),
        )
    ]


def _ends(tape: Tape) -> dict[str, int]:
    """When each answer was complete: by the order of completions where it is known, else by the clock."""
    known = {point.step: n for n, point in enumerate(tape.points) if point.event is Event.END and point.step}
    if len(known) >= sum(step.response.end is not End.OPEN for step in tape.steps):
        return {step.id: known[step.id] for step in tape.steps if step.id in known}
    return {step.id: step.started_us + step.response.duration_us for step in tape.steps}
