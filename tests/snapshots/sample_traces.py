"""A family of traces made by hand: a refund agent, its replays, and one whose every text is hostile."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rashomon import beside, views
from rashomon.errors import AmbiguousTrace, TraceNotFound
from rashomon.filters import Query, parse
from rashomon.model import (
    Coverage,
    Divergence,
    Failure,
    Grade,
    Kind,
    Lane,
    Loss,
    Match,
    Step,
    Tape,
    Trace,
)
from rashomon.store.filter_steps import StepFilter
from rashomon.tapes import write_tape
from rashomon.tui.model import TraceItem, duration_us, swap_words
from rashomon.tui.notes import NoteItem
from rashomon.tui.source import StoreSource
from tests.steps import asked, http, llm, result, said, tool, user

STARTED_NS = 1_763_632_920_000_000_000  # 2025-11-20 10:02:00 UTC
MINUTE_NS = 60_000_000_000
QUESTION = "I want a refund for order A-1042. It came three weeks ago and the box was damaged."
HOSTILE = (
    "[bold red]no markup[/] [/nope] \x1b[31mred\x1b[0m \u202eevil\u202c \ud800 tab\there "
    "\uff17\u5168\u89d2 e\u0301 \U0001f469\u200d\U0001f680"
)


def placed(steps: Iterable[tuple[Step, Lane, int, int]], withins: dict[int, int] | None = None) -> tuple[Step, ...]:
    """Steps in order, each with its lane, its start and its length in milliseconds."""
    out = []
    for number, (step, lane, start_ms, took_ms) in enumerate(steps):
        inside = (withins or {}).get(number)
        out.append(
            step._replace(
                id=f"0.{number}",
                index=number,
                lane=lane,
                started_us=start_ms * 1000,
                within=None if inside is None else f"0.{inside}",
                response=step.response._replace(duration_us=took_ms * 1000),
            )
        )
    return tuple(out)


def spoken(answer: dict[str, Any], tokens: tuple[int, int]) -> dict[str, Any]:
    """A chat completion with its usage."""
    return {**answer, "usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}}


def refund_steps(version: str, *, refused: bool) -> tuple[Step, ...]:
    """What the agent does when the policy it is given has this version."""
    first = asked({"role": "system", "content": "You are a refund agent.\nFollow the policy."}, user(QUESTION))
    calls = said(
        None,
        ("call_00000001", "get_order", {"order_id": "A-1042"}),
        ("call_00000002", "refund_policy", {"region": "EU"}),
    )
    order = {"id": "A-1042", "total": 120, "status": "delivered"}
    policy = {"version": version, "window_days": 30 if version == "v1" else 14, "damaged": "always refund"}
    second = asked(
        *first["messages"],
        calls["choices"][0]["message"],
        result("call_00000001", order),
        result("call_00000002", policy),
    )
    pay = said(None, ("call_00000003", "issue_refund", {"order_id": "A-1042", "amount": 120}))
    ask = said(None, ("call_00000003", "escalate", {"order_id": "A-1042", "reason": "photo required"}))
    closed = Failure("shop:RefundRejected", "409 the refund window is closed")
    opening: list[tuple[Step, Lane, int, int]] = [
        (llm(spoken(calls, (1100, 138)), first), (), 4, 2389),
        (tool({"order_id": "A-1042"}, order), (0,), 2395, 92),
        (tool({"region": "EU"}, policy, name="refund_policy"), (1,), 2396, 377),
        (
            http(Kind.HTTP, b"", b'{"version": "v1"}', url="https://shop.example/policy/v1")._replace(name="GET"),
            (1,),
            2398,
            371,
        ),
    ]
    if refused:
        rest: list[tuple[Step, Lane, int, int]] = [
            (llm(spoken(pay, (9012, 212)), second), (), 2790, 3044),
            (tool({"order_id": "A-1042", "amount": 120}, name="issue_refund", failure=closed), (), 5840, 450),
            (llm(spoken(said("I am sorry: the refund was rejected."), (9400, 58)), second), (), 6300, 1351),
        ]
    else:
        rest = [
            (llm(spoken(ask, (9001, 187)), second), (), 2790, 2210),
            (tool({"order_id": "A-1042"}, {"ticket": 77}, name="escalate"), (), 5010, 88),
            (llm(spoken(said("I have asked a colleague to look at a photo."), (9400, 41)), second), (), 5100, 998),
        ]
    return placed([*opening, *rest], {3: 2})


def trace(name: str, number: int, **more: Any) -> Trace:
    """A trace that began so many minutes after the first one."""
    started = STARTED_NS + number * MINUTE_NS
    ident = f"{0x7F3C1A2B + number * 0x1111111:08x}{number:018x}"
    facts: dict[str, Any] = {"ended_ns": started + 7_651_000_000, "outcome": "ok", "exit_code": 0, **more}
    return Trace(ident, name, started, **facts)


def recording() -> Tape:
    """The agent refunds under a policy that is out of date, and fails."""
    error = "RefundRejected: 409 the refund window is closed"
    facts = trace("refund-agent", 0, outcome="error", exit_code=1, error=error, tags={"incident": "4412"})
    return Tape(facts, refund_steps("v1", refused=True))


def exact_replay() -> Tape:
    """The recording, played again without a change."""
    steps = tuple(step._replace(match=Match(Grade.EXACT, step.id)) for step in recording().steps)
    facts = trace("refund-agent", 1, parent=recording().trace.id, outcome="error", exit_code=1)
    return Tape(facts, steps)


def stubbed_replay() -> Tape:
    """The policy stubbed with its present version: the agent escalates in place of refunding."""
    told = refund_steps("v2", refused=False)
    grades = [Grade.EXACT, Grade.EXACT, Grade.STUBBED, Grade.LIVE, Grade.LIVE, Grade.LIVE]
    kept = [told[0], told[1], told[2], told[4], told[5], told[6]]
    steps = tuple(
        step._replace(
            id=f"0.{number}",
            index=number,
            match=Match(grade, step.id if grade in (Grade.EXACT, Grade.STUBBED) else None),
        )
        for number, (step, grade) in enumerate(zip(kept, grades, strict=True))
    )
    left = Divergence("changed", "asks for escalate where the recording asked for issue_refund", "0.3", "0.4")
    facts = trace("refund-agent", 2, parent=recording().trace.id, divergences=(left,),
                  swaps=({"stub": "refund_policy=policy.json"}, {"live": "llm"}))  # fmt: skip
    return Tape(facts, steps)


def hostile() -> Tape:
    """Every text that a stranger could choose, chosen badly."""
    steps = placed(
        [
            (llm(said(HOSTILE), asked(user(HOSTILE))), (), 0, 5),
            (tool({"[/]": HOSTILE}, HOSTILE, name="[link=x]tool[/link]"), (), 6, 1),
            (http(Kind.HTTP, b"\xff\x00", b"\x00\x01", url=f"https://x.example/{HOSTILE}"), (), 8, 1),
        ]
    )
    facts = trace(HOSTILE, 9, error=HOSTILE, tags={"[b]": "[/b]"}, coverage=Coverage(3, ("[red]peer:443",)),
                  losses=(Loss("[i]disk full", 2),), outcome="killed", exit_code=-9)  # fmt: skip
    return Tape(facts, steps)


def family() -> list[Tape]:
    """The recording and its replays."""
    return [recording(), exact_replay(), stubbed_replay()]


def item_of(tape: Tape) -> TraceItem:
    """The light facts of a tape, as the store would list it."""
    trace, steps = tape.trace, tape.steps
    said = [views.summary(step) for step in steps if step.kind == Kind.LLM]
    taken, given = sum(one.input_tokens or 0 for one in said), sum(one.output_tokens or 0 for one in said)
    live = any("live" in swap for swap in trace.swaps)
    cost = 0.0 if trace.parent and not live else taken * 2.5e-6 + given * 1e-5
    return TraceItem(
        trace.id,
        trace.name,
        trace.started_ns,
        duration_us(trace),
        trace.outcome,
        trace.exit_code,
        trace.error,
        trace.parent,
        trace.within,
        tuple(sorted(trace.tags.items())),
        swap_words(trace.swaps),
        len(steps),
        sum(step.kind == Kind.LLM for step in steps),
        sum(step.kind == Kind.TOOL for step in steps),
        taken,
        given,
        len(trace.divergences),
        len(trace.coverage.missed),
        len(beside.uncovered(trace)),
        len(trace.losses),
        sum(loss.steps for loss in trace.losses),
        trace.imported,
        cost=cost,
        unpriced=int(live),
    )


class FakeSource:
    """A `TraceSource` over tapes in memory."""

    place = "~/shop/.rashomon"

    def __init__(self, tapes: Iterable[Tape] = (), notes: dict[str, list[NoteItem]] | None = None) -> None:
        self._tapes = {tape.trace.id: tape for tape in tapes}
        self._notes = notes or {}

    def add(self, tape: Tape) -> None:
        """One more, as if it had just been recorded."""
        self._tapes[tape.trace.id] = tape

    def traces(self) -> list[TraceItem]:
        """The light facts of all tapes."""
        items = [item_of(tape) for tape in self._tapes.values()]
        return [item._replace(notes=len(self._notes.get(item.id, ()))) for item in items]

    def tape(self, trace_id: str) -> Tape:
        """A tape by id."""
        return self._tapes[trace_id]

    def notes(self, trace_id: str) -> list[NoteItem]:
        """The notes on a tape."""
        return self._notes.get(trace_id, [])

    def matching(self, query: Query) -> frozenset[str]:
        """The ids of the tapes that a filter means, out of a store made for the question."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "journals").mkdir()
            for tape in self._tapes.values():
                write_tape(Path(folder, "journals", f"{tape.trace.id}.rsj"), tape)
            return StoreSource(Path(folder)).matching(query)

    def chosen(self, tape: Tape, query: Query) -> frozenset[str]:
        """The ids of the steps that a filter means."""
        return frozenset(step.id for step in StepFilter(query, tape.trace, tape.steps).chosen())

    def failing(self, tape: Tape) -> frozenset[str]:
        """The ids of the steps that failed."""
        return self.chosen(tape, parse("step.status:err"))

    def resolve(self, reference: str) -> str:
        """An id by its beginning."""
        found = [trace_id for trace_id in self._tapes if trace_id.startswith(reference)]
        if not found:
            raise TraceNotFound(f"No trace answers to {reference}.", "rashomon ls lists them.")
        if len(found) > 1:
            raise AmbiguousTrace(f"{len(found)} traces begin with {reference}.", "Write more of the id.")
        return found[0]
