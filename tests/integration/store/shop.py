"""A week of a shop's support agent, recorded for real, with things gone wrong in known places.

The agent is an ordinary program on the openai and anthropic SDKs, the provider a real server on loopback; its traces
are recorded, and then set to the days and lengths that the questions of `docs/questions.md` ask about.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import anthropic
import openai

import rashomon
from rashomon import notes, session
from rashomon.model import Kind, Step, Tape
from rashomon.tape_file import write_tape
from rashomon.testing import Fault, ModelRequest, ProviderServer, Reply, ToolCall, Usage
from tests.support import tapes_of

MONDAY = 1_788_134_400_000_000_000
"""2026-08-31 00:00 UTC, in Unix nanoseconds."""

DAY = 86_400_000_000_000
CAREFUL = "You are the shop's assistant. Refund only what the policy allows."
GENEROUS = "You are the shop's assistant. Keep customers happy: refund when they ask."
PRICES = """
[prices."shop-small"]
input = 1.0
cached = 0.5
output = 10.0

[prices."shop-large"]
input = 10.0
output = 100.0
"""


class Run(NamedTuple):
    """One run of the agent: its trace's name, day, prompt, what the customer says, and more."""

    id: str
    day: int
    prompt: str
    says: str
    customer: str = "acme"
    model: str = "shop-small"
    duration_ms: int = 100
    """How long each LLM call takes, once it is set."""


RUNS = (
    Run("mon-1", 0, CAREFUL, "Please refund order A-1."),
    Run("mon-2", 0, CAREFUL, "Where is order A-2?", "globex", duration_ms=200),
    Run("mon-3", 0, CAREFUL, "Where is order A-3?", model="shop-large", duration_ms=900),
    Run("tue-1", 1, CAREFUL, "Where is order A-404?", "globex"),
    Run("tue-2", 1, CAREFUL, "Refund by text, please."),
    Run("tue-3", 1, CAREFUL, "What is your name?", model="mystery"),
    Run("wed-1", 2, CAREFUL, "Hello, hello, hello!"),
    Run("wed-2", 2, CAREFUL, "Say something rude."),
    Run("wed-3", 2, CAREFUL, "Tell me a long story.", "globex"),
    Run("thu-1", 3, GENEROUS, "Please refund order A-1."),
    Run("thu-2", 3, GENEROUS, "Please refund order A-2.", "globex"),
    Run("thu-3", 3, GENEROUS, "Please refund order A-3.", duration_ms=9000),
    Run("fri-1", 4, GENEROUS, "Find my parcel.", "globex"),
    Run("fri-2", 4, GENEROUS, "Call the warehouse."),
    Run("fri-3", 4, GENEROUS, "Explode."),
)

FIND = ToolCall("search_orders", {"text": "parcel"})


def _refund(order: str, amount: Any = 12.5) -> list[Reply]:
    asked = ToolCall("issue_refund", {"order_id": order, "amount": amount})
    return [Reply(tool_calls=(ToolCall("get_order", {"order_id": order}),)), Reply(tool_calls=(asked,)), Reply("Done.")]


def _look(order: str) -> list[Reply]:
    return [Reply(tool_calls=(ToolCall("get_order", {"order_id": order}),)), Reply("It is on its way.")]


SCRIPTS: dict[str, list[Reply]] = {
    **{f"Please refund order A-{number}.": _refund(f"A-{number}") for number in (1, 2, 3)},
    **{f"Where is order A-{number}?": _look(f"A-{number}") for number in (2, 3, 404)},
    "Refund by text, please.": _refund("A-7", "12.50 EUR"),
    "What is your name?": [Reply("I have none.")],
    "Hello, hello, hello!": [Reply("Hello.")],
    "Say something rude.": [Reply("I would rather not.", finish_reason="refusal")],
    "Tell me a long story.": [Reply("Once upon a time there", finish_reason="length")],
    "Find my parcel.": [*[Reply(tool_calls=(FIND,))] * 7, Reply("I cannot find it.")],
    "Call the warehouse.": [Reply(tool_calls=(ToolCall("call_warehouse", {"number": "7"}),)), Reply("Nobody answers.")],
    "Explode.": [Reply("Bang.")],
}
USAGE = {"shop-small": Usage(1000, 20, cached_tokens=400), "shop-large": Usage(1000, 20), "mystery": Usage(50, 5)}


def shop_model(request: ModelRequest) -> Reply:
    """The provider's model: it follows the script of what the customer says."""
    turn = sum(message.role == "assistant" for message in request.messages)
    reply = SCRIPTS[request.last_user_text][turn]
    return Reply(reply.text, reply.tool_calls, finish_reason=reply.finish_reason, usage=USAGE[request.model])


# ------------------------------------------------------------------------------------------ the agent


@rashomon.tool
def get_order(order_id: str) -> dict[str, Any]:
    """Look up an order."""
    if order_id == "A-404":
        raise LookupError(f"no order {order_id}")
    return {"order_id": order_id, "status": "shipped", "price": 12.5}


@rashomon.tool
def issue_refund(order_id: str, amount: float, reason: str = "") -> dict[str, Any]:
    """Pay money back."""
    if not isinstance(amount, float):
        raise TypeError("amount must be a number")
    return {"refunded": amount}


@rashomon.tool
def search_orders(text: str) -> list[str]:
    """Find orders."""
    return []


TOOLS: dict[str, Callable[..., Any]] = {
    "get_order": get_order,
    "issue_refund": issue_refund,
    "search_orders": search_orders,
}
_ORDER = {"order_id": {"type": "string", "description": "The order's id, such as A-1042, as printed on its bill."}}


def schemas(day: int) -> dict[str, dict[str, Any]]:
    """The tools' schemas as the agent of that day sends them: from Thursday on, a refund may have a reason."""
    refund = {**_ORDER, "amount": {"type": "number", "minimum": 0}}
    if day >= 3:
        refund["reason"] = {"type": "string"}
    return {
        "get_order": {"type": "object", "properties": _ORDER, "required": ["order_id"]},
        "issue_refund": {"type": "object", "properties": refund, "required": ["order_id", "amount"]},
        "search_orders": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    }


def _execute(name: str, arguments: dict[str, Any]) -> str:
    if name not in TOOLS:
        return json.dumps({"error": f"there is no tool {name}"})
    try:
        return json.dumps(TOOLS[name](**arguments))
    except Exception as error:  # what an agent tells its model
        return json.dumps({"error": str(error)})


def support(client: openai.OpenAI, run: Run) -> None:
    """The agent: it asks the model, and executes the tools that the model asks for, until there is a text."""
    offered: list[Any] = [
        {"type": "function", "function": {"name": name, "description": str(TOOLS[name].__doc__), "parameters": schema}}
        for name, schema in schemas(run.day).items()
    ]
    messages: list[Any] = [{"role": "system", "content": run.prompt}, {"role": "user", "content": run.says}]
    while True:
        answer = client.chat.completions.create(model=run.model, messages=messages, tools=offered)
        message = answer.choices[0].message
        messages.append(message.model_dump(exclude_none=True))
        for call in message.tool_calls or ():
            assert call.type == "function"
            result = _execute(call.function.name, json.loads(call.function.arguments))
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})
        if not message.tool_calls:
            break
    if run.says.startswith("Hello"):  # it does not notice that it asks the same again and again
        for _ in range(2):
            client.chat.completions.create(model=run.model, messages=messages[:2], tools=offered)
    rashomon.note("answered", labels=["done"], turns=len(messages))


def summarise(client: anthropic.Anthropic, text: str) -> None:
    """Another agent, of another provider."""
    client.messages.create(
        model="shop-large", max_tokens=50, system="Summarise.", messages=[{"role": "user", "content": text}]
    )


# ------------------------------------------------------------------------------------------ recording


def record(home: Path, scratch: Path) -> Path:
    """Fill a home with the week's recordings; the home. `scratch` is the one that is recorded to."""
    (home / "journals").mkdir(parents=True)
    (home / "config.toml").write_text(PRICES)
    faults = [Fault.status(429, retry_after=0.01, times=2)]
    with ProviderServer(shop_model, seed=7, faults=faults) as server:
        client = openai.OpenAI(base_url=server.openai_url, api_key="sk-test", max_retries=2)
        _record_runs(client, server)
        with rashomon.trace("summary", tags={"customer": "acme"}):
            summarise(anthropic.Anthropic(base_url=server.anthropic_url, api_key="k"), "Hello, hello, hello!")
        recorded = tapes_of(scratch)
        made = [_placed(tape, *_place(tape)) for tape in recorded]
        for tape in made:
            write_tape(home / "journals" / f"{tape.trace.id}.rsj", tape)
        for tape in _replayed(client, scratch, {tape.trace.id: tape for tape in made}):
            write_tape(home / "journals" / f"{tape.trace.id}.rsj", tape)
    notes.write(home, notes.Note("n1", "thu-1", None, MONDAY + 5 * DAY, "ann", "nobody asked why", ("root-cause",)))
    return home


def _record_runs(client: openai.OpenAI, server: ProviderServer) -> None:
    for run in RUNS:
        with (
            contextlib.suppress(ZeroDivisionError),
            rashomon.trace("support", tags={"customer": run.customer, "run": run.id}),
        ):
            support(client, run)
            if run.id == "fri-2":  # past everything that is recorded
                socket.create_connection(("127.0.0.1", server.port)).close()
            if run.says == "Explode.":
                raise ZeroDivisionError("division by zero")


def _place(tape: Tape) -> tuple[str, int, int]:
    """Id, day and length of each call in microseconds that a trace gets."""
    run = next((run for run in RUNS if run.id == tape.trace.tags.get("run")), None)
    return (run.id, run.day, run.duration_ms * 1000) if run else (tape.trace.name, 2, 300_000)


def _placed(tape: Tape, name: str, day: int, duration_us: int) -> Tape:
    """The trace as if it had been recorded on that day."""

    def lasting(step: Step) -> Step:
        step = step._replace(id=ids[step.id])
        if step.kind != Kind.LLM:
            return step
        pieces = tuple(piece._replace(offset_us=duration_us // 2) for piece in step.response.pieces)
        return step._replace(response=step.response._replace(pieces=pieces, duration_us=duration_us))

    ids = {step.id: f"0.{number}" for number, step in enumerate(tape.steps)}
    started = MONDAY + day * DAY + 36_000_000_000_000 + sum(map(ord, name)) * 1_000_000_000
    length = (tape.trace.ended_ns or 0) - tape.trace.started_ns
    tags = {key: value for key, value in tape.trace.tags.items() if key != "run"}
    left = tuple(one._replace(step=ids.get(one.step or "")) for one in tape.trace.divergences)
    trace = tape.trace._replace(id=name, started_ns=started, ended_ns=started + length, tags=tags, divergences=left)
    points = tuple(point._replace(step=ids.get(point.step or "")) for point in tape.points)
    return tape._replace(trace=trace, steps=tuple(map(lasting, tape.steps)), points=points)


def _replayed(client: openai.OpenAI, scratch: Path, tapes: dict[str, Tape]) -> Iterator[Tape]:
    """Replays of two traces on Saturday: one holds, the other asks for another order than its recording did."""
    known = {tape.trace.id for tape in tapes_of(scratch)}
    with rashomon.replay(tapes["mon-1"]):
        support(client, RUNS[0])
    with contextlib.suppress(rashomon.Missed), rashomon.replay(tapes["mon-2"]):
        support(client, RUNS[1]._replace(says="Where is order A-3?"))
    session.close_journal()
    names = {"mon-1": "replay-held", "mon-2": "replay-left"}
    for tape in tapes_of(scratch):
        if tape.trace.id not in known:
            yield _placed(tape, names[str(tape.trace.parent)], 5, 0)
