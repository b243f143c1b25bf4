"""Tool stubs: an answer of the user's in place of the recorded one.

`TOOL=JSON` answers with a value, `TOOL=FILE.py:function` with what a function makes of the arguments.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from rashomon import values
from rashomon.errors import UsageError
from rashomon.model import Call, End, Piece, Response, Step


class Stub(NamedTuple):
    """What answers the calls of one tool."""

    tool: str
    source: str
    answer: Callable[[dict[str, Any]], Any]


def parse(text: str) -> Stub:
    """Read `TOOL=JSON` or `TOOL=FILE.py:function`. Raises `UsageError`."""
    tool, equals, source = text.partition("=")
    if not equals or not tool.strip():
        raise UsageError(
            f"--stub {text!r} has no tool name.", "Write --stub TOOL=JSON or --stub TOOL=FILE.py:function."
        )
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
    return lambda arguments: function(**arguments)


def answer(stub: Stub, call: Call, recorded: Step | None) -> Response:
    """The stub's answer to a call, as a response. What a stub function raises is the tool's failure."""
    try:
        arguments = values.decode(call.request.body)
    except values.NotRebuildable:  # an argument that was recorded by its type only
        view = values.to_json(call.request.body)
        arguments = view if isinstance(view, dict) else {}
    try:
        value = stub.answer(arguments)
    except Exception as error:  # part of the experiment: a stub may fail on purpose
        return Response(None, (), End.ERROR, values.encode_failure(error))
    if "generator" in call.request.head.get("flavour", "") and isinstance(value, (list, tuple)):
        return Response(None, tuple(Piece(0, values.encode(item)) for item in value), End.COMPLETE)
    return Response(None, (Piece(0, values.encode(_in_the_recorded_type(value, recorded))),), End.COMPLETE)


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
