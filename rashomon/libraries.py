"""Objects of libraries that `rashomon.values` knows by parts: those of httpx, requests, aiohttp and pydantic.

Errors of clients hold them. Nothing is imported that the program has not loaded, but to build a value of its type.
Headers stand under `$headers` and addresses under `$url`, by which the redactor knows them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from rashomon.objects import loaded, type_name
from rashomon.standins import StandIn

_PLAIN = (str, bytes, int, float, bool)


class _Known(NamedTuple):
    """How objects of a class are taken apart, and put together again."""

    parts: Callable[[Any], list[Any] | None]
    build: Callable[[Any, list[Any]], Any]


def parts(value: Any, cls: type) -> list[Any] | None:
    """What a value is built from; None for one of any other class."""
    known = _KNOWN.get(type_name(cls))
    if known is not None:
        return known.parts(value)
    if _is_url(cls):
        return [vars(value)["_url"]]
    return None


def build(name: str, given: list[Any]) -> Any:
    """The value. Raises ValueError, TypeError or ImportError for parts that do not fit, and for a class not known."""
    module, _, qualname = name.partition(":")
    cls: Any = importlib.import_module(module)
    for part in qualname.split("."):
        cls = getattr(cls, part)
    known = _KNOWN.get(name)
    if known is not None:
        return known.build(cls, given)
    if isinstance(cls, type) and _is_url(cls):
        value: Any = object.__new__(cls)
        vars(value)["_url"] = given[0]
        return value
    raise ValueError(f"{name} is not built from parts in this version")


def _is_url(cls: type) -> bool:
    """True for pydantic's types of URLs: objects around one of `pydantic_core`."""
    bases = (loaded("pydantic.networks", name) for name in ("_BaseUrl", "_BaseMultiHostUrl"))
    return any(isinstance(base, type) and issubclass(cls, base) for base in bases)


# ------------------------------------------------------------------------------------------------------------- httpx

_STREAM = ("stream", "_decoder", "extensions")


def _httpx_parts(value: Any) -> list[Any] | None:
    state = vars(value)
    if "_content" not in state and not state.get("is_closed", True):
        return None  # who has it may read on: nobody knows what would come
    kept = {key: item for key, item in state.items() if key not in _STREAM}
    extensions = state["extensions"]
    plain = {key: item for key, item in extensions.items() if type(item) in _PLAIN or key == "timeout"}
    return [kept, plain, [key for key in extensions if key not in plain]]


def _httpx_build(cls: Any, given: list[Any]) -> Any:
    kept, extensions, gone = given
    value = cls.__new__(cls)
    value.__setstate__(kept)
    if "is_closed" in kept:
        value.is_closed = kept["is_closed"]
    value.extensions = {**extensions, **{key: StandIn("value", f"<{key}>", None) for key in gone}}
    return value


def _headers_parts(value: Any) -> list[Any]:
    return [{"$headers": [[name, item] for name, item in value.raw]}, vars(value).get("_encoding")]


def _headers_build(cls: Any, given: list[Any]) -> Any:
    return cls([tuple(pair) for pair in given[0]["$headers"]], given[1])


def _address_parts(value: Any) -> list[Any]:
    return [{"$url": str(value)}]


def _address_build(cls: Any, given: list[Any]) -> Any:
    return cls(given[0]["$url"])


# ---------------------------------------------------------------------------------------------------------- requests

_ANSWER = ("_content", "status_code", "headers", "encoding", "history", "reason", "cookies", "elapsed", "request")
_ASKED = ("method", "headers", "_cookies", "body")


def _answer_parts(value: Any) -> list[Any] | None:
    state = vars(value)
    if not state["_content_consumed"] and state["_content"] is False and state["raw"] is not None:
        return None  # not read yet, and to read it would change what the program finds
    return [{"$url": state["url"]}, {key: state[key] for key in _ANSWER}]


def _answer_build(cls: Any, given: list[Any]) -> Any:
    value = cls()
    raw = StandIn("urllib3.response:HTTPResponse", "<the connection's answer>", None)
    vars(value).update(given[1], url=given[0]["$url"], _content_consumed=True, raw=raw)
    return value


def _asked_parts(value: Any) -> list[Any]:
    state = vars(value)
    return [{"$url": state["url"]}, {key: state[key] for key in _ASKED}]


def _asked_build(cls: Any, given: list[Any]) -> Any:
    value = cls()
    vars(value).update(given[1], url=given[0]["$url"])
    return value


def _pairs_parts(value: Any) -> list[Any]:
    return [{"$headers": [[str(name), item] for name, item in value.items()]}]


def _pairs_build(cls: Any, given: list[Any]) -> Any:
    return cls([tuple(pair) for pair in given[0]["$headers"]])


def _proxy_build(cls: Any, given: list[Any]) -> Any:
    from multidict import CIMultiDict

    return cls(_pairs_build(CIMultiDict, given))


def _jar_parts(value: Any) -> list[Any]:
    return [[[{"$headers": [["set-cookie", f"={one.value}"]]}, {**vars(one), "value": None}] for one in value]]


def _jar_build(cls: Any, given: list[Any]) -> Any:
    from http.cookiejar import Cookie

    jar = cls()
    for (hidden, kept), cookie in ((one, object.__new__(Cookie)) for one in given[0]):
        vars(cookie).update(kept, value=hidden["$headers"][0][1].partition("=")[2])
        jar.set_cookie(cookie)
    return jar


# ---------------------------------------------------------------------------------------------------------- pydantic


def _zone_parts(value: Any) -> list[Any]:
    return [int(value.utcoffset(None).total_seconds())]


def _zone_build(cls: Any, given: list[Any]) -> Any:
    return cls(*given)


_HEADERS = _Known(_headers_parts, _headers_build)
_ADDRESS = _Known(_address_parts, _address_build)
_MESSAGE = _Known(_httpx_parts, _httpx_build)
_PAIRS = _Known(_pairs_parts, _pairs_build)
_PROXY = _Known(_pairs_parts, _proxy_build)
_KNOWN = {
    "httpx:Response": _MESSAGE,
    "httpx:Request": _MESSAGE,
    "httpx:Headers": _HEADERS,
    "httpx:URL": _ADDRESS,
    "httpx2:Response": _MESSAGE,
    "httpx2:Request": _MESSAGE,
    "httpx2:Headers": _HEADERS,
    "httpx2:URL": _ADDRESS,
    "requests.models:Response": _Known(_answer_parts, _answer_build),
    "requests.models:PreparedRequest": _Known(_asked_parts, _asked_build),
    "requests.structures:CaseInsensitiveDict": _PAIRS,
    "requests.cookies:RequestsCookieJar": _Known(_jar_parts, _jar_build),
    "yarl:URL": _ADDRESS,
    "yarl._url:URL": _ADDRESS,
    "multidict._multidict:CIMultiDict": _PAIRS,
    "multidict._multidict:CIMultiDictProxy": _PROXY,
    "pydantic_core._pydantic_core:TzInfo": _Known(_zone_parts, _zone_build),
    "pydantic_core._pydantic_core:Url": _ADDRESS,
    "pydantic_core._pydantic_core:MultiHostUrl": _ADDRESS,
}
