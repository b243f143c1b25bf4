"""What LLM calls cost, in US dollars: the prices of `genai-prices`, which lie in the package, or those of the settings.

Nothing is asked of the network. A price that is not known is None and never zero. Prices are looked up once for each
model, address, service tier and day; a call then costs a few multiplications.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from rashomon import config
from rashomon.canonical import digest
from rashomon.config import Config, Price
from rashomon.errors import UsageError

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

    from rashomon.views import Summary

MEMORY = "prices.cache"
"""In a home: prices that were looked up before. It may be removed at any time."""

_Key = tuple[str | None, str | None, str, str | None]
"""The model asked for, the one that answered, the address without its query, and the service tier."""

_REMEMBERED = 4096
_WRITTEN = 512
_DAY, _MINUTE = 86_400_000_000_000, 60_000_000_000  # nanoseconds
_EVER = (-(2**63), 2**63)
_LAST = 4_000_000_000 * 10**9
_MILLION = 1_000_000
_READ = "3"  # changes when this module prices the same tokens differently
_LOCAL = ("localhost", "0.0.0.0", "127.", "10.", "192.168.", "[")
_IMPORTED = "genai://"
"""The address of a call of which another tool told the provider and not where it is."""

_RUNTIMES = ("ollama", "vllm", "lmstudio", "lm_studio", "llama_cpp", "llamacpp", "llamafile", "localai", "transformers")
"""What another tool calls the provider of a model on a machine of one's own."""

_EMBEDDINGS = ("openai.embeddings", "google.embeddings")


class Pricer:
    """Prices calls. Not for several threads at once."""

    def __init__(self, settings: Config, memory: Path | None = None) -> None:
        self._settings = settings
        self._rates: dict[_Key, list[_Span]] = {}
        self._memory = memory
        self._mark: str | None = None

    @property
    def mark(self) -> str:
        """Names the prices: it changes when the package's, the settings' or the reckoning change."""
        if self._mark is None:
            prices = sorted((name, *price) for name, price in self._settings.prices.items())
            said = repr((_READ, prices, sorted(self._settings.providers.items()))).encode()
            self._mark = f"genai-prices {_installed()}, {digest(said)}"
        return self._mark

    def price(self, model: str | None, provider_url: str | None, said: Summary, started_ns: int) -> float | None:
        """What a call costs in US dollars; None where the model, its price or its use of tokens is not known.

        `provider_url` is the address that was called (empty: none is known, and the model's name has to do),
        `started_ns` its Unix time: prices change.
        """
        used, made = said.input_tokens, said.output_tokens
        if made is None and said.dialect in _EMBEDDINGS:
            made = 0
        if used is None or made is None or (model is None and said.answered is None):
            return None
        rate = self._rate((model, said.answered, (provider_url or "").partition("?")[0], said.tier), started_ns)
        if rate is None:
            return None
        return rate.cost(used, made, said)

    def _rate(self, key: _Key, started_ns: int) -> _Rate | None:
        spans = self._rates.get(key)
        if spans is None:
            if not self._rates:
                self._rates.update(_remembered(self._memory, self.mark))
            if len(self._rates) >= _REMEMBERED:
                self._rates.clear()
            spans = self._rates.setdefault(key, [])
        for span in spans:
            if span.start <= started_ns < span.end:
                return span.rate
        span = self._look_up(key, started_ns)
        spans.insert(0, span)
        if span.end - span.start > _DAY:
            _remember(self._memory, self.mark, self._rates)
        else:  # by the hour: the last ones will do
            del spans[_REMEMBERED // 64 :]
        return span.rate

    def _look_up(self, key: _Key, started_ns: int) -> _Span:
        """The price of then, and when it held."""
        asked, answered, address, tier = key
        for name in filter(None, (asked, answered)):
            if name.lower() in self._settings.prices:
                return _Span(_EVER[0], _EVER[1], _Rate.of(self._settings.prices[name.lower()]))
        seller = self._seller(address)
        if seller is not None:
            # an answer names the model more exactly, but with Amazon: there it is a maker's name for another's price
            amazon = seller[0] == "aws" or _host(address).endswith("amazonaws.com")
            names = (asked, answered) if amazon else (answered, asked)
            for name in filter(None, names):
                try:
                    found = _find(name, *seller)
                    if found is not None:
                        return _span(*found, tier, started_ns)
                except Exception:  # of another package's data: a call without a price beats one that is not kept
                    continue
        return _Span(*_EVER, None)

    def _seller(self, address: str) -> tuple[str | None, str] | None:
        """Who asks for money at an address, as provider or as address; both empty: the model's maker. None: nobody."""
        host = _host(address)
        provider = self._settings.providers.get(host) or self._settings.providers.get(host.partition(":")[0])
        if provider is not None:
            return provider, address
        if address.startswith(_IMPORTED):
            return None if host in _RUNTIMES else (_told_provider(host), "")
        return None if host and _is_local(host) else (None, address)


def pricer(home: Path | str) -> Pricer:
    """What prices the calls of a home. Raises UsageError when its `config.toml` is wrong."""
    settings = config.read(home)
    for host, provider in settings.providers.items():
        if not _is_provider(provider):
            raise UsageError(
                f"{Path(home) / config.FILE} has providers.{host!r} = {provider!r}, which genai-prices does not know.",
                'Name a provider that it has prices of, such as "openai", "anthropic" or "google".',
            )
    return Pricer(settings, Path(home) / MEMORY)


def _is_provider(name: str) -> bool:
    """Whether the package has a provider of this name; without the package there is nobody to ask."""
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        return True
    try:
        get_snapshot().find_provider("", name, None)
    except LookupError:
        return False
    return True


def _host(url: str) -> str:
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:  # e.g. a broken IPv6 host
        return "?"


def _is_local(host: str) -> bool:
    """True of an address that no provider has: this machine, its network, or a name without a dot."""
    return host.startswith(_LOCAL) or "." not in host or host.partition(":")[0].endswith((".local", ".internal"))


# ---------------------------------------------------------------------------------------- the memory


def _remembered(file: Path | None, mark: str) -> dict[_Key, list[_Span]]:
    """The prices that were looked up before: loading the package takes longer than all else that reads a trace."""
    if file is None:
        return {}
    try:
        head, _, body = file.read_bytes().partition(b"\n")
        if head.decode() != f"{mark} {digest(body)}":
            return {}  # of other prices, or damaged: it is made again
        return {tuple(key): [_Span.of(*span) for span in spans] for key, spans in json.loads(body)}
    except (OSError, ValueError, TypeError, IndexError):
        return {}  # there is none, or it is somebody else's


def _remember(file: Path | None, mark: str, rates: dict[_Key, list[_Span]]) -> None:
    if file is None or len(rates) > _WRITTEN:
        return
    lasting = [(key, [span for span in spans if span.end - span.start > _DAY]) for key, spans in rates.items()]
    body = json.dumps([one for one in lasting if one[1]]).encode()
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        beside.write_bytes(f"{mark} {digest(body)}\n".encode() + body)
        beside.replace(file)
    except OSError:  # a home that cannot be written to, or is not there: the price is known all the same
        pass


def _installed() -> str:
    """The version of the package, found without loading it or what reads metadata: readers ask each time."""
    from importlib.util import find_spec

    spec = find_spec("genai_prices")
    if spec is None or not spec.origin:
        return "none"
    folder = Path(spec.origin).parent.parent
    named = [name for name in os.listdir(folder) if name.startswith("genai_prices-") and name.endswith(".dist-info")]
    if len(named) == 1:
        return named[0].removeprefix("genai_prices-").removesuffix(".dist-info")
    from importlib.metadata import version

    return version("genai-prices")


# ---------------------------------------------------------------------------------- the package's data


def _find(name: str, provider_id: str | None, address: str) -> tuple[Provider, ModelInfo] | None:
    """The model in the package's data; None where it has none by this name at this provider.

    At an address that is nobody's (a gateway), or without any, it is the maker whose names look like this.
    """
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:  # the settings' prices hold without it
        return None
    snapshot = get_snapshot()
    attempts = [(provider_id, None)] if provider_id else [(None, address), (None, None)] if address else [(None, None)]
    for identifier, url in attempts:
        try:
            provider = snapshot.find_provider(name.lower(), identifier, url)
        except LookupError:
            continue  # nobody's address
        try:
            return snapshot.find_provider_model(name, provider, None, None)
        except LookupError:
            return None
    return None


def _told_provider(name: str) -> str | None:
    """The package's name of a provider that another tool tells of; None of one that it does not know."""
    if name.startswith(("azure", "az.")):
        return "azure"
    try:
        from genai_prices.data_snapshot import get_snapshot

        return str(get_snapshot().find_provider("", name.replace("_", "-"), None).id)
    except (ImportError, LookupError):
        return None


def _span(provider: Provider, model: ModelInfo, tier: str | None, started_ns: int) -> _Span:
    """The model's price of then, and how long it held: between two dates, or a minute where the hour counts."""
    from genai_prices.types import ModelPrice, StartDateConstraint

    when = datetime.fromtimestamp(min(max(started_ns, 0), _LAST) / 1e9, UTC)
    its_own = any(model is one for one in provider.models)
    # the data tells tiers apart by one of these words
    context = {"service_tier": tier, "speed": tier, "processing": tier} if tier and its_own else None
    rate = _Rate.known(model.get_prices(when, context))
    listed = [] if isinstance(model.prices, ModelPrice) else model.prices
    constraints = [one.constraint for one in (*listed, *(model.price_variants or ())) if one.constraint is not None]
    days = [_midnight(one.start_date) for one in constraints if isinstance(one, StartDateConstraint)]
    if len(days) < len(constraints):
        minute = started_ns // _MINUTE * _MINUTE
        return _Span(minute, minute + _MINUTE, rate)
    start = max([day for day in days if day <= started_ns], default=_EVER[0])
    return _Span(start, min([day for day in days if day > started_ns], default=_EVER[1]), rate)


def _midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000_000


class _Steps(NamedTuple):
    """A price by the size of the whole prompt: that of the last step which it exceeds holds for all tokens."""

    base: float
    steps: tuple[tuple[int, float], ...] = ()

    def at(self, size: int) -> float:
        """The price for a prompt of this size."""
        price = self.base
        for start, higher in self.steps:
            if size > start:
                price = higher
        return price


class _Rate(NamedTuple):
    """US dollars for a million tokens, and for the call itself; None where there is no price."""

    input: _Steps
    output: _Steps | None
    cached: _Steps
    cache_write: _Steps
    reasoning: _Steps | None
    long_cache: _Steps
    call: float = 0.0
    search: float = 0.0

    @classmethod
    def of(cls, price: Price) -> _Rate:
        """The settings' price."""
        before, after = _Steps(price.input), _Steps(price.output)
        written = _Steps(price.cache_write)
        return cls(before, after, _Steps(price.cached), written, _Steps(price.reasoning), written)

    @classmethod
    def known(cls, price: ModelPrice) -> _Rate | None:
        """The package's price; None where tokens have none (speech by the second, nothing told)."""
        got = {name: value for name, value in price.__dict__.items() if value is not None}
        if "input_mtok" not in got:
            return None
        steps = {name: _steps(value) for name, value in got.items()}
        before, after, nothing = steps["input_mtok"], steps.get("output_mtok"), _Steps(0.0)
        written = steps.get("cache_write_mtok", before)
        return cls(
            before,
            after,
            steps.get("cache_read_mtok", before),
            written,
            steps.get("output_reasoning_mtok", after),
            steps.get("cache_write_1h_mtok", written),
            steps.get("requests_kcount", nothing).base / 1000,
            steps.get("web_searches_kcount", nothing).base / 1000,
        )

    def cost(self, used: int, made: int, said: Summary) -> float | None:
        """What so many tokens cost; None where some of them have no price."""
        cached, written = said.cached_tokens or 0, said.cache_write_tokens or 0
        total = max(used - cached - written, 0) * self.input.at(used)
        if cached:
            total += cached * self.cached.at(used)
        if written:
            long = min(said.long_cache_tokens or 0, written)
            total += (written - long) * self.cache_write.at(used) + long * self.long_cache.at(used)
        if made:
            if self.output is None or self.reasoning is None:
                return None
            reasoned = min(said.reasoning_tokens or 0, made)
            spoken = (made - reasoned) * self.output.at(used)
            total += spoken + reasoned * self.reasoning.at(used) if reasoned else spoken
        return total / _MILLION + self.call + self.search * (said.searches or 0)


def _steps(price: Any) -> _Steps:
    tiers = getattr(price, "tiers", None)
    if tiers is None:
        return _Steps(float(price))
    return _Steps(float(price.base), tuple((tier.start, float(tier.price)) for tier in tiers))


class _Span(NamedTuple):
    """From when until when, in Unix nanoseconds, a price held; None: there is none."""

    start: int
    end: int
    rate: _Rate | None

    @classmethod
    def of(cls, start: int, end: int, rate: list[Any] | None) -> _Span:
        """A span from its JSON."""
        if rate is None:
            return cls(int(start), int(end), None)
        *steps, call, search = rate
        read = [None if one is None else _Steps(float(one[0]), tuple(map(_step, one[1]))) for one in steps]
        before, after, cached, written, reasoning, long_cache = read
        if before is None or cached is None or written is None or long_cache is None:
            raise ValueError("no price")
        known = _Rate(before, after, cached, written, reasoning, long_cache, float(call), float(search))
        return cls(int(start), int(end), known)


def _step(read: list[Any]) -> tuple[int, float]:
    return int(read[0]), float(read[1])
