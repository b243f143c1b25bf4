"""What a replay says of tools that it cannot answer, of stubs that answer nothing, and of callables of all kinds."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

import rashomon
from rashomon.errors import UsageError
from rashomon.model import Loss, Tape
from rashomon.testing import ProviderServer

LastTape = Callable[[], Tape]


@rashomon.tool
def handle() -> object:
    """A result that no recording can hold."""
    return object()


@rashomon.tool
def inner(number: int) -> int:
    """A tool that another one calls."""
    return number + 1


@rashomon.tool
def outer(number: int) -> int:
    """A tool that calls another one."""
    return inner(number)


def test_a_result_that_cannot_be_served_is_told(home: Path, last_tape: LastTape) -> None:
    """A program that swallows everything does not make a replay hold in which a tool had no answer."""
    with rashomon.trace("opaque"):
        handle()
    with rashomon.replay(last_tape()) as replaying, contextlib.suppress(BaseException):
        handle()
    (told,) = replaying.divergences
    assert told.kind == "unplayable"
    assert "builtins:object was recorded by its type only" in told.summary
    again = last_tape()
    with rashomon.replay(again) as replaying, contextlib.suppress(BaseException):
        handle()
    replaying.check()


def test_a_stream_that_is_read_further_is_told(home: Path, last_tape: LastTape, server: ProviderServer) -> None:
    """A generator of which the recording has a part only."""

    @rashomon.tool
    def pages() -> Any:
        yield from range(3)

    with rashomon.trace("closed"):
        reading = pages()
        assert next(reading) == 0
        reading.close()
    with rashomon.replay(last_tape()) as replaying, contextlib.suppress(BaseException):
        list(pages())
    (told,) = replaying.divergences
    assert (told.kind, "holds 1 values" in told.summary) == ("unplayable", True)


def test_a_stub_that_answers_nothing(home: Path, last_tape: LastTape) -> None:
    """A stub of a tool that is called inside of a recorded one changes nothing, and that is said."""
    with rashomon.trace("nested"):
        outer(1)
    with pytest.warns(UserWarning, match="did not call inner"), rashomon.replay(last_tape(), stubs=("inner=5",)):
        assert outer(1) == 2


@pytest.mark.parametrize(
    ("stubs", "allow", "message"),
    [
        (("innner=5",), (), "no tool 'innner'. Its tools: inner, outer"),
        (("inner=5", "inner=6"), (), "names inner twice"),
        (("inner",), (), "has no answer"),
        ((), ("nonsense",), "does not say what to allow"),
    ],
)
def test_swaps_that_fit_nothing(
    stubs: tuple[str, ...], allow: tuple[str, ...], message: str, home: Path, last_tape: LastTape
) -> None:
    """In process, too, a swap that can have no effect is refused, before a trace has begun."""
    with rashomon.trace("nested"):
        outer(1)
    recorded = last_tape()
    with pytest.raises(UsageError, match=message), rashomon.replay(recorded, stubs=stubs, allow=allow):
        pass
    assert last_tape().trace.id == recorded.trace.id


def test_one_text_in_place_of_several(home: Path, last_tape: LastTape) -> None:
    """A swap that is given without a list around it is that swap, and not its letters."""
    with rashomon.trace("nested"):
        outer(1)
    recorded = last_tape()
    with rashomon.replay(recorded, stubs="outer=7", live="llm", allow="connect=localhost"):
        assert outer(1) == 7
    with pytest.raises(UsageError, match="live='foo' is no kind of call"), rashomon.replay(recorded, live=["foo"]):
        pass


@pytest.mark.parametrize(
    ("body", "message"),
    [("(nummer): return 1", "does not take the tool's arguments"), ("(number): return object()", "cannot be served")],
)
def test_a_stub_that_is_wrong_itself(body: str, message: str, home: Path, last_tape: LastTape, tmp_path: Path) -> None:
    """It stops the replay: as a failure of the tool, it would be taken for part of the experiment."""
    file = tmp_path / "stub.py"
    file.write_text(f"def stub{body}\n")
    with rashomon.trace("nested"):
        outer(1)
    with (
        pytest.raises(rashomon.Missed, match=message),
        rashomon.replay(last_tape(), (f"outer={file}:stub",)) as replaying,
    ):
        outer(1)
    assert replaying.divergences[0].kind == "unplayable"


def test_a_stub_of_a_tool_that_was_only_offered(home: Path, last_tape: LastTape, server: ProviderServer) -> None:
    """A changed run may call a tool that the recorded one did not: it can be stubbed if a model was offered it."""

    @rashomon.tool
    def refund(amount: int) -> str:
        raise AssertionError("must not run")

    offered = {"type": "function", "function": {"name": "refund", "parameters": {"type": "object"}}}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}], "tools": [offered]}
    with rashomon.trace("offered"):
        httpx2.post(f"{server.openai_url}/chat/completions", json=body)
    with rashomon.replay(last_tape(), stubs=('refund="done"',)):
        httpx2.post(f"{server.openai_url}/chat/completions", json=body)
        assert refund(3) == "done"


def lossy(tape: Tape) -> Tape:
    """The tape as a full disk leaves it: answers lost, and their ends there."""
    steps = tuple(step._replace(response=step.response._replace(pieces=())) for step in tape.steps)
    losses = (Loss("No space left on device", 0),)
    return tape._replace(steps=steps, trace=tape.trace._replace(losses=losses))


def test_a_lost_result(home: Path, last_tape: LastTape) -> None:
    """A tool whose result was lost gets none, and the recording is said not to be whole."""
    with rashomon.trace("lost"):
        inner(1)
    with (
        pytest.warns(UserWarning, match="not whole .No space left"),
        pytest.raises(rashomon.Missed, match="the recording has lost it"),
        rashomon.replay(lossy(last_tape())),
    ):
        inner(1)


def test_a_lost_body(home: Path, last_tape: LastTape, server: ProviderServer) -> None:
    """An answer that is shorter than its head says, in a recording with losses, is not served as a whole one."""
    with rashomon.trace("lost"):
        httpx2.get(f"{server.openai_url}/models")
    with (
        pytest.warns(UserWarning, match="not whole"),
        pytest.raises(rashomon.Missed, match="has lost a part of the answer of step"),
        rashomon.replay(lossy(last_tape())) as replaying,
    ):
        httpx2.get(f"{server.openai_url}/models")
    assert replaying.divergences[0].kind == "unplayable"


class Adder:
    """An object that can be called."""

    def __call__(self, number: int) -> int:
        return number + 10


class Awaited:
    """An object whose calls are awaited."""

    async def __call__(self, number: int) -> int:
        return number + 20


class Shop:
    """Methods of all kinds, marked above their decorators."""

    @rashomon.tool
    @staticmethod
    def static(number: int) -> int:
        return number + 30

    @rashomon.tool
    @classmethod
    def of_class(cls, number: int) -> int:
        return number + 40


def test_callables_of_all_kinds(home: Path, last_tape: LastTape) -> None:
    """Partial functions, objects that can be called, static and class methods under the mark are tools."""
    partial = rashomon.tool(functools.partial(lambda first, second: first + second, 1))
    tools: list[Any] = [partial, rashomon.tool(Adder()), Shop.static, Shop().static, Shop.of_class]

    def use() -> list[Any]:
        return [tool(2) for tool in tools] + [asyncio.run(rashomon.tool(Awaited())(2))]

    with rashomon.trace("kinds"):
        assert use() == [3, 12, 32, 32, 42, 22]
    tape = last_tape()
    assert [step.name for step in tape.steps] == ["<lambda>", "Adder", "static", "static", "of_class", "Awaited"]
    with rashomon.replay(tape) as replaying:
        assert use() == [3, 12, 32, 32, 42, 22]
    replaying.check()


def test_what_is_no_function() -> None:
    """A mark above a property says where it belongs."""
    with pytest.raises(UsageError, match="below @property"):
        rashomon.tool(property(lambda self: 1))  # type: ignore[call-overload]  # that is the point


@rashomon.tool
def guarded(caught: bool) -> Any:
    """A generator that takes what is sent and thrown into it."""
    got = yield "ready"
    try:
        yield got
    except ValueError as error:
        if not caught:
            raise
        yield f"caught {error}"


@rashomon.tool
async def async_guarded(caught: bool) -> Any:
    """The same, asynchronous."""
    got = yield "ready"
    try:
        yield got
    except ValueError as error:
        if not caught:
            raise
        yield f"caught {error}"


def converse(caught: bool) -> list[Any]:
    """What a caller hears that sends a value and throws an error."""
    talk = guarded(caught)
    heard = [next(talk), talk.send("hello")]
    try:
        heard.append(talk.throw(ValueError("no")))
    except ValueError as error:
        return [*heard, repr(error)]
    return [*heard, *talk]


async def async_converse(caught: bool) -> list[Any]:
    """The same, asynchronous."""
    talk = async_guarded(caught)
    heard = [await anext(talk), await talk.asend("hello")]
    try:
        heard.append(await talk.athrow(ValueError("no")))
    except ValueError as error:
        return [*heard, repr(error)]
    await talk.aclose()
    return heard


@pytest.mark.parametrize("caught", [True, False])
def test_values_and_errors_reach_a_generator(caught: bool, home: Path, last_tape: LastTape) -> None:
    """Unmarked, marked, recorded and replayed: a generator gets what its caller sends and throws, and answers it."""
    expected = ["ready", "hello", "caught no" if caught else "ValueError('no')"]

    def use() -> list[Any]:
        return [converse(caught), asyncio.run(async_converse(caught))]

    assert use() == [expected, expected]
    with rashomon.trace("talk"):
        assert use() == [expected, expected]
    with rashomon.replay(last_tape()) as replaying:
        assert use() == [expected, expected]
    replaying.check()


def test_an_error_that_was_not_thrown_in_the_recording(home: Path, last_tape: LastTape) -> None:
    """What a generator does with it, the recording does not know: the replay has not held."""
    with rashomon.trace("talk"):
        assert list(guarded(True)) == ["ready", None]
    with rashomon.replay(last_tape()) as replaying:
        talk = guarded(True)
        next(talk)
        with pytest.raises(rashomon.Missed, match="throws ValueError"):
            talk.throw(ValueError("no"))
    assert replaying.divergences[0].kind == "unplayable"
