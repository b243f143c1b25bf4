"""The signs of the application: one glyph for each meaning, in Unicode and in ASCII.

Every Unicode glyph is one cell wide by `rich.cells.cell_len`. Some are East-Asian ambiguous, and
some terminals have no font for them: `RASHOMON_ASCII=1` chooses the letters.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from rashomon.model import Grade, Kind


class Glyphs(NamedTuple):
    """One set of signs. `kinds` and `grades` are keyed by `Kind` and `Grade`."""

    kinds: Mapping[str, str]
    grades: Mapping[str, str]
    same: str
    content: str
    action: str
    left: str
    right: str
    moved: str
    yours: str
    error: str
    marked: str
    cursor: str
    lane: str
    branch: str
    nested: str
    absent: str
    rule: str
    arrow: str
    dot: str
    bar: str
    ascii: bool


_GRADE_WORDS = (Grade.EXACT, Grade.EXPLAINED, Grade.DRIFTED, Grade.STUBBED, Grade.LIVE, Grade.MISSED)

UNICODE = Glyphs(
    kinds={
        Kind.LLM: "◆",
        Kind.TOOL: "●",
        Kind.HTTP: "↯",
        Kind.MCP: "◇",
        Kind.CLOCK: "C",
        Kind.RANDOM: "R",
        Kind.SLEEP: "z",
        Kind.NOTE: "✎",
    },
    grades=dict(zip(_GRADE_WORDS, "=~≈⊕↗≠", strict=True)),
    same="=",
    content="≈",
    action="≠",
    left="‹",
    right="›",
    moved="↕",
    yours="⊕",
    error="✗",
    marked="⚑",
    cursor="▸",
    lane="│",
    branch="└",
    nested="·",
    absent="╱",
    rule="┄",
    arrow="→",
    dot="·",
    bar="│",
    ascii=False,
)

ASCII = Glyphs(
    kinds={
        Kind.LLM: "L",
        Kind.TOOL: "T",
        Kind.HTTP: "H",
        Kind.MCP: "M",
        Kind.CLOCK: "C",
        Kind.RANDOM: "R",
        Kind.SLEEP: "z",
        Kind.NOTE: "n",
    },
    grades=dict(zip(_GRADE_WORDS, "=.~+^#", strict=True)),
    same="=",
    content="~",
    action="#",
    left="<",
    right=">",
    moved="^",
    yours="+",
    error="X",
    marked="m",
    cursor=">",
    lane="|",
    branch="`",
    nested=".",
    absent="/",
    rule="-",
    arrow="->",
    dot="-",
    bar="|",
    ascii=True,
)


def choose(environ: Mapping[str, str] | None = None) -> Glyphs:
    """The set for a terminal: ASCII where `RASHOMON_ASCII`, the locale or `TERM` asks for it."""
    found = os.environ if environ is None else environ
    asked = found.get("RASHOMON_ASCII", "")
    if asked:
        return UNICODE if asked == "0" else ASCII
    if found.get("TERM", "") in ("dumb", "linux", "vt100", "vt220"):
        return ASCII
    locale = found.get("LC_ALL") or found.get("LC_CTYPE") or found.get("LANG") or "UTF-8"
    return UNICODE if "utf" in locale.lower() else ASCII
