"""Time and chance: what the program reads from its surroundings goes through the boundary.

`install` puts functions of ours in the places of those of `time`, `datetime`, `random`, `os`, `uuid` and others.
Outside a trace each costs a hundred nanoseconds. In one, a read by the program's own code is an `Interceptor.read`,
one by a library an `Interceptor.library_read`, and a blocking sleep by anybody an `Interceptor.sleep`.
"""

from __future__ import annotations

import sys
from typing import Any

from rashomon.recorders.ambient import chance, clocks, locks, sites, surroundings, waits
from rashomon.recorders.ambient.chance import begin
from rashomon.recorders.ambient.surroundings import announce, note
from rashomon.recorders.imports import when_imported

__all__ = ["announce", "begin", "install", "note"]

_TIME_MACHINES = ("_time_machine", "time_machine")
_MULTIPROCESSING = ("process", "queues", "connection", "pool", "synchronize")
_installed = False


def install() -> None:
    """Patch what is loaded, and the rest when the program loads it. Idempotent."""
    global _installed
    if _installed:
        return
    _installed = True
    chance.patch_os()
    surroundings.patch()
    waits.patch_events()
    waits.patch_conditions()
    waits.patch_joins()
    waits.patch_semaphores()
    locks.patch()
    if any(name in sys.modules for name in _TIME_MACHINES):
        _give_way()
    else:
        clocks.patch()
        fresh = "datetime" not in sys.modules and "_datetime" not in sys.modules
        when_imported("datetime", lambda module: _patch_datetime(module, fresh))
        sys.meta_path.insert(0, _Lookout())
    when_imported("random", chance.patch_random)
    when_imported("numpy.random.mtrand", chance.patch_numpy)
    when_imported("uuid", chance.patch_uuid)
    when_imported("ssl", chance.patch_ssl)
    when_imported("queue", _patch_queue)
    when_imported("concurrent.futures._base", waits.patch_futures)
    when_imported("subprocess", _patch_subprocess)
    when_imported("socket", _patch_socket)
    for name in _MULTIPROCESSING:
        when_imported(f"multiprocessing.{name}", _patch_multiprocessing)
    when_imported("freezegun.api", _tell_freezegun)
    sites.sweep()


def _patch_socket(module: Any) -> None:
    from rashomon.recorders.ambient import ports

    ports.patch(module)


def _patch_queue(module: Any) -> None:
    from rashomon.recorders.ambient import queues, simple_queues

    queues.patch(module)
    simple_queues.patch(module)


def _patch_subprocess(module: Any) -> None:
    from rashomon.recorders.ambient import subprocesses

    subprocesses.patch(module)


def _patch_multiprocessing(module: Any) -> None:
    from rashomon.recorders.ambient import workers

    workers.patch(module)


def _patch_datetime(module: Any, fresh: bool) -> None:
    from rashomon.recorders.ambient import datetimes

    datetimes.patch(module, fresh)


_gave_way = False


class _Lookout:
    """Finds no module: gives way to time-machine before it is loaded, for it looks at the clocks as it is."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name in _TIME_MACHINES:
            _give_way()


def _give_way() -> None:
    """time-machine patches the built-in functions in C, where it takes what it finds to be one of them."""
    global _gave_way
    if _gave_way:
        return
    _gave_way = True
    clocks.withdraw()
    if "rashomon.recorders.ambient.datetimes" in sys.modules:
        from rashomon.recorders.ambient import datetimes

        datetimes.withdraw()
    note("time_machine", "it replaces the clocks itself, so they are neither recorded nor replayed from here on")


def _tell_freezegun(module: Any) -> None:
    """It puts back what it found: that must be ours, also when it was loaded before us."""
    ids = getattr(module, "_real_time_object_ids", None)
    for original, patched in list(sites._replaced.values()):
        name = f"real_{patched.__name__}"
        if getattr(module, name, None) is original:
            setattr(module, name, patched)
            if ids is not None:
                ids.add(id(patched))
