"""What tools return, raise, yield and leave behind is in a replay what it was, or is said not to be there."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rashomon
from rashomon.commands.doctor_findings import of_surroundings
from rashomon.errors import Missed
from rashomon.model import End, Tape
from rashomon.testing import ProviderServer
from tests.support import tapes_of

LastTape = Callable[[], Tape]


class Handle:
    """What no recording can hold."""


class Failed(Exception):
    """Has something with it."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.handle, self.code = Handle(), 5


@rashomon.tool
def failing(text: str) -> None:
    """Fails, from another failure."""
    try:
        raise KeyError(text)
    except KeyError as error:
        raise Failed(text) from error


@rashomon.tool
def stumbling(text: str) -> None:
    """Fails while it handles another failure."""
    try:
        raise KeyError(text)
    except KeyError:
        raise ValueError(text)  # noqa: B904


@rashomon.tool
def handle() -> list[Handle]:
    """Holds what cannot be written down."""
    return [Handle()]


def _chain(error: BaseException | None) -> list[str]:
    found = []
    while error is not None:
        found.append(repr(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return found


def _agent() -> list[Any]:
    said: list[Any] = []
    try:
        failing("a")
    except Failed as error:
        said += [_chain(error), error.code, repr(error.handle)[:20]]
    try:
        raise LookupError("the program's own")
    except LookupError as own:
        try:
            stumbling("b")
        except ValueError as error:
            said.append(_chain(error))
            before = error.__context__
            assert before is not None
            said.append(before.__context__ is own)
    return said


def test_where_an_exception_comes_from(home: Path, last_tape: LastTape) -> None:
    """Its cause and its context, down to what the program itself was handling when it called."""
    with rashomon.trace("failing"):
        recorded = _agent()
    with rashomon.replay(last_tape()) as replaying:
        assert _agent() == recorded
    replaying.check()
    assert recorded[0] == ["Failed('a')", "KeyError('a')"]
    assert recorded[-2:] == [["ValueError('b')", "KeyError('b')", 'LookupError("the program\'s own")'], True]


def test_what_an_exception_lost_is_told(home: Path, last_tape: LastTape, capfd: pytest.CaptureFixture[str]) -> None:
    """In the trace when it is recorded; and the replay stops where the program reads it, whatever that swallows."""
    with rashomon.trace("failing"), contextlib.suppress(Failed):
        failing("a")
    tape = last_tape()
    (one,) = [one for one in tape.trace.uncontrolled if one.what == "tool failing"]
    assert one.reason.startswith(f"'handle' of the Failed that it raised holds a {__name__}:Handle")
    with rashomon.replay(tape) as replaying:
        try:
            failing("a")
        except Failed as error:
            with contextlib.suppress(BaseException):
                getattr(error.handle, "name", None)
    (told,) = replaying.divergences
    assert (told.kind, "recorded by its type only" in told.summary) == ("unplayable", True)


def test_a_result_that_will_not_be_served_is_told_when_it_is_recorded(
    home: Path, last_tape: LastTape, capfd: pytest.CaptureFixture[str]
) -> None:
    """On stderr, once for each tool and type; in the trace; and by doctor, who does not ask for what is there."""

    @rashomon.tool(name="handing_out")
    def handing_out() -> list[Handle]:
        return [Handle(), Handle()]

    with rashomon.trace("opaque"):
        for _ in range(3):
            handing_out()
    reason = f"holds a {__name__}:Handle, which is recorded by its type only: a replay cannot serve it"
    assert capfd.readouterr().err.count(f"rashomon: the result of the tool handing_out {reason}.") == 1
    tape = last_tape()
    reasons = [one.reason for one in tape.trace.uncontrolled if one.what == "tool handing_out"]
    assert reasons == [f"its result {reason}"]
    (found,) = [one for one in of_surroundings(tape) if one.what == "tool handing_out"]
    assert (found.group, "values.md" in found.advice) == ("answer", True)


def _ask(url: str, text: str) -> None:
    import httpx2

    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
    httpx2.post(f"{url}/chat/completions", json=body)


def test_what_a_generator_does_as_it_is_closed(home: Path, last_tape: LastTape, server: ProviderServer) -> None:
    """Calls in its `finally` are part of the tool, and so is what fails there."""

    @rashomon.tool
    def pages(fail: bool) -> Iterator[int]:
        try:
            yield from range(5)
        finally:
            _ask(server.openai_url, "release")
            if fail:
                raise ValueError("not released")

    def agent() -> None:
        for fail in (False, True):
            reading = pages(fail)
            assert next(iter(reading)) == 0
            with pytest.raises(ValueError, match="not released") if fail else contextlib.nullcontext():
                reading.close()  # type: ignore[attr-defined]
        _ask(server.openai_url, "end")

    with rashomon.trace("closed"):
        agent()
    tape = last_tape()
    assert [step.within is not None for step in tape.steps] == [False, True, False, True, False]
    assert [step.response.end for step in tape.steps if step.name == "pages"] == [End.CLOSED, End.ERROR]
    with rashomon.replay(tape) as replaying:
        agent()
    replaying.check()


def test_what_an_async_generator_does_as_it_is_closed(home: Path, last_tape: LastTape, server: ProviderServer) -> None:
    """The same, and it may take its time."""
    import httpx2

    async def ask(text: str) -> None:
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
        async with httpx2.AsyncClient() as client:
            await client.post(f"{server.openai_url}/chat/completions", json=body)

    @rashomon.tool
    async def pages(fail: bool) -> AsyncIterator[int]:
        try:
            for number in range(5):
                yield number
        finally:
            await ask("release")
            if fail:
                raise ValueError("not released")

    async def agent() -> None:
        for fail in (False, True):
            reading = pages(fail)
            assert await anext(aiter(reading)) == 0
            with pytest.raises(ValueError, match="not released") if fail else contextlib.nullcontext():
                await reading.aclose()  # type: ignore[attr-defined]
        await asyncio.gather(ask("one"), ask("two"))

    with rashomon.trace("closed"):
        asyncio.run(agent())
    tape = last_tape()
    assert [step.within is not None for step in tape.steps] == [False, True, False, True, False, False]
    for _ in range(2):
        with rashomon.replay(tape) as replaying:
            asyncio.run(agent())
        replaying.check()


def test_an_async_tool_behind_a_function_that_is_none(home: Path, last_tape: LastTape) -> None:
    """What it returns is awaited, and may fail, or be cancelled, as that of any async tool."""

    def logged(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any) -> Any:
            return function(*args)

        return wrapper

    @rashomon.tool
    @logged
    async def search(text: str) -> list[str]:
        await asyncio.sleep(0 if text != "slow" else 60)
        if text == "bad":
            raise ValueError(text)
        return [text]

    async def agent() -> list[Any]:
        found = await asyncio.gather(search("a"), search("bad"), search("b"), return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(search("slow"), 0.01)
        return list(map(repr, found))

    with rashomon.trace("wrapped"):
        recorded = asyncio.run(agent())
    tape = last_tape()
    assert [step.response.end for step in tape.steps] == [End.COMPLETE, End.ERROR, End.COMPLETE, End.CANCELLED]
    for _ in range(2):
        with rashomon.replay(tape) as replaying:
            assert asyncio.run(agent()) == recorded
        replaying.check()
    assert recorded == ["['a']", "ValueError('bad')", "['b']"]


def test_one_object_in_two_places_of_a_result(home: Path, last_tape: LastTape) -> None:
    """Is one in a replay."""

    @rashomon.tool
    def graph() -> dict[str, Any]:
        node = {"seen": False}
        return {"root": node, "nodes": [node]}

    def agent() -> Any:
        found = graph()
        found["root"]["seen"] = True
        return found["nodes"]

    with rashomon.trace("graph"):
        recorded = agent()
    with rashomon.replay(last_tape()):
        assert agent() == recorded == [{"seen": True}]


def test_a_replay_of_a_replay_has_the_same_stand_ins(home: Path, last_tape: LastTape) -> None:
    """What the first one could not have, the second one has not."""
    with rashomon.trace("failing"), contextlib.suppress(Failed):
        failing("a")
    for _ in range(2):
        with rashomon.replay(tapes_of(home)[-1]) as replaying, pytest.raises(Failed) as raised:
            failing("a")
        replaying.check()
        with pytest.raises(Missed):
            bool(raised.value.handle)


@dataclasses.dataclass
class Cart:
    """What a tool is given to fill."""

    items: list[Any] = dataclasses.field(default_factory=list)


class Shop:
    """Has tools, and a handle that no recording can hold."""

    def __init__(self) -> None:
        self.handle, self.sold = Handle(), 0

    @rashomon.tool(name="sell")
    def sell(self, cart: Cart, names: set[str], *, fail: bool = False) -> Cart:
        """Changes all that it is given."""
        self.sold += 1
        cart.items.insert(0, {"number": self.sold})
        cart.note = "sold"  # type: ignore[attr-defined]
        names.add("b")
        if fail:
            raise ValueError("sold out")
        return cart

    @rashomon.tool(name="sell_later")
    async def sell_later(self, order: dict[str, Any]) -> None:
        """Changes it as well."""
        await asyncio.sleep(0)
        order["lines"].append(order.pop("new"))
        del self.handle


def _shopping() -> list[Any]:
    shop, cart, names, first = Shop(), Cart(), {"a"}, {"number": 0}
    cart.items.append(first)
    same = shop.sell(cart, names) is cart
    with contextlib.suppress(ValueError):
        shop.sell(cart, names, fail=True)
    order = {"lines": [1], "new": first}
    lines = order["lines"]
    asyncio.run(shop.sell_later(order))
    return [same, vars(cart), sorted(names), cart.items[-1] is first, order, order["lines"] is lines, vars(shop)]


def test_what_a_tool_does_to_its_arguments(home: Path, last_tape: LastTape) -> None:
    """Is done to the live ones, in place: what is still there is the same object, and so is what it returns."""
    with rashomon.trace("shop"):
        recorded = _shopping()
    assert recorded[0] is recorded[3] is recorded[5] is True
    tape = last_tape()
    for _ in range(2):
        with rashomon.replay(tape) as replaying:
            assert _shopping() == recorded
        replaying.check()
        tape = last_tape()


def test_a_change_that_cannot_be_written_down_is_told(home: Path, last_tape: LastTape) -> None:
    """The argument stays as it is in a replay, and the trace says so."""

    @rashomon.tool(name="fill")
    def fill(into: list[Any]) -> None:
        into.append(Handle())

    with rashomon.trace("filled"):
        fill([])
    (told,) = [one for one in last_tape().trace.uncontrolled if one.what == "tool fill"]
    assert told.reason.startswith("it changes its arguments, by what is recorded by its type only")
