"""What the store appends in bulk says the same as the values that it was made of."""

from __future__ import annotations

from array import array

from hypothesis import example, given
from hypothesis import strategies as st

from rashomon.lines import one_line
from rashomon.model import End as Ended
from rashomon.model import Kind, Piece, Request, Response, Step
from rashomon.store import columns
from rashomon.store.heads import Heads, Odd
from rashomon.views import summary

NUMBERS = st.lists(st.integers(0, 12), min_size=1, max_size=12)
RUNS = st.builds(
    lambda front, first, count: [*front, *range(first, first + count)], NUMBERS, NUMBERS.map(sum), st.integers(0, 9)
)
CONTENTS = st.binary(max_size=6) | st.text(max_size=4).map(str.encode)


@given(st.lists(RUNS | NUMBERS, min_size=1, max_size=6))
def test_the_parts_of_requests_can_be_told_from_their_columns(requests: list[list[int]]) -> None:
    """Frame, system prompt, messages in between and the run at the end are the request's parts, in their order, and
    the run is as long as it can be, whatever the requests before were."""
    values = array("i", [number for request in requests for number in request])
    made = columns.parts(values, map(len, requests))
    rows = zip(*[made[name].to_pylist() for name in made], strict=True)
    for request, (frame, lead, first, last, others) in zip(requests, rows, strict=True):
        run = [] if first is None else list(range(first, last + 1))
        assert [frame, *([] if lead is None else [lead]), *others, *run] == request
        assert not others or others[-1] + 1 != first
        assert others or lead is None or lead + 1 != first


@given(st.lists(CONTENTS, max_size=6))
@example([b"{}", b"\x92\x90\x81", b"\xc3\xa9", b"a\xff", b""])
def test_every_part_is_a_text_or_a_body(contents: list[bytes]) -> None:
    """What UTF-8 can read is in the column for texts, anything else in the one for bytes, and nothing in both."""
    table = columns.of_parts([(f"b2:{number}", content, number) for number, content in enumerate(contents)])
    for content, text, body in zip(contents, table["text"].to_pylist(), table["body"].to_pylist(), strict=True):
        assert (text is None) != (body is None)
        assert content == (body if text is None else text.encode())
        assert text is not None or not _is_text(content)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.text(max_size=40), st.integers(1, 50))
def test_a_short_text_is_the_same_line_whatever_the_width(text: str, width: int) -> None:
    """A text that needs no cutting is the line that a far wider place would show."""
    wide = one_line(text, 200)
    if len(wide) <= width:
        assert one_line(text, width) == wide


TYPES = st.sampled_from(["", "application/json", "Text/Event-Stream", "text/plain", "x\ty"])
NAMES = st.sampled_from(["content-type", "Content-Type", "content-encoding", "x-request-id"])


@given(st.lists(st.tuples(NAMES, TYPES), max_size=4), st.sampled_from([b'{"choices": []}', b"data: {}\n\n", b"plain"]))
def test_what_a_head_is_known_to_say_of_its_content_is_what_it_says(
    headers: list[tuple[str, str]], body: bytes
) -> None:
    """A summary made with what was known of the answer's head is the one made of the head itself."""
    try:
        headed = Heads({}).headed({"status": 200, "headers": [[None, *pair] for pair in headers]})
    except Odd:
        return
    assert headed.encoding is not None
    assert headed.type is not None
    response = Response(headed.head, (Piece(0, body),), Ended.COMPLETE)
    request = Request({"method": "POST", "url": "https://api.example.com/v1/chat/completions"}, b"{}")
    step = Step("0.0", 0, Kind.LLM, "chat", (), 0, request, response)
    known = headed.encoding.lower(), headed.type.lower()
    assert summary(step, None, None, body, known) == summary(step)
