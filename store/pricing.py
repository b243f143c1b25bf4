"""What an ingestion asks for the price of a call."""

from __future__ import annotations

from pathlib import Path

from rashomon.model import Grade, Step
from rashomon.store import prices
from rashomon.store.portions import Price
from rashomon.views import Summary


def pricing(home: Path | str) -> Price:
    """What says what a call costs. Raises `UsageError` when the home's settings are wrong."""
    pricer = prices.pricer(home)

    def price(step: Step, said: Summary, started_ns: int) -> float | None:
        if step.match is not None and step.match.grade != Grade.LIVE:
            return 0.0  # of a replay, answered from the recording
        url = step.request.head.get("url")
        try:
            return pricer.price(said.model, url if isinstance(url, str) else "", said, started_ns)
        except Exception:  # whatever an answer says of its tokens: a call without a price is kept all the same
            return None

    return price
