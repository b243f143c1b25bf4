"""Types of C that the program's own code gets in another form: `threading.Lock`, `queue.SimpleQueue`."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from rashomon import boundary
from rashomon.recorders.ambient.sites import USER, asker

_getframe = sys._getframe
_local = boundary._local.get


def is_for_program(caller: FrameType) -> bool:
    """Whether something is recorded here, and it is the program's own code that asks."""
    return (_local() is not None or boundary._process is not None) and asker(caller)[1] == USER


class Owned(type):
    """Of a class that stands for a built-in one. Where a library asks for an instance, or nothing is recorded, it gets
    the built-in's; and those pass as instances here."""

    builtin: Any
    """What makes the built-in's instances."""
    made: type
    """Their type."""

    def __call__(cls, *args: Any, **named: Any) -> Any:
        if "builtin" not in cls.__dict__:  # a class of the program's own, made from this one
            return super().__call__(*args, **named)
        return super().__call__(*args, **named) if is_for_program(_getframe(1)) else cls.builtin(*args, **named)

    def __instancecheck__(cls, instance: object) -> bool:
        if "builtin" not in cls.__dict__:
            return super().__instancecheck__(instance)
        return isinstance(instance, cls.made)
