"""The settings of a home: `config.toml` beside its store.

    [prices."my-model"]        # US dollars for a million tokens; in place of what is known of this model
    input = 2.5
    output = 10
    cached = 1.25

    [providers]                # whose prices hold at an address that is nobody's
    "gateway.example.com" = "openai"

A value that cannot be used is refused with a sentence; nothing is guessed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from rashomon.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

FILE = "config.toml"


class Price(NamedTuple):
    """What a model costs, in US dollars for a million tokens. Without a price of their own, cached tokens and those
    written to a cache cost as input, reasoning as output."""

    input: float
    output: float
    cached: float
    cache_write: float
    reasoning: float


class Config(NamedTuple):
    """The settings: prices by model in lower case, and providers by host (with its port, where one is named)."""

    prices: Mapping[str, Price] = {}
    providers: Mapping[str, str] = {}


def read(home: Path | str) -> Config:
    """The settings of a home; the defaults where it has no `config.toml`. Raises UsageError for one that is wrong."""
    path = os.path.join(home, FILE)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return Config()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.", "Make it readable, or remove it.") from error
    import tomllib  # who only reads traces has no need of it

    try:
        tables = tomllib.loads(content.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"{path} is no TOML: {error}.", "Correct that place; docs/cost.md has an example.") from error
    return _config(tables, path)


def _config(tables: dict[str, Any], path: str) -> Config:
    unknown = sorted(tables.keys() - set(Config._fields))
    if unknown:
        raise UsageError(
            f"{path} has a table {unknown[0]!r}, which nothing reads.", f"Known are {_listed(Config._fields)}."
        )
    prices = {name.lower(): _price(name, table, path) for name, table in _table(tables, "prices", path).items()}
    providers = _table(tables, "providers", path)
    for host, provider in providers.items():
        if not isinstance(provider, str) or not provider:
            raise UsageError(
                f"{path} has providers.{host!r} = {provider!r}, which names no provider.",
                'Write it as "gateway.example.com" = "openai".',
            )
    return Config(prices, {host.lower(): provider for host, provider in providers.items()})


def _table(tables: dict[str, Any], name: str, path: str) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, dict):
        raise UsageError(f"{path} has {name} = {table!r}, which is no table.", f"Write it as [{name}].")
    return table


def _price(model: str, table: Any, path: str) -> Price:
    where = f'[prices."{model}"]'
    if not isinstance(table, dict):
        hint = ' Put quotes around a name with dots: [prices."my-model-1.5"].' if model.isdigit() else ""
        raise UsageError(f"{path} has a price {model} = {table!r}, which is no table.", f"Write {where}.{hint}")
    unknown = sorted(table.keys() - set(Price._fields))
    if unknown:
        raise UsageError(
            f"{path} has {unknown[0]!r} in {where}, which is no price.",
            f"Known are {_listed(Price._fields)}; put quotes around a model's name with dots in it.",
        )
    missing = [name for name in ("input", "output") if name not in table]
    if missing:
        raise UsageError(
            f"{path} has no {missing[0]} in {where}.",
            "Give US dollars for a million tokens; 0 where it costs nothing.",
        )
    given = {name: _dollars(value, f"{where} {name}", path) for name, value in table.items()}
    before, after = given["input"], given["output"]
    return Price(
        before, after, given.get("cached", before), given.get("cache_write", before), given.get("reasoning", after)
    )


def _dollars(value: Any, where: str, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise UsageError(
            f"{path} has {where} = {value!r}, which is no price.",
            "Write US dollars for a million tokens as a number of 0 or more, such as 2.5.",
        )
    return float(value)


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
