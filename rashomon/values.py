"""Python values as bytes and back: arguments and results of tools, arguments of entry points.

msgpack with extension types. What msgpack knows is itself; tuples, sets, dates, decimals, UUIDs, paths,
enums, dataclasses, attrs classes, named tuples, pydantic models, exceptions, containers and records of the standard
library, and requests and answers of HTTP clients are rebuilt as themselves; what is in two places of a value, as one
object. Everything else, and everything nested deeper than 64, becomes opaque: its type and its `repr` without
addresses. Encoding never fails; what is opaque cannot be turned back into the object, so replay refuses to serve it.
`docs/formats/values.md` lists the codes.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack

from rashomon.model import Failure, Json
from rashomon.objects import NotRebuildable as NotRebuildable
from rashomon.objects import type_name
from rashomon.standins import Tell, unheard
from rashomon.value_decoding import Rebuild
from rashomon.value_encoding import Lost as Lost
from rashomon.value_encoding import Walk, said
from rashomon.value_first import FirstWalk

_EXTENDED = re.compile(rb"[\xc7-\xc9\xd4-\xd8]")
"""How an extension begins, as text in some languages does."""
_NOTHING: dict[int, int] = {}


class Encoded(NamedTuple):
    """A value as bytes, and what of it is only told by its type."""

    data: bytes
    lost: tuple[Lost, ...] = ()


def encode(value: Any) -> bytes:
    """The value as bytes. Never raises."""
    return encode_told(value).data


def encode_told(value: Any, given: dict[int, int] | None = None) -> Encoded:
    """The value as bytes, and what is lost of it. Never raises.

    `given` numbers by `id` what the call was given: in a replay, these objects are the live ones.
    """
    try:
        if _is_tree(value, given or _NOTHING):
            data: bytes = msgpack.packb(value, use_bin_type=True, strict_types=True)
            if _EXTENDED.search(data) is None:  # msgpack's own `ExtType` and `Timestamp` are no extensions of ours
                return Encoded(data)
    except Exception:  # something in it is not msgpack's own: walk it
        pass
    return _walked(lambda walk: walk.pack(value), value, given)


def _walked(work: Callable[[Walk], bytes], value: Any, given: dict[int, int] | None, bare: bool = False) -> Encoded:
    """Walk a value; again, where something is met twice in it, which has to be known when it is met first."""
    try:
        walk = Walk(None, given, bare)
        data = work(walk)
        if walk.repeated:
            again = Walk({key: number for number, key in enumerate(walk.repeated)}, given, bare)
            data = work(again)
            return Encoded(data, tuple(dict.fromkeys(again.lost)))
        return Encoded(data, tuple(dict.fromkeys(walk.lost)))
    except Exception:  # an object's own method raised while we looked at it: its type is all we say
        walk = Walk()
        data = msgpack.packb(walk.opaque(type(value), "<not encodable>"))
        return Encoded(data, tuple(walk.lost))


def _is_tree(value: Any, given: dict[int, int]) -> bool:
    """True for what msgpack keeps as it is, if it takes it: each list and dict is in one place of it, none was given,
    and there are no bytes that can be changed. Looks into nothing else."""
    cls = type(value)
    if cls is not list and cls is not dict:
        return cls is not bytearray and cls is not memoryview
    level, seen = [value], {id(value)}
    count = 1
    if given and id(value) in given:
        return False
    while level:
        inner = gc.get_referents(*level)
        kinds = set(map(type, inner))
        if bytearray in kinds or memoryview in kinds:
            return False
        if list not in kinds and dict not in kinds:
            return True
        level = [one for one in inner if type(one) is dict or type(one) is list]
        count += len(level)
        seen.update(map(id, level))
        if len(seen) != count or (given and any(id(one) in given for one in level)):
            return False
    return True


def encode_effects(effects: Any, given: dict[int, int]) -> Encoded:
    """What has become of the arguments of a call, which are in it by their numbers. Never raises."""
    return _walked(lambda walk: walk.pack(effects), effects, given, True)


def decode_effects(data: bytes, given: list[Any]) -> Any:
    """The same again, with the live arguments in it. Raises `NotRebuildable`."""
    return decode(data, None, given)


def encode_arguments(value: Any) -> bytes:
    """What a call is found again by, as bytes. Never raises.

    Without what came after the first version of the format, so that it equals what the tapes of that one hold.
    """
    try:
        data: bytes = msgpack.packb(value, use_bin_type=True, strict_types=True)
        if _EXTENDED.search(data) is None:  # as above
            return data
    except Exception:  # as above
        pass
    try:
        return FirstWalk().pack(value)
    except Exception:  # as above
        packed: bytes = msgpack.packb(FirstWalk().opaque(type(value), "<not encodable>"))
        return packed


def decode(data: bytes, tell: Tell | None = None, given: list[Any] | None = None) -> Any:
    """The value; raises `NotRebuildable` when a part is opaque, its class is gone, or the bytes are bad.

    `tell` is called when the program reads an attribute that was recorded by its type only, before `Missed` is raised.
    `given` are the objects that the call was given: those that the value names are made what they were behind it.
    """
    try:
        return Rebuild(tell, given).whole(data)
    except NotRebuildable:
        raise
    except Exception as error:
        raise NotRebuildable(f"the recorded value cannot be rebuilt: {type(error).__name__}: {error}") from error


def to_json(data: bytes) -> Json:
    """The value for people, SQL and diffs: plain JSON, with `$type` where JSON has no word for it.

    Never raises and never imports a class; bytes that are no encoded value become `{"$damaged": hex}`.
    """
    from rashomon.value_views import json_of

    try:
        return json_of(data)
    except Exception as error:  # foreign bytes: show them rather than fail a whole listing
        return {"$damaged": data[:64].hex(), "error": type(error).__name__}


def each_json(data: bytes) -> list[Json]:
    """The values that stand one behind the other, as `to_json`; none of bytes that are no such values.

    What begins with a number is taken for foreign bytes: any text may be read as numbers.
    """
    from rashomon.value_views import each_json_of

    try:
        found = each_json_of(data)
    except Exception:  # foreign bytes, as in `to_json`
        return []
    return [] if any(type(value) is int for value in found) else found


def encode_failure(error: BaseException) -> Failure:
    """An exception as a value. Never raises."""
    return encode_failure_told(error)[0]


def encode_failure_told(error: BaseException) -> tuple[Failure, tuple[Lost, ...]]:
    """An exception as a value, and what of its attributes is lost. Never raises."""

    def work(walk: Walk) -> bytes:
        walk.active.append(id(error))
        return walk.failure(error)[2]

    with unheard():
        data, lost = _walked(work, error, None)
        return Failure(type_name(type(error)), said(error), data), lost


def decode_failure(failure: Failure, tell: Tell | None = None) -> BaseException:
    """The exception; raises `NotRebuildable` when its class cannot be found."""
    return Rebuild(tell).failure(failure)
