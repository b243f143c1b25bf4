"""A filter against steps in memory: what is shown of one trace, and what is followed while it is recorded.

It means the same as `rashomon.store.filtering` in a list of steps; a test holds both together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from rashomon import views
from rashomon.canonical import header
from rashomon.filter_fields import moment_ns
from rashomon.filters import Form, Op, Query, Term, Value
from rashomon.model import End, Kind, Step, Trace
from rashomon.store import bodies
from rashomon.store import filter_columns as columns
from rashomon.store.filter_bodies import finder
from rashomon.store.filter_columns import lane_text
from rashomon.store.filter_judge import Content
from rashomon.store.filter_paths import path_matches
from rashomon.store.filter_text import test
from rashomon.views import Summary

if TYPE_CHECKING:
    from rashomon.store.reading import TraceStore


class Note(NamedTuple):
    """A note that somebody wrote on a trace or a step."""

    text: str
    labels: tuple[str, ...] = ()


def own_notes(step: Step, summary: Summary | None = None) -> list[Note]:
    """What the program said about itself in a step: the view `notes` has it too."""
    if step.kind != Kind.NOTE:
        return []
    said = step.request.head.get("note")
    said = said if isinstance(said, dict) else {}
    text, labels = said.get("text"), said.get("labels")
    if not isinstance(text, str):
        text = (summary or views.summary(step)).title
    return [Note(text, tuple(map(str, labels)) if isinstance(labels, list) else ())]


class Beside(NamedTuple):
    """What is known of a trace's steps beside themselves: prices and notes by the step's id (None: the trace)."""

    costs: Mapping[str, float] = {}
    notes: Mapping[str | None, Sequence[Note]] = {}


class StepFilter:
    """A filter for the steps of one trace. `steps` are all that are known of it, for terms about the trace."""

    def __init__(
        self,
        query: Query,
        trace: Trace,
        steps: Sequence[Step] = (),
        beside: Beside | None = None,
        now_ns: int | None = None,
    ) -> None:
        columns.check(query, "step")
        self.query, self.trace, self.steps, self.beside = query, trace, steps, beside or Beside()
        self._now_ns = time.time_ns() if now_ns is None else now_ns

    def matches(self, step: Step, summary: Summary | None = None) -> bool:
        """Whether a step satisfies all terms."""
        seen = _Seen(step, self, summary)
        return all(self._term(term, seen) != term.negated for term in self.query.terms)

    def chosen(self) -> list[Step]:
        """The steps that match."""
        return [step for step in self.steps if self.matches(step)]

    def _term(self, term: Term, seen: _Seen) -> bool:
        if term.field == "$":
            return path_matches(term, views.step_view(seen.step))
        if columns.about(term, "step") == "trace":
            return _about_trace(term, self.facts, self._now_ns)
        if not columns.is_light(term):
            return _in_bodies(term, seen)
        return _about_step(term, seen)

    @cached_property
    def facts(self) -> _Facts:
        """The trace, and what its steps add up to."""
        return _Facts(self.trace, self.steps, self.beside)


class _Seen:
    """A step while terms look at it: its summary is made when one needs it."""

    def __init__(self, step: Step, of: StepFilter, summary: Summary | None) -> None:
        self.step, self.of = step, of
        self._summary = summary

    @property
    def said(self) -> Summary:
        if self._summary is None:
            self._summary = views.summary(self.step)
        return self._summary

    @property
    def notes(self) -> Sequence[Note]:
        return [*self.of.beside.notes.get(self.step.id, ()), *own_notes(self.step, self._summary)]

    @property
    def divergences(self) -> list[str]:
        return [one.kind for one in self.of.trace.divergences if one.step == self.step.id]

    def errors(self) -> list[str | None]:
        failure, said = self.step.response.failure, self.said
        told = [failure.type, failure.message] if failure else []
        return [*told, said.error_type, said.error_message]


def went_wrong(seen: _Seen) -> bool:
    """As `filter_columns.ERR`."""
    response = seen.step.response
    status = (response.head or {}).get("status")
    if response.failure is not None or response.end is End.ERROR or (isinstance(status, int) and status >= 400):
        return True
    told = seen.said.error_type is not None or seen.said.error_message is not None
    return told and seen.step.kind in (Kind.LLM, Kind.MCP)


# ----------------------------------------------------------------------------------------------- steps


def _about_step(term: Term, seen: _Seen) -> bool:
    name = term.field
    if name in _TEXTS:
        holds = test(term.op, term.values)
        return any(text is not None and holds(text) for text in _TEXTS[name](seen))
    if name in _NUMBERS:
        return _number(term, _NUMBERS[name](seen))
    return any(_OTHERS[name](term, value, seen) for value in term.values)


def _number(term: Term, found: float | None) -> bool:
    return found is not None and any(_one_number(term.op, value, found) for value in term.values)


def _one_number(op: Op, value: Value, found: float) -> bool:
    low, high = value.low, value.high
    if op in (Op.HAS, Op.EQUAL):
        return (low is None or found >= low) and (high is None or found <= high)
    assert low is not None  # the parser compares with a number only
    if op is Op.GREATER:
        return found > low
    if op is Op.AT_LEAST:
        return found >= low
    return found < low if op is Op.LESS else found <= low


def _tokens(seen: _Seen) -> int | None:
    read, wrote = seen.said.input_tokens, seen.said.output_tokens
    return None if read is None and wrote is None else (read or 0) + (wrote or 0)


_TEXTS: dict[str, Callable[[_Seen], Sequence[str | None]]] = {
    "dialect": lambda seen: [seen.said.dialect],
    "finish": lambda seen: [seen.said.finish],
    "title": lambda seen: [seen.said.title],
    "said": lambda seen: [seen.said.text or None],
    "name": lambda seen: [seen.step.name],
    "tool": lambda seen: [seen.step.name] if seen.step.kind in (Kind.TOOL, Kind.MCP) else [],
    "model": lambda seen: [seen.said.model],
    "error": lambda seen: seen.errors(),
    "note": lambda seen: [note.text for note in seen.notes],
    "label": lambda seen: [label for note in seen.notes for label in note.labels],
    "div": lambda seen: seen.divergences,
}
_NUMBERS: dict[str, Callable[[_Seen], float | None]] = {
    "cached": lambda seen: seen.said.cached_tokens,
    "reasoning": lambda seen: seen.said.reasoning_tokens,
    "size": lambda seen: len(seen.step.request.body) + len(seen.step.response.body),
    "cost": lambda seen: seen.of.beside.costs.get(seen.step.id),
    "ms": lambda seen: None if seen.step.response.end is End.OPEN else seen.step.response.duration_us,
    "tok": _tokens,
    "in": lambda seen: seen.said.input_tokens,
    "out": lambda seen: seen.said.output_tokens,
}


def _step_number(term: Term, value: Value, seen: _Seen) -> bool:
    if value.form is Form.WORD:
        return seen.step.id == value.text
    return _one_number(term.op, value, seen.step.index)


def _lane(term: Term, value: Value, seen: _Seen) -> bool:
    plain = term.op is Op.HAS and value.form is not Form.GLOB
    return test(Op.EQUAL if plain else term.op, (lane_text(value),))(".".join(map(str, seen.step.lane)))


def _status(term: Term, value: Value, seen: _Seen) -> bool:
    if value.form is not Form.WORD:
        status = seen.said.status
        return status is not None and _one_number(term.op, value, status)
    running = seen.step.response.end is End.OPEN
    if value.text == "open":
        return running
    return went_wrong(seen) if value.text == "err" else not running and not went_wrong(seen)


def _has(term: Term, value: Value, seen: _Seen) -> bool:
    step, said = seen.step, seen.said
    told: dict[str, object] = {
        "note": any(note.text for note in seen.notes),
        "label": any(note.labels for note in seen.notes),
        "error": value.text == "error" and went_wrong(seen),  # which may have to read the answer
        "div": seen.divergences,
        "cost": step.id in seen.of.beside.costs,
        "tokens": _tokens(seen) is not None,
        "model": said.model is not None,
        "reasoning": said.reasoning or said.reasoning_tokens,
        "refusal": said.refusal is not None,
        "calls": said.calls,
        "stream": len(step.response.pieces) > 1,
        "marks": step.marks,
        "parent": step.within is not None,
    }
    return bool(told[value.text])


_OTHERS: dict[str, Callable[[Term, Value, _Seen], bool]] = {
    "kind": lambda term, value, seen: seen.step.kind == value.text,
    "end": lambda term, value, seen: seen.step.response.end == value.text,
    "grade": lambda term, value, seen: seen.step.match is not None and seen.step.match.grade == value.text,
    "step": _step_number,
    "lane": _lane,
    "status": _status,
    "has": _has,
}


# ---------------------------------------------------------------------------------------------- bodies


def _in_bodies(term: Term, seen: _Seen) -> bool:
    side = term.field if term.field in ("request", "response") else ""
    finds = finder(term.op, term.values)
    for content, decoded in pieces(seen.step, seen.said, side):
        if finds.said(content) if decoded and isinstance(content, str) else finds.sent(content):
            return True
    return term.field == "text" and (finds.said(seen.step.name) or finds.said(seen.said.title))


def pieces(step: Step, said: Summary, side: str = "") -> Iterator[tuple[Content, bool]]:
    """The contents that are searched of a step, each by itself, and whether it is a text that was decoded.

    The frame of the request, its parts, the answer as it came, and what is decoded of the answer.
    """
    if side != "response":
        split = bodies.split(step.request.body)
        for content in (split.frame, *(part.content for part in split.parts)):
            yield _text(content), False
    if side == "request":
        return
    if step.response.pieces:
        yield _text(step.response.body), False
    failure = step.response.failure
    told = (said.text, said.reasoning, said.refusal, failure.message if failure else None, said.error_message)
    for text in filter(None, told):
        yield text, True
    for call in said.calls:
        yield call.name, True
        yield _json(call.arguments), False
    head = step.response.head
    raw = step.kind == Kind.LLM and (said.decoded or "raw") == "raw"
    if head is not None and (raw or step.kind in (Kind.HTTP, Kind.MCP)) and header(head, "content-encoding"):
        yield views.decoded(header(head, "content-encoding"), step.response.body).decode("utf-8", "replace"), False


def _text(content: bytes) -> Content:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))


# ---------------------------------------------------------------------------------------------- traces


class _Facts:
    """A trace, and what its steps add up to, each when it is asked for."""

    def __init__(self, trace: Trace, steps: Sequence[Step], beside: Beside) -> None:
        self.trace, self.steps, self.beside = trace, steps, beside

    @cached_property
    def said(self) -> list[Summary]:
        return [views.summary(step) for step in self.steps if step.kind == Kind.LLM]

    def read(self) -> int:
        return sum(one.input_tokens or 0 for one in self.said)

    def wrote(self) -> int:
        return sum(one.output_tokens or 0 for one in self.said)

    def cost(self) -> float | None:
        return sum(self.beside.costs.values()) if self.beside.costs else None

    def took(self) -> int | None:
        trace = self.trace
        return None if trace.ended_ns is None else (trace.ended_ns - trace.started_ns) // 1000

    def failures(self) -> int:
        status = [(step.response.head or {}).get("status") for step in self.steps]
        bad = [isinstance(one, int) and one >= 400 for one in status]
        return sum(step.response.failure is not None or one for step, one in zip(self.steps, bad, strict=True))

    def models(self) -> list[str]:
        return sorted({one.model for one in self.said if one.model})

    def notes(self) -> list[Note]:
        written = [note for notes in self.beside.notes.values() for note in notes]
        return [*written, *(note for step in self.steps for note in own_notes(step))]


def _about_trace(term: Term, facts: _Facts, now_ns: int) -> bool:
    trace, name = facts.trace, term.field
    if name in _TRACE_NUMBERS:
        return _number(term, _TRACE_NUMBERS[name](facts))
    if name in _TRACE_TEXTS:
        holds = test(term.op, term.values)
        return any(text is not None and holds(text) for text in _TRACE_TEXTS[name](facts))
    if name == "since":
        return any(trace.started_ns >= moment_ns(value.text, now_ns) for value in term.values)
    if name == "until":
        return any(trace.started_ns < moment_ns(value.text, now_ns) for value in term.values)
    return any(_TRACE_OTHERS[name](term, value, facts) for value in term.values)


_TRACE_NUMBERS: dict[str, Callable[[_Facts], float | None]] = {
    "ms": _Facts.took,
    "tok": lambda facts: facts.read() + facts.wrote(),
    "in": _Facts.read,
    "out": _Facts.wrote,
    "steps": lambda facts: len(facts.steps),
    "cost": _Facts.cost,
    "failures": _Facts.failures,
}
_TRACE_TEXTS: dict[str, Callable[[_Facts], Sequence[str | None]]] = {
    "name": lambda facts: [facts.trace.name],
    "error": lambda facts: [facts.trace.error],
    "model": lambda facts: facts.models(),
    "note": lambda facts: [note.text for note in facts.notes()],
    "label": lambda facts: [label for note in facts.notes() for label in note.labels],
    "div": lambda facts: [one.kind for one in facts.trace.divergences],
}


def _trace_status(term: Term, value: Value, facts: _Facts) -> bool:
    outcomes = {"err": ("error", "killed"), "open": ("open",), "ok": ("ok",)}
    return facts.trace.outcome in outcomes[value.text]


def _trace_id(term: Term, value: Value, facts: _Facts) -> bool:
    if term.op is Op.HAS and value.form is Form.TEXT:
        return facts.trace.id.startswith(value.text)
    return test(term.op, (value,))(facts.trace.id)


def _tag(term: Term, value: Value, facts: _Facts) -> bool:
    key, equals, wanted = value.text.partition("=")
    found = facts.trace.tags.get(key)
    if found is None or not equals:
        return found is not None
    return test(Op.HAS, (Value(Form.GLOB, wanted),))(found) if value.form is Form.GLOB else found == wanted


def _trace_has(term: Term, value: Value, facts: _Facts) -> bool:
    trace = facts.trace
    told: dict[str, object] = {
        "note": any(note.text for note in facts.notes()),
        "label": any(note.labels for note in facts.notes()),
        "error": trace.error is not None or trace.outcome in ("error", "killed"),
        "div": trace.divergences,
        "cost": facts.cost() is not None,
        "tokens": facts.read() + facts.wrote(),
        "model": facts.models(),
        "loss": trace.losses,
        "parent": trace.parent is not None,
        "swap": trace.swaps,
        "tag": trace.tags,
    }
    return bool(told[value.text])


_TRACE_OTHERS: dict[str, Callable[[Term, Value, _Facts], bool]] = {
    "outcome": lambda term, value, facts: facts.trace.outcome == value.text,
    "status": _trace_status,
    "trace": _trace_id,
    "tag": _tag,
    "has": _trace_has,
}


def beside(store: TraceStore, trace_id: str) -> Beside:
    """What the store knows of a tape's steps beside themselves: prices, and notes on the trace and on its steps."""
    rows = store.step_rows(trace_id)
    family = list(dict.fromkeys(row.trace for row in rows))
    ids = {(row.trace, row.position): row.id for row in rows}
    costs = {ids[trace, position]: cost for trace, position, cost in store.costs_of(family) if (trace, position) in ids}
    notes: dict[str | None, list[Note]] = {}
    for step, text, labels in store.notes_on(trace_id):
        notes.setdefault(step, []).append(Note(text, tuple(labels)))
    return Beside(costs, notes)
