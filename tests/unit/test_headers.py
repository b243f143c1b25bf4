"""What the headers of an answer announce, whether the journal has defined them or not."""

from __future__ import annotations

from typing import Any

import pytest

from rashomon.recorders.headers import Headers
from rashomon.redaction import Redactor

SAMPLES = [
    ([(b"Content-Length", b"700"), (b"content-type", b"application/json")], 700),
    ([(b"content-type", b"text/event-stream; charset=utf-8"), (b"content-length", b"12")], -1),
    ([(b"content-length", b"12"), (b"content-type", b"text/event-stream")], -1),
    ([("Content-Type", "text/event-stream")], -1),
    ([["content-length", "5"]], 5),
    ([(b"content-length", b"-5")], 0),
    ([("content-length", "\N{SUPERSCRIPT TWO}")], 0),
    ([(b"content-length", b"")], 0),
    ([(b"x-content-length", b"7")], 0),
    ([], 0),
]


@pytest.mark.parametrize(("headers", "size"), SAMPLES)
def test_known_and_new_headers_announce_the_same(headers: Any, size: int) -> None:
    """The first time they are defined, the second they are numbers, and after a loss they are defined again."""
    known = Headers(Redactor(b"k" * 16, {}))
    for _ in range(2):
        defined: Any = []
        out, said = known.answered(headers, defined)
        assert (len(defined), said) == (len(headers), size)
        known.define(defined)
        again, said = known.answered(headers, defined := [])
        assert (again, defined, said) == ([number for number, _, _ in out], [], size)
        known.forget()


def test_lengths_beyond_those_that_are_remembered() -> None:
    """A length that never came before is announced, however many there have been."""
    known = Headers(Redactor(b"k" * 16, {}))
    for length in range(1, 100):
        defined: Any = []
        out, said = known.answered([(b"content-length", b"%d" % length), (b"server", b"x")], defined)
        known.define(defined)
        assert said == length
    assert out[0] == (None, "content-length", "99")
    assert type(out[1]) is int
