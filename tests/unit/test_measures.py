"""Ages, sizes and lengths of time, as people write them and as they are shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rashomon import filters, measures
from rashomon.commands import options
from rashomon.errors import UsageError

HOUR = 3_600_000_000_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [("30s", HOUR // 120), ("90m", HOUR * 3 // 2), ("24h", 24 * HOUR), ("7d", 168 * HOUR), ("2w", 336 * HOUR),
     ("1y", 31_557_600 * 10**9), ("1.5 h", HOUR * 3 // 2), (" 1h ", HOUR), ("0s", 0), ("999999999999y", 2**62)],
)  # fmt: skip
def test_an_age_is_a_number_and_a_unit(text: str, ns: int) -> None:
    """Seconds to years; what is longer than 146 years is so long."""
    assert measures.age_ns(text) == ns


@pytest.mark.parametrize("text", ["", "7", "d", "7 days", "-7d", "7D", "1e3s", "٣d", "9" * 400 + "s"])
def test_what_is_no_age_is_none(text: str) -> None:
    """And an option that takes one says so."""
    assert measures.age_ns(text) is None
    with pytest.raises(UsageError, match=r"--keep .* is no age"):
        options.age("--keep", text)


@pytest.mark.parametrize(
    ("text", "count"),
    [("0", 0), ("500", 500), ("500B", 500), ("20kB", 20_000), ("20KB", 20_000), ("20k", 20_000), ("1K", 1000),
     ("1.5MB", 1_500_000), ("1.5 mb", 1_500_000), ("20GB", 20 * 10**9), ("2T", 2 * 10**12), ("1Ki", 1024),
     ("20GiB", 20 << 30), ("1.5", 1.5)],
)  # fmt: skip
def test_a_size_is_a_number_and_a_unit(text: str, count: float) -> None:
    """In any case, with or without the B; Ki and its like are powers of two."""
    assert measures.size_of(text) == count
    assert options.size("--max-size", text) == int(count)


@pytest.mark.parametrize("text", ["", "big", "-1", "1e3", "20PB", "20i", "20 G B", "1,000", "9" * 400, "nan"])
def test_what_is_no_size_is_none(text: str) -> None:
    """And an option that takes one says so."""
    assert measures.size_of(text) is None
    with pytest.raises(UsageError, match=r"--max-size .* is no size"):
        options.size("--max-size", text)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (812, "812 B"), (1000, "1.0 kB"), (1234, "1.2 kB"), (999_949, "999.9 kB"), (999_950, "1.0 MB"),
     (20 * 10**9, "20.0 GB"), (3 * 10**12, "3.0 TB"), (5 * 10**15, "5000.0 TB"), (-1234, "-1.2 kB")],
)  # fmt: skip
def test_sizes_are_short(count: int, text: str) -> None:
    """A size has one digit behind its point, and the unit in which it is written."""
    assert measures.shown_size(count) == text


@given(st.integers(0, 10**12))
def test_a_size_that_is_shown_can_be_written(count: int) -> None:
    """What is shown is read again, as a number that is shown alike."""
    again = measures.size_of(measures.shown_size(count))
    assert again is not None
    assert measures.shown_size(int(again)) == measures.shown_size(count)


@pytest.mark.parametrize(
    ("us", "text"),
    [(None, ""), (0, "0µs"), (999, "999µs"), (1500, "1.5ms"), (9_949, "9.9ms"), (9_950, "10ms"), (88_000, "88ms"),
     (999_700, "1.00s"), (2_414_000, "2.41s"), (9_994_000, "9.99s"), (9_996_000, "10.0s"), (59_940_000, "59.9s"),
     (59_960_000, "1m00s"), (62_000_000, "1m02s"), (3_599_700_000, "1h00m"), (3_720_000_000, "1h02m"),
     (900_000_000_000, "250h")],
)  # fmt: skip
def test_durations_are_short(us: int | None, text: str) -> None:
    """A length of time is rounded, and empty where it is not known."""
    assert measures.shown_duration(us) == text


@given(st.integers(0, 10**14))
def test_durations_have_six_characters_at_most(us: int) -> None:
    """Up to three years they fit into a column of six."""
    assert len(measures.shown_duration(us)) <= 6


@pytest.mark.parametrize("text", ["since:1y", "until:1.5y", "size>20GiB", "size>1K", "size:1kB..2TB"])
def test_filters_take_the_same(text: str) -> None:
    """What an option takes for an age or a size, a filter takes."""
    assert len(filters.parse(text).terms) == 1


@pytest.mark.parametrize(
    ("dollars", "unpriced", "shown"),
    [(None, 0, ""), (None, 3, "?"), (0.0, 0, "$0"), (0.0, 1, "$0+"), (0.00002, 0, "<$.0001"), (0.0123, 0, "$0.0123"),
     (0.99994, 2, "$0.9999+"), (0.99996, 0, "$1.00"), (4.1, 0, "$4.10"), (999.994, 1, "$999.99+"),
     (999.996, 0, "$1.0k"), (12_345, 0, "$12.3k"), (999_960, 0, "$1.0M")],
)  # fmt: skip
def test_what_calls_cost_is_short(dollars: float | None, unpriced: int, shown: str) -> None:
    """A price that is not known is no zero, and a sum without some of them says so."""
    assert measures.shown_cost(dollars, unpriced) == shown


@given(st.floats(0, 1e8), st.integers(0, 3))
def test_it_fits_its_column(dollars: float, unpriced: int) -> None:
    """Eight characters, whatever it cost."""
    assert len(measures.shown_cost(dollars, unpriced)) <= 8


@pytest.mark.parametrize(
    ("dollars", "unpriced", "told"),
    [(None, 0, ""), (None, 1, "not known"), (1.5, 0, "$1.5000"), (0.0, 1, "$0.0000, without 1 call of unknown price"),
     (1234.5, 2, "$1,234.5000, without 2 calls of unknown price")],
)  # fmt: skip
def test_it_is_told_in_words(dollars: float | None, unpriced: int, told: str) -> None:
    """How many calls a sum lacks is told."""
    assert measures.told_cost(dollars, unpriced) == told
