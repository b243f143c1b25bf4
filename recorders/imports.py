"""Patch a module when, and only if, the program imports it. Nothing is imported for the sake of it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from rashomon.recorders.complaints import complain

Patch = Callable[[ModuleType], None]
_waiting: dict[str, list[Patch]] = {}


def when_imported(name: str, patch: Patch) -> None:
    """Apply `patch` to a module: now if it is loaded, else right after it has been, behind those asked for before."""
    module = sys.modules.get(name)
    spec = getattr(module, "__spec__", None)
    if module is not None and not getattr(spec, "_initializing", False):
        _apply(name, patch, module)
        return
    _waiting.setdefault(name, []).append(patch)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


def _apply(name: str, patch: Patch, module: ModuleType) -> None:
    try:
        patch(module)
    except Exception as error:  # a version we do not know: its calls are not recorded, and we say so
        complain(f"calls of {name} are not recorded: {type(error).__name__}: {error}. The program goes on.")


class _Finder:
    """Finds nothing by itself: wraps the loader of a module that is waited for."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        patches = _waiting.pop(name, None)
        if patches is None:
            return None
        try:
            spec = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            spec = None
        if spec is None or spec.loader is None or not hasattr(spec.loader, "exec_module"):
            _waiting[name] = patches
            return None
        loader = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            loader.exec_module = execute  # type: ignore[method-assign]
            execute(module)
            for patch in patches:
                _apply(name, patch, module)

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
