"""Real OpenAI and Anthropic traffic, that nobody here wrote: recorded byte for byte, replayed byte for byte."""

from __future__ import annotations

import collections
import importlib.util
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anthropic
import httpx2
import openai
import pytest

import rashomon
from rashomon import session
from rashomon.testing import Cassette, ProviderServer, Recorded
from tests.conftest import NO_REAL_DATA, real_data
from tests.support import tapes_of

Answer = tuple[int, bytes]
CLIENT = httpx2.Client()
"""One for all: making one costs more than a call."""
KEY = "sk-not-a-real-key-0123456789"


def _interactions() -> list[list[Any]]:
    """The interactions of each cassette file that are OpenAI's or Anthropic's."""
    folder = real_data()
    if folder is None:
        pytest.skip(NO_REAL_DATA)
    spec = importlib.util.spec_from_file_location("real_data_loaders", folder / "loaders.py")
    assert spec is not None
    assert spec.loader is not None
    loaders = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = loaders
    spec.loader.exec_module(loaders)
    errors: list[Any] = []
    found = [
        [one for one in cassette if one.provider in ("openai", "anthropic", "azure-openai")]
        for cassette in loaders.iter_cassettes(errors=errors)
    ]
    assert not errors
    return [cassette for cassette in found if cassette]


def _target(one: Any) -> str:
    split = urlsplit(str(one.url))
    return split.path + (f"?{split.query}" if split.query else "")


def _recorded(one: Any) -> Recorded:
    """An interaction for the server; a body that its cassette stored decoded loses its content-encoding."""
    encoding = ",".join(one.resp_headers.get("content-encoding", [])).lower()
    still_encoded = (
        one.resp_body[:2] == b"\x1f\x8b" if "gzip" in encoding else bool(encoding) and one.body != one.resp_body
    )
    headers = [
        (name, value.encode("ascii", "replace").decode())
        for name, values in one.resp_headers.items()
        for value in values
        if name != "content-encoding" or still_encoded
    ]
    return Recorded(one.method, _target(one), one.req_body, one.status, tuple(headers), one.resp_body)


def _sdk_method(one: Any, url: str) -> tuple[Callable[..., Any], dict[str, Any]] | None:
    """The SDK's method and arguments that send this request, or None when it cannot be rebuilt."""
    body, prefix = one.req_json(), _target(one).rpartition("/" + one.api.replace(".", "/"))[0]
    if one.method != "POST" or not isinstance(body, dict) or "?" in _target(one):
        return None
    base: Any
    if one.provider == "openai":
        client = openai.OpenAI(base_url=url + prefix, api_key=KEY, max_retries=0, http_client=CLIENT)
        base = {"chat.completions": client.chat.completions, "responses": client.responses,
                "embeddings": client.embeddings, "completions": client.completions}.get(one.api)  # fmt: skip
    else:
        claude = anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0, http_client=CLIENT)
        base = claude.messages if one.api == "messages" and prefix == "/v1" else None
    if base is None:
        return None
    known = set(inspect.signature(base.create).parameters)
    arguments = {name: value for name, value in body.items() if name in known}
    extra = {name: value for name, value in body.items() if name not in known}
    return base.with_streaming_response.create, {**arguments, "extra_body": extra or None}


def _via_sdk(create: Callable[..., Any], arguments: dict[str, Any]) -> Answer:
    try:
        with create(**arguments) as raw:
            return raw.http_response.status_code, b"".join(raw.http_response.iter_raw())
    except (openai.APIStatusError, anthropic.APIStatusError) as error:
        return error.response.status_code, error.response.content


def _via_httpx(one: Any, url: str) -> Answer:
    kept = {name: values[0] for name, values in one.req_headers.items() if name in ("content-type", "accept")}
    with CLIENT.stream(one.method, url + _target(one), content=one.req_body, headers=kept) as response:
        return response.status_code, b"".join(response.iter_raw())


def _call(one: Any, url: str, counts: collections.Counter[str]) -> Answer:
    """Send a recorded request again: through the SDK where that sends the same JSON, else as bytes."""
    sdk = _sdk_method(one, url)
    if sdk is not None:
        try:
            answer = _via_sdk(*sdk)
        except (TypeError, ValueError, openai.APIConnectionError):
            answer = (404, b"")  # the SDK's own checks of today refuse an argument of then
        if b"cassette_miss" not in answer[1] and answer != (404, b""):
            counts["through the SDK"] += 1
            return answer
    counts["as bytes"] += 1
    return _via_httpx(one, url)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_real_traffic_replays_byte_for_byte(home: Path) -> None:
    """Every OpenAI and Anthropic interaction at hand: same status, same bytes, none skipped."""
    counts: collections.Counter[str] = collections.Counter()
    total = 0
    for cassette in _interactions():
        recorded = [_recorded(one) for one in cassette]
        with ProviderServer(cassette=Cassette(recorded)) as server, rashomon.trace("real"):
            live = [_call(one, server.url, counts) for one in cassette]
        tape = tapes_of(home)[-1]
        with rashomon.replay(tape) as replaying:
            replayed = [_call(one, server.url, collections.Counter()) for one in cassette]
        replaying.check()
        for one, original, first, second in zip(cassette, recorded, live, replayed, strict=True):
            name = f"{one.source}/{one.path}[{one.index}]"
            assert first[0] == original.status, name
            assert first[1] in (original.body, one.body), name  # an SDK's error holds the decoded body
            assert second == first, name
        total += len(cassette)
        (home / "journals").rename(home / f"journals-{total}")
        session.close_journal()
    print(json.dumps({"interactions": total, **counts}))
    assert total == sum(counts.values()) > 100
