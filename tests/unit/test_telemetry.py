"""By whom a call is made as telemetry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from rashomon import telemetry
from rashomon.model import Call, End, Kind, Request


def sender_through(*places: str) -> str:
    """What `telemetry.sender` says below functions that call each other: `module:function`, outermost first."""
    found: Any = telemetry.sender
    for place in reversed(places):
        module, _, function = place.partition(":")
        names: dict[str, Any] = {"__name__": module, "call": found}
        exec(f"def {function or 'run'}(): return call()", names)
        found = names[function or "run"]
    said: str = found()
    return said


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Begin to watch, with a value of the setting."""

    def begin(setting: str = "") -> None:
        monkeypatch.setenv(telemetry.SETTING, setting)
        monkeypatch.setattr(telemetry, "_of_module", {})
        monkeypatch.setattr(telemetry, "watching", bool(list(telemetry.modules())))
        monkeypatch.setattr(telemetry, "is_own", lambda frame: frame.f_globals["__name__"].startswith(("agent", "app")))

    return begin


@pytest.mark.parametrize(
    ("places", "by"),
    [
        (("agent", "opentelemetry.sdk.trace.export", "requests.sessions"), "opentelemetry.sdk.trace.export"),
        (("threading", "opentelemetry.exporter.otlp.proto.http", "requests"), "opentelemetry.exporter"),
        (("agent", "opentelemetry.sdk.trace", "requests"), ""),
        (("agent", "opentelemetry.exporters", "requests"), ""),
        (("agent", "sentry_sdk.integrations.httpx", "httpx"), ""),
        (("agent", "sentry_sdk.transport", "urllib3"), "sentry_sdk.transport"),
        (("agent", "langsmith.client:pull_prompt", "requests"), ""),
        (("threading", "langsmith.client:_send_multipart_req", "requests"), "langsmith.client"),
        (("agent", "logging:info", "logging:callHandlers", "app.handlers:emit", "httpx"), "logging"),
        (("agent", "logging:info", "httpx"), ""),
        (("agent", "statsd.client.timer", "agent", "httpx"), ""),
        (("agent", "statsd.client.udp", "agent", "httpx"), ""),
        (("agent", "statsd.client.udp", "socket"), "statsd.client.udp"),
        (("agent", "opentelemetry.sdk.trace.export", "app.exporter", "httpx"), "opentelemetry.sdk.trace.export"),
        (("threading", "sentry_sdk.worker", "agent.callback", "logging:callHandlers", "app.hook"), "logging"),
        (("agent", "app.reports", "httpx"), ""),
    ],
)
def test_senders(watch: Callable[..., None], places: tuple[str, ...], by: str) -> None:
    """A module with all below it, or some of its functions, or whatever handlers of logs and exporters of the program's
    own do. A library that only wraps the program's calls sends none of them."""
    watch()
    assert sender_through(*places) == by


def test_the_setting(watch: Callable[..., None]) -> None:
    """More modules; or none at all, the known ones neither."""
    watch("app.reports, app.usage")
    assert sender_through("agent", "app.reports.daily", "httpx") == "app.reports"
    assert sender_through("agent", "app.reports", "app.clients", "httpx") == "app.reports"
    assert sender_through("agent", "app", "httpx") == ""
    watch("none")
    assert sender_through("agent", "sentry_sdk.transport", "urllib3") == ""


def test_nobody_watches(watch: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """While no such module is loaded, nothing is telemetry."""
    watch()
    monkeypatch.setattr(telemetry, "watching", False)
    assert sender_through("agent", "sentry_sdk.transport", "urllib3") == ""


def called(url: str, content_type: str = "application/json", kind: Kind = Kind.HTTP) -> Call:
    head = {"method": "POST", "url": url, "headers": [["Content-Type", content_type]]}
    return Call(kind, "POST /x", Request(head, b""))


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://key:secret@sentry.example/api/1/envelope/?sentry_key=1", "https://sentry.example"),
        ("http://127.0.0.1:4318/v1/traces", "http://127.0.0.1:4318"),
        ("https://collector.example?token=1", "https://collector.example"),
    ],
)
def test_the_place_has_no_credentials(url: str, place: str) -> None:
    """Scheme, host and port: no path, no query, no user."""
    assert telemetry.origin(called(url)) == place


def test_models_are_never_collectors(watch: Callable[..., None]) -> None:
    """A call of a model is a step, whoever makes it."""
    watch("tests.unit.test_telemetry")
    assert telemetry.sent_by(called("https://collector.example"))
    assert not telemetry.sent_by(called("https://api.example/v1/chat/completions", kind=Kind.LLM))


@pytest.mark.parametrize(("content_type", "body"), [("application/json", b"{}"), ("application/x-protobuf", b"")])
def test_what_a_replay_answers(content_type: str, body: bytes) -> None:
    """That it has come, in the form that was asked in: an empty message of protobuf is no bytes."""
    answer = telemetry.accepted(called("https://collector.example", content_type))
    assert answer.head is not None
    assert (answer.head["status"], answer.body, answer.end) == (200, body, End.COMPLETE)
    assert ["content-length", str(len(body))] in answer.head["headers"]
