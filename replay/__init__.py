"""The replay room: matching, stubs, sessions, alignment, divergence. Matching, alignment and what is told of a
divergence are pure logic; sessions, the conductor of event loops and the policy act on the program that is replayed.

`rashomon.replay` is also a public function. Importing a submodule puts this package in its place, so the
package can be called like the function (docs/decisions/006-replay-is-callable.md).
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        replaying = import_module("rashomon.replaying")  # by name: what joins the rooms is above this one
        return replaying.replay(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
