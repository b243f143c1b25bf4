"""The bundled assistant: it reads what tools returned and decides on it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from openai import OpenAI

from rashomon.testing import ProviderServer


def tool(name: str, description: str = "", **properties: str) -> dict[str, Any]:
    """A chat tool whose arguments are all required; the values are JSON types."""
    parameters = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
    }
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


TOOLS = [
    tool("get_order", "Look up an order", order_id="string"),
    tool("get_refund_policy", "The refund rules of a region", region="string"),
    tool("issue_refund", "Pay money back", order_id="string", amount="number", reason="string"),
    tool("escalate", "Hand over to a person", order_id="string", summary="string"),
]
ORDER = {"item": "Kettle", "status": "delivered", "price": 89.9, "currency": "EUR", "delivered": "2026-03-01"}
POLICY = {"version": "2026-01", "region": "EU", "window_days": 30, "max_amount": 200}


class Run:
    """One conversation with the agent loop of a user: calls, and the final answer."""

    def __init__(self, asked: str, results: dict[str, Any], tools: list[Any] | None = None, **options: Any) -> None:
        self.turns: list[list[tuple[str, dict[str, Any]]]] = []
        offered: Any = tools or TOOLS
        messages: list[Any] = [
            {"role": "system", "content": "You are a support agent. Today is 2026-03-11."},
            {"role": "user", "content": asked},
        ]
        with (
            ProviderServer(seed=1) as server,
            OpenAI(base_url=server.openai_url, api_key="sk-test") as client,
        ):
            while True:
                completion = client.chat.completions.create(
                    model="gpt-4.1", messages=messages, tools=offered, **options
                )
                message = completion.choices[0].message
                if not message.tool_calls:
                    self.answer = message.content or ""
                    return
                messages.append(message)
                made = [(call.function.name, json.loads(call.function.arguments), call.id)
                        for call in message.tool_calls if call.type == "function"]  # fmt: skip
                self.turns.append([(name, arguments) for name, arguments, _ in made])
                for name, arguments, call_id in made:
                    result = results[name]
                    content = result(arguments) if callable(result) else result
                    messages.append({"role": "tool", "tool_call_id": call_id, "content": json.dumps(content)})


def refund(order: dict[str, Any], policy: dict[str, Any], asked: str = "Refund order A-1042, I am in the EU.") -> Run:
    """A refund case with these facts."""
    paid = {"refund_id": "R-77", "ok": True}
    results = {
        "get_order": order,
        "get_refund_policy": policy,
        "issue_refund": paid,
        "escalate": {"ticket": "T-9"},
    }
    return Run(asked, results)


def test_a_refund_is_looked_up_in_parallel_decided_and_paid() -> None:
    """Order and policy are fetched in one turn, then the refund is paid and the answer quotes the facts."""
    run = refund(ORDER, POLICY)
    assert run.turns[0] == [("get_order", {"order_id": "A-1042"}), ("get_refund_policy", {"region": "EU"})]
    ((name, arguments),) = run.turns[1]
    assert name == "issue_refund"
    assert arguments["order_id"] == "A-1042"
    assert arguments["amount"] == 89.9
    for fact in ("A-1042", "EUR 89.90", "policy 2026-01", "10 days", "R-77", "Kettle"):
        assert fact in run.answer


@pytest.mark.parametrize(
    ("order", "policy", "called", "told"),
    [
        ({}, {"window_days": 7}, None, "10 days have passed (delivered 2026-03-01) and the window is 7 days"),
        ({"status": "refunded"}, {}, None, "already refunded"),
        ({"status": "in_transit"}, {}, None, "still in transit"),
        ({"final_sale": True}, {}, None, "final sale"),
        ({}, {"requires_photo": True}, None, "photo"),
        ({}, {"max_amount": 50}, "escalate", "T-9"),
        ({}, {"restocking_fee_percent": 10}, "issue_refund", "EUR 80.91"),
        ({"price": 12.5}, {"version": "v9"}, "issue_refund", "EUR 12.50 under policy v9"),
    ],
)
def test_a_changed_fact_changes_the_decision(
    order: dict[str, Any], policy: dict[str, Any], called: str | None, told: str
) -> None:
    """One field of a tool's result decides whether and how much is paid, or who takes over."""
    run = refund(ORDER | order, POLICY | policy)
    assert [name for name, _ in itertools.chain(*run.turns[1:])] == ([called] if called else [])
    assert told in run.answer


def test_a_damaged_item_costs_no_restocking_fee_and_a_photo_opens_the_way() -> None:
    """What the customer says counts as well as what the tools say."""
    policy = POLICY | {"restocking_fee_percent": 10, "requires_photo": True}
    run = refund(ORDER, policy, "Please refund order A-1042 (EU): it arrived broken, photo attached.")
    assert run.turns[1][0][1]["amount"] == 89.9


def test_the_policy_is_asked_again_for_the_order_s_region() -> None:
    """An order of another region than the customer named sends the assistant back for that region's rules."""
    results = {
        "get_order": ORDER | {"region": "UK"},
        "get_refund_policy": lambda arguments: POLICY | {"version": arguments["region"] + "-3"},
        "issue_refund": {"refund_id": "R-1"},
    }
    run = Run("Refund order A-1042, I am in the EU.", results)
    assert run.turns[1] == [("get_refund_policy", {"region": "UK"})]
    assert "policy UK-3" in run.answer


def test_a_refund_that_fails_is_escalated() -> None:
    """A tool's error leads to another action, and the answer tells both."""
    results = {"get_order": ORDER, "get_refund_policy": POLICY, "issue_refund": {"error": "card expired"}}
    run = Run("Refund order A-1042 in the EU", results | {"escalate": {"ticket": "T-5"}})
    assert [name for turn in run.turns for name, _ in turn][2:] == ["issue_refund", "escalate"]
    assert "card expired" in run.answer
    assert "T-5" in run.answer


def test_missing_or_unknown_orders_are_asked_about() -> None:
    """Without an order id the assistant asks for it; an order that is not found is said so."""
    assert "order id" in Run("I want a refund.", {}).answer
    unknown = Run("Refund AB-12", {"get_order": {"error": "no such order"}}, [TOOLS[0]])
    assert "I could not look up order AB-12: no such order." in unknown.answer


def test_an_email_is_sent_at_the_end_when_there_is_a_tool_for_it() -> None:
    """The e-mail goes to the order's address and says what was decided."""
    send = tool("send_email", "Write to a customer", to="string", subject="string", body="string")
    results = {"get_order": ORDER | {"email": "kim@example.com"}, "issue_refund": {"id": "R-3"}}
    run = Run("refund of A-1042 please", results | {"send_email": {"sent": True}}, [TOOLS[0], TOOLS[2], send])
    ((name, arguments),) = run.turns[-1]
    assert name == "send_email"
    assert arguments["to"] == "kim@example.com"
    assert "EUR 89.90" in arguments["body"]


def test_one_call_a_turn_when_parallel_calls_are_off() -> None:
    """`parallel_tool_calls=False` splits the look-ups over two turns."""
    results = {"get_order": ORDER, "get_refund_policy": POLICY, "issue_refund": {"id": "R-3"}}
    run = Run("Refund A-1042 in the EU", results, parallel_tool_calls=False)
    assert [[name for name, _ in turn] for turn in run.turns] == [
        ["get_order"],
        ["get_refund_policy"],
        ["issue_refund"],
    ]


def test_other_tools_are_called_when_a_message_speaks_of_them() -> None:
    """Arguments come from the text by the schema; the answer quotes the results."""
    tools = [
        tool("get_weather", "Current weather", city="string"),
        tool("convert_currency", "", amount="number", to_currency="string"),
        tool("play_music", "", title="string"),
    ]
    results = {"get_weather": {"celsius": 21, "sky": "clear"}, "convert_currency": 107.25}
    run = Run("What is the weather in New York, and convert 99.5 into currency 'USD'?", results, tools)
    assert len(run.turns) == 1
    assert dict(run.turns[0]) == {
        "get_weather": {"city": "New York"},
        "convert_currency": {"amount": 99.5, "to_currency": "USD"},
    }
    for fact in ("celsius 21", "sky clear", "107.25"):
        assert fact in run.answer


def test_tool_choice_is_obeyed() -> None:
    """A named tool is called whatever the message says; "none" calls nothing."""
    with ProviderServer() as server, OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
        ask: Any = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}], "tools": TOOLS}
        named = client.chat.completions.create(
            **ask, tool_choice={"type": "function", "function": {"name": "escalate"}}
        )
        needed = client.chat.completions.create(**ask, tool_choice="required")
        none = client.chat.completions.create(**ask, tool_choice="none")
    assert [call.function.name for call in named.choices[0].message.tool_calls or [] if call.type == "function"] == [
        "escalate"
    ]
    assert needed.choices[0].finish_reason == "tool_calls"
    assert none.choices[0].message.tool_calls is None


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("Reply with exactly: pong", "pong"),
        ("What is four plus five?", "4 plus 5 = 9"),
        ("What is 12 * 3?", "12 * 3 = 36"),
        ("Please divide: 5 / 0", "One cannot divide by zero."),
    ],
)
def test_plain_questions_have_fixed_answers(asked: str, answer: str) -> None:
    """Without tools, some messages have one right answer, whatever is sampled."""
    with ProviderServer() as server, OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
        completion = client.responses.create(model="gpt-4.1", input=asked)
    assert completion.output_text == answer


def test_an_answer_of_n_words_streams_in_n_pieces() -> None:
    """A long stream of a known length can be asked for."""
    with ProviderServer() as server, OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
        stream = client.chat.completions.create(
            model="gpt-4.1", messages=[{"role": "user", "content": "Write 200 words."}], stream=True
        )
        pieces = [chunk.choices[0].delta.content for chunk in stream if chunk.choices[0].delta.content]
    assert len(pieces) == 200
