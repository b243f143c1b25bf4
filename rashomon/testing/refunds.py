"""How the bundled assistant decides on a refund: a function of order, policy and what was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, TypeAlias

from .arguments import date_in, first_fact

Action: TypeAlias = Literal["refund", "refuse", "ask", "escalate"]

UNSENT = ("processing", "pending", "open", "paid", "packed", "ordered")
UNDERWAY = ("shipped", "in_transit", "in transit", "out_for_delivery", "out for delivery")
DAMAGE = ("broken", "damaged", "defect", "faulty", "cracked", "does not work", "doesn't work", "wrong item")


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a refund: the amount in the order's currency, and the reasons with their values."""

    action: Action
    amount: float
    currency: str
    reasons: tuple[str, ...]


def amount_text(amount: float, currency: str) -> str:
    """An amount with its currency, for example "EUR 89.90"."""
    return f"{currency} {amount:.2f}".strip()


def decide(order: Any, policy: Any, asked: str, today: date | None) -> Decision:
    """Decide from the fields of an order and of a policy, wherever in them they are.

    Order: status, price, delivered, currency, final_sale. Policy: window_days, max_amount, requires_photo,
    restocking_fee_percent, allowed. `today` None means that the window cannot be checked.
    """
    price = _number(first_fact(order, "price", "total", "amount", "paid", "amount_paid", "total_amount"))
    currency = str(first_fact(order, "currency") or first_fact(policy, "currency") or "EUR")
    lowered = asked.lower()
    refused = _by_status(order, currency) or _by_kind(order, policy, currency)
    if refused is None and price is None:
        refused = Decision("escalate", 0.0, currency, ("the order shows no price",))
    if refused is not None:
        return refused
    assert price is not None
    late, window = _window(order, policy, today)
    if late:
        return Decision("refuse", 0.0, currency, (window,))
    photo = "photo" in lowered or "picture" in lowered
    if first_fact(policy, "requires_photo", "photo_required") is True and not photo:
        return Decision("ask", 0.0, currency, ("the policy requires a photo and none was sent",))
    return _amount(price, policy, currency, lowered, window)


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip().lstrip("$€£").replace(",", "")
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


def _by_status(order: Any, currency: str) -> Decision | None:
    status = str(first_fact(order, "status", "state") or "").lower()
    if status in ("refunded", "returned"):
        return Decision("refuse", 0.0, currency, (f"the order is already {status}",))
    if status in UNDERWAY:
        return Decision("refuse", 0.0, currency, (f"the order is still {status.replace('_', ' ')}",))
    if status in ("unknown", "disputed", "fraud", "on_hold", "on hold"):
        return Decision("escalate", 0.0, currency, (f"the order's status is {status}",))
    return None


def _by_kind(order: Any, policy: Any, currency: str) -> Decision | None:
    if first_fact(order, "final_sale") is True:
        return Decision("refuse", 0.0, currency, ("the item was a final sale",))
    if first_fact(policy, "allowed", "refunds_allowed", "refundable") is False:
        return Decision("refuse", 0.0, currency, ("the policy allows no refund",))
    return None


def _window(order: Any, policy: Any, today: date | None) -> tuple[bool, str]:
    """Whether the window is over, and the sentence about it."""
    limit = _number(first_fact(policy, "window_days", "return_window_days", "refund_window_days", "days", "window"))
    status = str(first_fact(order, "status", "state") or "").lower()
    if limit is None or status in UNSENT or status == "lost":
        return False, f"the order is {status}" if status else "the policy names no window"
    age = _number(first_fact(order, "days_since_delivery", "age_days"))
    delivered = date_in(str(first_fact(order, "delivered", "delivered_at", "delivered_on", "delivery_date") or ""))
    if age is None and delivered is not None and today is not None:
        age = (today - delivered).days
    if age is None:
        return False, f"the window is {limit:g} days"
    since = f" (delivered {delivered.isoformat()})" if delivered else ""
    if age > limit:
        return True, f"{age:g} days have passed{since} and the window is {limit:g} days"
    return False, f"{age:g} days have passed{since}, within the window of {limit:g} days"


def _amount(price: float, policy: Any, currency: str, asked: str, window: str) -> Decision:
    reasons = [window]
    fee = _number(first_fact(policy, "restocking_fee_percent", "restocking_fee", "fee_percent")) or 0.0
    amount = price
    if fee and any(word in asked for word in DAMAGE):
        reasons.append(f"the restocking fee of {fee:g} % does not apply to a damaged item")
    elif fee:
        amount = round(price * (1 - fee / 100), 2)
        reasons.append(f"a restocking fee of {fee:g} % was taken off {amount_text(price, currency)}")
    limit = _number(first_fact(policy, "max_amount", "max_refund", "limit", "auto_approve_limit"))
    if limit is not None and amount > limit:
        over = f"{amount_text(amount, currency)} is more than the limit of {amount_text(limit, currency)}"
        return Decision("escalate", amount, currency, (*reasons, over))
    return Decision("refund", amount, currency, tuple(reasons))


def policy_name(policy: Any) -> str:
    """How to speak of a policy: with its version if it has one."""
    version = first_fact(policy, "version", "policy_version")
    return f"policy {version}" if version is not None else "our policy"


def is_failure(value: Any) -> str | None:
    """The message of a tool result that reports a failure, None for a good one."""
    if isinstance(value, Mapping):
        if value.get("error"):
            return str(first_fact(value["error"], "message") or value["error"])
        if value.get("ok") is False or value.get("success") is False:
            return str(value.get("message") or "it did not succeed")
    return None
