"""Clients that reach the network without Python's sockets, so that no audit event tells of it.

Of most, all that can be said is that they are there: a trace lists them as uncontrolled. uvloop's event loop opens
its connections in C too, but on behalf of clients that are recorded: it tells of each one here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

from rashomon import boundary, telemetry
from rashomon.recorders import coverage
from rashomon.recorders.imports import when_imported

UNSEEN = {
    "grpc": "gRPC channels are opened in C: its calls do not pass through Python's sockets",
    "pycurl": "libcurl opens its own connections: its calls do not pass through Python's sockets",
    "curl_cffi": "libcurl opens its own connections: its calls do not pass through Python's sockets",
    "primp": "it is an HTTP client written in Rust: its calls do not pass through Python's sockets",
    "rnet": "it is an HTTP client written in Rust: its calls do not pass through Python's sockets",
    "tls_client": "it is an HTTP client written in Go: its calls do not pass through Python's sockets",
    "zmq": "ZeroMQ opens its own connections: its messages do not pass through Python's sockets",
    "psycopg2": "libpq opens its own connections: its queries do not pass through Python's sockets",
    "psycopg_c": "libpq opens its own connections: its queries do not pass through Python's sockets",
    "confluent_kafka": "librdkafka opens its own connections: its messages do not pass through Python's sockets",
}
"""Modules whose traffic nothing here can see, and why."""

_imported: list[str] = []


def install() -> None:
    """Wait for the modules that are known here. Nothing is imported for the sake of it."""
    for name in UNSEEN:
        when_imported(name, functools.partial(_note, name))
    when_imported("uvloop", patch_uvloop)
    for name in ("grpc._channel", "grpc.aio._channel"):
        when_imported(name, patch_grpc)


def _note(name: str, module: ModuleType) -> None:
    _imported.append(name)
    tell(boundary.current(), name, coverage.user_frame())


def tell(guard: Any, name: str, frame: Any = None) -> None:
    """List a module as uncontrolled in the trace of an interceptor. Never raises."""
    scribe = getattr(guard, "scribe", guard)
    note = getattr(scribe, "uncontrolled", None)
    if note is not None:
        note(name, UNSEEN[name], frame)


def tell_all(guard: Any) -> None:
    """At the begin of a trace: list the modules that were imported before it. Never raises."""
    for name in _imported:
        tell(guard, name)


def patch_grpc(module: Any) -> None:
    """Tell of each channel that is opened, whether or not it is connected yet (`grpc._channel.Channel`)."""
    original = module.Channel.__init__

    @functools.wraps(original)
    def init(self: Any, target: Any, *args: Any, **kwargs: Any) -> None:
        peer = _grpc_peer(target.decode() if isinstance(target, bytes) else str(target))
        if not (telemetry.sender() and coverage.is_replay()):  # it connects when something is sent
            coverage.reached(peer)
        coverage.claimed.add(peer.rpartition(":")[2])
        original(self, target, *args, **kwargs)

    module.Channel.__init__ = init


def _grpc_peer(target: str) -> str:
    """`dns:///host:port`, `ipv4:address:port`, `unix:path` (https://github.com/grpc/grpc/blob/master/doc/naming.md)."""
    scheme, colon, rest = target.partition(":")
    if colon and scheme in ("dns", "ipv4", "ipv6", "passthrough"):
        return rest.rpartition("/")[2]
    return target


def patch_uvloop(module: Any) -> None:
    """Tell of the connections, look-ups and subprocesses that an event loop of uvloop's makes."""
    loop = module.Loop
    for name, told in (("create_connection", _tell_connection), ("create_unix_connection", _tell_unix),
                       ("create_datagram_endpoint", _tell_datagram), ("getaddrinfo", _tell_name),
                       ("subprocess_exec", _tell_exec), ("subprocess_shell", _tell_shell)):  # fmt: skip
        setattr(loop, name, _telling(getattr(loop, name), told))


def _telling(original: Any, told: Callable[..., None]) -> Any:
    @functools.wraps(original)
    async def telling(self: Any, *args: Any, **kwargs: Any) -> Any:
        told(*args, **kwargs)
        made = await original(self, *args, **kwargs)
        if isinstance(made, tuple) and made and hasattr(made[0], "get_extra_info"):
            socket = made[0].get_extra_info("socket")
            if socket is not None:
                coverage.announce(socket)
        return made

    return telling


def _tell_connection(_: Any, host: Any = None, port: Any = None, **options: Any) -> None:
    if options.get("sock") is None and host is not None:
        coverage.reached(f"{host}:{port}")


def _tell_unix(_: Any, path: Any = None, **options: Any) -> None:
    if options.get("sock") is None and path is not None:
        coverage.reached(f"unix:{path}")


def _tell_datagram(_: Any, local: Any = None, remote: Any = None, **options: Any) -> None:
    if remote is None:
        remote = options.get("remote_addr")
    if options.get("sock") is None and remote is not None:
        coverage.reached(f"{remote[0]}:{remote[1]}" if isinstance(remote, tuple) else f"unix:{remote}")


def _tell_name(host: Any, *args: Any, **options: Any) -> None:
    name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host or "")
    coverage.looked_up(name)


def _tell_exec(_: Any, program: Any, *args: Any, **options: Any) -> None:
    coverage.launched(tuple(map(str, (program, *args))))


def _tell_shell(_: Any, command: Any, **options: Any) -> None:
    coverage.launched(("/bin/sh", "-c", command.decode() if isinstance(command, bytes) else str(command)))
