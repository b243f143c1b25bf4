"""How a value that was read from the clock or from chance may look in a text: every usual spelling, both ways.

A spelling is named by its form. Of two values that were read at the same place, the texts of one form are compared;
where only the live value is known, a recorded text of the same form is taken for its counterpart when it tells a
moment of the recording, or is as long and made of the same signs.
"""

from __future__ import annotations

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, NamedTuple

SHORTEST = 3
"""A text of fewer characters is found in too many places to follow it."""

_SHAPED = 8
"""From so many characters on, the form alone says that a text was drawn, too."""

_TIMES = (
    *("%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%3", "%Y-%m-%d %H:%M:%S.%3"),
    *("%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%Y-%m-%d", "%Y-%m"),
    *("%H:%M:%S.%f", "%H:%M:%S", "%H:%M", "%I:%M:%S %p", "%I:%M %p"),
    *("%Y%m%dT%H%M%S", "%Y%m%d%H%M%S", "%Y%m%d_%H%M%S", "%Y%m%d-%H%M%S", "%Y%m%d", "%H%M%S"),
    *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%m/%d/%y", "%Y/%m/%d %H:%M:%S", "%Y"),
    *("%a, %d %b %Y %H:%M:%S", "%a %b %d %H:%M:%S %Y", "%A, %B %d, %Y", "%A, %d %B %Y", "%A"),
    *("%B %d, %Y", "%d %B %Y", "%b %d, %Y", "%d %b %Y", "%B %d", "%d %B", "%b %d", "%B %Y", "%B"),
)
"""Forms of a moment, in the words of `strftime`; `%3` are milliseconds."""

_HOURS = re.compile("%[HMSIf3p]")
_DATE = re.compile("%[dbBYAa]")
_DAY = 86_400.0
_RESOLUTIONS = (
    (re.compile("%[Sf3]|^[^%]*$"), 1.0),
    (re.compile("%M"), 60.0),
    (re.compile("%[daA]"), _DAY),
    (re.compile("%[mbB]"), 31 * _DAY),
    (re.compile("%"), 366 * _DAY),
)
_EPOCHS = (("s", 1), ("ms", 1000), ("us", 1_000_000), ("ns", 1_000_000_000))
_HEX_FORMS = ("hex", "HEX", "uuid", "UUID", "bare", "BARE", "x")
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


class Spelling(NamedTuple):
    """One way to write a value, and the text that it gives; `at` are the Unix seconds that it tells, if any."""

    form: str
    text: str
    at: float | None = None


def spellings(value: Any, what: str = "") -> tuple[Spelling, ...]:
    """Every usual spelling of a value that is long enough to be followed, the longest first; `what` names the function
    that gave it, which says how the numbers of a moment are to be read."""
    try:
        return _spellings(_as_read(what, value))
    except TypeError:  # not hashable: a list
        return _sorted(value)


@lru_cache(maxsize=2048, typed=True)
def _spellings(value: Any) -> tuple[Spelling, ...]:
    return _sorted(value)


def _as_read(what: str, value: Any) -> Any:
    """A value as the program got it: the players of `time` and `datetime` keep moments as numbers."""
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, int) for item in value[:6]):
        return value
    try:
        if what == "datetime.date.today":
            return date(*value[:3])
        if what.startswith("datetime.datetime."):
            return datetime(*value[:7]).replace(tzinfo=UTC if what.endswith(("utcnow", "(tz)")) else None)
        if what.startswith("time.") and len(value) >= 6:
            return datetime(*value[:6]).replace(tzinfo=UTC if what == "time.gmtime" else None)
    except (TypeError, ValueError):  # other numbers than those of a moment
        pass
    return tuple(value)


def _sorted(value: Any) -> tuple[Spelling, ...]:
    found = dict.fromkeys(item for item in _all(value) if len(item.text) >= SHORTEST)
    return tuple(sorted(found, key=lambda item: -len(item.text)))


def _all(value: Any, depth: int = 0) -> Iterator[Spelling]:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _numbers(value)
    elif isinstance(value, bytes):
        yield from _bytes(value)
    elif isinstance(value, str):
        yield from _texts(value)
    elif isinstance(value, date):
        yield from _moments(value)
    elif isinstance(value, (list, tuple)) and depth < 2:
        for place, item in enumerate(value[:16]):
            yield from (one._replace(form=f"{place}:{one.form}") for one in _all(item, depth + 1))
    elif type(value).__name__ == "UUID":
        yield from _texts(str(value))


def _numbers(value: int | float) -> Iterator[Spelling]:
    at = _as_moment(value)
    yield Spelling("repr", repr(value), at)
    if isinstance(value, float):
        if not abs(value) < 1e17:
            return
        for digits in range(1, 8):
            yield Spelling(f".{digits}f", f"{value:.{digits}f}", at)
            yield Spelling(f".{digits}", str(round(value, digits)), at)
    elif value >= 1 << 24:
        yield Spelling("x", f"{value:x}")
    if at is not None:
        for name, scale in _EPOCHS:
            whole = int(at * scale) if isinstance(value, float) else _scaled(value, scale)
            yield Spelling(f"epoch {name}", str(whole), at)
        yield from _moments(datetime.fromtimestamp(at, UTC))


def _as_moment(value: float) -> float | None:
    """A number as Unix seconds, when its size says that it is a time of these decades."""
    for _, scale in _EPOCHS:
        if 1e9 <= value / scale < 4e9:
            return value / scale
    return None


def _scaled(value: int, scale: int) -> int:
    """An integer time in another unit, without rounding."""
    own = next(own for _, own in _EPOCHS if 1e9 <= value / own < 4e9)
    return value * scale // own


def _moments(value: date) -> Iterator[Spelling]:
    if not isinstance(value, datetime):
        at = datetime(value.year, value.month, value.day).timestamp()
        yield from (Spelling(form, value.strftime(form), at) for form in _TIMES if not _HOURS.search(form))
        return
    try:
        at = value.timestamp()
        other = value.astimezone() if value.tzinfo else value.astimezone(UTC)
    except (OverflowError, OSError, ValueError):  # a year that no clock shows
        return
    yield from (Spelling(f"epoch {name}", str(int(at * scale)), at) for name, scale in _EPOCHS[:3])
    yield Spelling("repr", repr(at), at)
    for one in dict.fromkeys((value.replace(tzinfo=None), other.replace(tzinfo=None))):
        yield from (Spelling(form, _formatted(one, form), at) for form in _TIMES)


def _formatted(moment: datetime, form: str) -> str:
    if form.endswith("%3"):
        return moment.strftime(form[:-2]) + f"{moment.microsecond // 1000:03}"
    return moment.strftime(form)


def _bytes(value: bytes) -> Iterator[Spelling]:
    yield Spelling("hex", value.hex())
    yield Spelling("HEX", value.hex().upper())
    for name, encode in (("base64", b64encode), ("urlsafe", urlsafe_b64encode)):
        text = encode(value).decode()
        yield Spelling(name, text)
        yield Spelling(f"{name} bare", text.rstrip("="))
    if len(value) == 16:
        from uuid import UUID

        for version in (None, 4):
            made = str(UUID(bytes=value, version=version))
            yield from (one._replace(form=f"v{version} {one.form}") for one in _texts(made))


def _texts(value: str) -> Iterator[Spelling]:
    yield Spelling("text", value)
    if _UUID.fullmatch(value):
        bare = value.replace("-", "").lower()
        dashed = f"{bare[:8]}-{bare[8:12]}-{bare[12:16]}-{bare[16:20]}-{bare[20:]}"
        for name, text in (("uuid", dashed), ("UUID", dashed.upper()), ("bare", bare), ("BARE", bare.upper())):
            yield Spelling(name, text)
    elif value[:4].isdecimal() and "-" in value[4:8]:
        try:
            yield from _moments(datetime.fromisoformat(value))
        except ValueError:  # begins like a date, and is none
            pass


# ------------------------------------------------------------------------------------- the way back


def counterpart(spelling: Spelling, text: str, start: int, span: tuple[float, float] | None) -> str | None:
    """What stands at `start` of a recorded text where the live one has this spelling of a value; None when it is of
    another form. `span` is when the recording began and ended, in Unix seconds: a moment must lie within it."""
    match = _pattern(spelling).match(text, start)
    if match is None:
        return None
    if spelling.at is None:
        return match[0] if len(spelling.text) >= _SHAPED else None
    try:
        moment = _moment(match[0], spelling)
    except ValueError:  # looks like a time, and is none
        return None
    return match[0] if span is not None and _is_within(moment, spelling.form, span) else None


def _is_within(moment: float, form: str, span: tuple[float, float]) -> bool:
    """Whether a moment lies in the recording, as exactly as its form tells it; without a date, on any day."""
    if _HOURS.search(form) and not _DATE.search(form):
        moment += round((span[0] - moment) / _DAY) * _DAY
    slack = next(seconds for units, seconds in _RESOLUTIONS if units.search(form))
    return span[0] - slack <= moment <= span[1] + slack


@lru_cache(maxsize=512)
def _pattern(spelling: Spelling) -> re.Pattern[str]:
    form, live, at = spelling
    if at is not None and "%" in form:
        return re.compile(re.sub("[A-Za-z]{2,}", "[A-Za-z]+", re.sub("[0-9]", "[0-9]", re.escape(live))))
    name = form.rpartition(" ")[2]
    if (name == "bare" and "base64" in form) or name in ("base64", "urlsafe"):
        return re.compile(f"[0-9A-Za-z+/_-]{{{len(live.rstrip('='))}}}" + "=" * live.count("="))
    if name in _HEX_FORMS:
        signs = "[0-9a-f]" if name.islower() else "[0-9A-F]"
        return re.compile("".join("-" if sign == "-" else signs for sign in live))
    if live.isdecimal():
        return re.compile(f"[0-9]{{{len(live)}}}")
    if re.fullmatch(r"[0-9]+\.[0-9]+", live):
        return re.compile(r"[0-9]+\.[0-9]+")
    return re.compile("".join("[0-9A-Za-z]" if sign.isalnum() else re.escape(sign) for sign in live))


def _moment(text: str, spelling: Spelling) -> float:
    """The Unix seconds that a text tells, in the form and the time zone of the live one."""
    form, live, at = spelling
    assert at is not None
    if "%" not in form:
        found = _as_moment(float(text))
        if found is None:
            raise ValueError(text)
        return found
    return at + (_parsed(text, form) - _parsed(live, form)).total_seconds()


def _parsed(text: str, form: str) -> datetime:
    return datetime.strptime(text, form.replace("%3", "%f"))
