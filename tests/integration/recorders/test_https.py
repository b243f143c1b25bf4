"""HTTPS, direct and through a tunnelling proxy: recorded, and replayed with neither server nor proxy."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import requests

import rashomon
from tests.support import tapes_of

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


class Secure:
    """An HTTPS server and a CONNECT proxy to it, on loopback."""

    def __init__(self, folder: Path) -> None:
        self.certificate, key = str(folder / "cert.pem"), str(folder / "key.pem")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
             self.certificate, "-days", "2", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost"],
            check=True, capture_output=True)  # fmt: skip
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, key)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._proxy = socket.create_server(("127.0.0.1", 0))
        self.tunnels = 0
        for run in (self._server.serve_forever, self._accept):
            threading.Thread(target=run, daemon=True).start()
        self.url = f"https://localhost:{self._server.server_port}"
        self.proxy = f"http://127.0.0.1:{self._proxy.getsockname()[1]}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._proxy.accept()
            except OSError:
                return
            self.tunnels += 1
            while not client.recv(4096).endswith(b"\r\n\r\n"):
                pass
            upstream = socket.create_connection(("127.0.0.1", self._server.server_port))
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            for ends in ((client, upstream), (upstream, client)):
                threading.Thread(target=_pump, args=ends, daemon=True).start()

    def stop(self) -> None:
        """Close both."""
        self._server.shutdown()
        self._server.server_close()
        self._proxy.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the other side is gone already


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Secure]:
    """A server and a proxy."""
    made = Secure(tmp_path)
    yield made
    made.stop()


def with_requests(secure: Secure, proxies: dict[str, str]) -> list[Any]:
    """Two calls on one connection, and one that does not trust the server."""
    with requests.Session() as session, requests.Session() as wary:
        session.trust_env = wary.trust_env = False
        session.verify = secure.certificate
        seen: list[Any] = [session.get(f"{secure.url}/{name}", proxies=proxies).text for name in "ab"]
        with pytest.raises(requests.exceptions.SSLError) as refused:
            wary.get(secure.url + "/wary", proxies=proxies)
        return [*seen, type(refused.value.args[0].reason).__name__]


def with_aiohttp(secure: Secure, proxies: dict[str, str]) -> list[Any]:
    """One call."""

    async def main() -> list[Any]:
        context = ssl.create_default_context(cafile=secure.certificate)
        proxy = proxies.get("https")
        async with (
            aiohttp.ClientSession() as session,
            session.get(secure.url + "/a", ssl=context, proxy=proxy) as response,
        ):
            return [response.status, await response.text()]

    return asyncio.run(main())


@pytest.mark.parametrize("program", [with_requests, with_aiohttp])
@pytest.mark.parametrize("tunnelled", [False, True])
def test_https(home: Path, secure: Secure, program: Any, tunnelled: bool) -> None:
    """Calls over TLS are recorded with their own URL, and replayed without a handshake or a tunnel."""
    proxies = {"https": secure.proxy} if tunnelled else {}
    with rashomon.trace():
        seen = program(secure, proxies)
    opened = secure.tunnels
    assert bool(opened) == tunnelled
    secure.stop()
    tape = tapes_of(home)[-1]
    assert tape.steps[0].request.head["url"] == secure.url + "/a"
    assert tape.trace.coverage.complete
    with rashomon.replay(tape) as replaying:
        assert program(secure, proxies) == seen
    assert (replaying.divergences, secure.tunnels) == ((), opened)
