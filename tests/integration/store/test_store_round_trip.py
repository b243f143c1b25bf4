"""Whatever a journal says comes out of the store equal, to the byte."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rashomon import tapes, views
from rashomon.canonical import content_digest, digest
from rashomon.journal import Code, common_prefix, common_suffix
from rashomon.model import Call, End, Failure, Grade, Kind, Match, Piece, Request, Response, Step, Tape, Trace
from rashomon.store import TraceStore, bodies, ingest
from rashomon.store.growing import grown
from tests.faults.store_journals import write_frames
from tests.steps import http, said
from tests.steps import tape as tape_of

TEXTS = st.text(st.characters(exclude_categories=()), max_size=12)
"""Any text, lone surrogates and control characters too."""

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXTS
JSONS = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))
VALUES = st.recursive(
    SCALARS | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS | st.integers(0, 9), inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.lists(st.tuples(TEXTS, TEXTS).map(list), max_size=4)


@st.composite
def json_bodies(draw: st.DrawFn) -> bytes:
    """JSON objects in any spacing, whole or cut."""
    value = draw(st.dictionaries(st.sampled_from(["messages", "tools", "system", "n"]) | TEXTS, JSONS, max_size=4))
    indent, ascii_only = draw(st.none() | st.integers(0, 2)), draw(st.booleans())
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only) + draw(st.sampled_from(["", " ", "\n", "x"]))
    body = text.encode("utf-8", "surrogatepass")
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 3)) == 0 else body


BODIES = st.binary(max_size=200) | json_bodies()


@st.composite
def responses(draw: st.DrawFn) -> Response:
    """Answers in any number of pieces, with any end."""
    end = draw(st.sampled_from(End))
    offsets = sorted(draw(st.lists(st.integers(0, 10**7), max_size=5)))
    pieces = tuple(Piece(offset, draw(BODIES)) for offset in offsets)
    failure = Failure(draw(TEXTS), draw(TEXTS), draw(st.binary(max_size=9))) if draw(st.booleans()) else None
    head = draw(st.none() | st.fixed_dictionaries({"status": st.integers(100, 599), "headers": HEADERS}))
    duration = draw(st.integers(0, 10**9)) if end != End.OPEN else 0
    return Response(head, pieces, end, failure if end != End.OPEN else None, duration)


@st.composite
def steps(draw: st.DrawFn, number: int) -> Step:
    """A step of any kind."""
    head: dict[str, Any] = draw(st.dictionaries(TEXTS.filter(lambda key: key != "headers"), VALUES, max_size=3))
    if draw(st.booleans()):
        head |= {"method": "POST", "url": draw(TEXTS), "headers": draw(HEADERS)}
    match = Match(draw(st.sampled_from(Grade)), draw(st.none() | TEXTS), draw(TEXTS)) if draw(st.booleans()) else None
    within = draw(st.none() | st.integers(0, number - 1).map(lambda at: f"0.{at}")) if number else None
    lane = tuple(draw(st.lists(st.integers(0, 3), max_size=3)))
    marks = tuple(draw(st.lists(TEXTS, max_size=2)))
    request, kind = Request(head, draw(BODIES)), draw(st.sampled_from(Kind))
    started = draw(st.integers(0, 10**6))
    return Step(f"0.{number}", number, kind, draw(TEXTS), lane, started, request, draw(responses()), match, within,
                marks)  # fmt: skip


@st.composite
def whole_tapes(draw: st.DrawFn) -> Tape:
    """A trace with any tags, swaps, entry point and steps."""
    named = st.dictionaries(TEXTS, TEXTS, max_size=2)
    trace = Trace(
        "t1",
        draw(TEXTS),
        draw(st.integers(1, 2**62)),
        outcome=draw(st.sampled_from(["ok", "error"])),
        exit_code=draw(st.none() | st.integers(-15, 255)),
        error=draw(st.none() | TEXTS),
        tags=draw(named),
        parent=draw(st.none() | TEXTS),
        swaps=tuple(draw(st.lists(st.dictionaries(TEXTS, VALUES, max_size=2), max_size=2))),
        command=draw(st.none() | st.lists(TEXTS, min_size=1, max_size=3).map(tuple)),
        entrypoint=draw(st.none() | st.fixed_dictionaries({"ref": TEXTS, "args": st.binary(max_size=9)})),
        cwd=draw(st.none() | TEXTS),
        environ=draw(named),
        versions={"python": "3.11.9"} | draw(named),
        result=draw(st.none() | st.binary(max_size=9)),
    )
    trace = trace._replace(ended_ns=trace.started_ns + draw(st.integers(0, 10**9)) * 1000)
    return Tape(trace, tuple(draw(steps(number)) for number in range(draw(st.integers(0, 4)))))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(tape=whole_tapes())
def test_store_gives_back_the_tape_of_the_journal(tape: Tape) -> None:
    """A tape read from the store equals the one put together from its journal, exactly."""
    with tempfile.TemporaryDirectory() as folder:
        journals = Path(folder) / "journals"
        journals.mkdir()
        tapes.write_tape(journals / "0.rsj", tape)
        (expected,) = tapes.assemble([tapes.read_part(journals / "0.rsj")])
        store = Path(folder) / "store.duckdb"
        report = ingest(journals, store)
        assert report.damaged == ()
        assert report.new == ("t1",)
        with TraceStore(store) as traces:
            assert traces.tape("t1") == expected
            assert traces.trace("t1") == expected.trace
            assert [(row.id, row.kind, row.lane, row.within, row.pieces) for row in traces.step_rows("t1")] == [
                (step.id, step.kind, step.lane, step.within, len(step.response.pieces)) for step in expected.steps
            ]
            for step in expected.steps:
                assert traces.step("t1", step.id) == step
            traces.query("select tags->>'x', swaps, environ, versions, entrypoint from traces")
            traces.query("select request_head->>'url', response_head->>'status' from steps")


@settings(max_examples=250, deadline=None)
@given(body=BODIES)
@example(b'{"messages": [ {"role":"user"} , {"role":"assistant"}, 3 ] , "model":"' + b"x" * 70 + b'"}')
@example(b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"}")
@example(b'{"messages":[' + b"{}," * 40)
def test_split_body_joins_to_the_same_bytes(body: bytes) -> None:
    """A body taken apart and put together again is the same bytes, whatever it is."""
    split = bodies.split(body)
    assert bodies.join(split.frame, split.holes, [part.content for part in split.parts]) == body


@settings(max_examples=150, deadline=None)
@given(sent=st.lists(BODIES, min_size=1, max_size=3), again=st.lists(st.integers(0, 2), max_size=3))
@example(sent=[b'{"n":[12,[3],"%s"]}' % (b"x" * 70), b'{"n":[123,[3],"%s"]}' % (b"x" * 70)], again=[0])
@example(sent=[b'{"a":1,"a":[{}],"messages":[],"%s":NaN}' % (b"x" * 70)], again=[0])
@example(sent=[b'{"a":[{}],"a":1,"messages":[]}' + b" " * 70, b'{"a":[{}],"messages":[]} ,' + b" " * 70], again=[])
def test_what_is_known_of_a_body_is_what_reading_it_says(sent: list[bytes], again: list[int]) -> None:
    """What is recognised from earlier bodies changes nothing, and the identity is that of the value."""
    memory, contents, numbers = bodies.Memory(), list[bytes](), dict[bytes, int]()

    def keep(content: bytes) -> int:
        if content not in numbers:
            numbers[content] = len(contents)
            contents.append(content)
        return numbers[content]

    known, before = None, b""
    for body in [*sent, *(sent[at % len(sent)] for at in again)]:
        apart = bodies.take_apart(body, keep, memory, known, common_prefix(before, body))
        alone = bodies.take_apart(body, keep)
        assert apart._replace(known=None, shared=0, rest=None) == alone._replace(known=None, shared=0, rest=None)
        filling = [contents[number] for number in apart.parts]
        assert bodies.put_together(apart.frame, apart.holes, filling) == body
        if apart.identity is not None:
            value = json.loads(body)
            assert apart.identity == bodies.identity(value)
            assert apart.keys == value.keys()
            assert bodies.identity(json.loads(json.dumps(value, indent=1))) == apart.identity
        known, before = apart.known, body


MEMBERS = st.dictionaries(st.sampled_from(["a", "model", "tools", "z", "é", "messages"]), JSONS, max_size=3)
"""Members that stand before or behind a conversation, sometimes in the place of it."""


@settings(max_examples=150, deadline=None)
@given(
    before=MEMBERS,
    after=MEMBERS,
    turns=st.lists(st.lists(MEMBERS | JSONS, max_size=3), min_size=1, max_size=5),
    separator=st.sampled_from([",", ", ", " ,\n"]),
    remembered=st.booleans(),
)
def test_a_conversation_that_went_on_is_what_reading_it_says(
    before: dict[str, Any], after: dict[str, Any], turns: list[list[Any]], separator: str, remembered: bool
) -> None:
    """Of a body that has more elements than the one before it only those are read; what is known of it is what
    reading the whole of it gives, turn after turn, whatever stands around the list and between its elements."""
    memory, contents, numbers = bodies.Memory(), list[bytes](), dict[bytes, int]()

    def keep(content: bytes) -> int:
        if content not in numbers:
            numbers[content] = len(contents)
            contents.append(content)
        return numbers[content]

    def spelled(members: dict[str, Any]) -> list[str]:
        return [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in members.items()]

    elements: list[Any] = [{"role": "system"}, {"role": "user"}]
    base, last = None, b""
    for turn in turns:
        elements = [*elements, *turn]
        listed = separator.join([json.dumps(element, ensure_ascii=False) for element in elements])
        members = [*spelled(before), f'"messages": [{listed}]', *spelled(after)]
        body = f"{{{', '.join(members)}}}".encode("utf-8", "replace")
        prefix = common_prefix(last, body)
        apart = bodies.take_apart(body, keep)
        if base is not None:
            found = grown(body, keep, memory if remembered else bodies.Memory(), base, prefix)
            slow = bodies.take_apart(body, keep, None, base.known, prefix)
            assert found is None or found._replace(rest=None) == slow._replace(rest=None)
            assert found or before or after or not all(isinstance(element, dict) for element in elements)
            apart = found or apart
        base, last = apart, body


def test_steps_are_summed_up_as_their_views_say(tmp_path: Path) -> None:
    """Model, title and text of a step in the store are those that are made from the step by itself, and two steps
    have the same digest there when they are the same call."""
    first = {"role": "user", "content": "Where is my order? " * 5}
    requests: list[Any] = [
        {"model": "gpt-4o", "messages": [first]},
        {"model": "gpt-4o", "messages": [first, {"role": "user", "content": "And the other? " * 5}]},
        {"messages": [first], "model": "m1", "$bytes": "00"},
        {"messages": [first], "model": ["m1"], "stop": None},
    ]
    dumped = [json.dumps(request).encode() for request in requests]
    dumped += [dumped[0].replace(b"}", b"} x"), b"\xff" + dumped[0], b'{"model": "a", "model": "b"}' + b" " * 70]
    answers = [said("Here."), said(None, ("call_1", "get_order", {"id": 1}))]
    made = [http(Kind.LLM, body, json.dumps(answer).encode()) for body in dumped for answer in answers]
    coded = [["content-encoding", "gzip"], ["content-type", "multipart/form-data; boundary=gpt"]]
    made += [made[0]._replace(request=made[0].request._replace(head={**made[0].request.head, "headers": [one]}))
             for one in coded]  # fmt: skip
    (tmp_path / "journals").mkdir()
    tapes.write_tape(tmp_path / "journals" / "0.rsj", tape_of(made, "t1"))
    ingest(tmp_path / "journals", tmp_path / "store.duckdb")
    digests: dict[str, set[str]] = {}
    with TraceStore(tmp_path / "store.duckdb") as store:
        for row, step in zip(store.step_rows("t1"), store.tape("t1").steps, strict=True):
            summary = views.summary(step)
            assert (row.model, row.title, row.finish) == (summary.model, summary.title, summary.finish)
            digests.setdefault(content_digest(Call(step.kind, step.name, step.request)), set()).add(row.request_digest)
    assert all(len(same) == 1 for same in digests.values())
    assert len({one for same in digests.values() for one in same}) == len(digests)


@pytest.mark.parametrize("instructed", [False, True])
def test_another_conversation_with_the_same_tools_begins_by_itself(tmp_path: Path, instructed: bool) -> None:
    """A request written as what differs from one that has only its prompt and tools in common is told apart from it."""
    prompt = "You are kind. " * 9
    told = [{"type": "text", "text": prompt}] if instructed else prompt
    tools = [{"name": f"tool {number}", "input_schema": {}} for number in range(5)]
    head = {"method": "POST", "url": "https://api.anthropic.com/v1/messages", "headers": []}
    asked = [["Where is my order?"], ["Cancel it, please."], ["Cancel it, please.", "All of it?"]]
    sent = [
        json.dumps(
            {
                "model": "m",
                "system": told,
                "tools": tools,
                "messages": [{"role": "user", "content": one} for one in said],
            }
        ).encode()
        for said in asked
    ]
    frames: list[list[Any]] = [[Code.PROCESS, {"started_ns": 1}], [Code.TRACE, 0, {"id": "t", "started_ns": 1}]]
    for number, body in enumerate(sent):
        before = sent[max(0, number - 1)]
        prefix = common_prefix(before, body)
        suffix = common_suffix(before, body, min(len(before), len(body)) - prefix)
        written = [number - 1, prefix, suffix, body[prefix : len(body) - suffix]] if number else body
        frames.append([Code.CALL, number, 0, "llm", "messages", [], number, None, head, written])
        frames.append([Code.END, number, number, "complete", None])
    write_frames(tmp_path / "journals" / "0.rsj", frames)
    ingest(tmp_path / "journals", tmp_path / "store.duckdb")
    found = TraceStore(tmp_path / "store.duckdb").query("SELECT conversation, prompt FROM steps ORDER BY position").rows
    (first, _), (second, _), (third, _) = found
    assert None not in (first, second)
    assert first != second == third
    assert {prompt for _, prompt in found} == {digest(prompt.encode())}


def test_split_names_messages_and_long_values() -> None:
    """Messages and tools become parts of their own, named by where they were."""
    system = "You are kind. " * 20
    body = json.dumps({"model": "m", "system": system, "messages": [{"role": "user", "content": "é"}, {"x": 1}],
                       "stop": ["a"]}, ensure_ascii=False).encode()  # fmt: skip
    split = bodies.split(body)
    assert [part.path for part in split.parts] == ["system", "messages[0]", "messages[1]"]
    assert json.loads(split.parts[1].content) == {"role": "user", "content": "é"}
