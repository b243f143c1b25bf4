"""Claude's Agent SDK, which has its agent in another program: what goes to that one and what comes is recorded.

The agent, its calls of the model and its tools are in a command that is no Python. In a replay it is not started: its
messages come from the recording, each behind what the program had sent before it. Functions that the program hands to
the agent (tools of its own, hooks, permissions) are the program's, and run again when a message asks for them.

The seam is the SDK's own transport to the command: `SubprocessCLITransport`, internal to it and the same class since
its first release.
"""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from types import ModuleType
from typing import Any

from rashomon import values
from rashomon.boundary import Play, Witness, cross_async, guard_here
from rashomon.errors import Missed
from rashomon.model import Call, Kind, Request, Response
from rashomon.recorders import coverage, lanes, slots
from rashomon.recorders.tool_answers import ValueCodec
from rashomon.recorders.tool_generators import played_async, watched_async

_SESSION = "_rashomon_session"
_SENT = {
    "control_request": ("claude.request", "request"),
    "control_response": ("claude.response", "response"),
    "user": ("claude.prompt", "message"),
}
"""By the type of what is sent: the name of its step, and what of it is the content. Others are `claude.send`."""


def patch(module: ModuleType) -> None:
    """Let what a transport does cross the boundary."""
    cls: Any = module.SubprocessCLITransport
    if hasattr(cls.connect, "__rashomon__"):
        return
    for name, change in (
        ("connect", _connecting),
        ("write", _writing),
        ("end_input", _ending),
        ("read_messages", _reading),
        ("close", _closing),
    ):
        original = getattr(cls, name)
        changed = functools.wraps(original)(change(original))
        changed.__rashomon__ = True  # type: ignore[attr-defined]
        setattr(cls, name, changed)


class _Session:
    """One agent that a program speaks with. `told` says which: how its command was started."""

    def __init__(self, told: list[str]) -> None:
        self.told = told
        self.played = False
        self.ids: dict[str, str] = {}
        """Recorded ids of the SDK's own requests, and what they are in this replay."""

    def renamed(self, message: Any) -> Any:
        """A recorded message, as the answer to this replay's request."""
        answer = message.get("response") if isinstance(message, dict) else None
        if not isinstance(answer, dict) or answer.get("request_id") not in self.ids:
            return message
        return {**message, "response": {**answer, "request_id": self.ids[answer["request_id"]]}}


def _call(name: str, flavour: str, arguments: dict[str, Any]) -> Call:
    head = {"ref": f"claude_agent_sdk:{name.removeprefix('claude.')}", "flavour": flavour}
    return Call(Kind.TOOL, name, Request(head, values.encode_arguments(arguments)))


class _Started(ValueCodec):
    """That the agent was started."""

    __slots__ = ("session", "transport")

    def __init__(self, transport: Any, session: _Session) -> None:
        super().__init__("claude.start")
        self.transport, self.session = transport, session

    def play(self, response: Response, witness: Witness) -> Any:
        answer = super().play(response, witness)
        self.session.played = self.transport._ready = True
        return answer


class _Sent(ValueCodec):
    """That something was sent; the answer is its id, where the SDK has given it one that is new each time."""

    __slots__ = ("id", "session")

    def __init__(self, name: str, session: _Session, made_up: str | None) -> None:
        super().__init__(name)
        self.session, self.id = session, made_up

    def play(self, response: Response, witness: Witness) -> Any:
        recorded = super().play(response, witness)
        if recorded is not None and self.id is not None:
            self.session.ids[recorded] = self.id
        return recorded


def _started_with(transport: Any) -> list[str]:
    """What the command is told: its arguments. None of them where the SDK does not say, or refuses the options: then it
    says so itself, as it connects."""
    before = getattr(transport, "_cli_path", None)
    try:
        transport._cli_path = before or "claude"
        return [str(word) for word in transport._build_command()[1:]]
    except Exception:  # options that are wrong, or a version that is made in another way: recording must not break it
        return []
    finally:
        transport._cli_path = before


def _inside(line: lanes.Line | None, live: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    """A call within which the SDK's own tasks and commands count apart from the program's."""

    async def run() -> Any:
        token = slots.apart.set(True)
        try:
            with lanes.inner(line):
                return await live()
        finally:
            slots.apart.reset(token)

    return run


def _connecting(original: Any) -> Any:
    async def connect(self: Any) -> None:
        if guard_here() is None or getattr(self, _SESSION, None) is not None:
            await original(self)
            return
        session = _Session(_started_with(self))
        call = _call("claude.start", "async", {"args": session.told})
        live = _inside(lanes.spawn(), lambda: original(self))
        await cross_async(call, live, _Started(self, session))
        setattr(self, _SESSION, session)

    return connect


def _session_of(transport: Any) -> _Session | None:
    """The session of a transport; one that was started where nothing was recorded is told of."""
    found: _Session | None = getattr(transport, _SESSION, None)
    if found is None and guard_here() is not None:
        coverage.reached("claude:started-outside-of-the-trace")
    return found


def _refusing(session: _Session, live: Callable[[], Awaitable[Any]]) -> Callable[[], Awaitable[Any]]:
    if not session.played:
        return live

    async def refuse() -> Any:
        raise Missed("The agent was not started in this replay: nobody can answer what is not recorded.")

    return refuse


def _told(data: str) -> tuple[str, dict[str, Any], str | None]:
    """What is sent, as the name and the arguments of a call, and the id that the SDK has made up for it."""
    try:
        message = json.loads(data)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        return "claude.send", {"data": data}, None
    kind = str(message.pop("type", None))
    name, within = _SENT.get(kind, ("claude.send", ""))
    made_up = message.pop("request_id", None) if name == "claude.request" else None
    inner = message.pop(within, {})
    if name == "claude.prompt" and isinstance(inner, dict):
        return name, {"content": inner.pop("content", None), **inner, **message}, None
    if not isinstance(inner, dict) or message:
        return name, {"type": kind, within: inner, **message}, made_up
    return name, inner, made_up


def _writing(original: Any) -> Any:
    async def write(self: Any, data: str) -> None:
        session = _session_of(self)
        if session is None or guard_here() is None:
            await original(self, data)
            return
        name, arguments, made_up = _told(data)

        async def live() -> str | None:
            await original(self, data)
            return made_up

        asked = _refusing(session, _inside(lanes.spawn(), live))
        await cross_async(_call(name, "async", arguments), asked, _Sent(name, session, made_up))

    return write


def _ending(original: Any) -> Any:
    async def end_input(self: Any) -> None:
        session = _session_of(self)
        if session is None or guard_here() is None:
            await original(self)
            return
        live = _refusing(session, _inside(lanes.spawn(), lambda: original(self)))
        await cross_async(_call("claude.end", "async", {}), live, ValueCodec("claude.end"))

    return end_input


def _reading(original: Any) -> Any:
    def read_messages(self: Any) -> Any:
        session = _session_of(self)
        if session is None or guard_here() is None:
            return original(self)
        return _messages(self, session, original)

    return read_messages


async def _messages(transport: Any, session: _Session, original: Any) -> AsyncGenerator[Any, None]:
    """What the agent says, live or from the recording."""
    guard = guard_here()
    if guard is None:
        chosen = original(transport)
    else:
        line = lanes.spawn()
        verdict = guard.arrive(_call("claude.messages", "async generator", {"args": session.told}))
        if isinstance(verdict, Play):
            chosen = played_async(verdict.response, verdict.witness)
        else:
            chosen = watched_async("claude.messages", original(transport), verdict.witness, line)
    try:
        async for message in chosen:
            yield session.renamed(message)
    finally:
        await chosen.aclose()


def _closing(original: Any) -> Any:
    async def close(self: Any) -> None:
        from rashomon.recorders import closings

        session: _Session | None = getattr(self, _SESSION, None)
        if session is None:
            await original(self)
        else:
            await closings.closing("claude", lambda: _closed(self) if session.played else original(self))

    return close


async def _closed(transport: Any) -> None:
    transport._ready = False
