"""Programs on `urllib3` itself: recorded against a server, and replayed without it to the same values."""

from __future__ import annotations

import gc
import io
import queue
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import urllib3
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

import rashomon
from rashomon.errors import Missed
from rashomon.model import End
from rashomon.recorders import http_wire, vcr_shim, vcr_urllib3


def shown(answer: Any) -> list[Any]:
    """All of an answer that a program can see, and that is the same each time."""
    headers = [(name, value) for name, value in answer.headers.items() if name.lower() not in ("date", "set-cookie")]
    return [type(answer).__name__, answer.status, answer.reason, headers, answer.data, answer.version,
            answer.geturl(), answer.version_string, answer.isclosed(), answer.tell(),
            answer.getheader("x-twice")]  # fmt: skip


def failing(call: Any) -> list[str]:
    """How a call fails."""
    try:
        call()
    except urllib3.exceptions.HTTPError as error:
        return [
            type(error).__name__,
            str(error).replace(hex(id(error)), ""),
            type(getattr(error, "reason", None)).__name__,
        ]
    return ["no failure"]


@pytest.mark.parametrize("path", ["/echo", "/zipped", "/events", "/nothing", "/redirect", "/missing", "/text"])
def test_request(stage: Any, path: str) -> None:
    """Everything that a preloaded answer shows is that of the recording."""
    pool = urllib3.PoolManager()
    stage.both(lambda url: shown(pool.request("GET", url + path)))


def test_json_and_fields(stage: Any) -> None:
    """JSON and form bodies are on the tape, and `.json()` reads the played answer."""

    def program(url: str) -> Any:
        pool = urllib3.PoolManager()
        posted = pool.request("POST", url + "/echo", json={"x": 1}).json()
        form = pool.request("POST", url + "/echo", fields={"a": "b"}, encode_multipart=False).json()
        return [posted, form, pool.request("POST", url + "/echo", body=io.BytesIO(b"file")).json()]

    tape = stage.both(program)
    assert [step.request.body for step in tape.steps] == [b'{"x":1}', b"a=b", b"file"]


@pytest.mark.parametrize("decode", [True, False])
@pytest.mark.parametrize("path", ["/events", "/zipped", "/text"])
def test_streams(stage: Any, path: str, decode: bool) -> None:
    """Streaming in every way gives the bytes of the recording, decoded or raw."""

    def program(url: str) -> Any:
        pool = urllib3.PoolManager()
        seen: list[Any] = []
        reads: tuple[Callable[[Any], list[bytes]], ...] = (
            lambda answer: list(answer.stream(9, decode_content=decode)),
            lambda answer: [answer.read(5, decode_content=decode), answer.read(decode_content=decode)],
            lambda answer: [answer.read(decode_content=decode), answer.read()],
            lambda answer: [answer.read1(decode_content=decode)],
        )
        for read in reads:
            answer = pool.request("GET", url + path, preload_content=False)
            seen.append(b"".join(read(answer)))
            answer.release_conn()
        return seen

    stage.both(program)


def test_as_a_file(stage: Any) -> None:
    """An answer that is read as a file object gives the recorded lines."""

    def program(url: str) -> Any:
        answer: Any = urllib3.PoolManager().request("GET", url + "/text", preload_content=False)
        answer.auto_close = False
        return list(io.TextIOWrapper(answer, encoding="utf-8"))

    stage.both(program)


@pytest.mark.parametrize("path", ["/cut", "/cut-chunked", "/hangup"])
@pytest.mark.parametrize("preload", [True, False])
def test_failures(stage: Any, path: str, preload: bool) -> None:
    """A broken answer breaks again, with the same exception and the same text."""

    def program(url: str) -> Any:
        with HTTPConnectionPool("127.0.0.1", int(url.rpartition(":")[2])) as pool:

            def read() -> None:
                pool.request("GET", path, preload_content=preload, retries=False).read()

            return failing(read)

    assert stage.both(program).steps[0].response.end is End.ERROR


def test_refused(stage: Any) -> None:
    """A refused connection has the same exception, text and reason when it is played."""
    stage.server.stop()

    def program(url: str) -> Any:
        with HTTPConnectionPool("127.0.0.1", int(url.rpartition(":")[2])) as pool:
            return [
                failing(lambda: pool.request("GET", "/echo", retries=False)),
                failing(lambda: pool.request("GET", "/echo", retries=1)),
            ]

    assert len(stage.both(program).steps) == 3


def test_short_body_unenforced(stage: Any) -> None:
    """A body that is shorter than announced, where the program does not mind, is complete."""

    def program(url: str) -> Any:
        answer = urllib3.PoolManager().request("GET", url + "/cut", preload_content=False, enforce_content_length=False)
        return list(answer.stream(4))

    assert stage.both(program).steps[0].response.end is End.COMPLETE


def test_a_connection_is_kept(stage: Any) -> None:
    """Recorded calls share the pool's connection, as calls without a recorder do."""
    with HTTPConnectionPool("127.0.0.1", int(stage.url.rpartition(":")[2])) as pool:

        def program(url: str) -> Any:
            return [pool.request("GET", f"/item/{n}").json() for n in range(5)]

        stage.record(program)
        assert (pool.num_connections, pool.num_requests) == (1, 5)


def test_blocking_pool_gets_its_connections_back(stage: Any) -> None:
    """A pool that blocks when it is empty serves more calls than it has: live, played, missed, failed."""
    with HTTPConnectionPool("127.0.0.1", int(stage.url.rpartition(":")[2]), maxsize=1, block=True) as pool:

        def program(url: str) -> Any:
            seen: list[Any] = []
            for path in ("/echo", "/events", "/hangup", "/echo"):
                seen.append(failing(lambda path=path: pool.request("GET", path, retries=False, pool_timeout=1)))
                if path == "/events":
                    answer = pool.request("GET", path, preload_content=False, pool_timeout=1)
                    seen.append(list(answer.stream(None)))
            return seen

        stage.both(program)
        with rashomon.replay(stage.tape()), pytest.raises(Missed):
            pool.request("GET", "/elsewhere", pool_timeout=1)
        with pytest.raises(urllib3.exceptions.HTTPError) as refused:
            pool.request("GET", "/echo", retries=False, pool_timeout=1)
        assert not isinstance(refused.value, urllib3.exceptions.EmptyPoolError)


def test_unwatched_is_untouched(stage: Any) -> None:
    """Outside a trace an answer is of urllib3's own class, and vcrpy is not loaded by recording."""
    rashomon.install()
    plain = urllib3.PoolManager().request("GET", stage.url + "/echo")
    assert type(plain) is urllib3.HTTPResponse
    code = (
        "import sys, rashomon, urllib3\n"
        "with rashomon.trace() as trace:\n"
        "    urllib3.PoolManager().request('GET', sys.argv[1]).json()\n"
        "print(trace.id is not None, any(name in sys.modules for name in ('vcr', 'aiohttp', 'httpx')))\n"
    )
    run = subprocess.run([sys.executable, "-c", code, stage.url + "/echo"], capture_output=True, text=True, check=True)
    assert run.stdout == "True False\n"


def test_answers_are_freed_at_once(stage: Any) -> None:
    """A watched answer that the program drops is freed at once, and its connection with it."""
    gc.disable()
    try:
        with rashomon.trace():
            answer = urllib3.PoolManager().request("GET", stage.url + "/events", preload_content=False)
            gone = weakref.ref(answer)
            del answer
            assert gone() is None
    finally:
        gc.enable()
    assert stage.tape().steps[0].response.end is End.LEAKED


def test_a_fault_of_ours_is_harmless(
    stage: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """When the shim fails, before the call or after it, the program gets its answer and is told once."""
    monkeypatch.setattr(vcr_shim, "_said", set())

    def broken(*args: Any) -> Any:
        raise ZeroDivisionError("a bug")

    with rashomon.trace():
        monkeypatch.setattr(vcr_urllib3, "_call", broken)
        assert urllib3.PoolManager().request("GET", stage.url + "/echo").status == 200
        monkeypatch.undo()
        monkeypatch.setenv("RASHOMON_HOME", str(stage.home))
        monkeypatch.setattr(vcr_urllib3, "_watch", broken)
        assert urllib3.PoolManager().request("GET", stage.url + "/echo").json()["method"] == "GET"
    assert capsys.readouterr().err.count("a bug") >= 1


def test_cancelled_by_close_from_another_thread(stage: Any) -> None:
    """A stream that another thread shuts down ends in the trace; the reader sees what urllib3 shows it."""
    arrived: queue.Queue[bytes] = queue.Queue()
    with rashomon.trace():
        answer = urllib3.PoolManager().request("GET", stage.url + "/stall", preload_content=False)

        def read() -> None:
            try:
                for chunk in answer.stream(8):
                    arrived.put(chunk)
            except urllib3.exceptions.HTTPError as error:
                arrived.put(type(error).__name__.encode())

        reader = threading.Thread(target=read)
        reader.start()
        assert arrived.get(timeout=10) == b"so far.\n"
        answer.shutdown()
        reader.join(10)
        assert arrived.get(timeout=10) == b"ProtocolError"
    assert stage.tape().steps[0].response.end is End.ERROR


class OwnConnection(HTTPConnection):
    """Sends a header that the pool does not know of."""

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **kwargs: Any) -> None:
        """As its parent, with the header."""
        super().request(method, url, body, {**(headers or {}), "cookie": "own=1"}, **kwargs)


class OwnPool(HTTPConnectionPool):
    """A pool as botocore has one: a class of its own, with connections of its own."""

    ConnectionCls = OwnConnection


def test_pools_of_other_libraries(stage: Any) -> None:
    """A pool class with its own connection class works as before, and is recorded."""

    def program(url: str) -> Any:
        with OwnPool("127.0.0.1", int(url.rpartition(":")[2])) as pool:
            return pool.request("GET", "/echo").json()

    seen, _ = stage.record(program)
    assert seen["flavour"] == "own=1"


def test_without_vcrpy(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording does not need vcrpy; a replay without it says what to install and serves nothing."""
    for name in [name for name in sys.modules if name == "vcr" or name.startswith("vcr.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "vcr", None)
    http_wire._socket_class.cache_clear()

    def program() -> bytes:
        with urllib3.PoolManager() as pool:
            return pool.request("GET", stage.url + "/text").data

    with rashomon.trace("without"):
        assert program()
    with pytest.raises(Missed, match=r"pip install 'rashomon\[http\]'"), rashomon.replay(stage.tape()):
        program()
