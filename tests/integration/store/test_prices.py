"""What calls cost: the prices of genai-prices or of the settings, against that package's own reckoning."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon.config import Config
from rashomon.model import Grade, Match
from rashomon.store import connection, ingest_new, open_home, prices, repricing
from rashomon.store.repricing import reprice
from rashomon.tapes import write_tape
from rashomon.views import Summary
from tests.in_process import main
from tests.steps import llm, said, tape

pytest.importorskip("genai_prices")

OPENAI = "https://api.openai.com/v1/chat/completions"
AZURE = "https://acme.openai.azure.com/openai/deployments/ours/chat/completions"
ANTHROPIC = "https://api.anthropic.com/v1/messages"
BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/converse"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent"
DEEPSEEK = "https://api.deepseek.com/chat/completions"
WHEN = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 10**9


def used(input_tokens: int | None = 1000, output_tokens: int | None = 500, **more: Any) -> Summary:
    """The summary of a call with this use of tokens."""
    return Summary(None, input_tokens, output_tokens, 200, "stop", "", "", dialect="openai.chat", **more)


@pytest.fixture(scope="module")
def known() -> prices.Pricer:
    """Prices without settings."""
    return prices.Pricer(Config())


def by_the_package(model: str, url: str, said: Summary, started_ns: int, context: Any = None) -> float:
    """What genai-prices says itself."""
    import genai_prices

    usage = genai_prices.Usage(
        input_tokens=said.input_tokens,
        output_tokens=said.output_tokens,
        cache_read_tokens=said.cached_tokens or 0,
        cache_write_tokens=said.cache_write_tokens or 0,
        cache_write_1h_tokens=said.long_cache_tokens or 0,
        web_searches=said.searches or 0,
        output_reasoning_tokens=said.reasoning_tokens or 0,
    )
    when = datetime.fromtimestamp(started_ns / 1e9, UTC)
    found = genai_prices.calc_price(
        usage, model, provider_api_url=url, genai_request_timestamp=when, price_context=context
    )
    return float(found.total_price)


MODELS = [
    ("gpt-4o", OPENAI),
    ("gpt-4o-2024-05-13", OPENAI),
    ("gpt-5", OPENAI),
    ("text-embedding-3-small", OPENAI),
    ("gpt-4o-2024-05-13", AZURE),
    ("claude-sonnet-4-5-20250929", ANTHROPIC),
    ("claude-3-5-haiku-20241022", ANTHROPIC),
    ("us.anthropic.claude-3-5-sonnet-20240620-v1:0", BEDROCK),
    ("amazon.nova-micro-v1:0", BEDROCK),
    ("gemini-2.5-pro", GOOGLE),
    ("gemini-2.5-flash", GOOGLE),
    ("deepseek-chat", DEEPSEEK),
]
tokens = st.integers(0, 500_000)


@given(
    st.sampled_from(MODELS),
    tokens,
    tokens,
    tokens,
    tokens,
    st.integers(1_704_067_200, 1_790_000_000),
    st.sampled_from([None, "default", "priority", "flex", "batch", "standard"]),
)
def test_prices_are_those_of_the_package(
    model: tuple[str, str], fresh: int, cached: int, written: int, made: int, when: int, tier: str | None
) -> None:
    """Cached, cache-write and reasoning tokens, steps by prompt size, tiers, dates and hours: to the last cent."""
    said = used(
        fresh + cached + written,
        made if "embedding" not in model[0] else 0,
        cached_tokens=cached,
        cache_write_tokens=written,
        reasoning_tokens=made // 3,
        tier=tier,
        long_cache_tokens=written // 2 if model[1] == ANTHROPIC else None,
        searches=made % 3 if model[1] == ANTHROPIC else None,
    )
    context = {"service_tier": tier, "speed": tier, "processing": tier} if tier else None
    expected = by_the_package(*model, said, when * 10**9, context)
    found = _PRICER.price(model[0], model[1], said, when * 10**9)
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)


_PRICER = prices.Pricer(Config())


def test_what_is_not_known_has_no_price(known: prices.Pricer) -> None:
    """No model, no tokens, a model that nobody sells, a server of one's own: None, not zero."""
    assert known.price(None, OPENAI, used(), WHEN) is None
    assert known.price("gpt-4o", OPENAI, used(None, None), WHEN) is None
    assert known.price("gpt-4o", OPENAI, used(10, None), WHEN) is None
    assert known.price("our-own-model", OPENAI, used(), WHEN) is None
    assert known.price("our-own-model", "https://gateway.example.com/v1", used(), WHEN) is None
    for address in ("http://localhost:11434/v1", "http://127.0.0.1:8000", "http://10.0.0.7/v1", "http://vllm:8000/v1"):
        assert known.price("gpt-4o", address, used(), WHEN) is None
    assert known.price("gpt-4o", "http://[::1", used(), WHEN) is None


@pytest.mark.parametrize(
    ("told", "model", "address"),
    [
        ("openai", "gpt-4o", OPENAI),
        ("unknown", "gpt-4o", ""),
        ("some-gateway", "gpt-4o", ""),
        ("aws.bedrock", "amazon.nova-micro-v1:0", BEDROCK),
        ("azure.ai.openai", "gpt-4o-2024-05-13", AZURE),
        ("gcp.vertex_ai", "gemini-2.5-pro", GOOGLE),
        ("anthropic", "claude-sonnet-4-5-20250929", ANTHROPIC),
    ],
)
def test_an_imported_call_is_priced_by_who_is_told(known: prices.Pricer, told: str, model: str, address: str) -> None:
    """Of a call whose address is not told, the provider that is told asks for its price; else the model's maker."""
    found = known.price(model, f"genai://{told}/chat/completions", used(), WHEN)
    assert found is not None
    assert found == known.price(model, address, used(), WHEN)


def test_an_imported_call_of_a_machine_of_ones_own_has_no_price(known: prices.Pricer) -> None:
    """Nobody is paid for a model in ollama, whatever its name; nor does a provider sell what its list does not have."""
    assert known.price("gpt-4o", "genai://ollama/chat/completions", used(), WHEN) is None
    assert known.price("gpt-4o", "genai://groq/chat/completions", used(), WHEN) is None


def test_an_azure_deployment_is_priced_by_the_model_that_answered(known: prices.Pricer) -> None:
    """A deployment's name says nothing; the answer names the model."""
    assert known.price("ours", AZURE, used(), WHEN) is None
    found = known.price("ours", AZURE, used(answered="gpt-4o-2024-05-13"), WHEN)
    assert found == pytest.approx(by_the_package("gpt-4o-2024-05-13", AZURE, used(), WHEN))


def test_the_model_that_answered_is_more_exact_than_its_alias(known: prices.Pricer) -> None:
    """What `gpt-4o` meant then, the answer says."""
    alias, dated = known.price("gpt-4o", OPENAI, used(), WHEN), used(answered="gpt-4o-2024-05-13")
    assert known.price("gpt-4o", OPENAI, dated, WHEN) == pytest.approx(0.0125)
    assert alias == pytest.approx(0.0075)


def test_a_gateway_and_an_import_are_priced_by_the_models_name(known: prices.Pricer) -> None:
    """An address that is nobody's does not make a maker's model unknown."""
    direct = known.price("gpt-4o", OPENAI, used(), WHEN)
    assert direct is not None
    assert known.price("gpt-4o", "https://gateway.example.com/v1", used(), WHEN) == direct
    assert known.price("gpt-4o", "", used(), WHEN) == direct
    assert known.price("gpt-4o", None, used(), WHEN) == direct


def test_embeddings_have_no_output(known: prices.Pricer) -> None:
    """Tokens that went in are all there is."""
    said = used(1_000_000, None)._replace(dialect="openai.embeddings")
    assert known.price("text-embedding-3-small", OPENAI, said, WHEN) == pytest.approx(0.02)


def test_settings_go_before_what_is_known(tmp_path: Path) -> None:
    """A price of one's own holds for the model asked for or the one that answered, at any address."""
    (tmp_path / "config.toml").write_text(
        '[prices."My-Model"]\ninput = 2.0\noutput = 10\ncached = 1\nreasoning = 20\n'
        '[providers]\n"localhost" = "openai"\n"vllm:8000" = "anthropic"\n'
    )
    mine = prices.pricer(tmp_path)
    said = used(1_000_000, 1_000_000, cached_tokens=500_000, reasoning_tokens=100_000)
    assert mine.price("my-model", "http://10.0.0.1/v1", said, WHEN) == pytest.approx(1 + 0.5 + 9 + 2)
    assert mine.price("alias", "", said._replace(answered="MY-MODEL"), WHEN) == pytest.approx(12.5)
    plain = prices.Pricer(Config())
    assert mine.price("gpt-4o", "http://localhost:4000/v1", used(), WHEN) == plain.price("gpt-4o", OPENAI, used(), WHEN)
    assert mine.price("claude-3-5-haiku-20241022", "http://vllm:8000/v1", used(), WHEN) is not None
    assert mine.price("gpt-4o", "http://vllm:8001/v1", used(), WHEN) is None


def test_the_mark_changes_with_the_settings(tmp_path: Path) -> None:
    """Costs are made anew when prices change, and only then."""
    first = prices.pricer(tmp_path).mark
    assert first == prices.pricer(tmp_path).mark
    assert first.startswith("genai-prices 0.")
    (tmp_path / "config.toml").write_text("[prices.m]\ninput = 1\noutput = 1\n")
    second = prices.pricer(tmp_path).mark
    (tmp_path / "config.toml").write_text("[prices.m]\ninput = 1\noutput = 2\n")
    assert len({first, second, prices.pricer(tmp_path).mark}) == 3


ASK = """
import sys
from pathlib import Path
from rashomon.model import Grade, Match
from rashomon.store import connection, ingest_new, open_home, prices, repricing
from rashomon.store.repricing import reprice
from rashomon.tapes import write_tape
from rashomon.views import Summary
from tests.in_process import main
from tests.steps import llm, said, tape
said = Summary(None, 1000, 500, 200, "stop", "", "", cached_tokens=400)
mine = prices.pricer(Path(sys.argv[1]))
print(mine.price("gpt-4o", sys.argv[2], said, 1772366400 * 10**9), mine.price("nobodys", sys.argv[2], said, 1))
print("genai_prices" in sys.modules)
"""


def asked_anew(home: Path) -> list[str]:
    """Two prices in a fresh interpreter, and whether it had to load the package."""
    done = subprocess.run([sys.executable, "-c", ASK, str(home), OPENAI], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_what_was_looked_up_once_needs_no_package(tmp_path: Path) -> None:
    """Loading prices takes longer than reading a trace: the next process remembers them, until something changes."""
    first = asked_anew(tmp_path)
    assert first == ["0.007 None", "True"]
    assert asked_anew(tmp_path) == ["0.007 None", "False"]
    (tmp_path / "config.toml").write_text("[prices.other]\ninput = 1\noutput = 1\n")
    assert asked_anew(tmp_path) == ["0.007 None", "True"]
    assert asked_anew(tmp_path) == ["0.007 None", "False"]


@pytest.mark.parametrize("at", range(0, 230, 23))
def test_a_damaged_memory_is_made_again(tmp_path: Path, at: int) -> None:
    """Whatever was done to the file, prices are right and the file is whole again."""
    first = prices.pricer(tmp_path)
    expected = first.price("gpt-4o", OPENAI, used(), WHEN)
    file = tmp_path / prices.MEMORY
    whole = file.read_bytes()
    for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], b"[1]", b"", b"\xff"):
        file.write_bytes(damaged)
        found = prices.pricer(tmp_path).price("gpt-4o", OPENAI, used(), WHEN)
        assert found == expected
    assert file.read_bytes() == whole


def test_a_home_that_cannot_be_written_to_has_prices(tmp_path: Path) -> None:
    """The memory is a convenience."""
    assert prices.pricer(tmp_path / "nowhere").price("gpt-4o", OPENAI, used(), WHEN) == pytest.approx(0.0075)


def test_memory_is_bounded(known: prices.Pricer) -> None:
    """A program that asks ten thousand addresses does not fill the memory."""
    for number in range(10_000):
        known.price("gpt-4o", f"{OPENAI}/{number}", used(), WHEN + number * 10**15)
    assert len(known._rates) <= 4096


def test_times_that_are_none_still_have_a_price(known: prices.Pricer) -> None:
    """A trace without a clock, or of another age, is priced as what is nearest."""
    assert known.price("gpt-4o", OPENAI, used(), 0) is not None
    assert known.price("deepseek-chat", DEEPSEEK, used(), -5) is not None
    assert known.price("gpt-5", OPENAI, used(), 2**62) is not None


def test_a_replay_pays_for_what_went_out(tmp_path: Path) -> None:
    """A call that the recording answered costs nothing, known as that; a live one costs what it costs."""
    answer = {**said("Done."), "model": "gpt-4o", "usage": {"prompt_tokens": 1000, "completion_tokens": 500}}
    grades = (None, Grade.EXACT, Grade.STUBBED, Grade.LIVE)
    calls = [llm(answer)._replace(match=None if grade is None else Match(grade, None, "")) for grade in grades]
    (tmp_path / "journals").mkdir()
    write_tape(tmp_path / "journals" / "0.rsj", tape(calls, "replay"))
    ingest_new(tmp_path)
    with open_home(tmp_path) as store:
        recorded, *replayed = [row[0] for row in store.query("SELECT cost FROM steps ORDER BY position").rows]
        assert recorded > 0
        assert replayed == [0.0, 0.0, recorded]
        assert store.query("SELECT cost, unpriced FROM traces").rows == [(2 * recorded, 0)]


def test_what_an_answer_does_not_tell_has_no_known_price(tmp_path: Path) -> None:
    """A call that was answered without a count of tokens, as a stream may be, is one whose price is not known."""
    answer = {**said("Done."), "model": "gpt-4o", "usage": {"prompt_tokens": 1000, "completion_tokens": 500}}
    untold = {name: value for name, value in answer.items() if name != "usage"}
    served = llm(untold)._replace(match=Match(Grade.EXACT, None, ""))
    free = llm({"results": []})._replace(name="moderations")
    refused = llm({"error": {"message": "no"}})
    refused = refused._replace(response=refused.response._replace(head={"status": 429}))
    (tmp_path / "journals").mkdir()
    write_tape(tmp_path / "journals" / "0.rsj", tape([llm(answer), llm(untold), served, free, refused], "calls"))
    ingest_new(tmp_path)
    with open_home(tmp_path) as store:
        assert [cost is None for (cost,) in store.query("SELECT cost FROM steps ORDER BY position").rows] == [
            False, True, False, True, True,
        ]  # fmt: skip
        for view in ("traces", "trace_list"):
            assert store.query(f"SELECT unpriced FROM {view}").rows == [(1,)]
        assert store.query("SELECT sum(unpriced)::BIGINT FROM costs").rows == [(1,)]
    reprice(tmp_path)
    assert [unpriced for _, unpriced in sums_of(tmp_path)] == [1]
    shown = main("show", "@last", home=tmp_path).stdout
    assert re.search(r"^cost +\$0\.0075, without 1 call of unknown price$", shown, re.M)
    as_json = json.loads(main("show", "@last", "--json", home=tmp_path).stdout)
    assert (as_json["cost"], as_json["unpriced"]) == (pytest.approx(0.0075), 1)


CALLED = {**said("Done."), "model": "my-model", "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 500_000}}


def priced_home(folder: Path, input_price: float, traces: int = 3, calls: int = 70) -> list[float | None]:
    """Prices for `my-model` in the settings of a home; the costs of all its calls as the store has them."""
    settings = f'[prices."my-model"]\ninput = {input_price}\noutput = 0\n'
    (folder / "journals").mkdir(exist_ok=True, parents=True)
    if input_price:
        (folder / "config.toml").write_text(settings)
    for number in range(traces):
        path = folder / "journals" / f"{number}.rsj"
        if not path.exists():
            write_tape(path, tape([llm(CALLED, {"model": "my-model"}) for _ in range(calls)], f"trace-{number}"))
            os.utime(path, ns=(10**18, 10**18))  # long ago: it is not read again in case that it is still written
    with open_home(folder) as store:
        return [row[0] for row in store.query("SELECT cost FROM steps ORDER BY trace, position").rows]


def sums_of(folder: Path) -> list[tuple[float | None, int]]:
    """Cost and number of calls without a price, of each trace."""
    with open_home(folder) as store:
        return store.query("SELECT round(cost, 6), unpriced FROM traces ORDER BY id").rows


def test_a_corrected_price_holds_for_what_is_there(tmp_path: Path) -> None:
    """What was taken in without a price, or with a wrong one, costs what the settings say once it is reckoned again."""
    assert set(priced_home(tmp_path, 0)) == {None}
    assert sums_of(tmp_path) == [(None, 70)] * 3
    assert set(priced_home(tmp_path, 2.0)) == {None}
    told: list[tuple[int, int]] = []
    assert reprice(tmp_path, lambda done, of: told.append((done, of))) == (210, 210, 0.0, 420.0)
    assert set(priced_home(tmp_path, 2.0)) == {2.0}
    assert sums_of(tmp_path) == [(140.0, 0)] * 3
    assert told[-1] == (210, 210)
    assert reprice(tmp_path) == (210, 0, 420.0, 420.0)
    (tmp_path / "config.toml").unlink()
    assert reprice(tmp_path) == (210, 210, 420.0, 0.0)
    assert sums_of(tmp_path) == [(None, 70)] * 3


def test_reckoning_in_small_groups_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traces larger and smaller than a group are each reckoned whole, and what is ingested afterwards goes on."""
    monkeypatch.setattr(repricing, "_CALLS", 100)
    priced_home(tmp_path, 0)
    priced_home(tmp_path, 3.0)
    assert reprice(tmp_path).changed == 210
    assert set(priced_home(tmp_path, 3.0, traces=5)) == {3.0}
    assert sums_of(tmp_path) == [(210.0, 0)] * 5


def test_a_call_that_has_changed_meanwhile_keeps_its_cost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call whose answer was taken in anew while it was reckoned keeps the cost of what it is now."""
    priced_home(tmp_path, 1.0, traces=1, calls=2)
    real_write = repricing._write

    def after_an_ingestion(store: Path, found: Any, wait_s: float) -> None:
        with connection.open_writer(store) as writer:
            writer.execute("UPDATE steps SET response_part = 99, cost = 7 WHERE position = 1")
        real_write(store, found, wait_s)

    monkeypatch.setattr(repricing, "_write", after_an_ingestion)
    (tmp_path / "config.toml").write_text('[prices."my-model"]\ninput = 5\noutput = 0\n')
    reprice(tmp_path)
    assert priced_home(tmp_path, 5.0, traces=1) == [5.0, 7.0]
    assert sums_of(tmp_path) == [(12.0, 0)]


def test_a_replay_and_an_empty_home_are_reckoned_too(tmp_path: Path) -> None:
    """What the recording answered goes on costing nothing; where nothing is, nothing is reckoned and nothing made."""
    assert reprice(tmp_path / "none") == (0, 0, 0.0, 0.0)
    assert not (tmp_path / "none").exists()
    home = tmp_path / "home"
    (home / "journals").mkdir(parents=True)
    exact = llm(CALLED, {"model": "my-model"})._replace(match=Match(Grade.EXACT, None, ""))
    write_tape(home / "journals" / "0.rsj", tape([exact], "replay"))
    assert priced_home(home, 4.0, traces=0) == [0.0]
    assert reprice(home) == (1, 0, 0.0, 0.0)
