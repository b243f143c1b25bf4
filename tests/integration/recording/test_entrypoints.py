"""`@rashomon.entrypoint` on whatever can be called: one trace for each call, with all that it hands on, and no more."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import rashomon
from rashomon import entrypoints, values
from rashomon.errors import UsageError
from rashomon.model import Tape
from rashomon.testing import ProviderServer
from tests.support import environment, tapes_of
from tests.support import rashomon as run


@rashomon.tool
def look(word: str) -> str:
    """A step."""
    return word.upper()


@rashomon.entrypoint
def words(text: str) -> Any:
    """A generator: a step for each value, and one as it ends."""
    got = None
    try:
        for word in text.split():
            got = yield look(word if got is None else f"{word}-{got}")
    except KeyError:
        yield look("caught")
    finally:
        look("end")
    return len(text)


@rashomon.entrypoint
async def words_async(text: str) -> Any:
    """The same, async."""
    got = None
    try:
        for word in text.split():
            await asyncio.sleep(0)
            got = yield look(word if got is None else f"{word}-{got}")
    except KeyError:
        yield look("caught")
    finally:
        look("end")


class Agent:
    """Methods of every kind."""

    @rashomon.entrypoint
    def plain(self, word: str) -> str:
        """A method."""
        return look(word)

    @rashomon.entrypoint
    @classmethod
    def of_class(cls, word: str) -> str:
        """A method of the class."""
        return look(f"{cls.__name__} {word}")

    @rashomon.entrypoint
    @staticmethod
    def of_nobody(word: str) -> str:
        """A function in a class."""
        return look(word)

    def unmarked(self, word: str) -> str:
        """A method that is marked when it is bound."""
        return look(word)

    async def __call__(self, word: str) -> str:
        """What can be called and is no function."""
        await asyncio.sleep(0)
        return look(word)


def said(tape: Tape) -> list[Any]:
    """What a trace's tools answered."""
    return [values.decode(step.response.body) for step in tape.steps]


def result(tape: Tape) -> Any:
    """What a trace has as its result."""
    return None if tape.trace.result is None else values.decode(tape.trace.result)


@pytest.fixture
def tapes(home: Path) -> Callable[[], list[Tape]]:
    """The traces so far."""
    return lambda: tapes_of(home)


# --------------------------------------------------------------------------------------------- generators


def test_a_generator_is_one_trace(tapes: Callable[[], list[Tape]]) -> None:
    """From its first value to its end. What the caller does between two values is not of it."""
    for value in words("a b c"):
        look(f"the caller's {value}")
    (tape,) = tapes()
    assert said(tape) == ["A", "B", "C", "END"]
    assert result(tape) == {"yielded": ["A", "B", "C"], "returned": 5}
    assert (tape.trace.name, tape.trace.outcome) == ("words", "ok")


def test_an_async_generator_is_one_trace(tapes: Callable[[], list[Tape]]) -> None:
    """Six at once in one loop, which take turns: each has its own steps."""

    async def consume(text: str) -> list[str]:
        return [value async for value in words_async(text)]

    async def every() -> list[list[str]]:
        return await asyncio.gather(*[consume(f"a{n} b{n}") for n in range(6)])

    assert asyncio.run(every()) == [[f"A{n}", f"B{n}"] for n in range(6)]
    assert sorted(map(said, tapes())) == [[f"A{n}", f"B{n}", "END"] for n in range(6)]


def test_what_is_sent_and_thrown_arrives(tapes: Callable[[], list[Tape]]) -> None:
    """A marked generator is one for its caller in every respect."""
    one = words("a b c")
    assert [next(one), one.send("x"), one.throw(KeyError("k"))] == ["A", "B-X", "CAUGHT"]
    with pytest.raises(StopIteration) as stopped:
        next(one)
    assert stopped.value.value == 5

    async def two() -> list[Any]:
        other = words_async("a b c")
        return [await anext(other), await other.asend("x"), await other.athrow(KeyError("k")), await anext(other, None)]

    assert asyncio.run(two()) == ["A", "B-X", "CAUGHT", None]
    assert [said(tape) for tape in tapes()] == [["A", "B-X", "CAUGHT", "END"]] * 2


def test_a_generator_that_is_closed_early(tapes: Callable[[], list[Tape]]) -> None:
    """Its trace ends there, and says so; what it does on its way out is of it."""
    one = words("a b c")
    next(one)
    one.close()
    dropped = words("a b c")
    next(dropped)
    del dropped
    gc.collect()

    async def two() -> None:
        other = words_async("a b c")
        await anext(other)
        await other.aclose()

    asyncio.run(two())
    assert [said(tape) for tape in tapes()] == [["A", "END"]] * 3
    assert [result(tape) for tape in tapes()] == [{"yielded": ["A"], "closed": True}] * 3


def test_a_generator_that_fails(tapes: Callable[[], list[Tape]]) -> None:
    """The failure reaches the caller, and is the trace's outcome."""
    one = words("a b")
    next(one)
    with pytest.raises(OSError, match="thrown"):
        one.throw(OSError("thrown"))

    async def two() -> None:
        other = words_async("a b")
        await anext(other)
        await other.athrow(OSError("thrown"))

    with pytest.raises(OSError, match="thrown"):
        asyncio.run(two())
    assert [(tape.trace.outcome, tape.trace.error) for tape in tapes()] == [("error", "OSError: thrown")] * 2


def test_a_generator_that_threads_take_turns_with(tapes: Callable[[], list[Tape]]) -> None:
    """As a server does, which asks for each value of a blocking generator in some thread of a pool."""
    one, got = words("a b c"), []
    while True:
        thread = threading.Thread(target=lambda: got.append(next(one, None)))
        thread.start()
        thread.join()
        if got[-1] is None:
            break
    assert [said(tape) for tape in tapes()] == [["A", "B", "C", "END"]]
    assert {step.lane for tape in tapes() for step in tape.steps} == {()}


def test_a_generator_that_is_never_asked(tapes: Callable[[], list[Tape]], home: Path) -> None:
    """Nothing of it has run: there is no trace."""
    words("a b").close()
    with rashomon.trace("other"):
        pass
    assert [tape.trace.name for tape in tapes()] == ["other"]


def test_long_generators_are_counted(tapes: Callable[[], list[Tape]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of very many values the first are kept."""
    monkeypatch.setattr(entrypoints, "MAX_YIELDED", 2)
    list(words("a b c d"))
    assert result(tapes()[0]) == {"yielded": ["A", "B"], "count": 4, "returned": 7}


def test_frameworks_see_what_it_is() -> None:
    """A marked function is of the same kind: they ask `inspect` how to call it."""
    assert inspect.isgeneratorfunction(words)
    assert inspect.isasyncgenfunction(words_async)
    assert inspect.iscoroutinefunction(rashomon.entrypoint(Agent()))
    assert inspect.signature(words) == inspect.signature(words.__wrapped__)  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------- other things to call


def test_what_is_handed_on_belongs_to_the_trace(tapes: Callable[[], list[Tape]]) -> None:
    """A plain function that gives a coroutine or a generator, and a coroutine that gives a generator."""

    async def inner(word: str) -> str:
        await asyncio.sleep(0)
        return look(word)

    def values_of() -> Any:
        yield look("value")

    async def async_values() -> Any:
        yield look("async value")

    @rashomon.entrypoint
    def coroutine() -> Any:
        return inner("coroutine")

    @rashomon.entrypoint
    def generator() -> Any:
        return values_of()

    @rashomon.entrypoint
    async def awaited() -> Any:
        return async_values()

    async def every() -> list[Any]:
        return [await coroutine(), *generator(), *[one async for one in await awaited()]]

    assert asyncio.run(every()) == ["COROUTINE", "VALUE", "ASYNC VALUE"]
    assert sorted(map(said, tapes())) == [["ASYNC VALUE"], ["COROUTINE"], ["VALUE"]]
    assert {tape.trace.outcome for tape in tapes()} == {"ok"}


class Answer:
    """As Starlette's answers, and werkzeug's: what they stream is read when the handler is long done."""

    def __init__(self, **held: Any) -> None:
        self.__dict__.update(held)


def test_what_an_answer_streams_belongs_to_the_trace(tapes: Callable[[], list[Tape]]) -> None:
    """A handler returns an answer, and a server reads from it afterwards."""

    @rashomon.entrypoint
    async def handler() -> Answer:
        look("before")
        return Answer(body_iterator=words_async.__wrapped__("a b"), status=200)  # type: ignore[attr-defined]

    @rashomon.entrypoint
    def view() -> Answer:
        return Answer(response=words.__wrapped__("c d"))  # type: ignore[attr-defined]

    async def serve() -> list[Any]:
        answer = await handler()
        look("the server's own")
        return [value async for value in answer.body_iterator]  # type: ignore[attr-defined]

    assert asyncio.run(serve()) == ["A", "B"]
    assert list(view().response) == ["C", "D"]  # type: ignore[attr-defined]
    assert [said(tape) for tape in tapes()] == [["BEFORE", "A", "B", "END"], ["C", "D", "END"]]
    assert [result(tape)["yielded"] for tape in tapes()] == [["A", "B"], ["C", "D"]]


def test_everything_that_can_be_called(tapes: Callable[[], list[Tape]]) -> None:
    """Methods, bound ones, partial ones, objects; each with its name."""
    agent = Agent()
    assert [agent.plain("a"), Agent.of_class("b"), agent.of_nobody("c")] == ["A", "AGENT B", "C"]
    assert rashomon.entrypoint(agent.unmarked)("d") == "D"
    assert rashomon.entrypoint(functools.partial(look, "e"))() == "E"
    assert asyncio.run(rashomon.entrypoint(agent)("f")) == "F"
    found = [(tape.trace.name, (tape.trace.entrypoint or {})["ref"].split(":")[1]) for tape in tapes()]
    assert found == [
        ("plain", "Agent.plain"),
        ("of_class", "Agent.of_class"),
        ("of_nobody", "Agent.of_nobody"),
        ("unmarked", "Agent.unmarked"),
        ("partial", "partial()"),
        ("Agent", "Agent()"),
    ]
    assert [len(tape.steps) for tape in tapes()] == [1] * 6


def test_what_cannot_be_called_is_refused() -> None:
    """With a sentence, where it is marked."""
    with pytest.raises(UsageError, match="a property is none"):
        rashomon.entrypoint(property(len))  # type: ignore[type-var]


def test_a_stop_iteration_of_a_function_ends_its_trace(tapes: Callable[[], list[Tape]]) -> None:
    """It is an error like any other where no generator is."""

    @rashomon.entrypoint
    def first() -> Any:
        return next(iter(()))

    with pytest.raises(StopIteration):
        first()
    assert [tape.trace.outcome for tape in tapes()] == ["error"]


# ------------------------------------------------------------------------------------------------ replays

PROGRAM = """
import asyncio, functools, os
import openai, rashomon

client = openai.OpenAI(base_url=os.environ.get("BASE", "http://127.0.0.1:1/v1"), api_key="sk-test")

def ask(text):
    answer = client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
    return answer.choices[0].message.content

def shouting(function):
    @functools.wraps(function)
    def shout(*args):
        return function(*args).upper()
    return shout

@rashomon.entrypoint
def streaming(text):
    for word in text.split():
        yield ask(word)

@rashomon.entrypoint
async def streaming_async(text):
    for word in text.split():
        yield await asyncio.to_thread(ask, word)

@shouting
@rashomon.entrypoint
def below(text):
    return ask(text)

class Answer:
    def __init__(self, values):
        self.body_iterator = values

@rashomon.entrypoint
async def streamed(text):
    async def values():
        for word in text.split():
            yield await asyncio.to_thread(ask, word)
    return Answer(values())

class Base:
    @rashomon.entrypoint
    @classmethod
    def of_class(cls, text):
        return ask(text + cls.__name__)

class Agent(Base):

    @rashomon.entrypoint
    def method(self, text):
        return ask(text)

@rashomon.entrypoint
async def left(text):
    for word in text.split():
        yield await asyncio.to_thread(ask, word)
        await asyncio.sleep(1000)

@rashomon.entrypoint
async def late(text):
    answer = await asyncio.to_thread(ask, text)
    await asyncio.sleep(1000)
    return answer

async def consume(values):
    async for value in values:
        print(value)

def outer():
    @rashomon.entrypoint
    def within(text):
        return ask(text)
    return within

async def main():
    print(list(streaming("one two")))
    print([value async for value in streaming_async("three four")])
    async for value in streaming_async("five six"):
        print(value)
        break
    print([value async for value in (await streamed("x y")).body_iterator])
    for asked in consume(left("one two")), late("three"):
        try:
            await asyncio.wait_for(asked, 0.5)
        except TimeoutError:
            print("nobody waits any longer")
    print(below("seven"), Agent.of_class("eight"), Agent().method("nine"), outer()("ten"))
    print(rashomon.entrypoint(functools.partial(ask, "eleven"))())

if __name__ == "__main__":
    asyncio.run(main())
"""


def test_each_is_replayed_by_its_name(tmp_path: Path, server: ProviderServer) -> None:
    """Without a provider; generators to where their caller left them. What has no name of its own is told, with 3."""
    home, program = tmp_path / "home", tmp_path / "agent.py"
    program.write_text(PROGRAM)
    env = environment(home, BASE=server.openai_url)
    subprocess.run([sys.executable, program], env=env, check=True, capture_output=True)
    server.stop()
    held: dict[str, list[tuple[int, str]]] = {}
    for tape in tapes_of(home):
        done = run("replay", tape.trace.id, "--quiet", home=home, cwd=tmp_path)
        held.setdefault(tape.trace.name, []).append((done.returncode, done.stderr))
    plain = [(0, "")]
    assert {name: held.pop(name) for name in ("streaming", "streamed", "below", "of_class")} == dict.fromkeys(
        ("streaming", "streamed", "below", "of_class"), plain
    )
    assert held.pop("streaming_async") == plain * 2
    for name, reason in (
        ("method", "was recorded by its type only"),
        ("within", "it was made inside of another function"),
        ("partial", "it is an object that can be called, and has no name of its own"),
    ):
        ((code, told),) = held.pop(name)
        assert (code, reason in told, "Traceback" in told) == (3, True, False), told
    ((code, told),) = held.pop("late")
    assert (code, "was cancelled by its caller" in told) == (0, True), told
    ((code, told),) = held.pop("left")
    assert (code, "was cancelled by its caller" in told) == (0, True), told
    assert not held
    assert len([tape for tape in tapes_of(home) if tape.trace.parent and tape.trace.outcome == "ok"]) == 8


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use cannot be deleted on Windows")
def test_a_folder_that_was_deleted(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program whose folder is gone is recorded all the same."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError):
        os.getcwd()
    assert list(words("a")) == ["A"]
    assert [(tape.trace.cwd or "", said(tape)) for tape in tapes_of(home)] == [("", ["A", "END"])]
