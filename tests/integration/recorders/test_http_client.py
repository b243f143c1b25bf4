"""Programs on the standard library's client: recorded against a server, and replayed without it to the same values."""

from __future__ import annotations

import http.client
import io
import socket
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
import xmlrpc.client
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import rashomon
from rashomon.errors import Missed
from rashomon.model import End, Kind
from tests.support import needs_apart, with_apart
from tests.support import rashomon as command_line


def shown(response: Any) -> list[Any]:
    """All of an answer that a program can see, and that is the same each time."""
    headers = [(name, value) for name, value in response.headers.items() if name.lower() not in ("date", "set-cookie")]
    return [response.status, response.reason, response.version, headers, response.read(), response.isclosed()]


def opened(url: str, data: bytes | None = None, **options: Any) -> list[Any]:
    """What `urllib.request` gives for a URL, whatever its status."""
    request = urllib.request.Request(url, data, **options)
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return [response.url, *shown(response)]
    except urllib.error.HTTPError as error:
        with error:
            return [error.code, error.reason, error.read()]


def failing(call: Callable[[], Any]) -> list[str]:
    """How a call fails: the exception's type and text, and those it stands on."""
    try:
        call()
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None)
        return [type(error).__name__, str(error), type(reason).__name__]
    return ["no failure"]


@pytest.mark.parametrize("path", ["/echo", "/zipped", "/events", "/nothing", "/redirect", "/missing", "/text", "/busy"])
def test_urllib_request(stage: Any, path: str) -> None:
    """Status, reason, headers and body of a GET are those of the recording; so are redirects and HTTP errors."""
    tape = stage.both(lambda url: opened(url + path))
    assert len(tape.steps) == 2 if path == "/redirect" else 1
    assert tape.trace.coverage.missed == ()
    assert {step.kind for step in tape.steps} == {Kind.HTTP}


def test_a_model_is_a_model(stage: Any) -> None:
    """By its path, as for other clients; a stream of it too."""
    body = b'{"model": "gpt-5", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'

    def program(url: str) -> list[bytes]:
        request = urllib.request.Request(f"{url}/v1/chat/completions", body, {"Authorization": "Bearer sk-test"})
        with urllib.request.urlopen(request) as response:
            return list(response)

    seen, tape = stage.record(program)
    assert len(seen) > 3
    assert [(step.kind, step.name) for step in tape.steps] == [(Kind.LLM, "chat.completions")]
    assert tape.steps[0].request.body == body
    assert len(tape.steps[0].response.pieces) == len(seen)
    assert stage.replay(program, tape) == seen


READS: dict[str, Callable[[Any], Any]] = {
    "all": lambda answer: answer.read(),
    "some": lambda answer: [answer.read(7), answer.read(7), answer.read()],
    "lines": lambda answer: list(answer),
    "readline": lambda answer: [answer.readline(), answer.readline(5), answer.read()],
    "read1": lambda answer: b"".join(iter(lambda: answer.read1(64), b"")),
    "into": lambda answer: [answer.readinto(memoryview(bytearray(9))), answer.read()],
    "peek": lambda answer: [answer.peek(4)[:4], answer.read()],
    "text": lambda answer: io.TextIOWrapper(answer, "utf-8").read(),
    "none": lambda answer: answer.close(),
    "begun": lambda answer: [answer.read(3), answer.close()],
    "again": lambda answer: [answer.read(), answer.read(), answer.read(5)],
}


@pytest.mark.parametrize("path", ["/text", "/events", "/nothing"])
@pytest.mark.parametrize("way", READS)
def test_ways_to_read(stage: Any, way: str, path: str) -> None:
    """Whatever reads an answer, it reads the same, and no byte is recorded twice."""
    read = READS[way]
    tape = stage.both(lambda url: read(urllib.request.urlopen(url + path)))
    whole = way not in ("none", "begun") or path == "/nothing"
    assert tape.steps[0].response.end is (End.COMPLETE if whole else End.CLOSED)
    if whole and path == "/text":
        assert tape.steps[0].response.body == "späti\n".encode() * 900


def chunks() -> Iterator[bytes]:
    """A body that can be read once."""
    yield b"one,"
    yield b"two"


@pytest.mark.parametrize("body", [b"bytes", bytearray(b"array"), "text", io.BytesIO(b"file"), chunks, [b"a", b"list"]])
def test_bodies(stage: Any, body: Any) -> None:
    """Of every kind that `request` takes: recorded, and sent as it would have been."""

    def program(url: str) -> list[Any]:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
        made = body() if callable(body) else body
        if isinstance(made, io.BytesIO):
            made.seek(0)
        connection.request("POST", "/echo", made, {"X-Own": "1"})
        answer = shown(connection.getresponse())
        connection.close()
        return answer

    tape = stage.both(program)
    assert tape.steps[0].request.body in (b"bytes", b"array", b"text", b"file", b"one,two", b"alist")
    assert ["X-Own", "1"] in tape.steps[0].request.head["headers"]


def fails_in_the_middle() -> Iterator[bytes]:
    """A body whose own code fails."""
    yield b"one,"
    raise LookupError("no more of it")


@pytest.mark.parametrize("body", [fails_in_the_middle, lambda: ["text", "s"], lambda: [1, 2], lambda: 5])
def test_bodies_that_cannot_be_sent(stage: Any, body: Callable[[], Any]) -> None:
    """The program gets the failure that it would have got; what is refused is no request."""

    def program(url: str) -> str:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
        try:
            connection.request("POST", "/echo", body())
        except (LookupError, TypeError) as error:
            return type(error).__name__
        finally:
            connection.close()
        return "sent"

    bare = program(stage.url)
    assert bare in ("LookupError", "TypeError")
    assert stage.record(program)[0] == bare


def test_one_connection_for_many(stage: Any) -> None:
    """Kept alive, closed in between, and used for the next request before the answer was read to its end."""

    def program(url: str) -> list[Any]:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
        seen = []
        for number in range(4):
            connection.request("GET", f"/item/{number}")
            seen.append(connection.getresponse().read())
            if number == 1:
                connection.close()
        connection.putrequest("POST", "/echo")
        connection.putheader("Content-Length", "4")
        connection.endheaders(b"last")
        seen.append(connection.getresponse().read())
        connection.close()
        return seen

    assert len(stage.both(program).steps) == 5


def test_connecting_fails(stage: Any) -> None:
    """A failure while it connects is wrapped by urllib, one behind it is not: so they are in a replay."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]

    def program(url: str) -> list[Any]:
        return [
            failing(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/")),
            failing(lambda: urllib.request.urlopen(url + "/hangup")),
            failing(lambda: urllib.request.urlopen(url + "/cut").read()),
            failing(lambda: urllib.request.urlopen(url + "/cut-chunked").read()),
            failing(lambda: urllib.request.urlopen(url + "/stall", timeout=0.3).read()),
        ]

    tape = stage.both(program)
    assert [step.response.end for step in tape.steps] == [End.ERROR] * 5


def test_at_once(stage: Any) -> None:
    """Six threads ask at once: each gets its own answer."""

    def program(url: str) -> list[Any]:
        with ThreadPoolExecutor(6) as pool:
            return list(pool.map(lambda number: opened(f"{url}/item/{number % 3}")[5:6], range(6)))

    assert len(stage.both(program).steps) == 6


def test_what_was_not_recorded_is_refused(stage: Any) -> None:
    """Another URL, another body: the replay stops, and nothing is sent."""
    _, tape = stage.record(lambda url: opened(url + "/echo", b"one"))
    for path, data in (("/echo", b"two"), ("/text", None)):
        with rashomon.replay(tape), pytest.raises(Missed, match="not in the recording"):
            opened(stage.url + path, data)


def test_a_body_behind_the_headers_slips_through_and_is_told(stage: Any) -> None:
    """Nobody knows the request as it goes out."""

    def program(url: str) -> bytes:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
        connection.putrequest("POST", "/echo")
        connection.putheader("Content-Length", "4")
        connection.endheaders()
        connection.send(b"late")
        body = connection.getresponse().read()
        connection.close()
        return body

    seen, tape = stage.record(program)
    assert b"late" in seen
    assert tape.steps == ()
    assert len(tape.trace.coverage.missed) == 1


def test_nobody_asks_for_the_answer(stage: Any) -> None:
    """The request has gone out; the step has an end."""

    def program(url: str) -> None:
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(url).netloc)
        connection.request("GET", "/text")
        connection.close()

    assert stage.both(program).steps[0].response.end is End.CLOSED


def test_xmlrpc(stage: Any) -> None:
    """It puts its requests together by itself, and reads answers in pieces."""

    def program(url: str) -> Any:
        with xmlrpc.client.ServerProxy(f"{url}/rpc") as proxy:
            return [proxy.add(40, 2), proxy.add(40, 2)]

    assert stage.both(program).steps[0].request.body.count(b"<int>") == 2


def test_outside_of_a_trace(stage: Any) -> None:
    """Nothing is recorded, and nothing is changed."""
    rashomon.install()
    assert opened(stage.url + "/item/1")[1] == 200
    assert not list((stage.home / "journals").glob("*.rsj"))


def test_secrets_in_an_answer(stage: Any) -> None:
    """A body that is shorter than its header says, since a key in it was replaced, is read to its end."""
    seen, tape = stage.record(lambda url: opened(url + "/key"))
    assert b"planted0" in seen[5]
    assert b"planted0" not in tape.steps[0].response.body
    replayed = stage.replay(lambda url: opened(url + "/key"), tape)
    assert b'"more"' in replayed[5]
    assert replayed[5].endswith(b"}")


def test_a_thread_that_reads_what_another_asked_for(stage: Any) -> None:
    """The answer belongs to the call wherever it is read."""

    def program(url: str) -> list[bytes]:
        answer = urllib.request.urlopen(url + "/slowly")
        seen: list[bytes] = []
        thread = threading.Thread(target=lambda: seen.extend(answer))
        thread.start()
        thread.join()
        return seen

    assert stage.both(program).steps[0].response.body == b"one\ntwo\nthree\n"


HTTPLIB2 = """
import sys
import httplib2

http = httplib2.Http()
for path in ("/item/1", "/redirect", "/zipped", "/item/2"):
    answer, content = http.request(sys.argv[1] + path)
    print(answer.status, content)
try:
    httplib2.Http().request("http://127.0.0.1:9/")
except ConnectionRefusedError as error:
    print("refused", error.errno)
"""


@needs_apart("httplib2")
def test_httplib2(stage: Any, tmp_path: Path) -> None:
    """It opens its connections by itself, before it sends a request: that belongs to the call as well."""
    (tmp_path / "agent.py").write_text(HTTPLIB2)
    command = [sys.executable, "agent.py", stage.url]
    recorded = command_line("record", "--", *command, home=stage.home, cwd=tmp_path, env=with_apart())
    assert recorded.returncode == 0, recorded.stderr
    assert "refused" in recorded.stdout
    stage.server.stop()
    trace = stage.tape().trace
    assert (len(stage.tape().steps), trace.coverage.missed) == (6, ())
    replayed = command_line("replay", trace.id, home=stage.home, cwd=tmp_path, env=with_apart())
    assert (replayed.returncode, replayed.stdout) == (0, recorded.stdout), replayed.stderr
