"""Telemetry that leaves by other ways than requests: look-ups of collectors, the log handlers' sockets, gRPC.

Requests are told apart where they cross the boundary (`rashomon.telemetry`), sockets where an audit event tells of
them. What is here would end a replay there, for the libraries do not expect it to fail, or nothing tells of it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import Any

from rashomon import boundary, telemetry
from rashomon.recorders import coverage, lanes
from rashomon.recorders.ambient import sites
from rashomon.recorders.imports import when_imported

_HERE = "127.0.0.1"


def install() -> None:
    """Watch for the modules that send telemetry. Nothing is imported for the sake of it."""
    telemetry.is_own = _is_own
    for name in telemetry.modules():
        when_imported(name, telemetry.begin)
    when_imported("socket", lambda module: sites.replace(module, "getaddrinfo", _looking_up))
    when_imported("logging.handlers", _patch_handlers)
    when_imported("opentelemetry.exporter.otlp.proto.grpc.exporter", _patch_grpc)


def _is_own(frame: FrameType) -> bool:
    return frame.f_code.co_filename != lanes.__file__ and sites.of_frame(frame) == sites.USER


def _is_not_sent() -> bool:
    return telemetry.watching and coverage.is_replay()


def _note(by: str, to: str) -> None:
    guard: Any = boundary.current()
    guard.scribe.uncontrolled(*telemetry.fact(by, to))


def _looking_up(original: Callable[..., Any]) -> Callable[..., Any]:
    """Collectors are looked up when a client is made, which must not fail: in a replay they are here."""

    def getaddrinfo(host: Any, *args: Any, **options: Any) -> Any:
        return original(_HERE if _is_not_sent() and telemetry.sender() else host, *args, **options)

    return getaddrinfo


def _patch_handlers(module: ModuleType) -> None:
    """The handlers of `logging` that have a connection of their own."""
    for name in ("HTTPHandler", "SMTPHandler", "SocketHandler", "SysLogHandler"):
        handler: Any = getattr(module, name)
        handler.emit = _handling(handler.emit)
    module.SysLogHandler.createSocket = _handling(module.SysLogHandler.createSocket)


def _handling(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def handle(self: Any, *args: Any) -> None:
        if not _is_not_sent():
            return original(self, *args)
        return _note("logging.handlers", _place(self))

    return handle


def _place(handler: Any) -> str:
    """Where a handler sends to, whichever it is."""
    facts = vars(handler)
    if "mailhost" in facts:
        return f"{handler.mailhost}:{handler.mailport or 25}"
    if "address" in facts:
        return coverage.peer_text(handler.address)
    return str(handler.host)


def _patch_grpc(module: Any) -> None:
    """OpenTelemetry's exporters over gRPC, whose channels nothing tells of."""
    original = module.OTLPExporterMixin._export

    @functools.wraps(original)
    def export(self: Any, *args: Any, **options: Any) -> Any:
        if not _is_not_sent():
            return original(self, *args, **options)
        _note("opentelemetry.exporter", str(self._endpoint))
        return self._result.SUCCESS

    module.OTLPExporterMixin._export = export
