"""Chance: the system's entropy, and the generators that are seeded from it.

A generator's draws are too many to be written down one by one. So in a launched process every generator that the
system would have seeded is seeded from one recorded number, which the program cannot tell from the system's own;
and of the draws from the generator that all threads share, the first of each lane are recorded as well, so that
threads that draw at once get their own again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any

from rashomon import boundary, real
from rashomon.recorders import lanes
from rashomon.recorders.ambient.sites import LIBRARY, USER, ask, asker, replace

_getframe = sys._getframe
_local = boundary._local.get
DRAWS = 1000
"""How many draws of one lane from the shared generator are recorded."""
LARGEST = 1 << 16
"""Bytes of entropy, drawn at once, that are recorded: more of them have no name that could matter."""

_entropy: bytes | None = None
_derived: dict[Any, int] = {}
_MAX_DERIVED = 100_000
_drawing: set[Any] = set()
_beyond = False


def begin(guard: boundary.Interceptor) -> None:
    """In a launched process, before its program runs: what its generators are seeded from. Seeds those loaded."""
    global _entropy
    _entropy = guard.read("random", "process.entropy", lambda: real.urandom(32), _getframe(0))
    for name, seed in (("random", _seed_random), ("numpy.random.mtrand", _seed_numpy)):
        if name in sys.modules:
            seed(sys.modules[name])


def is_seeded() -> bool:
    """Whether this process's generators are seeded from recorded entropy."""
    return _entropy is not None


def _seed(name: str) -> int | None:
    """A number for a generator, from the recorded entropy; None where nothing must be seeded."""
    if _entropy is None:
        return None
    return int.from_bytes(_digest(lanes.here()[0], name), "big")


def _digest(*parts: Any) -> bytes:
    for module in ("_sha2", "_sha256", "hashlib"):  # the first two, from 3.12 on and before, do not load OpenSSL
        try:
            digest: bytes = import_module(module).sha256(repr((_entropy, *parts)).encode()).digest()
            return digest
        except ImportError:  # not in this build
            continue
    raise RuntimeError("this Python has no SHA-256")


def _next_seed() -> bytes:
    """The seed of the next generator that a library makes in this lane."""
    lane = lanes.here()[0]
    number = _derived[lane] = _derived.get(lane, -1) + 1
    return _digest(lane, number)


def _seed_random(module: Any) -> None:
    seed = _seed("random")
    if seed is not None:
        module._inst.seed(seed)


def _seed_numpy(module: Any) -> None:
    seed = _seed("numpy.random")
    if seed is not None:
        module._rand.seed([seed >> shift & 0xFFFFFFFF for shift in range(0, 256, 32)])


def _after_fork() -> None:
    """In a forked child, behind `random`'s own handler, which has seeded it from the system. numpy has none."""
    _derived.clear()
    _drawing.clear()
    if boundary.current() is not None:
        _seed_random(sys.modules["random"])


def patch_os() -> None:
    """`os.urandom` and `os.getrandom`, which `uuid4`, `secrets` and numpy's new generators draw from."""
    replace(os, "urandom", _urandom)
    if hasattr(os, "getrandom"):
        replace(os, "getrandom", _getrandom)


def _is_size(value: object, largest: int) -> bool:
    return isinstance(value, int) and 0 < value <= largest


def _urandom(original: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def urandom(size: int, /) -> bytes:
        if _local() is None and boundary._process is None:
            return original(size)
        if not _is_size(size, LARGEST):
            return original(size)
        return ask("random", f"os.urandom({size})", lambda: original(size), _getframe(1))  # type: ignore[no-any-return]

    return urandom


def _getrandom(original: Callable[..., bytes]) -> Callable[..., bytes]:
    def getrandom(size: int, flags: int = 0) -> bytes:
        if (_local() is None and boundary._process is None) or not _is_size(size, LARGEST):
            return original(size, flags)
        drawn: bytes = ask("random", f"os.getrandom({size})", lambda: original(size, flags), _getframe(1))
        return drawn

    return getrandom


def patch_random(module: Any) -> None:
    """The shared generator of `random`, and the seeding of others."""
    module._urandom = os.urandom  # it has a name of its own for it
    shared = module._inst
    replace(module, "random", _draw)
    replace(module, "getrandbits", _draw_bits)
    # what `choice`, `uniform` and the others call
    shared.random, shared.getrandbits = module.random, module.getrandbits
    _patch_seed(module.Random)
    module.seed = shared.seed
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_after_fork)
    _seed_random(module)


def _counted(name: str) -> bool:
    """Whether the draw that is being made is one of those that are recorded."""
    global _beyond
    frame, who = asker(_getframe(2))
    if who != USER:
        return False
    line = lanes.current_line()
    line.draws += 1
    recorded = line.draws <= DRAWS
    if recorded and len(_drawing) < 2 and line.lane not in _drawing:
        _drawing.add(line.lane)
        if _beyond and len(_drawing) == 2:
            _note_beyond(name, frame)
    elif line.draws == DRAWS + 1:
        _beyond = True
        if len(_drawing) == 2 or _entropy is None:
            _note_beyond(name, frame)
    return recorded


def _note_beyond(name: str, frame: FrameType) -> None:
    guard: Any = boundary.guard_here()
    note = getattr(guard, "uncontrolled", None)
    if note is not None:
        reason = f"only the first {DRAWS} draws of a task or thread from the shared generator are recorded"
        note(name, reason, frame)


def _draw(original: Callable[[], float]) -> Callable[[], float]:
    def random() -> float:
        if (_local() is None and boundary._process is None) or not _counted("random.random"):
            return original()
        return ask("random", "random.random", original, _getframe(1))  # type: ignore[no-any-return]

    return random


def _draw_bits(original: Callable[[int], int]) -> Callable[[int], int]:
    def getrandbits(k: int, /) -> int:
        if (_local() is None and boundary._process is None) or not _is_size(k, 8 * LARGEST):
            return original(k)
        if not _counted("random.getrandbits"):
            return original(k)
        size = (k + 7) // 8
        if size <= 8:
            return ask("random", f"random.getrandbits({k})", lambda: original(k), _getframe(1))  # type: ignore[no-any-return]
        drawn = ask("random", f"random.getrandbits({k})", lambda: original(k).to_bytes(size, "little"), _getframe(1))
        return int.from_bytes(drawn, "little")

    return getrandbits


def _patch_seed(kind: Any) -> None:
    """`Random.seed(None)`, which `Random()` calls too: from recorded entropy, in place of the system's."""
    original = kind.seed

    def seed(self: Any, a: Any = None, version: int = 2) -> None:
        if a is None and not (_local() is None and boundary._process is None):
            a = _recorded_seed(_getframe(1))
        original(self, a, version)

    seed.__doc__, seed.__module__, seed.__qualname__ = original.__doc__, original.__module__, original.__qualname__
    kind.seed = seed


def _recorded_seed(frame: FrameType) -> int | None:
    """None: from the system after all."""
    if boundary.guard_here() is None:
        return None
    _, who = asker(frame)
    if (
        who == LIBRARY and _entropy is not None and len(_derived) < _MAX_DERIVED
    ):  # the same in recording and replay, without being written down
        return int.from_bytes(_next_seed(), "big")
    return int.from_bytes(ask("random", "random.Random.seed", lambda: real.urandom(32), frame), "big")


def patch_numpy(module: Any) -> None:
    """numpy's old shared generator (`numpy.random.mtrand`); new ones draw from `secrets`."""
    _seed_numpy(module)


def patch_ssl(module: Any) -> None:
    """OpenSSL's chance, where the program asks for it."""
    replace(module, "RAND_bytes", _rand_bytes)


def _rand_bytes(original: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def rand_bytes(size: int, /) -> bytes:
        if (_local() is None and boundary._process is None) or not _is_size(size, LARGEST):
            return original(size)
        return ask("random", f"ssl.RAND_bytes({size})", lambda: original(size), _getframe(1))  # type: ignore[no-any-return]

    return rand_bytes


def patch_uuid(module: Any) -> None:
    """Names made of the clock and the network card; `uuid4` draws from `os.urandom`."""
    replace(module, "getnode", _getnode)
    replace(module, "uuid1", lambda original: _uuid1(module, original))


def _getnode(original: Callable[[], int]) -> Callable[[], int]:
    def getnode() -> int:
        if _local() is None and boundary._process is None:
            return original()
        return ask("random", "uuid.getnode", original, _getframe(1))  # type: ignore[no-any-return]

    return getnode


def _uuid1(module: Any, original: Callable[..., Any]) -> Callable[..., Any]:
    def fields(node: Any, clock_seq: Any) -> list[Any]:
        made = original(node, clock_seq)
        return [made.bytes, made.is_safe.value]

    def uuid1(node: Any = None, clock_seq: Any = None) -> Any:
        if _local() is None and boundary._process is None:
            return original(node, clock_seq)
        made, safe = ask("random", "uuid.uuid1", lambda: fields(node, clock_seq), _getframe(1))
        return module.UUID(bytes=made, is_safe=module.SafeUUID(safe))

    return uuid1
