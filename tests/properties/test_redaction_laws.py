"""Secrets are found as their patterns find them, however the search for them is made quick."""

from __future__ import annotations

import base64
import random
import re
import time

from hypothesis import example, given
from hypothesis import strategies as st

from rashomon import credentials
from rashomon.redaction import Redactor

_WHOLE = [
    b"sk-" + b"a1_-" * 5, b"AKIA" + b"A7" * 8, b"AIza" + b"aZ9-_" * 7, b"ghp_" + b"a1" * 15, b"xoxb-" + b"1-a" * 4,
    b"eyJ" + b"a" * 8 + b".eyJ" + b"b" * 8 + b"." + b"c" * 8, b"Bearer " + b"t" * 16, b"bearer " + b"t.-" * 6 + b"=",
    b"github_pat_" + b"a_1" * 14, b"-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----",
]  # fmt: skip
_PARTS = [
    *_WHOLE,
    *(needle for needle, _, _ in credentials.SHAPES),
    b"a",
    b"9",
    b"-",
    b"_",
    b" ",
    b'"',
    b".",
    b"Bearer",
]


@given(st.lists(st.sampled_from(_PARTS), max_size=12).map(b"".join))
@example(b"Bearer " + b"x" * 16 + b"Bearer " + b"y" * 16)
@example(b"sk-" * 12)
def test_shapes_are_found_where_their_patterns_are(data: bytes) -> None:
    """By needles, in the places where a search from left to right finds them."""
    for needle, _, shape in credentials.SHAPES:
        pattern, start = re.compile(shape), data.find(needle)
        found = [] if start < 0 else list(credentials.found(pattern, needle, data, start))
        assert found == [one.span() for one in pattern.finditer(data)]


def test_an_image_in_letters_is_searched_quickly() -> None:
    """Every needle comes up in it by chance; to look behind each of its bytes for them takes many times as long."""
    image = base64.b64encode(random.Random(5).randbytes(18_000_000))
    there = [shape for needle, _, shape in credentials.SHAPES if needle in image]
    assert len(there) >= 4
    redactor = Redactor(b"k" * 16, {})
    began = time.process_time()
    replaced = redactor.content(b'{"image":"%s","api_key":"%s"}' % (image, b"z" * 20))
    took = time.process_time() - began
    assert replaced.count(b"<secret:") == 1
    began = time.process_time()
    assert not any(re.search(shape, image) for shape in there)
    assert took < (time.process_time() - began) / 2
