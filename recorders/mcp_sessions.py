"""MCP sessions over pipes: what a client asks of a server that it has started. In a replay no server is started.

The client's own class for sessions is where a caller is known and an answer is whole, so that is the seam:
`send_request` of mcp 1, `send_raw_request` of mcp 2. What happens inside of the transport (the server's process, the
tasks that read and write its pipes) belongs to the step that started it. Over HTTP messages are recorded as HTTP.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from rashomon.boundary import Witness, cross_async, end_of, guard_here, inside
from rashomon.errors import Missed
from rashomon.model import Call, End, Kind, Request, Response
from rashomon.recorders import slots
from rashomon.recorders.httpx_streams import recorded_failure

_MARK = "_rashomon_server"
"""The attribute of a session's stream that says to which server it leads."""


def patch(module: ModuleType) -> None:
    """Let what a module of mcp's does cross the boundary."""
    for name, change in (
        ("stdio_client", _patch_stdio),
        ("JSONRPCDispatcher", _patch_dispatcher),
        ("BaseSession", _patch_session),
    ):
        if hasattr(module, name):
            change(module)


def _patch_stdio(module: ModuleType) -> None:
    """Record the servers that are started (`mcp.client.stdio`), whoever has imported that function already."""
    original = module.stdio_client
    if hasattr(original, "__rashomon__"):
        return

    @functools.wraps(original)
    def stdio_client(server: Any, *args: Any, **kwargs: Any) -> _Server:
        return _Server(original, server, args, kwargs)

    stdio_client.__rashomon__ = True  # type: ignore[attr-defined]
    for each in list(sys.modules.values()):
        if getattr(each, "__dict__", {}).get("stdio_client") is original:
            each.stdio_client = stdio_client  # type: ignore[attr-defined]


def _patch_dispatcher(module: ModuleType) -> None:
    """Record what is asked (`mcp.shared.jsonrpc_dispatcher`, mcp 2)."""
    cls: Any = module.JSONRPCDispatcher
    original = cls.send_raw_request

    @functools.wraps(original)
    async def send_raw_request(self: Any, method: str, params: Any, opts: Any = None, **more: Any) -> Any:
        server = getattr(self._write_stream, _MARK, None)
        if server is None:
            return await original(self, method, params, opts, **more)
        live = server.asked(lambda: original(self, method, params, opts, **more))
        if guard_here() is None:
            return await live()
        return await cross_async(_asked(server.address, method, params), live, _RAW)

    cls.send_raw_request = send_raw_request


def _patch_session(module: ModuleType) -> None:
    """The same (`mcp.shared.session`, mcp 1)."""
    cls: Any = module.BaseSession
    original = cls.send_request

    @functools.wraps(original)
    async def send_request(self: Any, request: Any, result_type: Any, *args: Any, **kwargs: Any) -> Any:
        server = getattr(self._write_stream, _MARK, None)
        if server is None:
            return await original(self, request, result_type, *args, **kwargs)
        live = server.asked(lambda: original(self, request, result_type, *args, **kwargs))
        if guard_here() is None:
            return await live()
        told = request.model_dump(by_alias=True, mode="json", exclude_none=True)
        call = _asked(server.address, told["method"], told.get("params"))
        return await cross_async(call, live, _Typed(result_type))

    cls.send_request = send_request


class _Server:
    """A server that a client starts: in place of the context manager of `stdio_client`."""

    def __init__(self, original: Any, server: Any, args: Any, kwargs: Any) -> None:
        self._manager = original(server, *args, **kwargs)
        command = [os.path.basename(str(server.command)), *map(str, server.args)]
        self.address = f"stdio:{shlex.join(command)}"
        cwd = getattr(server, "cwd", None)  # which older versions do not have
        told = {"command": str(server.command), "args": command[1:], "cwd": None if cwd is None else str(cwd)}
        self._call = _message(self.address, "start", told)
        self._played: _Nobody | None = None
        self._witness: Any = None

    async def __aenter__(self) -> Any:
        if guard_here() is None:
            streams = await self._manager.__aenter__()
        else:
            streams = await cross_async(self._call, self._start, _Started(self))
        setattr(streams[1], _MARK, self)
        return streams

    async def _start(self) -> Any:
        self._witness = inside.get()  # the transport's tasks are born in here, and stay
        token = slots.apart.set(True)
        try:
            return await self._manager.__aenter__()
        finally:
            slots.apart.reset(token)

    async def __aexit__(self, *exc_info: Any) -> Any:
        from rashomon.recorders import closings

        if self._played is not None:
            return await closings.closing("mcp", self._played.close)
        if self._witness is None:
            return await self._manager.__aexit__(*exc_info)
        return await closings.closing("mcp", lambda: self._manager.__aexit__(*exc_info))

    def play(self) -> Any:
        """The streams of a session without a server."""
        self._played = _Nobody()
        return self._played.streams

    def asked(self, live: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
        """What asks this server for real. Raises `Missed` in a replay, in which it does not run."""
        if self._played is None:
            return live

        async def refuse() -> Any:
            raise Missed(
                f"The server {self.address} was not started in this replay: nobody can answer what is not recorded."
            )

        return refuse


class _Nobody:
    """A transport at whose other end nobody is: what is sent is dropped, and nothing comes."""

    def __init__(self) -> None:
        import anyio

        self._theirs, reads = anyio.create_memory_object_stream[Any](0)
        writes, self._dropped = anyio.create_memory_object_stream[Any](float("inf"))
        self.streams = (reads, writes)

    async def close(self) -> None:
        """Close all ends, as a transport does that comes to its end."""
        for stream in (*self.streams, self._theirs, self._dropped):
            await stream.aclose()


def _asked(address: str, method: str, params: Any) -> Call:
    """A request as a call. Of `tools/call` the arguments, under the tool's name: it is the call of a tool."""
    told = {name: value for name, value in (params or {}).items() if name != "_meta"}  # who asks, and tokens
    if method == "tools/call" and told.keys() <= {"name", "arguments"} and isinstance(told.get("name"), str):
        head = {"server": address, "method": method, "headers": []}
        return Call(Kind.MCP, told["name"], Request(head, _json(told.get("arguments") or {})))
    return _message(address, method, told)


def _message(address: str, method: str, told: Any) -> Call:
    """What is no call of a tool: of the kind of whatever else goes over a connection, as over HTTP."""
    return Call(Kind.HTTP, method, Request({"method": method, "url": address, "headers": []}, _json(told)))


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode("utf-8", "surrogatepass")


class _Answers:
    """The answers to requests: JSON, as the server gave it."""

    def tee(self, answer: Any, witness: Witness) -> Any:
        witness.began({"headers": []})
        witness.piece(_json(self.told(answer)))
        witness.ended(End.COMPLETE)
        return answer

    def play(self, response: Response, witness: Witness) -> Any:
        if response.head is None or response.end is not End.COMPLETE:
            error = recorded_failure(response)
            witness.ended(end_of(error), error)
            raise error
        witness.began(response.head)
        body = b"".join(piece.data for piece in response.pieces)
        witness.piece(body)
        witness.ended(End.COMPLETE)
        return self.rebuilt(json.loads(body))

    async def discard(self, answer: Any) -> None: ...

    def told(self, answer: Any) -> Any:
        """An answer as JSON's values."""
        return answer

    def rebuilt(self, told: Any) -> Any:
        """The answer again."""
        return told


_RAW = _Answers()


class _Typed(_Answers):
    """Answers that are objects of a class of pydantic's."""

    def __init__(self, cls: Any) -> None:
        self._cls = cls

    def told(self, answer: Any) -> Any:
        return answer.model_dump(by_alias=True, mode="json", exclude_none=True)

    def rebuilt(self, told: Any) -> Any:
        return self._cls.model_validate(told)


class _Started(_Answers):
    """That a server was started."""

    def __init__(self, server: _Server) -> None:
        self._server = server

    def told(self, answer: Any) -> Any:
        return {}

    def rebuilt(self, told: Any) -> Any:
        return self._server.play()
