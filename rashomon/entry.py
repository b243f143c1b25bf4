"""`python -m rashomon.entry`: call a recorded entry point again; launched by `rashomon replay`."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import sys
from typing import Any

from rashomon import boundary, entrypoints, tapes, values
from rashomon.session import SESSION, UNCALLED, Order, was_cancelled


def find(entry: dict[str, Any]) -> Any:
    """The recorded function: by import, or from its file when it was in the program's main module."""
    module_name, _, path = entry["ref"].partition(":")
    if "<locals>" in path:
        raise ImportError("it was made inside of another function")
    if not all(part.isidentifier() for part in path.split(".")):
        raise ImportError("it is an object that can be called, and has no name of its own")
    if module_name == "__main__":
        if not entry.get("file"):
            raise ImportError("nobody knows the file it is in")
        folder = os.path.dirname(os.path.abspath(entry["file"]))
        sys.path.insert(0, folder)
        spec = importlib.util.spec_from_file_location("__rashomon_main__", entry["file"])
        if spec is None or spec.loader is None:
            raise ImportError(f"{entry['file']} cannot be loaded")
        module = importlib.util.module_from_spec(spec)
        module.__name__ = "__rashomon_main__"  # so that `if __name__ == "__main__"` does not run
        sys.modules["__rashomon_main__"] = module
        sys.modules["__main__"] = module  # values of its classes were recorded under that name
        spec.loader.exec_module(module)
    else:
        sys.path.insert(0, os.getcwd())
        module = importlib.import_module(module_name)
    found: Any = module
    for part in path.split("."):
        found = getattr(found, part)
    return found


def main() -> int:
    """Call the function of the tape in `RASHOMON_SESSION`, and keep its result in the new trace."""
    order = Order(**json.loads(os.environ[SESSION]))
    assert order.tape is not None
    trace = tapes.only_tape(order.tape).trace
    entry = trace.entrypoint
    if not entry:
        return 3
    try:
        function = find(entry)
        args, kwargs = values.decode(entry["args"])
    except (ImportError, AttributeError, OSError, values.NotRebuildable) as error:
        with open(order.tape + UNCALLED, "w", encoding="utf-8") as file:  # who launched this says it
            file.write(f"The recorded function {entry['ref']} cannot be called: {error}.")
        return 3
    recorded = None if trace.result is None else values.to_json(trace.result)
    result = entrypoints.again(entrypoints.unmarked(function), args, kwargs, recorded)
    scribe: Any = getattr(boundary.current(), "scribe", None)
    if scribe is not None:
        # nobody cancels it here: what it comes to behind the moment in which it was cancelled, no recording tells
        unknown = trace.result is None and was_cancelled(trace.error)
        scribe.finish("ok", result=None if unknown else values.encode(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
