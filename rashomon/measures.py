"""Ages, sizes in bytes, lengths of time and sums of money: how people write them, and how they are shown to people.

age     30s 15m 24h 7d 2w 1y
size    500 20kB 1.5MB 20GiB, in any case, with or without the B; k is 1000, Ki is 1024
"""

from __future__ import annotations

import re

_AGE = r"(\d{1,12}(?:\.\d{1,12})?)\s*([smhdwy])"
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_557_600}
_LONGEST_NS = 2**62
"""146 years: what is older is as old, and any point in time less this one is still a number of 64 bits."""

_SIZE = r"(\d{1,18}(?:\.\d{1,9})?)\s*([kmgt]i?)?b?"
_SIZES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}


def age_ns(text: str) -> int | None:
    """`30d` in nanoseconds; None for what is no age."""
    found = re.fullmatch(_AGE, text.strip(), re.ASCII)
    return None if found is None else int(min(float(found[1]) * _AGES[found[2]] * 1e9, _LONGEST_NS))


def size_of(text: str) -> float | None:
    """`20GB` in bytes, not always whole ones; None for what is no size."""
    found = re.fullmatch(_SIZE, text.strip().lower(), re.ASCII)
    if found is None:
        return None
    unit = _SIZES[found[2]] if found[2] else 1
    value = float(found[1]) * unit if "." in found[1] else int(found[1]) * unit
    return int(value) if value == int(value) else value


def shown_size(count: int) -> str:
    """A number of bytes: `812 B`, `1.2 kB`, `20.0 GB`."""
    if abs(count) < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if abs(value) < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} TB"


def shown_duration(us: int | None) -> str:
    """A length of time in at most six characters: `88ms`, `2.41s`, `1m02s`; empty for None."""
    if us is None:
        return ""
    if us < 1000:
        return f"{us}µs"
    if us < 999_500:
        return f"{us / 1000:.1f}ms" if us < 9_950 else f"{round(us / 1000)}ms"
    seconds = us / 1_000_000
    if seconds < 59.95:
        return f"{seconds:.2f}s" if seconds < 9.995 else f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m" if hours < 100 else f"{hours}h"


def shown_cost(dollars: float | None, unpriced: int = 0) -> str:
    """What calls cost, in at most eight characters: `$0.0123`, `$4.10`, `$12.3k`. `?` where no price is known, and a
    `+` behind a sum that lacks the price of some. Empty where nothing was to be paid for."""
    if dollars is None:
        return "?" if unpriced else ""
    more = "+" if unpriced else ""
    if dollars == 0:
        return f"$0{more}"
    if dollars < 0.00005:
        return f"<$.0001{more}"
    decimals = 4 if dollars < 0.99995 else 2 if dollars < 999.995 else None
    if decimals is not None:
        return f"${dollars:.{decimals}f}{more}"
    return f"${dollars / 1000:.1f}k{more}" if dollars < 999_950 else f"${dollars / 1e6:.1f}M{more}"


def told_cost(dollars: float | None, unpriced: int) -> str:
    """The same in words; empty where nothing was to be paid for."""
    if dollars is None:
        return "not known" if unpriced else ""
    without = f", without {unpriced:,} call{'s' * (unpriced != 1)} of unknown price" if unpriced else ""
    return f"${dollars:,.4f}{without}"
