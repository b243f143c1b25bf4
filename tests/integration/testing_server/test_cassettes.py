"""Recorded traffic served again, and real recordings when they are at hand."""

from __future__ import annotations

import gzip
import http.client
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from openai import OpenAI

from rashomon.testing import ProviderProcess, ProviderServer, Recorded
from rashomon.testing.cassettes import HOP_BY_HOP, load, save, split_events
from tests.conftest import NO_REAL_DATA, real_data

CHAT = b'{"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}'
JSON = (("Content-Type", "application/json"), ("X-Request-Id", "req_1"), ("Transfer-Encoding", "chunked"))


def answer(text: str, request: bytes = CHAT) -> Recorded:
    """A recorded chat completion."""
    message = {"role": "assistant", "content": text}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = {"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4.1", "choices": [choice]}
    return Recorded("POST", "/v1/chat/completions", request, 200, JSON, json.dumps(body).encode())


def test_the_nth_request_gets_the_nth_answer_and_then_a_miss() -> None:
    """Equal requests are answered in order, through an SDK whose spaces differ from the recording's."""
    with ProviderServer(cassette=[answer("one"), answer("two")]) as server:
        with OpenAI(base_url=server.openai_url, api_key="sk-test", max_retries=0) as client:
            ask: Any = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}]}
            texts = [client.chat.completions.create(**ask).choices[0].message.content for _ in range(2)]
            assert texts == ["one", "two"]
            missed = httpx.post(f"{server.openai_url}/chat/completions", content=CHAT)
        assert missed.status_code == 404
        assert "2 of 2 recordings have this method and target" in missed.json()["error"]["message"]
        assert server.cassette is not None
        assert server.cassette.unserved == 0
        server.cassette.rewind()
        assert httpx.post(f"{server.openai_url}/chat/completions", content=CHAT).status_code == 200


def test_bytes_headers_and_status_come_back_as_recorded() -> None:
    """Gzip bytes stay as they are, repeated headers stay repeated, and nothing is added but the framing."""
    packed = gzip.compress(b'{"a": 1}')
    headers = (
        ("Content-Encoding", "gzip"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-Word", "caf\xe9"),
    )
    recorded = Recorded("GET", "/v1/thing?page=2", b"", 418, headers, packed)
    with ProviderServer(cassette=[recorded, Recorded("DELETE", "/v1/thing", b"", 204, (), b"")]) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/v1/thing?page=2")
        response = connection.getresponse()
        assert response.status == 418
        assert response.read() == packed
        assert response.getheaders() == [*headers, ("content-length", str(len(packed)))]
        connection.request("DELETE", "/v1/thing")
        assert connection.getresponse().getheaders() == []
        connection.close()


def test_a_recorded_stream_is_sent_event_by_event_or_as_asked() -> None:
    """Events are the chunks of a recorded stream; other boundaries do not change a byte."""
    body = "event: a\r\ndata: ü\r\n\r\ndata: 2\n\ndata: unfinished".encode()
    recorded = Recorded("POST", "/s", b"", 200, (("content-type", "text/event-stream"),), body)
    for chunking, chunks in ((None, list(split_events(body))), (1, [bytes([byte]) for byte in body])):
        with ProviderServer(cassette=[recorded], chunking=chunking) as server:
            assert httpx.post(f"{server.url}/s").content == body
            assert list(server.requests.sent(0).chunks) == chunks


def test_recordings_are_saved_and_served_by_the_program(tmp_path: Path) -> None:
    """`save` and `load` keep every byte, and a folder of them can be served from another process."""
    recordings = [answer("one"), Recorded("GET", "/bin", b"\x00\xff", 200, (("x-a", "ü"),), b"\x00\x01")]
    save(tmp_path / "tape.jsonl", recordings)
    assert load(tmp_path).interactions == tuple(recordings)
    with ProviderProcess(["--cassette", str(tmp_path)]) as process:
        assert httpx.post(f"{process.openai_url}/chat/completions", content=CHAT).json()["id"] == "c"
    (tmp_path / "tape.jsonl").write_text('{"method": "GET"}\n')
    with pytest.raises(ValueError, match=r"tape.jsonl:1 is no recorded interaction\. Write it"):
        load(tmp_path)


def _loaders() -> ModuleType:
    folder = real_data()
    if folder is None:
        pytest.skip(NO_REAL_DATA)
    spec = importlib.util.spec_from_file_location("real_data_loaders", folder / "loaders.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _recorded(interaction: Any) -> Recorded:
    """An interaction of the loader as a recording: stored decoded, its content-encoding is dropped."""
    parts = urlsplit(interaction.url)
    decoded = interaction.body == interaction.resp_body
    headers = tuple(
        (name, value)
        for name, values in interaction.resp_headers.items()
        for value in values
        if not (decoded and name == "content-encoding")
    )
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    return Recorded(
        interaction.method, target, interaction.req_body, interaction.status, headers, interaction.resp_body
    )


def _exchanges(files: Iterator[list[Any]]) -> Iterator[list[Recorded]]:
    for interactions in files:
        found = [_recorded(entry) for entry in interactions if entry.provider in ("openai", "anthropic")]
        if found:
            yield found


def test_real_recordings_come_back_byte_for_byte() -> None:
    """Every recorded OpenAI and Anthropic exchange is served again: same status, headers, body bytes."""
    loaders = _loaders()
    pytest.importorskip("yaml", reason="the recordings are YAML; install pyyaml to read them")
    served: Counter[str] = Counter()
    cassettes = list(_exchanges(loaders.iter_cassettes()))
    for recordings in cassettes:
        with ProviderServer(cassette=recordings) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
            for recorded in recordings:
                connection.request(recorded.method, recorded.target, recorded.request_body or None)
                response = connection.getresponse()
                body = response.read()
                assert (response.status, body) == (recorded.status, recorded.body), recorded.target
                kept = [(name, value) for name, value in recorded.headers if name not in HOP_BY_HOP]
                sent = [header for header in response.getheaders() if header[0] not in HOP_BY_HOP]
                assert sent == kept
                served[recorded.content_type.partition(";")[0]] += 1
            connection.close()
            assert server.cassette is not None
            assert server.cassette.unserved == 0
    print(f"{sum(served.values())} exchanges of {len(cassettes)} recordings served: {dict(served)}")
    assert served.total() == sum(map(len, cassettes)) > 0
