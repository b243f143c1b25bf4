"""The settings of a home: what `config.toml` may say, and what is said of one that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from rashomon import config
from rashomon.errors import UsageError


def test_a_home_without_settings_has_the_defaults(tmp_path: Path) -> None:
    """No file is no mistake."""
    assert config.read(tmp_path) == config.Config()


def test_prices_and_providers_are_read(tmp_path: Path) -> None:
    """What is left out costs as input or output; names of models and hosts do not mind capitals."""
    (tmp_path / "config.toml").write_text(
        '[prices."My-Model.v1"]\ninput = 2.5\noutput = 10\ncached = 1.25\n'
        '[prices.free]\ninput = 0\noutput = 0\n[providers]\n"Gateway.example.com" = "openai"\n'
    )
    found = config.read(tmp_path)
    assert found.prices == {
        "my-model.v1": config.Price(2.5, 10.0, 1.25, 2.5, 10.0),
        "free": config.Price(0.0, 0.0, 0.0, 0.0, 0.0),
    }
    assert found.providers == {"gateway.example.com": "openai"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[prices.m]\ninput = -1\noutput = 2", 'has [prices."m"] input = -1, which is no price'),
        ('[prices.m]\ninput = "2.5"\noutput = 2', "input = '2.5', which is no price"),
        ("[prices.m]\ninput = true\noutput = 2", "input = True, which is no price"),
        ("[prices.m]\ninput = nan\noutput = 2", "input = nan, which is no price"),
        ("[prices.m]\ninput = inf\noutput = 2", "input = inf, which is no price"),
        ("[prices.m]\ninput = 1", 'has no output in [prices."m"]'),
        ("[prices.m]\ninput = 1\noutput = 1\ninptu = 2", "has 'inptu' in"),
        ("[prices.gpt-4.1]\ninput = 1\noutput = 1", "put quotes around a model's name with dots"),
        ("prices = 3", "has prices = 3, which is no table"),
        ("[prices]\nm = 3", "has a price m = 3, which is no table"),
        ("[price.m]\ninput = 1", "has a table 'price', which nothing reads. Known are prices, providers."),
        ('[providers]\n"x" = 3', "names no provider"),
        ("[prices", "is no TOML"),
        ("\x00", "is no TOML"),
    ],
)
def test_a_wrong_setting_is_refused_with_a_sentence(tmp_path: Path, text: str, told: str) -> None:
    """The file, the place, the value, and what to do."""
    (tmp_path / "config.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        config.read(tmp_path)
    assert str(tmp_path / "config.toml") in caught.value.problem
    assert told in str(caught.value)
    assert caught.value.remedy


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and a folder of that name, are said to be so."""
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="is no TOML"):
        config.read(tmp_path)
    (tmp_path / "config.toml").unlink()
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        config.read(tmp_path)


def test_the_documented_settings_are_read(tmp_path: Path) -> None:
    """The example of `docs/cost.md` is one, and its comments are true."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "cost.md").read_text()
    (tmp_path / "config.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    found = config.read(tmp_path)
    assert found.prices["my-model"] == config.Price(input=2.5, output=10, cached=1.25, cache_write=2.5, reasoning=10)
    assert found.providers == {"gateway.example.com": "openai", "localhost:4000": "anthropic"}
