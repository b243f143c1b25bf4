"""A call whose HTTP status is that of success, and whose answer is an error, is found where one looks for failures."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from rashomon import filters, tapes, views
from rashomon.model import End, Kind, Step, Tape, Trace
from rashomon.store import TraceStore, ingest_new
from rashomon.store.filter_steps import StepFilter
from tests.in_process import main
from tests.steps import CHAT_URL, http, llm, said
from tests.support import steps_meant

EVENTS = [["content-type", "text/event-stream"]]
MESSAGES, RESPONSES = "https://api.anthropic.com/v1/messages", "https://api.openai.com/v1/responses"


def sse(*events: tuple[str, Any]) -> bytes:
    """A stream of events, with their names where they have any."""
    return b"".join(
        f"{name and f'event: {name}'}\ndata: {json.dumps(data)}\n\n".lstrip().encode() for name, data in events
    )


def asked(answer: bytes, url: str = CHAT_URL, **more: Any) -> Step:
    """A call of a model at an address."""
    body = json.dumps({"model": "m", "messages": [], "stream": True}).encode()
    return http(Kind.LLM, body, answer, url=url, **more)


_BEGUN = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {"input_tokens": 3}}
_OVERLOADED = ("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
_CHUNK = ("", {"object": "chat.completion.chunk", "model": "m", "choices": [{"index": 0, "delta": {"content": "Hi"}}]})
_FAILED = {
    "id": "r",
    "status": "failed",
    "model": "m",
    "output": [],
    "error": {"code": "server_error", "message": "no"},
}

FAILED: dict[str, tuple[Step, str]] = {
    "an error in the middle of a stream": (
        asked(
            sse(("message_start", {"type": "message_start", "message": _BEGUN}), _OVERLOADED), MESSAGES, headers=EVENTS
        ),
        "overloaded_error",
    ),
    "an error instead of a stream": (asked(sse(_OVERLOADED), MESSAGES, headers=EVENTS), "overloaded_error"),
    "a chunk that is an error": (
        asked(sse(_CHUNK, ("", {"error": {"type": "server_error", "message": "boom"}})), headers=EVENTS),
        "server_error",
    ),
    "a response that failed": (
        asked(sse(("response.failed", {"type": "response.failed", "response": _FAILED})), RESPONSES, headers=EVENTS),
        "server_error",
    ),
    "an error of responses before they began": (
        asked(
            sse(("error", {"type": "error", "code": "rate_limit", "message": "slow down"})), RESPONSES, headers=EVENTS
        ),
        "rate_limit",
    ),
    "an error as the answer": (asked(b'{"error":{"type":"y","message":"x"}}'), "y"),
    "a page of a gateway": (asked(b"<html>Bad gateway</html>", headers=[["content-type", "text/html"]]), "$no_json"),
    "a page where a stream was asked for": (asked(b"upstream is busy", headers=EVENTS), "$no_json"),
    "JSON that is cut": (asked(b'{"id":"c","choices":[{"mess'), "$no_json"),
    "a compressed page": (
        asked(gzip.compress(b"<html>"), headers=[["content-type", "text/html"], ["content-encoding", "gzip"]]),
        "$no_json",
    ),
}
WELL: dict[str, Step] = {
    "an answer": llm(said("Hello.")),
    "an answer that says that there was no error": llm(said("Hello.") | {"error": None}),
    "an answer without a body": asked(b""),
    "an answer that the program did not read to its end": asked(b'{"id":"c","cho', end=End.CLOSED),
    "a stream of comments": asked(b": keep alive\n\n: keep alive\n\n", headers=EVENTS),
    "a JSON text": asked(b'"fine"'),
    "bytes that nobody can decode": asked(b"\xff\xfe\0", headers=[["content-type", "application/json"]]),
    "a text of an address that is of no dialect": asked(
        b"1\n2", "https://api.test/v1/subtitles", headers=[["content-type", "text/plain"]]
    ),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one trace of each."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "journals").mkdir()
    steps = {"failed": [step for step, _ in FAILED.values()], "well": list(WELL.values())}
    for name, listed in steps.items():
        trace = Trace(name, name, 10**18, 10**18 + 10**9, "ok")
        placed = tuple(step._replace(id=f"0.{at}", index=at, started_us=at) for at, step in enumerate(listed))
        tapes.write_tape(folder / "journals" / f"{name}.rsj", Tape(trace, placed))
    ingest_new(folder)
    return folder


@pytest.mark.parametrize("case", FAILED)
def test_the_error_of_an_answer_is_told(case: str) -> None:
    """Its type is the provider's, or says that the answer is no JSON; its title tells of it."""
    step, kind = FAILED[case]
    told = views.summary(step)
    assert told.error_type == kind
    assert told.error_message is not None
    assert told.error_message[:20] in told.title


@pytest.mark.parametrize("case", WELL)
def test_an_answer_without_an_error_has_none(case: str) -> None:
    """What came and is no error is not called one, whatever its shape."""
    told = views.summary(WELL[case])
    assert (told.error_type, told.error_message) == (None, None)


def test_filters_and_views_find_failed_answers(home: Path) -> None:
    """`status:err`, `has:error`, the views `failures`, `llm_calls` and `costs`, and sums of traces have them all, and
    none of those that are well; a filter in memory says the same."""
    expected = [(f"0.{at}", kind) for at, (_, kind) in enumerate(FAILED.values())]
    with TraceStore(home / "store.duckdb") as store:
        for text in ("status:err", "has:error", "-status:ok"):
            query = filters.parse(text)
            found = {(place.trace, place.position) for place in steps_meant(store, query)}
            assert found == {("failed", at) for at in range(len(FAILED))}, text
            for name in ("failed", "well"):
                tape = store.tape(name)
                chosen = StepFilter(query, tape.trace, tape.steps).chosen()
                assert {(name, step.index) for step in chosen} == {one for one in found if one[0] == name}
        failures = store.query("SELECT step, error_type FROM failures WHERE what = 'error' ORDER BY position").rows
        assert failures == expected
        assert store.query("SELECT count(*) FROM failures").rows == [(len(expected),)]
        assert store.query("SELECT DISTINCT trace FROM llm_calls WHERE failed").rows == [("failed",)]
        assert store.query("SELECT sum(failed) FROM costs").rows == [(len(expected),)]
        assert {row.id: row.failures for row in store.traces()} == {"failed": len(expected), "well": 0}


def test_commands_find_failed_answers(home: Path) -> None:
    """`ls` and `show` filter by them."""
    done = main("ls", "step.status:err", "--json", home=home)
    assert [one["id"] for one in json.loads(done.stdout)["traces"]] == ["failed"]
    shown = main("show", "well", "status:err", home=home)
    assert "gpt-4o" not in shown.stdout
