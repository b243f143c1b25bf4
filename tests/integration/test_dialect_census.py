"""Recorded traffic that nobody here made: how much of it is decoded whole, partly, or stays raw."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from rashomon import dialects, views
from rashomon.config import Config
from rashomon.model import Kind, Step
from rashomon.views import Summary
from tests.conftest import NO_REAL_DATA, real_data
from tests.steps import http
from tests.support import ROOT

pytestmark = pytest.mark.slow

_FLOORS = {
    "openai.chat": 380,
    "openai.completions": 60,
    "openai.responses": 120,
    "openai.embeddings": 65,
    "anthropic.messages": 130,
    "google.generate": 30,
    "bedrock.converse": 38,
}
"""How many calls of a dialect are decoded whole at least, where the whole collection is there."""

_OTHER = ("openai.other", "non-llm", "batches", "moderations", "count_tokens")
"""APIs of the collection that are no dialect: assistants, files, images, sound, pages."""


def interactions() -> Iterator[Any]:
    """Every recorded exchange."""
    pytest.importorskip("yaml", reason="pyyaml is needed to read cassettes")
    folder = real_data()
    if folder is None:
        pytest.skip(NO_REAL_DATA)
    spec = importlib.util.spec_from_file_location("real_data_loaders", folder / "loaders.py")
    assert spec
    assert spec.loader
    loaders = importlib.util.module_from_spec(spec)
    sys.modules["real_data_loaders"] = loaders  # its dataclasses look themselves up
    spec.loader.exec_module(loaders)
    for cassette in loaders.iter_cassettes():
        yield from cassette


def step_of(item: Any) -> Step:
    """The exchange as a step."""
    headers = [[name, value] for name, found in item.resp_headers.items() for value in found]
    return http(Kind.LLM, item.req_body, item.resp_body, status=item.status, headers=headers, url=item.url)


@pytest.fixture(scope="module")
def census() -> list[tuple[Any, Step, Summary]]:
    """Every recorded exchange with a model, its step, and what is read of it."""
    steps = [(item, step_of(item)) for item in interactions() if "/threads" not in item.url]
    return [(item, step, views.summary(step)) for item, step in steps]


def test_recorded_traffic_is_decoded(
    census: list[tuple[Any, Step, Summary]], record_property: Callable[[str, object], None]
) -> None:
    """Counted by dialect: nothing raises, no call of a known dialect stays raw, and few have anything unknown; so many
    as `docs/dialects.md` says."""
    counts: Counter[tuple[str, str]] = Counter()
    unknown: Counter[str] = Counter()
    raw: list[str] = []
    for item, _, said in census:
        assert said.title.isprintable()
        assert len(said.title) <= 160
        if item.api in _OTHER and said.dialect is None:
            continue
        if item.resp_body:
            counts[said.dialect or "none", said.decoded or "none"] += 1
            unknown.update(f"{said.dialect}: {name}" for name in said.unknown)
            if said.decoded == "raw" and said.dialect != "bedrock.invoke":  # where other makers' shapes are, too
                raw.append(item.url)
    lines = [f"{dialect:22}{how_far:8}{number:5}" for (dialect, how_far), number in sorted(counts.items())]
    print("\n".join(["", *lines, *[f"unknown: {name} ({number})" for name, number in sorted(unknown.items())]]))
    total = Counter(how_far for (_, how_far), number in counts.items() for _ in range(number))
    told = f"{total['whole']} calls are decoded whole, {total['partly']} partly, {total['raw']} stay raw"
    record_property("measured", f"Recorded traffic: {told}")
    for dialect, floor in _FLOORS.items():
        assert counts[dialect, "whole"] >= floor, dialect
    assert total["partly"] <= 5
    assert raw == []
    assert total["raw"] <= 10
    assert told in (ROOT / "docs" / "dialects.md").read_text(encoding="utf-8")


def test_what_recorded_answers_say_is_read(census: list[tuple[Any, Step, Summary]]) -> None:
    """Nearly every answer of 200 says something, and each names its model; counts of tokens fit into each other."""
    silent: list[str] = []
    for item, _, said in census:
        if said.status != 200 or said.decoded != "whole" or said.dialect is None:
            continue
        if not (said.text or said.calls or said.reasoning or "embeddings" in said.dialect):
            silent.append(f"{item.path} {item.index} {said.finish}")
        assert said.model, item.url
        if said.input_tokens is not None:
            assert (said.cached_tokens or 0) + (said.cache_write_tokens or 0) <= said.input_tokens
        if said.output_tokens is not None:
            assert (said.reasoning_tokens or 0) <= said.output_tokens
    print("\nsilent:", *silent, sep="\n")
    assert len(silent) <= 10


def plain_text(item: Any) -> str:
    """The text of a stream, read in the simplest way: the first choice's pieces, as they came."""
    said: list[str] = []
    for _, text in views.sse_events(item.body):
        data = json.loads(text) if text[:1] == "{" else {}
        for choice in data.get("choices", ())[:1]:
            if choice.get("index", 0) == 0:
                said.append(choice.get("text") or (choice.get("delta") or {}).get("content") or "")
        if data.get("type") == "content_block_delta":
            said.append(data["delta"].get("text", ""))
        elif data.get("type") == "response.output_text.delta":
            said.append(data["delta"])
    return "".join(said)


def test_recorded_streams_are_assembled_as_they_were_sent(census: list[tuple[Any, Step, Summary]]) -> None:
    """The text of every stream is that of its pieces."""
    checked = 0
    for item, step, said in census:
        known = (said.dialect or "").startswith(("openai", "anthropic"))
        if known and item.content_type.startswith("text/event-stream") and said.refusal is None:
            reading = dialects.read_answer(views.response_view(step))
            assert reading.text.replace("\n", "") == plain_text(item).replace("\n", ""), item.path
            checked += 1
    assert checked > 200


def test_recorded_requests_are_read(census: list[tuple[Any, Step, Summary]]) -> None:
    """What was asked is read of every request of a known dialect, and the dialect is that of the answer."""
    counts: Counter[str] = Counter()
    for item, step, said in census:
        asked = dialects.read_request(views.request_view(step), item.url)
        if said.decoded != "whole" or said.dialect is None or said.status != 200:
            continue
        counts["all"] += 1
        counts["messages"] += bool(asked.messages)
        counts["dialect"] += asked.dialect == said.dialect
        counts["tools"] += bool(asked.tools)
        counts["system"] += asked.system is not None
    print(f"\n{dict(counts)}")
    assert counts["all"] > 700
    assert counts["messages"] >= 0.85 * counts["all"]
    assert counts["dialect"] >= 0.95 * counts["all"]
    assert counts["tools"] > 150
    assert counts["system"] > 100


_FLAVOURS = {"openai.chat": "chat", "openai.responses": "responses", "openai.embeddings": "embeddings"}
_WHEN = 1_772_366_400


def by_the_package(item: Any, step: Step, said: Summary) -> float | None:
    """What genai-prices reckons from the answer itself; None where it cannot read it."""
    import genai_prices

    answer, address = views.response_view(step), item.url.partition("?")[0]
    for flavour in (_FLAVOURS.get(said.dialect or "", "default"), "chat", "anthropic"):
        try:
            usage = genai_prices.extract_usage(answer, provider_api_url=address, api_flavor=flavour)
            when = datetime.fromtimestamp(_WHEN, UTC)
            return float(usage.calc_price(genai_request_timestamp=when).total_price)
        except (LookupError, ValueError, AttributeError):  # another flavour, or nobody's address
            continue
    return None


def test_recorded_calls_cost_what_genai_prices_reckons(census: list[tuple[Any, Step, Summary]]) -> None:
    """Nearly every call with a use of tokens has a price, and it is what that package makes of the same answer."""
    pytest.importorskip("genai_prices")
    from rashomon.store.prices import Pricer

    pricer, counts, unpriced = Pricer(Config()), Counter[str](), Counter[str]()
    for item, step, said in census:
        if said.status != 200 or said.input_tokens is None:
            continue
        cost = pricer.price(said.model, item.url, said, _WHEN * 10**9)
        counts["priced" if cost is not None else "unpriced"] += 1
        if cost is None:
            unpriced[f"{said.model} at {item.host}"] += 1
            continue
        expected = by_the_package(item, step, said)
        if expected is not None:
            counts["compared"] += 1
            assert cost == pytest.approx(expected, abs=1e-12), (item.path, item.index)
    print(f"\n{dict(counts)}", *[f"unpriced: {name} ({number})" for name, number in unpriced.items()], sep="\n")
    assert counts["priced"] >= 0.9 * (counts["priced"] + counts["unpriced"])
    assert counts["compared"] > 500
