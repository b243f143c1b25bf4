"""What goes wrong on purpose: each fault as a client sees it."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from rashomon.testing import Fault, ModelRequest, ProviderServer, Received, Reply, Script, echo

TEXT = "a text of several words, long enough to be cut somewhere"
ASKED: Any = [{"role": "user", "content": TEXT}]
BODY = {"model": "gpt-4.1", "messages": ASKED}
KEY = {"authorization": "Bearer sk-test"}


def post(server: ProviderServer, **changes: Any) -> httpx.Response:
    """A plain HTTP call, without the SDK's retries."""
    return httpx.post(f"{server.openai_url}/chat/completions", json=BODY | changes, headers=KEY)


def test_the_sdk_waits_as_retry_after_says_and_tries_again() -> None:
    """A 429 with retry-after is followed by a second request, which succeeds."""
    with ProviderServer(echo, faults=[Fault.status(429, retry_after=0.01)]) as server:
        with OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
            completion = client.chat.completions.create(model="gpt-4.1", messages=ASKED)
        assert completion.choices[0].message.content == TEXT
        assert [server.requests.sent(index).status for index in (0, 1)] == [429, 200]
        assert ("retry-after", "0.01") in server.requests.sent(0).headers
        assert server.requests[1].header("x-stainless-retry-count") == "1"


@pytest.mark.parametrize(
    ("code", "kind"),
    [(429, "requests"), (500, "server_error"), (503, "server_error"), (404, "invalid_request_error")],
)
def test_error_statuses_have_openai_s_body(code: int, kind: str) -> None:
    """Each status comes with OpenAI's error object."""
    with ProviderServer(echo, faults=[Fault.status(code, message="as scripted")]) as server:
        answer = post(server)
    assert answer.status_code == code
    assert answer.json()["error"]["type"] == kind
    assert answer.json()["error"]["message"] == "as scripted"


def test_a_request_asks_for_its_own_fault_by_model_metadata_or_header() -> None:
    """The model's name, the metadata and a header name a fault, also with options; nonsense is a 400."""
    with ProviderServer(echo) as server:
        by_model = post(server, model="fault:429:retry_after=7")
        assert (by_model.status_code, by_model.headers["retry-after"]) == (429, "7")
        assert post(server, metadata={"fault": "503"}).status_code == 503
        headers = KEY | {"x-rashomon-fault": "500:message=on demand"}
        by_header = httpx.post(f"{server.openai_url}/chat/completions", json=BODY, headers=headers)
        assert by_header.json()["error"]["message"] == "on demand"
        assert "no fault called 'nonsense'" in post(server, model="fault:nonsense").json()["error"]["message"]
        assert post(server).status_code == 200


def test_a_malformed_body_is_a_200_that_no_parser_takes() -> None:
    """The body ends in the middle of its JSON, with a Content-Length that fits what was sent."""
    with ProviderServer(echo, faults=[Fault.malformed(times=2)]) as server:
        answer = post(server)
        stream = post(server, stream=True)
    assert answer.status_code == 200
    with pytest.raises(json.JSONDecodeError):
        answer.json()
    with pytest.raises(json.JSONDecodeError):
        json.loads(stream.text.rstrip().rpartition("data: ")[2])


def test_a_disconnect_closes_before_any_byte() -> None:
    """The client sees a closed connection instead of a status line."""
    with ProviderServer(echo, faults=[Fault.disconnect()]) as server:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending"):
            post(server)
        assert server.requests.sent(0).ending == "cut"
        assert server.requests.sent(0).status == 0


def test_a_cut_stream_ends_after_the_given_number_of_chunks() -> None:
    """Three chunks arrive whole, then the connection is closed without an end."""
    with ProviderServer(echo, faults=[Fault.cut(after=3), Fault.cut()]) as server:
        url = f"{server.openai_url}/chat/completions"
        received: list[bytes] = []
        with (
            httpx.Client() as client,
            client.stream("POST", url, json=BODY | {"stream": True}, headers=KEY) as answer,
            pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
        ):
            received.extend(answer.iter_raw())
        assert b"".join(received) == server.requests.sent(0).body
        assert len(server.requests.sent(0).chunks) == 3
        assert server.requests.sent(0).ending == "cut"
        with pytest.raises(httpx.RemoteProtocolError, match=r"received .* bytes, expected"):
            post(server)


def test_an_sdk_reports_a_cut_stream_as_an_error() -> None:
    """What came before the cut reaches the program; then the SDK raises."""
    with ProviderServer(echo) as server, OpenAI(base_url=server.openai_url, api_key="sk-test") as client:
        stream = client.chat.completions.create(model="fault:cut:after=4", messages=ASKED, stream=True)
        pieces: list[str | None] = []
        with pytest.raises(openai.APIConnectionError):
            pieces.extend(chunk.choices[0].delta.content for chunk in stream)
        with pytest.raises(openai.APIError, match="error"):
            list(client.chat.completions.create(model="fault:error_event", messages=ASKED, stream=True))
    assert "".join(piece or "" for piece in pieces) == "a text of"


@pytest.mark.parametrize(("spec", "ending"), [("stall:after=2", "stalled"), ("endless", "client left")])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
def test_stalled_and_endless_streams_last_until_the_client_leaves(spec: str, ending: str, path: str) -> None:
    """The client reads what there is and goes; the server notices, and its log says how it ended."""
    body = BODY | {"stream": True, "model": f"fault:{spec}", "input": TEXT, "max_tokens": 100}
    with ProviderServer(echo) as server:
        with (
            httpx.Client(timeout=20) as client,
            client.stream("POST", server.url + path, json=body, headers=KEY) as answer,
        ):
            chunks = answer.iter_raw()
            read = b"".join(next(chunks) for _ in range(2 if "stall" in spec else 40))
        assert read
        sent = server.requests.sent(0)
        assert sent.ending == ending
        assert len(sent.chunks) == 2 if ending == "stalled" else len(sent.chunks) >= 40


def test_a_plain_answer_can_be_endless_too() -> None:
    """Without a stream the body never ends, and the client's own limit is what stops it."""
    with ProviderServer(echo, faults=[Fault.endless()]) as server:
        with httpx.Client() as client:
            url = f"{server.openai_url}/chat/completions"
            with client.stream("POST", url, json=BODY, headers=KEY) as answer:
                assert len(next(answer.iter_bytes(10_000))) == 10_000
        assert server.requests.sent(0).ending == "client left"


def test_stopping_the_server_ends_a_stalled_answer() -> None:
    """A client that waits for a stalled answer is let go when the server stops."""
    server = ProviderServer(echo, faults=[Fault.stall(0)]).start()
    with httpx.Client() as client:
        url = f"{server.openai_url}/chat/completions"
        with client.stream("POST", url, json=BODY | {"stream": True}, headers=KEY) as answer:
            server.stop()
            with pytest.raises(httpx.TransportError):
                answer.read()


def test_faults_are_used_in_order_by_the_requests_that_they_match() -> None:
    """`times` and `only` decide who gets a fault; the model and a route can return one as well."""

    def chosen(request: Received) -> bool:
        return b"second" in request.body

    def model(request: ModelRequest) -> Reply | Fault:
        return Fault.status(500) if "third" in request.last_user_text else Reply("fine")

    routes = {("GET", "/broken"): lambda request: Fault.status(503)}
    faults = [Fault.status(503).only(chosen), Fault.status(429, times=2).only("/chat/completions")]
    with ProviderServer(model, faults=faults, routes=routes) as server:
        assert [post(server).status_code for _ in range(3)] == [429, 429, 200]
        assert post(server, messages=[{"role": "user", "content": "second"}]).status_code == 503
        assert post(server, messages=[{"role": "user", "content": "third"}]).status_code == 500
        assert httpx.get(f"{server.url}/broken").status_code == 503
        server.add_fault(Fault.status(401))
        assert post(server).status_code == 401


def test_a_scripted_fault_that_spoils_an_answer_works_from_the_model() -> None:
    """A model that returns a malformed answer gives the client a body that no parser takes."""
    with ProviderServer(Script([Fault.malformed(), "fine"])) as server:
        with pytest.raises(json.JSONDecodeError):
            post(server).json()
        assert post(server).json()["choices"][0]["message"]["content"] == "fine"


@pytest.mark.parametrize("spec", ["700", "cut:after=x", "cut:before=3", "status", "stall:after=-1", ""])
def test_an_unreadable_fault_says_what_to_write(spec: str) -> None:
    """A bad SPEC is a ValueError whose second sentence helps."""
    with pytest.raises(ValueError, match=r"\. (Use|Write)"):
        Fault.parse(spec)
