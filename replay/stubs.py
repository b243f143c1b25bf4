"""Tool stubs: an answer of the user's in place of the recorded one.

`TOOL=JSON` answers with a value, `TOOL=FILE.py:function` with what a function makes of the arguments.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from rashomon import values, views
from rashomon.errors import UsageError
from rashomon.model import Call, End, Grade, Json, Kind, Piece, Response, Step, Tape


class Stub(NamedTuple):
    """What answers the calls of one tool."""

    tool: str
    source: str
    answer: Callable[[dict[str, Any]], Any]


def parse(text: str) -> Stub:
    """Read `TOOL=JSON` or `TOOL=FILE.py:function`. Raises `UsageError`."""
    tool, equals, source = text.partition("=")
    if not equals or not tool.strip():
        lacking = "no tool name" if equals else "no answer"
        raise UsageError(f"--stub {text!r} has {lacking}.", "Write --stub TOOL=JSON or --stub TOOL=FILE.py:function.")
    file, colon, function = source.rpartition(":")
    if colon and file.endswith(".py") and function.isidentifier():
        return Stub(tool.strip(), source, _function(file, function))
    try:
        value = json.loads(source)
    except ValueError as error:
        raise UsageError(
            f"--stub {tool}: {source!r} is neither JSON ({error}) nor FILE.py:function.",
            "Quote the JSON for your shell, and text within it: --stub 'get_name=\"Ada\"'.",
        ) from error
    return Stub(tool.strip(), source, lambda arguments: value)


def checked(texts: Iterable[str], tape: Tape) -> tuple[Stub, ...]:
    """The stubs of a replay of this tape. Raises `UsageError`, also for a tool that the recording neither called nor
    offered to a model: a spelling mistake would go unnoticed."""
    stubs = tuple(map(parse, texts))
    called = {step.name for step in tape.steps if step.kind is Kind.TOOL}
    for place, stub in enumerate(stubs):
        if any(stub.tool == earlier.tool for earlier in stubs[:place]):
            raise UsageError(f"--stub names {stub.tool} twice.", "Give each tool one answer, or a FILE.py:function.")
        if stub.tool not in called and stub.tool not in _offered(tape):
            names = ", ".join(sorted(called)) if called else "none"
            raise UsageError(f"The recording has no tool {stub.tool!r}.", f"Its tools: {names}.")
    return stubs


def _offered(tape: Tape) -> set[str]:
    """The names of the tools that models were offered: a changed run may call what the recorded one did not."""
    names: set[str] = set()
    for step in tape.steps:
        request = views.request_view(step) if step.kind is Kind.LLM else None
        listed = request.get("tools") if isinstance(request, dict) else None
        for entry in listed if isinstance(listed, list) else ():
            names.update(_names(entry))
    return names


def _names(entry: Json) -> Iterable[str]:
    if isinstance(entry, dict):
        inner = entry.get("functionDeclarations")
        for one in (entry, entry.get("function"), *(inner if isinstance(inner, list) else ())):
            if isinstance(one, dict) and isinstance(name := one.get("name"), str):
                yield name


def unused(texts: Iterable[str], replayed: Iterable[Step]) -> list[str]:
    """The tools whose stubs have answered nothing."""
    answered = {step.name for step in replayed if step.match is not None and step.match.grade is Grade.STUBBED}
    return [tool for text in texts if (tool := text.partition("=")[0].strip()) not in answered]


def _function(file: str, name: str) -> Callable[[dict[str, Any]], Any]:
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"The stub file {file} does not exist.", "Name it relative to the folder you are in.")
    spec = importlib.util.spec_from_file_location(f"rashomon_stub_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UsageError(f"The stub file {file} cannot be loaded.", "Name a Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the user's own code: its message is what helps
        raise UsageError(
            f"The stub file {file} fails: {type(error).__name__}: {error}.", "Run it with python."
        ) from error
    function = getattr(module, name, None)
    if not callable(function) or inspect.iscoroutinefunction(function):
        raise UsageError(f"{file} has no plain function {name}.", "A stub is a function of the tool's arguments.")
    return lambda arguments: _called(function, f"{file}:{name}", arguments)


def _called(function: Callable[..., Any], source: str, arguments: dict[str, Any]) -> Any:
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        given = ", ".join(arguments) or "none"
        raise UsageError(
            f"The stub {source} does not take the tool's arguments ({given}): {error}.", "Give it these parameters."
        ) from None
    except ValueError:  # a builtin without a signature: the call will tell
        pass
    return function(**arguments)


def answer(stub: Stub, call: Call, recorded: Step | None) -> Response:
    """The stub's answer to a call, as a response. What a stub function raises is the tool's failure; `UsageError` where
    the stub itself is wrong."""
    try:
        arguments = values.decode(call.request.body)
    except values.NotRebuildable:  # an argument that was recorded by its type only
        view = values.to_json(call.request.body)
        arguments = view if isinstance(view, dict) else {}
    try:
        value = stub.answer(arguments)
    except UsageError:
        raise
    except Exception as error:  # part of the experiment: a stub may fail on purpose
        return Response(None, (), End.ERROR, values.encode_failure(error))
    if "generator" in call.request.head.get("flavour", "") and isinstance(value, (list, tuple)):
        return Response(None, tuple(_piece(stub, item) for item in value), End.COMPLETE)
    return Response(None, (_piece(stub, _in_the_recorded_type(value, recorded)),), End.COMPLETE)


def _piece(stub: Stub, value: Any) -> Piece:
    data = values.encode(value)
    try:
        values.decode(data)
    except values.NotRebuildable as error:
        raise UsageError(
            f"The answer of the stub {stub.source} cannot be served: {error}.", "Return plain data."
        ) from None
    return Piece(0, data)


def _in_the_recorded_type(value: Any, recorded: Step | None) -> Any:
    """A JSON object in place of a pydantic model or a dataclass becomes one, when it fits."""
    if recorded is None or not isinstance(value, dict) or not recorded.response.pieces:
        return value
    try:
        before = values.decode(recorded.response.pieces[0].data)
        cls: Any = type(before)
        if hasattr(cls, "model_validate"):
            return cls.model_validate(value)
        if hasattr(cls, "__dataclass_fields__"):
            return cls(**value)
    except Exception:  # it does not fit: the value goes out as the user wrote it
        return value
    return value
