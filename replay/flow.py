"""Following values: whether what differs between two requests came from the clock, from chance, or from an answer
that this replay gave in place of the recorded one. Pure: texts and values in, causes out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rashomon.model import Call, End, Json, Read, Response, Site, Step, Uncontrolled
from rashomon.replay.renderings import Spelling, counterpart, spellings

if TYPE_CHECKING:
    from rashomon.replay.differences import Difference


class _Unknown:
    """The value of a read that the recording does not tell."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()
_MOST = 128
"""Of so many reads, the last ones, it is tried whether a difference flows from them."""
_LONGEST = 200
_NOTHING = Response(None, (), End.OPEN)


class Reading(NamedTuple):
    """A read of this replay that may have given another value than in the recording.

    `kind` and `what` as in `Read`; `live` is what it gave now, `recorded` what it gave then: `UNKNOWN` for the
    standard library's and packages' own reads, which are not recorded, and for reads that the recording did not
    make. `reason` says why it is not controlled, as the end of a sentence: "the recording has no more reads here".
    """

    kind: str
    what: str
    live: Any
    recorded: Any = UNKNOWN
    site: Site | None = None
    reason: str = ""


class Substitution(NamedTuple):
    """A call of this replay that got another answer than the recorded one.

    `how` is "stubbed", "live", "drifted" or "explained"; `call` as it was made, `response` what it got, and
    `recorded` the step that it stands for, if any.
    """

    how: str
    call: Call
    response: Response
    recorded: Step | None = None


class Sources(NamedTuple):
    """Where differences of a replay may come from. The sequences may grow while the replay runs.

    `reads` is what the recording read; `span` is when it began and ended, in Unix seconds; `uncontrolled` what the
    recording and the replay found that cannot be controlled.
    """

    readings: Sequence[Reading] = ()
    substitutions: Sequence[Substitution] = ()
    reads: Sequence[Read] = ()
    span: tuple[float, float] | None = None
    uncontrolled: Sequence[Uncontrolled] = ()


NOTHING = Sources()


class Flowed(NamedTuple):
    """A stretch of two texts that differs, and the read that it came from."""

    recorded: str
    live: str
    reading: Reading


def explained(step: Step, call: Call, sources: Sources) -> list[tuple[str, Flowed]] | None:
    """The path of every difference between a recorded request and a call, and the read that it flows from.

    None when there is none, or one of them does not flow from a read.
    """
    from rashomon.replay.differences import strict_differences

    asked = Step("", 0, call.kind, call.name, (), 0, call.request, _NOTHING)
    found: list[tuple[str, Flowed]] = []
    for difference in strict_differences(step, asked):
        flowed = follow(difference, sources)
        if flowed is None:
            return None
        found += [(difference.path, one) for one in flowed]
    return found or None


def told(flowed: Sequence[tuple[str, Flowed]]) -> str:
    """What differs, and where it was read, for `Match.detail`."""
    from rashomon import views

    lines = []
    for path, one in flowed[:3]:
        before, after = views.one_line(one.recorded, 60), views.one_line(one.live, 60)
        lines.append(f'{path} differs at "{before}" → "{after}", {origin(one.reading)}')
    return "; ".join(lines) + (f"; and {len(flowed) - 3} more" if len(flowed) > 3 else "")


def origin(reading: Reading) -> str:
    """Where a value was read: "read from time.time() at agent.py:34 in main"."""
    return f"read from {called(reading.what)}{place(reading.site)}"


def called(what: str) -> str:
    """The name of a function as it is called: `time.time()`, `os.urandom(16)`."""
    return what if what.endswith(")") else f"{what}()"


def place(site: Site | None) -> str:
    """A place in the source, for a sentence: " at agent.py:34 in main"; empty where it is not known."""
    if site is None:
        return ""
    name = site.file.replace("\\", "/").rpartition("/")[2]
    return f" at {name}:{site.line}" + (f" in {site.function}" if site.function not in ("", "<module>") else "")


def follow(difference: Difference, sources: Sources) -> list[Flowed] | None:
    """The reads from which one difference flows; None when any part of it does not."""
    left, right = _text(difference.left), _text(difference.right)
    if left is None or right is None or difference.op not in ("text", "changed"):
        return None
    if isinstance(difference.left, str) is not isinstance(difference.right, str):
        return None
    found: list[Flowed] = []
    i = j = 0
    while True:
        same = shared(left, i, right, j)
        i, j = i + same, j + same
        if i == len(left) and j == len(right):
            return found
        flowed = _flowed(left, i, right, j, sources)
        if flowed is None:
            return None
        one, next_i, next_j = flowed
        if (next_i, next_j) == (i, j):
            return None
        i, j = next_i, next_j
        found.append(one)


def _text(value: Json) -> str | None:
    """A leaf as the text that it is printed as."""
    if isinstance(value, str):
        return value
    return repr(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def shared(a: str, i: int, b: str, j: int) -> int:
    """For how many characters two texts go on alike from two places."""
    start, block = i, 64
    while a[i : i + block] == b[j : j + block] and i < len(a) and j < len(b):
        size = min(block, len(a) - i, len(b) - j)
        i, j, block = i + size, j + size, block * 2
    for x, y in zip(a[i : i + block], b[j : j + block], strict=False):
        if x != y:
            break
        i += 1
    return i - start


def _flowed(left: str, i: int, right: str, j: int, sources: Sources) -> tuple[Flowed, int, int] | None:
    """The longest spelling of a read's value that stands where the texts begin to differ, and where it ends."""
    best: tuple[Flowed, int, int] | None = None
    window = right[max(0, j - _LONGEST) : j + _LONGEST]
    for reading in reversed(sources.readings[-_MOST:]):
        known = (
            {}
            if reading.recorded is UNKNOWN
            else {form: text for form, text, _ in spellings(reading.recorded, reading.what)}
        )
        for spelling in spellings(reading.live, reading.what):
            if best is not None and len(spelling.text) <= len(best[0].live):
                break
            if spelling.text not in window:
                continue
            for start in _starts(right, spelling.text, j):
                begins = i - (j - start)
                text = _recorded_text(reading, spelling, known, left, begins, sources)
                if text is None or text == spelling.text:
                    continue
                ends = begins + len(text), start + len(spelling.text)
                if ends[0] >= i and bounded(left, begins, ends[0]) and bounded(right, start, ends[1]):
                    best = Flowed(text, spelling.text, reading), *ends
                    break
    return best


def _starts(right: str, text: str, j: int) -> Iterator[int]:
    """Where a text stands so that it covers a place, or ends there."""
    start = right.find(text, max(0, j - len(text)), j + len(text))
    while 0 <= start <= j:
        yield start
        start = right.find(text, start + 1, j + len(text))


def _recorded_text(
    reading: Reading, spelling: Spelling, known: dict[str, str], left: str, start: int, sources: Sources
) -> str | None:
    if start < 0:
        return None
    if reading.recorded is UNKNOWN:
        return counterpart(spelling, left, start, sources.span)
    text = known.get(spelling.form)
    return text if text is not None and left.startswith(text, start) else None


def bounded(text: str, start: int, end: int) -> bool:
    """A number does not stand within a longer number, nor a word within a longer word."""
    return not (
        _joined(text[start - 1 : start], text[start : start + 1]) or _joined(text[end - 1 : end], text[end : end + 1])
    )


def _joined(a: str, b: str) -> bool:
    return (a.isdigit() and b.isdigit()) or (a.isalpha() and b.isalpha())
