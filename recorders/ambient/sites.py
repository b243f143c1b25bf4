"""Who is asking: the program's own code, a library, or code that must have the real answer in any case.

Found from the file of the calling frame and remembered for each file, so that asking costs a look into a dict.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import cache
from types import FrameType, ModuleType
from typing import Any, TypeVar

from rashomon import boundary

T = TypeVar("T")

USER, LIBRARY, REAL, THIN = range(4)
"""`USER`: the program. `LIBRARY`: the standard library and installed packages. `REAL`: code that waits for something
real, or is ours: a virtual clock would make it wait for ever. `THIN`: hands the question on; its caller is asking."""

_THIN = ("random.py", "secrets.py", "uuid.py")
_THIN_PACKAGES = ("pydantic", "sqlmodel")
"""Installed ones that read neither clock nor chance for themselves: they call the `default_factory` of a field."""
_WAITS_FOR_REAL = ("asyncio", "concurrent", "multiprocessing", "queue.py", "selectors.py", "socket.py",
                   "socketserver.py", "ssl.py", "subprocess.py", "threading.py")  # fmt: skip
_LOOPS_OF_THEIR_OWN = ("curio", "eventlet", "gevent", "trio", "twisted", "uvloop", "zmq")
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
USER_CODE = "RASHOMON_USER_CODE"
"""Names installed packages, divided by commas, that count as the program's own code."""

_standard = os.path.dirname(os.path.realpath(os.__file__)) + os.sep
_standard_as_named = os.path.dirname(os.__file__) + os.sep
_own_root = os.path.dirname(os.path.dirname(boundary.__file__)) + os.sep
_own = tuple({os.path.dirname(boundary.__file__) + os.sep, os.path.dirname(os.path.dirname(__file__)) + os.sep,
              *(_own_root + name + os.sep for name in ("recorders", "replay", "store", "tui")
                if not any(part in _own_root for part in _INSTALLED))})  # fmt: skip
_demo = os.path.dirname(boundary.__file__) + os.sep + "demo" + os.sep
_spawns = os.path.join(os.path.dirname(os.path.dirname(__file__)), "lanes.py")
_known: dict[str, int] = {}
file_known = _known.get
"""Who the code of a file is, or None while nobody from there has asked."""


def _user_packages() -> frozenset[str]:
    return frozenset(name for name in os.environ.get(USER_CODE, "").split(",") if name)


def of_file(name: str) -> int:
    """Who the code of this file is."""
    if name == _spawns or name.startswith(_demo):  # what lanes calls is what the program gave to a thread
        return USER
    if name.startswith(_own):
        return REAL
    for part in _INSTALLED:
        at = name.rfind(part)
        if at >= 0:
            package = name[at + len(part) :].split(os.sep, 1)[0].removesuffix(".py")
            return _of_package(package)
    for folder in (_standard_as_named, _standard):
        if name.startswith(folder):
            first = name[len(folder) :].split(os.sep, 1)[0]
            return THIN if first in _THIN else REAL if first in _WAITS_FOR_REAL else LIBRARY
    if name.startswith("<frozen "):
        return LIBRARY
    for root in sys.path:
        if root and name.startswith(root if root.endswith(os.sep) else root + os.sep):
            package = name[len(root) :].lstrip(os.sep).split(os.sep, 1)[0].removesuffix(".py")
            if package in _installed_in(root):
                return _of_package(package)
    return USER


def _of_package(package: str) -> int:
    if package in _user_packages():
        return USER
    if package in _THIN_PACKAGES:
        return THIN
    return REAL if package in _LOOPS_OF_THEIR_OWN else LIBRARY


@cache
def _installed_in(folder: str) -> frozenset[str]:
    """The packages and modules that an installer has put into a folder: beside the program's own, where it is deployed
    with all that it needs (`pip install --target`). It leaves a list of the files of each distribution."""
    found: set[str] = set()
    try:
        lists = [entry.path for entry in os.scandir(folder) if entry.name.endswith(".dist-info")]
        for path in lists:
            with open(os.path.join(path, "RECORD"), encoding="utf-8", errors="replace") as lines:
                found.update(line.partition(",")[0].split("/", 1)[0].removesuffix(".py") for line in lines)
    except OSError:  # it may not be read, or is none
        pass
    return frozenset(found)


def _of_code(frame: FrameType) -> int:
    """The same for code without a file of its own (`exec`, generated methods): that of the module it runs in."""
    name = frame.f_code.co_filename
    if name.startswith("<") and not name.startswith("<frozen "):
        module_file = frame.f_globals.get("__file__")
        return of_file(module_file) if isinstance(module_file, str) else USER
    found = _known[name] = of_file(name)
    return found


def of_frame(frame: FrameType) -> int:
    """Who the code is that runs in a frame."""
    who = _known.get(frame.f_code.co_filename)
    return _of_code(frame) if who is None else who


def asker(frame: FrameType) -> tuple[FrameType, int]:
    """The frame that wants to know, behind thin wrappers, and who it is."""
    while True:
        who = _known.get(frame.f_code.co_filename)
        if who is None:
            who = _of_code(frame)
        if who is not THIN:
            return frame, who
        back = frame.f_back
        if back is None:  # a function of `random` or `uuid` is a thread's target
            return frame, USER
        frame = back


def ask(kind: str, what: str, real: Callable[[], Any], frame: FrameType) -> Any:
    """Let whoever stands at the boundary here answer `what`; `frame` called the patched function.

    Raises what `real` raises.
    """
    who = _known.get(frame.f_code.co_filename)
    if who is None or who == THIN:
        frame, who = asker(frame)
    guard = None if who == REAL else boundary.guard_here()
    if guard is None:
        return real()
    if who == USER:
        return guard.read(kind, what, real, frame)
    if who == LIBRARY:
        return guard.library_read(kind, what, real)
    return real()


class Patched(staticmethod):  # type: ignore[type-arg]
    """A function that stands for a built-in one.

    Like the built-in, it does not become a method when a class keeps it as an attribute (`logging.Formatter` does
    that with `time.localtime`), and it is pickled by name.
    """

    original: Any

    def __reduce__(self) -> str:
        return self.__name__

    def __repr__(self) -> str:
        return repr(self.original)


_replaced: dict[int, tuple[Any, Any]] = {}
"""By the id of the original: the original, and what stands for it."""


def replace(module: ModuleType, name: str, make: Callable[[Any], Callable[..., Any]]) -> Any:
    """Put what `make(original)` gives in the place of a module's function. Returns the original, None if absent."""
    original = getattr(module, name, None)
    if original is None or isinstance(original, Patched):
        return None
    function = make(original)
    function.__module__, function.__doc__ = module.__name__, original.__doc__
    function.__name__ = function.__qualname__ = name
    patched = Patched(function)
    patched.original = original
    _replaced[id(original)] = (original, patched)
    setattr(module, name, patched)
    return original


def stand_in(module: ModuleType, name: str, one: type) -> None:
    """Put a class in the place of a module's class or function."""
    original = getattr(module, name)
    _replaced[id(original)] = (original, one)
    setattr(module, name, one)


def restore(module: ModuleType, keep: str) -> None:
    """Put the originals of a module back, but for one."""
    for original, patched in list(_replaced.values()):
        name = patched.__name__
        if name != keep and getattr(module, name, None) is patched:
            setattr(module, name, original)


def sweep() -> None:
    """Replace what the program's own modules imported by name before: `from time import time`."""
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or of_file(file) != USER:
            continue
        names = vars(module)
        for name, value in list(names.items()):
            found = _replaced.get(id(value))
            if found is not None and found[0] is value:
                names[name] = found[1]
