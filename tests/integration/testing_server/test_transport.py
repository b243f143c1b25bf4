"""HTTP itself: framing, pacing, gates, the log, life and death of the server."""

from __future__ import annotations

import gc
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI

from rashomon.testing import (
    ProviderProcess,
    ProviderServer,
    Response,
    at_offsets,
    by_bytes,
    by_event,
    echo,
    inside_characters,
    jitter,
    whole,
)
from rashomon.testing.http import MAX_HEAD
from rashomon.testing.pacing import Chunking
from rashomon.testing.wire import text_pieces

TEXT = "Grüße, 東京! 🙂 Ende"
BODY: dict[str, Any] = {"model": "gpt-4.1", "messages": [{"role": "user", "content": TEXT}], "stream": True}
KEY = {"authorization": "Bearer sk-test"}


def chunks_of(server: ProviderServer) -> list[bytes]:
    """The chunks of one streamed answer as the client got them."""
    url = f"{server.openai_url}/chat/completions"
    with httpx.Client() as client, client.stream("POST", url, json=BODY, headers=KEY) as answer:
        return list(answer.iter_raw())


def said(body: bytes) -> str:
    """The text that a stream of chat chunks carries."""
    lines = [line[6:] for line in body.decode().split("\n") if line.startswith("data: {")]
    return "".join(json.loads(line)["choices"][0]["delta"].get("content") or "" for line in lines)


def test_by_default_every_event_is_a_chunk_of_its_own() -> None:
    """Each chunk that was sent is one whole event."""
    with ProviderServer(echo) as server:
        body = b"".join(chunks_of(server))
        sent = server.requests.sent(0)
    assert sent.body == body
    assert all(chunk.startswith(b"data: ") and chunk.endswith(b"\n\n") for chunk in sent.chunks)
    assert said(body) == TEXT


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_chunks_of_a_fixed_size_cut_through_events_and_characters(size: int) -> None:
    """Every chunk but the last has exactly that many bytes, and the text is whole again on the other side."""
    with ProviderServer(echo, chunking=size) as server:
        body = b"".join(chunks_of(server))
        sent = server.requests.sent(0).chunks
        with OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
            stream = client.chat.completions.create(**BODY)
            text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
    assert {len(chunk) for chunk in sent[:-1]} <= {size}
    assert said(body) == text == TEXT


def test_chunks_end_inside_characters_or_at_given_offsets() -> None:
    """`inside_characters` splits each wide character; offsets are kept to the byte."""
    with ProviderServer(echo, chunking=inside_characters) as server:
        assert said(b"".join(chunks_of(server))) == TEXT
        broken = [chunk for chunk in server.requests.sent(0).chunks if not _decodes(chunk)]
        assert len(broken) > 4
    with ProviderServer(echo, chunking=[5, 6, 300]) as server:
        chunks_of(server)
        lengths = [len(chunk) for chunk in server.requests.sent(0).chunks[:2]]
        assert lengths == [5, 1]


def _decodes(chunk: bytes) -> bool:
    try:
        chunk.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.lists(st.binary(max_size=30), max_size=8), st.integers(1, 9), st.sets(st.integers(1, 80), max_size=6))
@settings(max_examples=50, deadline=None, print_blob=True)
def test_no_chunking_loses_or_invents_a_byte(units: list[bytes], size: int, offsets: set[int]) -> None:
    """The pieces join to the same bytes whatever the units, and none is empty (that would end a body)."""
    chunkings: list[Chunking] = [
        by_event,
        whole,
        by_bytes(size),
        at_offsets(sorted(offsets)),
        inside_characters,
    ]
    for chunking in chunkings:
        pieces = list(chunking(iter(units)))
        assert b"".join(pieces) == b"".join(units)
        assert all(pieces)


@given(st.text(max_size=200))
@settings(max_examples=50, deadline=None, print_blob=True)
def test_the_pieces_of_a_text_join_to_the_text(text: str) -> None:
    """Streaming a text never changes it."""
    assert "".join(text_pieces(text)) == text


def test_a_gate_holds_an_answer_until_it_is_released() -> None:
    """The head, or what comes after some chunks, waits for the test; other requests pass."""
    with ProviderServer(echo) as server, ThreadPoolExecutor(2) as pool:
        gate = server.hold("/chat/completions")
        held = pool.submit(chunks_of, server)
        gate.wait_until_reached()
        assert httpx.get(f"{server.url}/v1/models", headers=KEY).status_code == 200
        assert not held.done()
        gate.release()
        assert said(b"".join(held.result(10))) == TEXT
        middle = server.hold(lambda request: b"stream" in request.body, after=2)
        url = f"{server.openai_url}/chat/completions"
        with httpx.Client() as client, client.stream("POST", url, json=BODY, headers=KEY) as answer:
            chunks = answer.iter_raw()
            first = [next(chunks)]
            middle.wait_until_reached()
            assert middle.reached
            middle.release()
            assert said(b"".join([*first, *chunks])) == TEXT


def test_delays_come_from_numbers_and_functions() -> None:
    """A delay function is asked once before the head and once before each chunk but the first."""
    drawn: list[str] = []

    def before_head() -> float:
        drawn.append("head")
        return 0.0

    def before_chunk() -> float:
        drawn.append("chunk")
        return 0.0001

    with ProviderServer(echo, delay=before_head, chunk_delay=before_chunk) as server:
        chunks_of(server)
        assert drawn == ["head"] + ["chunk"] * (len(server.requests.sent(0).chunks) - 1)
    assert [jitter(1, 2, seed=4)() for _ in range(2)] == [jitter(1, 2, seed=4)()] * 2


def test_one_connection_carries_many_requests_and_odd_ones_are_refused() -> None:
    """Keep-alive, a chunked request body, HEAD, pipelining and bytes that are no HTTP."""
    with ProviderServer(echo, routes={("POST", "/size"): lambda request: {"size": len(request.body)}}) as server:
        with httpx.Client(base_url=server.url) as client:
            sizes = [client.post("/size", content=iter([b"abc", b"", b"d" * 9])).json()["size"] for _ in range(3)]
            assert client.head("/v1/models", headers=KEY).content == b""
            assert client.post("/size", content=b"x").json() == {"size": 1}
        assert sizes == [12, 12, 12]
        assert {request.connection for request in server.requests} == {0}
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(b"POST /size HTTP/1.1\r\ncontent-length: 2\r\n\r\nab" * 2 + b"nonsense\r\n\r\n")
            answer = b"".join(iter(lambda: raw.recv(4096), b""))
        assert answer.count(b'{"size":2}') == 2
        assert b"HTTP/1.1 400 " in answer
        with socket.create_connection(("127.0.0.1", server.port)) as raw:
            raw.sendall(b"GET / HTTP/1.1\r\nlong: " + b"x" * MAX_HEAD)  # read to its end: who closes before, resets
            assert raw.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_routes_answer_json_statuses_and_responses() -> None:
    """A route sees path parameters and query, and returns a value, a status with a value, or a response."""
    routes = {
        ("GET", "/orders/{id}"): lambda request: {
            "id": request.params["id"],
            "full": request.query.get("full"),
        },
        ("DELETE", "/orders/{id}"): lambda request: (409, {"error": "shipped"}),
        ("GET", "/raw"): lambda request: Response(200, (("x-a", "1"), ("x-a", "2")), (b"a", b"b"), "chunked"),
    }
    with ProviderServer(routes=routes) as server, httpx.Client(base_url=server.url) as client:
        assert client.get("/orders/A-1?full=1").json() == {"id": "A-1", "full": ["1"]}
        assert client.delete("/orders/A-1").status_code == 409
        assert client.get("/raw").headers.get_list("x-a") == ["1", "2"]
        assert client.get("/raw").content == b"ab"
        assert client.get("/nothing").status_code == 404


def test_answers_are_compressed_for_clients_that_accept_it() -> None:
    """With `compress` the wire carries gzip, streams included, and the SDKs read it."""
    with ProviderServer(echo, compress=True) as server:
        packed = b"".join(chunks_of(server))
        assert packed[:2] == b"\x1f\x8b"
        assert said(zlib.decompress(packed, wbits=31)) == TEXT
        with OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
            text = "".join(chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**BODY))
            plain = client.chat.completions.create(**BODY | {"stream": False})
        assert text == plain.choices[0].message.content == TEXT


def test_a_seeded_server_says_the_same_in_every_run_and_new_things_to_repeats() -> None:
    """Same seed, same bytes; a repeated request gets other ids and words; temperature 0 keeps the words."""
    body: dict[str, Any] = {
        "model": "gpt-4.1",
        "messages": [{"role": "user", "content": "Tell me of the sea."}],
    }

    def answers(of_server: int | None, **changes: Any) -> list[dict[str, Any]]:
        with (
            ProviderServer(seed=of_server, clock=lambda: 1_700_000_000.0) as server,
            httpx.Client() as client,
        ):
            url = f"{server.openai_url}/chat/completions"
            return [client.post(url, json=body | changes, headers=KEY).json() for _ in range(12)]

    def texts(answers: list[dict[str, Any]]) -> set[str]:
        return {answer["choices"][0]["message"]["content"] for answer in answers}

    assert answers(5) == answers(5)
    assert answers(5) != answers(6)
    assert len({answer["id"] for answer in answers(5)}) == 12
    assert len(texts(answers(5))) > 1
    assert len(texts(answers(None, temperature=0))) == 1
    assert texts(answers(1, seed=3)) == texts(answers(2, seed=3))


def test_the_log_remembers_as_many_requests_as_it_is_told() -> None:
    """`keep` bounds the log, `count` goes on, and waiting for what does not come times out."""
    with ProviderServer(echo, keep=2) as server, httpx.Client(base_url=server.url, headers=KEY) as client:
        for name in "abc":
            client.get(f"/v1/models?{name}")
        assert [request.target for request in server.requests] == ["/v1/models?b", "/v1/models?c"]
        assert (server.requests.count, len(server.requests.to("/models"))) == (3, 2)
        with pytest.raises(TimeoutError):
            server.requests.wait_for(4, timeout=0)
        with pytest.raises(TimeoutError):
            server.requests.sent(0, timeout=0)
        server.requests.clear()
        assert len(server.requests) == 0


def test_a_stopped_server_leaves_no_thread_and_no_socket() -> None:
    """Start and stop with clients still connected: no thread stays, nothing warns, the port is free again."""
    threads = threading.active_count()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            server = ProviderServer(echo).start()
            connection = http.client.HTTPConnection("127.0.0.1", server.port)
            connection.request("GET", "/v1/models", headers=KEY)
            assert connection.getresponse().read()
            with pytest.raises(RuntimeError):
                server.start()
            server.stop()
            server.stop()
            connection.close()
        gc.collect()
    assert [str(warning.message) for warning in caught] == []
    assert threading.active_count() == threads
    with ProviderServer(port=server.port) as again:
        assert again.port == server.port


def test_a_server_in_its_own_process_ends_with_the_block() -> None:
    """`python -m rashomon.testing` prints its address, answers SDKs, and is gone afterwards."""
    with ProviderProcess(["--seed", "1", "--model", "echo", "--fault", "500", "--chunk-size", "5"]) as process:
        environment = process.environ()
        with OpenAI(base_url=environment["OPENAI_BASE_URL"], api_key="sk-test", max_retries=1) as client:
            stream = client.chat.completions.create(**BODY)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == TEXT
        url, pid = process.url, process.pid
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_bad_options_are_reported_in_words() -> None:
    """A fault that cannot be read ends the program with status 2 and two sentences."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "rashomon.testing", "--fault", "melt"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 2
    assert "There is no fault called 'melt'. Use" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_package_needs_the_standard_library_only() -> None:
    """Importing it in a fresh interpreter loads no SDK, no duckdb, no textual and no HTTP client."""
    code = (
        "import sys, types, pathlib, importlib.util as u\n"
        "spec = u.find_spec('rashomon'); package = types.ModuleType('rashomon')\n"
        "package.__path__ = list(spec.submodule_search_locations); sys.modules['rashomon'] = package\n"
        "before = set(sys.modules); import rashomon.testing\n"
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names))\n"
        "ours = [m for m in sys.modules if m.startswith('rashomon.')]\n"
        "print([m for m in ours if not m.startswith('rashomon.testing')])\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout == "['rashomon']\n[]\n", done.stderr
