"""What libraries report about the program to collectors: it is no step, and a replay sends none of it."""

from __future__ import annotations

import http.server
import logging
import logging.handlers
import socket
import sys
import threading
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

import rashomon
from rashomon import telemetry
from rashomon.errors import Escaped
from rashomon.model import Kind, Tape
from rashomon.testing import ProviderServer
from tests.support import environment, needs_apart, tapes_of, with_apart
from tests.support import rashomon as command_line

CANARY = "canary-in-the-span"


class Collector:
    """A server that accepts whatever is sent, and counts it."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                collector.paths.append(self.path)
                self.send_response(202)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    """A server that accepts whatever is sent."""
    made = Collector()
    yield made
    made.stop()


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules that these tests make up are known by their names alone."""
    monkeypatch.setattr(telemetry, "watching", True)
    monkeypatch.setattr(telemetry, "_of_module", {})


def library(name: str, source: str) -> Any:
    """A module of that name which is loaded from nowhere."""
    made = types.ModuleType(name)
    exec(source, vars(made))
    return made


# ----------------------------------------------------------------------------------------------------- real libraries

OTEL = """
import asyncio, os, sys, time
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor

provider = TracerProvider()
exporter = OTLPSpanExporter(endpoint=sys.argv[1] + "/v1/traces")
for processor in (BatchSpanProcessor(exporter, schedule_delay_millis=40), SimpleSpanProcessor(exporter)):
    provider.add_span_processor(processor)
tracer = provider.get_tracer("agent")
import openai
client = openai.AsyncOpenAI()

async def one(number):
    for turn in range(3):
        with tracer.start_as_current_span("turn") as span:
            span.set_attribute("note", "canary-in-the-span")
            messages = [{"role": "user", "content": f"question {number}.{turn}"}]
            answer = await client.chat.completions.create(model="gpt-4o", messages=messages)
            print(answer.choices[0].message.content)
            await asyncio.sleep(0.03)

async def main():
    await asyncio.gather(*(one(number) for number in range(3)))

asyncio.run(main())
provider.shutdown()
"""
SENTRY = """
import logging, sys
import sentry_sdk
from sentry_sdk.integrations.logging import LoggingIntegration
from sentry_sdk.integrations.stdlib import StdlibIntegration
sentry_sdk.init(
    dsn=sys.argv[1].replace("://", "://public@") + "/1",
    traces_sample_rate=1.0,
    auto_enabling_integrations=False,
    default_integrations=False,
    integrations=[LoggingIntegration(), StdlibIntegration()],
)
import openai
client = openai.OpenAI()
for number in range(3):
    with sentry_sdk.start_transaction(name="turn"):
        messages = [{"role": "user", "content": f"question {number}"}]
        print(client.chat.completions.create(model="gpt-4o", messages=messages).choices[0].message.content)
    try:
        raise ValueError(f"canary-in-the-span {number}")
    except ValueError:
        logging.exception("it went wrong")
sentry_sdk.flush()
"""


@pytest.mark.parametrize(
    ("source", "steps", "package"), [(OTEL, 9, "opentelemetry"), (SENTRY, 3, "sentry_sdk")], ids=["otel", "sentry"]
)
@needs_apart("opentelemetry")
@needs_apart("sentry_sdk")
def test_a_program_that_reports(tmp_path: Path, home: Path, source: str, steps: int, package: str) -> None:
    """Its calls of models are the steps. Two replays hold, and the collector hears nothing of them; nothing of what
    was reported is on the disk; the trace says who reports where."""
    (tmp_path / "agent.py").write_text(source)
    collector, provider = Collector(), ProviderServer(seed=1)
    provider.start()
    env = {"OPENAI_BASE_URL": f"{provider.url}/v1", "OPENAI_API_KEY": "sk-test", **with_apart()}
    run = ("record", "--", sys.executable, "agent.py", collector.url)
    done = command_line(*run, home=home, cwd=tmp_path, env=env)
    assert done.returncode == 0, done.stderr
    provider.stop()
    heard = len(collector.paths)
    assert heard >= 2
    (recorded,) = tapes_of(home)
    for _ in range(2):
        replayed = command_line("replay", recorded.trace.id, home=home, cwd=tmp_path, env=env)
        assert (replayed.returncode, replayed.stdout) == (0, done.stdout), replayed.stderr
    assert len(collector.paths) == heard
    collector.stop()
    for tape in tapes_of(home):
        assert [step.kind for step in tape.steps] == [Kind.LLM] * steps
        assert tape.trace.coverage.missed == ()
        waits = {Path(read.site.file).parent.name for read in tape.reads if read.kind == "sleep"}
        assert waits <= {"resources", tmp_path.name}  # what detects resources is waited for before anything is sent
        assert {reason.partition(".")[0] for reason in told(tape)} == {package}
        assert all(collector.url in reason for reason in told(tape))
    for path in home.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path
    shown = command_line("show", recorded.trace.id, home=home).stdout
    assert f"telemetry  {package}" in shown
    assert "beyond     telemetry" not in shown


# ---------------------------------------------------------------------------------------------- by whatever client

CLIENTS = """
import asyncio, urllib.request
import aiohttp, httpx, httpx2, requests

def by_httpx(url): return httpx.post(url, json={"a": 1}).status_code
def by_httpx2(url): return httpx2.post(url, json={"a": 1}).status_code
def by_requests(url): return requests.post(url, json={"a": 1}).status_code
def by_urllib(url): return urllib.request.urlopen(url, b"{}").status
def by_async_httpx(url):
    async def send():
        async with httpx.AsyncClient() as client:
            return (await client.post(url, json={"a": 1})).status_code
    return asyncio.run(send())
def by_aiohttp(url):
    async def send():
        async with aiohttp.ClientSession() as client, client.post(url, json={"a": 1}) as answer:
            await answer.read()
            return answer.status
    return asyncio.run(send())
"""
CLIENT_NAMES = ("httpx", "httpx2", "requests", "urllib", "async_httpx", "aiohttp")


def newest(home: Path) -> Tape:
    return tapes_of(home)[-1]


def told(tape: Tape) -> list[str]:
    """What a trace says of telemetry."""
    return [one.reason for one in tape.trace.uncontrolled if one.what == telemetry.WHAT]


@pytest.mark.parametrize("client", CLIENT_NAMES)
def test_requests_by_each_client(home: Path, collector: Collector, client: str) -> None:
    """A recording has no step and no connection of it; the program has the collector's answer. A replay does not ask
    the collector, and answers that all is well."""
    send = getattr(library("statsd.client.udp.http", CLIENTS), f"by_{client}")
    with rashomon.trace("reports"):
        assert send(collector.url + "/v1/traces") == 202
    tape = newest(home)
    assert (tape.steps, tape.trace.coverage.connections, tape.trace.coverage.missed) == ((), 0, ())
    assert told(tape) == [telemetry.fact("statsd.client.udp", collector.url)[1]]
    with rashomon.replay(tape) as replaying:
        assert send(collector.url + "/v1/traces") == 200
    assert replaying.divergences == ()
    assert len(collector.paths) == 1
    assert told(newest(home)) == told(tape)


@pytest.mark.parametrize("client", CLIENT_NAMES)
def test_the_same_requests_of_the_program(home: Path, collector: Collector, client: str) -> None:
    """What the program itself sends there is a step, and has the recorded answer."""
    send = getattr(library("agent", CLIENTS), f"by_{client}")
    with rashomon.trace("reports"):
        assert send(collector.url + "/v1/traces") == 202
    tape = newest(home)
    assert [step.kind for step in tape.steps] == [Kind.HTTP]
    collector.stop()
    with rashomon.replay(tape) as replaying:
        assert send(collector.url + "/v1/traces") == 202
    assert replaying.divergences == ()


def test_a_recording_that_has_it_as_steps(home: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was made with the setting `none`, or before there was any telemetry: it is replayed by its steps."""
    send = library("statsd.client.udp", CLIENTS).by_requests
    monkeypatch.setattr(telemetry, "watching", False)
    with rashomon.trace("reports"):
        assert send(collector.url) == 202
    monkeypatch.setattr(telemetry, "watching", True)
    with rashomon.replay(newest(home)) as replaying:
        assert send(collector.url) == 202
    assert replaying.divergences == ()


# ---------------------------------------------------------------------------------------------------- other ways out

SOCKETS = """
import socket
class Client:
    def __init__(self, host, port):
        found = socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_DGRAM)
        self.address = found[0][4]
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    def incr(self, name):
        try:
            self.socket.sendto(name.encode(), self.address)
        except OSError:
            return "lost"
        return "sent"
def stream(address):
    with socket.socket() as made:
        made.connect(address)
"""


def test_datagrams(home: Path) -> None:
    """A client of StatsD looks its server up when it is made, and sends datagrams: a replay lets neither out, and the
    client does not fail where it did not before. What the program sends itself is refused as ever."""
    statsd = library("statsd.client.udp", SOCKETS)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        port = server.getsockname()[1]
        with rashomon.trace("metrics"):
            assert statsd.Client("localhost", port).incr("calls") == "sent"
        assert server.recv(100) == b"calls"
        tape = newest(home)
        assert (tape.trace.coverage.missed, tape.trace.coverage.connections) == ((), 0)
        with rashomon.replay(tape) as replaying:
            client = statsd.Client("no-such-host.invalid", port)
            assert client.address == ("127.0.0.1", port)
            assert client.incr("calls") == "lost"
        assert replaying.divergences == ()
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.recv(100)
        own = library("agent", SOCKETS)
        with pytest.raises(Escaped), rashomon.replay(tape):
            own.Client("127.0.0.1", port).incr("calls")


def test_connections(home: Path, collector: Collector) -> None:
    """A socket of such a library: seen and told while recording, refused like by a collector that is down later."""
    elastic = library("elasticapm.transport.raw", SOCKETS)
    address = ("127.0.0.1", int(collector.url.rpartition(":")[2]))
    with rashomon.trace("raw"):
        elastic.stream(address)
    tape = newest(home)
    assert tape.trace.coverage.complete
    assert "elasticapm.transport to 127.0.0.1" in told(tape)[0]
    with rashomon.replay(tape) as replaying, pytest.raises(ConnectionRefusedError, match="does not send telemetry"):
        elastic.stream(address)
    assert replaying.divergences == ()


def handlers(port: int, collector: Collector) -> list[logging.Handler]:
    return [
        logging.handlers.SysLogHandler(address=("127.0.0.1", port)),
        logging.handlers.DatagramHandler("127.0.0.1", port),
        logging.handlers.SocketHandler("127.0.0.1", 1),
        logging.handlers.SMTPHandler(
            ("127.0.0.1", 1), "a@example.com", ["b@example.com"], "it went wrong", timeout=0.2
        ),
        logging.handlers.HTTPHandler(collector.url.partition("//")[2], "/log", method="POST"),
    ]


def test_handlers_of_logs(home: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logs go where they went while recording, and nowhere in a replay; no handler complains of that."""
    complained: list[object] = []
    monkeypatch.setattr(logging.Handler, "handleError", lambda self, record: complained.append(self))
    log = logging.Logger("agent")

    def program(port: int) -> None:
        log.handlers = handlers(port, collector)
        log.warning("hello")
        for handler in log.handlers:
            handler.close()

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(10)
        port = server.getsockname()[1]
        with rashomon.trace("logs"):
            program(port)
        assert b"hello" in server.recv(1000) + server.recv(1000)
        assert [type(one).__name__ for one in complained] == ["SMTPHandler"]  # nobody listens there
        assert collector.paths == ["/log"]
        tape = newest(home)
        assert (tape.steps, tape.trace.coverage.missed) == ((), ())
        complained.clear()
        with rashomon.replay(tape) as replaying:
            program(port)
        assert replaying.divergences == ()
        assert complained == []
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.recv(100)
    assert collector.paths == ["/log"]
    assert sorted(told(newest(home))) == sorted(told(tape))
    assert len(told(tape)) == 3


def test_a_handler_of_the_programs_own(home: Path, collector: Collector) -> None:
    """Whatever it does to send a record is telemetry, also where the class is the program's."""

    class Hook(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            requests.post(collector.url + "/hook", json={"text": record.getMessage()}, timeout=10)

    log = logging.Logger("agent")
    log.addHandler(Hook())
    with rashomon.trace("hook"):
        log.error("help")
    tape = newest(home)
    assert tape.steps == ()
    assert collector.paths == ["/hook"]
    with rashomon.replay(tape) as replaying:
        log.error("help, at another time")
    assert replaying.divergences == ()
    assert collector.paths == ["/hook"]


def test_the_setting(tmp_path: Path, home: Path, collector: Collector) -> None:
    """`RASHOMON_TELEMETRY` names modules of the program's own; with `none` what they send are steps."""
    (tmp_path / "reports.py").write_text(
        "import random, urllib.request\n"
        "def send(url): return urllib.request.urlopen(url, str(random.SystemRandom().random()).encode()).status\n"
    )
    (tmp_path / "agent.py").write_text("import reports, sys\nreports.send(sys.argv[1])\n")
    run = ("record", "--", sys.executable, "agent.py", collector.url)
    for setting, steps in (("reports", 0), ("none", 1), ("", 1)):
        env = {"RASHOMON_TELEMETRY": setting}
        assert command_line(*run, home=home, cwd=tmp_path, env=env).returncode == 0
        tape = newest(home)
        assert len(tape.steps) == steps
        heard = len(collector.paths)
        replayed = command_line("replay", tape.trace.id, home=home, cwd=tmp_path, env=environment(home))
        assert replayed.returncode == 0, replayed.stderr  # the setting is a part of the recording
        assert len(collector.paths) == heard
    examined = command_line("doctor", "--", *run[2:], home=home, cwd=tmp_path, env={"RASHOMON_TELEMETRY": "reports"})
    assert examined.returncode == 0, examined.stdout
    assert f"telemetry    reports to {collector.url}" in examined.stdout


def test_what_such_a_library_measures_is_the_programs(home: Path, collector: Collector) -> None:
    """A request within a function that a library of this kind has wrapped, to time it, is a step."""
    statsd = library("statsd.client.udp", "def timed(function): return lambda *args: function(*args)")
    send = statsd.timed(library("agent", CLIENTS).by_httpx)
    with rashomon.trace("measured"):
        assert send(collector.url) == 202
    tape = newest(home)
    assert ([step.kind for step in tape.steps], told(tape)) == ([Kind.HTTP], [])
    collector.stop()
    with rashomon.replay(tape) as replaying:
        assert send(collector.url) == 202
    assert replaying.divergences == ()


def test_many_threads_report_at_once(home: Path, collector: Collector) -> None:
    """Steps and reports of eight threads stand apart, and each step has its answer in a replay."""
    statsd, own = library("statsd.client.udp", CLIENTS), library("agent", CLIENTS)
    seen: dict[int, list[int]] = {}

    def work(number: int) -> None:
        seen[number] = [
            status
            for turn in range(5)
            for status in (statsd.by_requests(collector.url), own.by_requests(f"{collector.url}/own/{number}/{turn}"))
        ]

    def program() -> dict[int, list[int]]:
        seen.clear()
        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return dict(sorted(seen.items()))

    with rashomon.trace("threads"):
        assert program() == {number: [202, 202] * 5 for number in range(8)}
    tape = newest(home)
    assert len(tape.steps) == 40
    assert len(collector.paths) == 80
    with rashomon.replay(tape) as replaying:
        assert program() == {number: [200, 202] * 5 for number in range(8)}
    assert replaying.divergences == ()
    assert len(collector.paths) == 80
