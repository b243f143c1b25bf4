"""`datetime.now`, `utcnow` and `today`, replaced inside the types of C, which nobody can assign to.

The dict behind a type's `__dict__` is what the proxy refers to; `PyType_Modified` makes the interpreter forget
what it has cached of it (https://docs.python.org/3/c-api/type.html#c.PyType_Modified). So `from datetime import
datetime` sees it as well, and so do subclasses, which get objects of their own class. When the module has just been
imported, nobody has looked at these methods yet: nothing is cached, and `ctypes` need not be loaded.
"""

from __future__ import annotations

import gc
import sys
from typing import Any

from rashomon import boundary
from rashomon.recorders.ambient.sites import ask

_getframe = sys._getframe
_local = boundary._local.get
_DEPRECATED = sys.version_info >= (3, 12)
_UTCNOW_WARNING = (
    "datetime.datetime.utcnow() is deprecated and scheduled for removal in a future version. Use timezone-aware "
    "objects to represent datetimes in UTC: datetime.datetime.now(datetime.UTC)."
)
_replaced: list[tuple[Any, str, Any]] = []
"""Type, name, and what stood there; None where the method was inherited."""


def patch(module: Any, fresh: bool = False) -> None:
    """Replace the class methods that read the clock. Raises TypeError for a `datetime` that is not the one of C.

    `fresh`: the module has been imported just now, by nobody before.
    """
    if _replaced:
        return
    moment, day = module.datetime, module.date
    now = vars(moment)["now"]
    if not isinstance(now, type(vars(dict)["fromkeys"])):
        raise TypeError("datetime.datetime is not the one of C")
    _set(moment, "now", _now(moment, now.__get__, module.tzinfo, module.timezone.utc))
    _set(moment, "utcnow", _utcnow(vars(moment)["utcnow"].__get__, now.__get__(None, moment), module.timezone.utc))
    today = vars(moment).get("today", vars(day)["today"])
    _set(moment, "today", _today("datetime.datetime.today", moment, today.__get__, _fields))
    _set(day, "today", _today("datetime.date.today", day, vars(day)["today"].__get__, _day_fields))
    if not fresh or not all(_is_seen(owner, name) for owner, name, _ in _replaced):
        _forget(moment, day)


def withdraw() -> None:
    """Put the originals back."""
    owners = [owner for owner, _, _ in _replaced]
    while _replaced:
        owner, name, original = _replaced.pop()
        if original is None:
            del _dict_of(owner)[name]
        else:
            _dict_of(owner)[name] = original
    _forget(*owners)


def _dict_of(owner: type) -> dict[str, Any]:
    names = gc.get_referents(vars(owner))[0]
    if not isinstance(names, dict):
        raise TypeError(f"the names of {owner.__name__} are not in a dict")
    return names


def _set(owner: type, name: str, function: Any) -> None:
    names = _dict_of(owner)
    function.__name__, function.__qualname__ = name, f"{owner.__name__}.{name}"
    function.__module__, function.__doc__ = owner.__module__, _inherited(owner, name).__doc__
    _replaced.append((owner, name, names.get(name)))
    names[name] = classmethod(function)


def _inherited(owner: type, name: str) -> Any:
    """What `getattr` would find, without the interpreter remembering it."""
    return next(vars(base)[name] for base in owner.__mro__ if name in vars(base))


def _is_seen(owner: type, name: str) -> bool:
    return getattr(getattr(owner, name), "__func__", None) is vars(owner)[name].__func__


def _forget(*owners: type) -> None:
    from ctypes import py_object, pythonapi

    for owner in dict.fromkeys(owners):
        pythonapi.PyType_Modified(py_object(owner))


def _fields(moment: Any) -> list[int]:
    """A moment as numbers: year, month, day, hour, minute, second, microsecond, fold."""
    return [moment.year, moment.month, moment.day, moment.hour, moment.minute, moment.second, moment.microsecond,
            moment.fold]  # fmt: skip


def _day_fields(day: Any) -> list[int]:
    return [day.year, day.month, day.day]


def _built(cls: Any, fields: list[int], zone: Any = None) -> Any:
    """The object that the original would have made of a moment, of the class it was asked for."""
    *numbers, fold = fields
    made = cls(*numbers, zone)
    return made.replace(fold=1) if fold else made


def _now(owner: Any, bind: Any, tzinfo: Any, utc: Any) -> Any:
    real = bind(None, owner)

    def now(cls: Any, tz: Any = None) -> Any:
        if _local() is None and boundary._process is None:
            return real(tz) if cls is owner else bind(None, cls)(tz)
        if tz is None:
            return _built(cls, ask("clock", "datetime.datetime.now", lambda: _fields(real()), _getframe(1)))
        if not isinstance(tz, tzinfo):
            return real(tz)  # which raises
        # in UTC on the tape: the zone's own code makes local time of it, as it does for the original
        moment = ask("clock", "datetime.datetime.now(tz)", lambda: _fields(real(utc)), _getframe(1))
        return tz.fromutc(_built(cls, moment, tz))

    return now


def _utcnow(bind: Any, now: Any, utc: Any) -> Any:
    def utcnow(cls: Any) -> Any:
        if _DEPRECATED:  # here, where the caller can be named
            import warnings

            warnings.warn(_UTCNOW_WARNING, DeprecationWarning, stacklevel=2)
        elif _local() is None and boundary._process is None:
            return bind(None, cls)()
        return _built(cls, ask("clock", "datetime.datetime.utcnow", lambda: _fields(now(utc)), _getframe(1)))

    return utcnow


def _today(what: str, owner: Any, bind: Any, fields: Any) -> Any:
    real = bind(None, owner)

    def today(cls: Any) -> Any:
        if _local() is None and boundary._process is None:
            return bind(None, cls)()
        # the original calls `time.time`: from here, where it is the real one
        value = ask("clock", what, lambda: fields(real()), _getframe(1))
        return _built(cls, value) if len(value) > 3 else cls(*value)

    return today
