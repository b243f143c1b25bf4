"""Texts with the shape of a known credential, and where they are in a body."""

from __future__ import annotations

import re
from collections.abc import Iterator

BEFORE = b"earer "
"""A needle that stands before its credential; the others begin theirs."""

SHAPES: tuple[tuple[bytes, str, bytes], ...] = (
    (b"sk-", "api_key", rb"(?<![A-Za-z0-9_\-])sk-[A-Za-z0-9_\-]{16,}"),
    (b"AKIA", "aws_key", rb"(?<![A-Za-z0-9])AKIA[0-9A-Z]{16}(?![A-Za-z0-9])"),
    (b"ASIA", "aws_key", rb"(?<![A-Za-z0-9])ASIA[0-9A-Z]{16}(?![A-Za-z0-9])"),
    (b"AIza", "google_key", rb"(?<![A-Za-z0-9])AIza[0-9A-Za-z_\-]{35}"),
    (b"ghp_", "github_token", rb"(?<![A-Za-z0-9])ghp_[A-Za-z0-9]{30,}"),
    (b"gho_", "github_token", rb"(?<![A-Za-z0-9])gho_[A-Za-z0-9]{30,}"),
    (b"ghs_", "github_token", rb"(?<![A-Za-z0-9])ghs_[A-Za-z0-9]{30,}"),
    (b"github_pat_", "github_token", rb"github_pat_[A-Za-z0-9_]{40,}"),
    (b"xox", "slack_token", rb"(?<![A-Za-z0-9])xox[abeprs]-[A-Za-z0-9\-]{10,}"),
    (b"eyJ", "jwt", rb"(?<![A-Za-z0-9_\-])eyJ[A-Za-z0-9_\-]{8,}\.eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}"),
    (BEFORE, "bearer", rb"(?<=[Bb]earer )[A-Za-z0-9_\-.~+/]{16,}=*"),
    (b"-----BEGIN", "private_key", rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"),
)  # fmt: skip
"""What each begins with, or is preceded by, what it is called, and its pattern; from their issuers' documentation."""


def spans(data: bytes) -> Iterator[tuple[int, int, str]]:
    """Where credentials are: start, end, and what each is."""
    for needle, name, shape in SHAPES:
        start = data.find(needle)
        if start >= 0:  # compiled when first needed: it takes a millisecond
            for first, end in found(re.compile(shape), needle, data, start):
                yield first, end, name


def found(shape: re.Pattern[bytes], needle: bytes, data: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Where a shape is in `data`, from the first place of its needle on: as `finditer`, which would look behind each
    byte. An image of many megabytes, in letters and digits, has every needle somewhere by chance.
    """
    offset, last = (len(needle) if needle == BEFORE else 0), 0
    while start >= 0:
        one = shape.match(data, start + offset) if start + offset >= last else None
        if one is not None:
            last = one.end()
            yield one.span()
        start = data.find(needle, start + 1)
