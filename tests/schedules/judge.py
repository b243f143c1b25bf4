"""What is right: compares what a program got in a replay with what it got in the recording, and with the wire.

The judge knows nothing of how replay works. Its witnesses are the program's own log, the provider's list of received
requests, how often the bodies of tools ran, and the two tapes.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any, NamedTuple

from rashomon.canonical import content_digest
from rashomon.model import Call, Grade, Kind, Step, Tape
from tests.schedules.events import Event, Log
from tests.schedules.specs import Spec

STOPS = frozenset({"Missed", "Escaped", "BaseExceptionGroup"})
"""How a leaf ends that a replay refused to answer."""
_ERRORS = re.compile(r"(?:\w+Error )+")
"""What a leaf has got that tries again, and never got an answer."""


class Outcome(NamedTuple):
    """One run of a program: its log, its trace, how it ended, and what its replay reported."""

    log: Log
    tape: Tape
    ended: str
    reports: tuple[str, ...] = ()
    bodies: int = 0
    """How many bodies of tools ran."""


class Finding(NamedTuple):
    """Something that is not as promised: `kind` is a column of the summary."""

    kind: str
    text: str


Requests = Counter[tuple[str, str, str]]


def judge_recording(recorded: Outcome, received: Requests) -> list[Finding]:
    """Every request that reached the provider must be on the tape, with the answer that the program got."""
    found = [Finding("unrecorded", f"{many} of {key}") for key, many in (received - _sent(recorded.tape)).items()]
    found += [Finding("unrecorded", f"loss: {loss}") for loss in recorded.tape.trace.losses]
    found += [
        Finding("unrecorded", f"connection outside any step: {peer}") for peer in recorded.tape.trace.coverage.missed
    ]
    found += [Finding("broken", f"recording: {event}") for event in recorded.log.events if event.error in STOPS]
    return found


def _sent(tape: Tape) -> Requests:
    sent: Requests = Counter()
    for step in tape.steps:
        if step.kind in (Kind.LLM, Kind.HTTP):
            head = step.request.head
            target = "/" + str(head["url"]).split("://", 1)[1].split("/", 1)[1]
            sent[head["method"], target, step.request.body.decode()] += 1
    return sent


def judge_replay(spec: Spec, recorded: Outcome, replayed: Outcome, leaked: Requests, permuted: bool) -> list[Finding]:
    """No wrong answer, nothing reached the provider, no tool ran; an unchanged program must not leave its recording.

    A permuted program may leave it, and say so, if what it asks depends on an order. Equal requests with different
    answers may be handed to each other's callers only in the same lane, or with a report. What happened to a call must
    never be another thing in silence; a sleep, which is no call, may be cancelled elsewhere in a permuted program.
    """
    found = [Finding("leaked", f"{many} of {key}") for key, many in leaked.items()]
    if replayed.bodies:
        found.append(Finding("leaked", f"{replayed.bodies} tool bodies ran"))
    found += _Comparison(spec, recorded, replayed, permuted).findings()
    return found


class _Comparison:
    """Two logs of one program, leaf by leaf."""

    def __init__(self, spec: Spec, recorded: Outcome, replayed: Outcome, permuted: bool) -> None:
        self.spec, self.recorded, self.replayed, self.permuted = spec, recorded, replayed, permuted
        inside = spec.inside_tools()
        self.silent = frozenset(node.name for node in spec.root.walk() if node.kind == "sleep")
        self.before = {event.name: event for event in recorded.log.events if event.name not in inside}
        self.after = {event.name: event for event in replayed.log.events if event.name not in inside}
        self.may_leave = spec.racy or (permuted and (spec.profile != "steady"))
        self.may_swap = permuted or spec.unordered or spec.racy

    def findings(self) -> list[Finding]:
        said = self.replayed.reports or any(event.error in STOPS for event in self.after.values())
        found = [one for name in sorted({*self.before, *self.after}) for one in self._leaf(name)]
        if not said:
            quiet = [one for one in found if one.kind == "left" and not one.text.startswith("sleep")]
            found = [one for one in found if one not in quiet] + [Finding("silent", one.text) for one in quiet]
        if self.may_leave:
            left = [one for one in found if one.kind == "left"]
            return [one for one in found if one.kind != "left" or not said] + [
                Finding("told", one.text) for one in left
            ]
        if self.recorded.ended != self.replayed.ended:
            found.append(Finding("left", f"ended with {self.replayed.ended!r}; recorded {self.recorded.ended!r}"))
        elsewise = [text for text in self.replayed.reports if not (self.may_swap and "ambig" in text)]
        return found + [Finding("left", f"reported: {text[:300]}") for text in elsewise]

    def _leaf(self, name: str) -> list[Finding]:
        before, after = self.before.get(name), self.after.get(name)
        if before == after:
            return []
        if before is not None and after is None and self._has_changed_hands(before):
            return [Finding("ambiguous", f"{name}: nothing; recorded {_short(before)}")]
        if after is None or after.error in STOPS:
            return [Finding("left", f"{name}: {_short(after)}; recorded {_short(before)}")]
        text = f"{name}: got {_short(after)}; recorded {_short(before)}"
        if before is not None and before.asked != after.asked:
            return [] if self._asked_nobody(before, after) else [self._other_way(after, text)]
        if name in self.silent and self.permuted and self.may_leave and judge_said(self.replayed):
            return [Finding("told", text)]
        if self.permuted and before is not None and self._broke_off(before, after):
            return [Finding("late", text)]
        if not after.answer or name in self.silent or (before is not None and _is_part(before, after)):
            return [Finding("left", text)]
        if before is not None and before.answer is None and self._was_sent(after):
            return [Finding("late" if self.permuted else "left", text)]
        if _ERRORS.fullmatch(after.answer):  # no answer of anybody's: its client was closed, say
            return [Finding("left", text)]
        if self.may_swap and self._shared(after.asked):
            return [self._swapped(after, text)]
        return [Finding("wrong", text)]

    def _asked_nobody(self, before: Event, after: Event) -> bool:
        """True for a leaf that could not ask at all, its client being closed: what it would have asked with depends on
        the order of its siblings, and no call went another way."""
        same = before.error == after.error and before.answer is None and after.answer is None
        return (
            self.permuted
            and same
            and not _asking(self.recorded.tape, before.asked)
            and not _asking(self.replayed.tape, after.asked)
        )

    def _broke_off(self, before: Event, after: Event) -> bool:
        """True for a call that was cancelled as its answer broke off, and learns of that now: it has got as much."""
        got = None if after.answer is None or _ERRORS.fullmatch(after.answer) else after.answer
        if before.error != "CancelledError" or after.error is None or before.answer != got:
            return False
        asking = _asking(self.recorded.tape, after.asked)
        return bool(asking) and all(step.response.failure is not None for step in asking)

    def _was_sent(self, after: Event) -> bool:
        """True when the provider gave just this answer to just this request; of a leaf that asks several times, each
        of its answers to one of its requests."""
        answers = [text.encode() for text in _answers_in(str(after.answer))]
        bodies = [step.response.body for step in _asking(self.recorded.tape, after.asked)]
        return bool(bodies) and all(any(answer in body for body in bodies) for answer in answers)

    def _has_changed_hands(self, before: Event) -> bool:
        """True for a leaf that was never begun, as jobs of a pool are that are cancelled, and whose answer went to
        another that asks the same and was begun in its place: their launch order is not the recorded one."""
        same = {node.name for node in self.spec.root.walk() if node.asks == before.asked}
        others = [event for event in self.after.values() if event.name in same and event.name not in self.before]
        return self.permuted and any(event[1:] == before[1:] for event in others)

    def _other_way(self, after: Event, text: str) -> Finding:
        """It asked something else than in the recording: right only if that was asked by somebody, so answered."""
        if after.answer is None or after.answer in self._answers(after.asked):
            return Finding("left", text)
        return Finding("wrong", text)

    def _answers(self, asked: str) -> set[str | None]:
        return {event.answer for event in self.before.values() if event.asked == asked}

    def _shared(self, asked: str) -> bool:
        """Asked by several leaves, of which not all need have been begun in the recording."""
        asking = {node.name for node in self.spec.root.walk() if node.asks == asked}
        return len(asking | {event.name for event in self.recorded.log.events if event.asked == asked}) > 1

    def _swapped(self, after: Event, text: str) -> Finding:
        """An answer of an equal request: it has to be another caller's, and this has to be said or follow the lane."""
        texts = {event.answer for event in self.recorded.log.events if event.asked == after.asked and event.answer}
        known = any(
            str(answer).startswith(str(after.answer)) or str(after.answer).startswith(str(answer)) for answer in texts
        )
        if not known and not self._was_sent(after):  # to a rival, say, whose answer was not what its leaf ended with
            return Finding("wrong", text)
        lanes = {step.id: step.lane for step in self.recorded.tape.steps}
        silent = [step for step in self._asking(after.asked) if not _said(step, lanes)]
        if silent:
            return Finding(
                "wrong", f"{text}; silently, as in step {silent[0].id} {silent[0].match} in lane {silent[0].lane}"
            )
        return Finding("ambiguous", text)

    def _asking(self, asked: str) -> list[Step]:
        """The steps of the replay that ask this, and of which the recording has several equal ones."""
        equals = Counter(_content(step) for step in self.recorded.tape.steps)
        return [step for step in _asking(self.replayed.tape, asked) if equals[_content(step)] > 1]


def _asking(tape: Tape, asked: str) -> list[Step]:
    """The steps whose requests hold this text, in the body or in the address."""
    needle = asked.encode()
    quoted = asked.replace(":", "%3A").replace(" ", "%20").encode()
    return [
        step
        for step in tape.steps
        if needle in step.request.body or quoted in str(step.request.head.get("url", "")).encode()
    ]


def _content(step: Step) -> str:
    return content_digest(Call(step.kind, step.name, step.request))


def _said(step: Step, lanes: dict[str, Any]) -> bool:
    match = step.match
    if match is None or match.recorded is None:
        return True
    return match.grade is not Grade.EXACT or bool(match.detail) or lanes.get(match.recorded) == step.lane


def _is_part(before: Event, after: Event) -> bool:
    """The right answer, of which more or less was read than in the recording, or which was interrupted elsewhere."""
    if before.answer is None or after.answer is None:
        return False
    if before.answer.startswith(after.answer) or after.answer.startswith(before.answer):
        return True
    pieces, rest = _answers_in(after.answer), iter(_answers_in(before.answer))
    return len(pieces) > 0 and all(piece in rest for piece in pieces)  # of several answers some were not asked for


def _answers_in(answer: str) -> list[str]:
    """The answers of which a leaf that asks several times puts its own together: each begins with its number."""
    return [text for text in re.split(r"(?=#\d)", answer) if text]


def _short(event: Event | None) -> str:
    if event is None:
        return "nothing"
    what = (
        event.error if event.answer is None else f"{event.answer[:40]!r}" + (f" {event.error}" if event.error else "")
    )
    return f"{what} to {event.asked[-40:]!r}"


def judge_said(replayed: Outcome) -> list[Finding]:
    """What the trace of an unchanged replay says about its order of completions, if it is not the recording's."""
    said = [source.reason for source in replayed.tape.trace.uncontrolled if source.what == "order"]
    return [Finding("loose", reason) for reason in said]


def judge_order(recorded: Log, replayed: Log) -> list[Finding]:
    """The events of an event loop must come in the recorded order, every one of them."""
    before, after = recorded.order, replayed.order
    if before == after:
        return []
    place = next((n for n, (one, other) in enumerate(zip(before, after, strict=False)) if one != other), None)
    if place is None:
        place = min(len(before), len(after))
    return [
        Finding(
            "order", f"event {place} of {len(before)}: {after[place : place + 3]}; recorded {before[place : place + 3]}"
        )
    ]
