"""Programs on `requests`: recorded against a server, and replayed without it to the same values."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

import rashomon
from rashomon.errors import Missed
from rashomon.model import End, Kind
from rashomon.testing import ProviderServer


def shown(response: requests.Response) -> list[Any]:
    """All of a response that a program can see, and that is the same each time."""
    headers = [(name, value) for name, value in response.headers.items() if name.lower() not in ("date", "set-cookie")]
    raw = response.raw
    return [response.status_code, response.reason, headers, response.content, response.encoding, response.url,
            raw.version, [old.status_code for old in response.history],
            raw.tell(), response.elapsed.total_seconds() >= 0]  # fmt: skip


def failing(call: Callable[[], Any]) -> list[str]:
    """How a call fails: the exception's type, and those it stands on."""
    try:
        call()
    except requests.RequestException as error:
        reason = error.args[0] if error.args else None
        inner = getattr(reason, "reason", None)
        return [type(error).__name__, type(reason).__name__, type(inner).__name__, str(inner or reason)]
    return ["no failure"]


@pytest.mark.parametrize("path", ["/echo", "/zipped", "/events", "/nothing", "/redirect", "/missing", "/text"])
def test_get(stage: Any, path: str) -> None:
    """Status, reason, headers, body, encoding, cookies and history of a GET are those of the recording."""
    stage.both(lambda url: shown(requests.get(url + path)))


def test_head_and_no_redirect(stage: Any) -> None:
    """An answer without a body, and a redirect that is not followed, are played as such."""
    stage.both(
        lambda url: [
            shown(requests.head(url + "/echo")),
            shown(requests.get(url + "/redirect", allow_redirects=False)),
        ]
    )


def chunks() -> Iterator[bytes]:
    yield b"one,"
    yield b"two,"
    yield b"three"


class OnlyRead:
    """A file that cannot be rewound."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._file)

    def __len__(self) -> int:
        return 9


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        (lambda: {"data": b"\x00\xffbytes"}, b"\x00\xffbytes"),
        (lambda: {"data": "tekst ø"}, "tekst ø".encode()),
        (lambda: {"json": {"a": [1, None]}}, b'{"a": [1, null]}'),
        (lambda: {"data": {"field": "a b"}}, b"field=a+b"),
        (lambda: {"data": chunks()}, b"one,two,three"),
        (lambda: {"data": [b"a", b"b"].__iter__()}, b"ab"),
        (lambda: {"data": io.BytesIO(b"from a file")}, b"from a file"),
        (lambda: {"data": OnlyRead(b"only read")}, b"only read"),
    ],
    ids=["bytes", "str", "json", "form", "generator", "iterator", "file", "pipe"],
)
def test_bodies(stage: Any, body: Callable[[], dict[str, Any]], sent: bytes) -> None:
    """A body arrives at the server as without a recorder, and the tape holds it as it was sent."""
    tape = stage.both(lambda url: requests.post(url + "/echo", **body()).json())
    assert [step.request.body for step in tape.steps] == [sent]


def test_file_is_used_up(stage: Any, tmp_path: Path) -> None:
    """A program finds its file read to the end after it was uploaded: live, recorded and replayed."""

    upload = tmp_path / "upload"
    upload.write_bytes(bytes(range(256)) * 300)

    def program(url: str) -> Any:
        with upload.open("rb") as file:
            file.seek(100)
            answer = requests.put(url + "/echo", data=file).json()
            return answer["body"] == upload.read_bytes()[100:].decode("latin-1"), file.tell()

    tape = stage.both(program)
    assert tape.steps[0].request.body == upload.read_bytes()[100:]


def test_multipart(stage: Any) -> None:
    """A multipart upload whose boundary the program chose is recorded and replayed."""

    def program(url: str) -> Any:
        from urllib3.filepost import encode_multipart_formdata

        body, kind = encode_multipart_formdata({"f": ("a.txt", b"content")}, boundary="line")
        return requests.post(url + "/echo", data=body, headers={"Content-Type": kind}).json()

    assert b"content" in stage.both(program).steps[0].request.body


@pytest.mark.parametrize(
    "read",
    [
        lambda response: list(response.iter_lines()),
        lambda response: list(response.iter_content(None)),
        lambda response: list(response.iter_content(7)),
        lambda response: list(response.raw.stream(None)),
        lambda response: [response.raw.read(11), response.raw.read()],
        lambda response: [response.raw.read1(), response.raw.read1()],
    ],
    ids=["lines", "any", "sized", "raw stream", "raw read", "read1"],
)
@pytest.mark.parametrize("path", ["/events", "/text", "/zipped"])
def test_streams(stage: Any, read: Callable[[requests.Response], Any], path: str) -> None:
    """Each way to read a stream gives the chunks that the recorded program got."""

    def program(url: str) -> Any:
        with requests.get(url + path, stream=True) as response:
            return read(response)

    stage.both(program)


def test_first_chunk_comes_first(stage: Any) -> None:
    """A chunk reaches the recorded program before the server has sent the next one."""
    gate = stage.server.hold("/events", after=1)

    def program(url: str) -> Any:
        lines = []
        with requests.get(url + "/events", stream=True) as response:
            for line in response.iter_lines(chunk_size=1000):
                lines.append(line)
                gate.release()
        return lines

    seen, tape = stage.record(program)
    assert len(tape.steps[0].response.pieces) == 5
    assert tape.steps[0].response.end is End.COMPLETE
    assert stage.replay(program, tape) == seen


def test_program_stops_reading(stage: Any) -> None:
    """A stream that the program leaves ends as closed, and the replay serves it as far as it was read."""

    def program(url: str) -> Any:
        with requests.get(url + "/stall", stream=True) as response:
            return next(response.iter_content(None))

    tape = stage.both(program)
    assert tape.steps[0].response.end is End.CLOSED
    assert tape.steps[0].response.body == b"so far.\n"


def test_reading_on_is_missed(stage: Any) -> None:
    """A replayed program that reads further than the recorded one is stopped, and says what is missing."""
    url = stage.url
    with rashomon.trace(), requests.get(url + "/stall", stream=True) as response:
        next(response.iter_content(None))
    tape = stage.tape()
    with rashomon.replay(tape), pytest.raises(Missed, match="8 bytes"):
        requests.get(url + "/stall")


def test_dropped_stream_is_leaked(stage: Any) -> None:
    """An answer that the program forgets without reading it ends as leaked."""

    def program(url: str) -> Any:
        response = requests.get(url + "/events", stream=True)
        return response.status_code

    assert stage.both(program).steps[0].response.end is End.LEAKED


@pytest.mark.parametrize("path", ["/cut", "/cut-chunked", "/hangup"])
@pytest.mark.parametrize("stream", [False, True])
def test_broken_answers(stage: Any, path: str, stream: bool) -> None:
    """A connection cut in the middle fails in the replay with the same exception, after the same chunks."""

    def program(url: str) -> Any:
        got: list[bytes] = []

        def read() -> None:
            with requests.get(url + path, stream=stream) as response:
                for chunk in response.iter_content(4):
                    got.append(chunk)

        return [failing(read), got]

    tape = stage.both(program)
    assert tape.steps[0].response.end is End.ERROR


def test_refused(stage: Any) -> None:
    """A refused connection is refused again in the replay, once for each retry."""
    stage.server.stop()
    with requests.Session() as session:
        session.mount("http://", HTTPAdapter(max_retries=Retry(2, backoff_factor=0)))
        tape = stage.both(lambda url: failing(lambda: session.get(url + "/echo"))[:3])
    assert [step.response.end for step in tape.steps] == [End.ERROR] * 3


def test_timeout(stage: Any) -> None:
    """A read timeout is a read timeout again, without waiting for it."""
    stage.server.hold("/echo")
    tape = stage.both(lambda url: failing(lambda: requests.get(url + "/stall", timeout=0.3))[:2])
    assert tape.steps[0].response.end is End.ERROR


def test_generator_is_sent_on_retry(stage: Any) -> None:
    """A body that can be read once is not lost when the first attempt fails to connect."""

    def program(url: str) -> Any:
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=Retry(1, backoff_factor=0)))
            return failing(lambda: session.post(url + "/hangup", data=chunks()))[:1]

    stage.server.stop()
    tape = stage.both(program)
    assert [step.request.body for step in tape.steps] == [b"one,two,three"] * 2


def test_status_retries(stage: Any) -> None:
    """Retries for a status are steps of their own, and a replay takes them again."""

    def program(url: str) -> Any:
        with requests.Session() as session:
            retry = Retry(2, status_forcelist=[503], backoff_factor=0, raise_on_status=False)
            session.mount("http://", HTTPAdapter(max_retries=retry))
            return shown(session.get(url + "/busy"))

    assert len(stage.both(program).steps) == 3


def test_session_from_before(stage: Any) -> None:
    """A session that was used before the trace is recorded in it, and works on after it."""
    session = requests.Session()
    session.get(stage.url + "/echo")

    def program(url: str) -> Any:
        first = session.get(url + "/redirect")
        return [shown(first), session.get(url + "/item/1").json()]

    _, tape = stage.record(program)
    assert [step.name for step in tape.steps] == ["GET /redirect", "GET /echo", "GET /item/1"]
    session.cookies.clear()
    stage.replay(program, tape)
    stage.server = ProviderServer(seed=7, routes={("GET", "/echo"): lambda request: {}})
    with stage.server:
        assert session.get(stage.url + "/echo").json() == {}


def test_threads_share_a_session(stage: Any) -> None:
    """Many threads on one session each get their own answers, recorded and replayed."""
    session = requests.Session()

    def program(url: str) -> Any:
        with ThreadPoolExecutor(8) as pool:
            return list(pool.map(lambda n: session.get(f"{url}/item/{n}").json()["item"], range(60)))

    tape = stage.both(program)
    assert Counter(step.name for step in tape.steps) == Counter(f"GET /item/{n}" for n in range(60))


def test_missed_passes_through(stage: Any) -> None:
    """A call that is not on the tape stops the program: no retry, no wrapping; the session stays usable."""
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(5)))
    url = stage.url
    _, tape = stage.record(lambda url: session.get(url + "/echo").json())
    with rashomon.replay(tape) as replaying:
        with pytest.raises(Missed):
            session.get(url + "/elsewhere")
        assert session.get(url + "/echo").status_code == 200
    assert "escaped" not in [divergence.kind for divergence in replaying.divergences]


def test_model_calls_are_llm_steps(home: Path, server: ProviderServer) -> None:
    """A model called with plain `requests` is an LLM step, with the head that every shim writes."""
    asked: Any = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello?"}], "stream": True}

    def program() -> list[bytes]:
        headers = {"Authorization": "Bearer sk-test-0123456789abcdef"}
        with requests.post(server.openai_url + "/chat/completions", json=asked, headers=headers, stream=True) as answer:
            return list(answer.iter_lines())

    with rashomon.trace():
        lines = program()
    from tests.support import tapes_of

    tape = tapes_of(home)[-1]
    server.stop()
    (step,) = tape.steps
    assert (step.kind, step.name) == (Kind.LLM, "chat.completions")
    assert step.request.head["url"] == server.openai_url + "/chat/completions"
    assert json.loads(step.request.body) == asked
    assert step.response.head is not None
    assert set(step.response.head) == {"status", "headers", "reason", "http_version"}
    with rashomon.replay(tape):
        assert program() == lines
