"""The refund agent inside the bundled assistant: which tool next, and what to tell the customer.

It keeps no state: every turn it reads the whole conversation, so that a changed tool result, wherever it
came from, changes what it does next.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from .arguments import EMAIL, conversation_text, date_in, fill, first_fact, order_id_in, region_in
from .model import ModelRequest, Reply, Tool, ToolCall, ToolResult
from .refunds import Decision, amount_text, decide, is_failure, policy_name

TOPIC = re.compile(r"\b(refund|money back|return|reimburse|send (it|them) back|cancel)", re.IGNORECASE)
KINDS = (  # the first that fits a tool's name says what the tool is for
    ("escalate", re.compile(r"escalat|hand_?(off|over)|human|ticket|supervisor")),
    ("policy", re.compile(r"polic")),
    ("refund", re.compile(r"^refund|^reimburse|(issue|create|process|make|grant|give|send|pay)\w*refund")),
    ("email", re.compile(r"mail|notify|send_message")),
    ("order", re.compile(r"order")),
)


def kind_of(name: str) -> str | None:
    """What a tool of that name is for in a refund, None when it has no part in one."""
    return next((kind for kind, pattern in KINDS if pattern.search(name.lower())), None)


@dataclass(frozen=True, slots=True)
class Case:
    """A refund case as far as the conversation tells it."""

    order_id: str
    asked: str
    order: Any = None
    policy: Any = None
    decision: Decision | None = None

    def known(self) -> dict[str, Any]:
        """Values for the arguments of tools, by the names that such arguments have."""
        order_names = dict.fromkeys(("order_id", "order", "order_number", "id"), self.order_id)
        known: dict[str, Any] = {
            **order_names,
            "region": region_in(self.asked) or first_fact(self.order, "region"),
        }
        known["country"] = known["region"]
        email = first_fact(self.order, "email", "customer_email") or _email_in(self.asked)
        known |= dict.fromkeys(("to", "email", "recipient", "address", "customer_email"), email)
        known |= {name: first_fact(self.order, name) for name in ("customer_id", "customer", "currency", "item")}
        known["policy_version"] = first_fact(self.policy, "version", "policy_version")
        if self.decision is not None:
            reason = "; ".join(self.decision.reasons)
            known |= {"amount": self.decision.amount, "currency": self.decision.currency}
            known |= dict.fromkeys(("reason", "note", "summary", "details", "comment"), reason)
            known |= {"subject": f"Your order {self.order_id}", "title": f"Order {self.order_id}"}
            known |= dict.fromkeys(("body", "message", "text", "content"), _outcome(self))
        return known


def _email_in(text: str) -> str | None:
    match = EMAIL.search(text)
    return match.group() if match else None


def support_turn(request: ModelRequest) -> Reply | None:
    """The next turn of a refund case; None when the conversation is about something else."""
    kit = {kind: tool for tool in reversed(request.tools) if (kind := kind_of(tool.name))}
    asked = conversation_text(request)
    if "order" not in kit or not TOPIC.search(asked) or request.tool_choice == "none":
        return None
    order_id = order_id_in(asked)
    if order_id is None:
        return Reply(text="I can help with that. Which order is it about? Please give me the order id, like A-1042.")
    results = _Results(request, order_id)
    order, policy = results.latest("order"), results.latest("policy")
    case = Case(order_id, asked, order and order.json(), policy and policy.json())
    lookups = _lookups(kit, case, order, policy)
    if lookups:
        return _calling(request, lookups)
    failure = results.failure_of(order) or results.failure_of(policy)
    if failure:
        return Reply(text=f"I could not look up order {order_id}: {failure}. Please check the id and tell me again.")
    region = first_fact(case.order, "region", "country")
    if policy is not None and region and policy.arguments.get("region", region) != region:
        again = fill(kit["policy"], case.known() | {"region": region, "country": region}, asked)
        if again and again not in [result.arguments for result in results.of("policy")]:
            return _calling(request, [ToolCall(kit["policy"].name, again)])
    case = Case(order_id, asked, case.order, case.policy, decide(case.order, case.policy, asked, _today(request)))
    action = _action(kit, case, results)
    return _calling(request, [action]) if action else Reply(text=_final_answer(request, case, results))


def _today(request: ModelRequest) -> date | None:
    """The date that the prompt gives as today's; a model has no clock of its own."""
    return date_in(request.system, after="today") or date_in(conversation_text(request), after="today")


def _lookups(
    kit: Mapping[str, Tool], case: Case, order: ToolResult | None, policy: ToolResult | None
) -> list[ToolCall]:
    missing = [kind for kind, result in (("order", order), ("policy", policy)) if kind in kit and result is None]
    calls = []
    for kind in missing:
        arguments = fill(kit[kind], case.known(), case.asked)
        if arguments is not None:
            calls.append(ToolCall(kit[kind].name, arguments))
    return calls


def _action(kit: Mapping[str, Tool], case: Case, results: _Results) -> ToolCall | None:
    """What is still to be done after the decision: pay or escalate, then write."""
    assert case.decision is not None
    refund, escalation = results.latest("refund"), results.latest("escalate")
    action = case.decision.action
    if action == "refund" and results.failure_of(refund):
        action = "escalate"
    if action in ("refund", "escalate") and action in kit and (refund if action == "refund" else escalation) is None:
        arguments = fill(kit[action], case.known(), case.asked)
        if arguments is not None:
            return ToolCall(kit[action].name, arguments)
    if "email" in kit and results.latest("email") is None and case.decision.action != "ask":
        arguments = fill(kit["email"], case.known(), case.asked)
        if arguments is not None:
            return ToolCall(kit["email"].name, arguments)
    return None


def _calling(request: ModelRequest, calls: list[ToolCall]) -> Reply:
    names = " and ".join(call.name for call in calls)
    kept = tuple(calls) if request.parallel_tool_calls else tuple(calls[:1])
    given = "; ".join(f"{call.name} with {call.encoded_arguments()}" for call in kept)
    reasoning = f"To decide on this I need {names}. I call {given}." if request.thinking else ""
    return Reply(tool_calls=kept, reasoning=reasoning)


class _Results:
    """The tool results of one order, by what the tool is for."""

    def __init__(self, request: ModelRequest, order_id: str) -> None:
        self._by_kind: dict[str, list[ToolResult]] = {}
        for result in request.tool_results:
            kind = kind_of(result.name)
            named = [str(result.arguments[name]) for name in ("order_id", "order", "order_number", "id")
                     if name in result.arguments]  # fmt: skip
            about_it = not named or order_id.lstrip("#") in named[0]
            if kind and (about_it or kind == "policy"):
                self._by_kind.setdefault(kind, []).append(result)

    def of(self, kind: str) -> list[ToolResult]:
        return self._by_kind.get(kind, [])

    def latest(self, kind: str) -> ToolResult | None:
        found = self.of(kind)
        return found[-1] if found else None

    @staticmethod
    def failure_of(result: ToolResult | None) -> str | None:
        if result is None:
            return None
        return (is_failure(result.json()) or result.content) if result.is_error else is_failure(result.json())


def _outcome(case: Case) -> str:
    decision = case.decision
    assert decision is not None
    paid = amount_text(decision.amount, decision.currency)
    reasons = "; ".join(decision.reasons)
    policy = policy_name(case.policy) if case.policy is not None else "our rules"
    sentences = {
        "refund": f"The refund for order {case.order_id} is {paid} under {policy}: {reasons}.",
        "refuse": f"Order {case.order_id} cannot be refunded under {policy}: {reasons}.",
        "ask": f"Before I can refund order {case.order_id} under {policy} I need a photo: {reasons}.",
        "escalate": f"Order {case.order_id} goes to a colleague who will decide under {policy}: {reasons}.",
    }
    return sentences[decision.action]


def _final_answer(request: ModelRequest, case: Case, results: _Results) -> str:
    rng = request.rng()
    item = first_fact(case.order, "item", "product", "name", "title")
    opening = rng.choice(
        ("Thank you for waiting.", "I have looked into it.", "Here is what I found.", "Good that you asked.")
    )
    subject = rng.choice(("It is about", "This concerns", "You wrote about")) + f" {item or 'your order'}."
    sentences = [opening, subject, _outcome(case)]
    refund, escalation, email = (results.latest(kind) for kind in ("refund", "escalate", "email"))
    if failure := results.failure_of(refund):
        sentences.append(f"The payment did not go through: {failure}.")
    elif refund is not None:
        number = first_fact(refund.json(), "refund_id", "confirmation", "reference", "id") or refund.content
        sentences.append(rng.choice(("The money is on its way", "It has been paid")) + f", reference {number}.")
    if escalation is not None:
        number = first_fact(escalation.json(), "ticket_id", "ticket", "reference", "id") or escalation.content
        sentences.append(f"A colleague has the case as {number}.")
    if email is not None and not results.failure_of(email):
        sentences.append("You have this in an e-mail as well.")
    sentences.append(
        rng.choice(("Is there anything else?", "Let me know if something is unclear.", "Have a good day."))
    )
    return " ".join(sentences)
