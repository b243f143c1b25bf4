"""What the bundled assistant reads out of plain text: ids, numbers, dates, regions, arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from .model import ModelRequest, Tool

ORDER_ID = re.compile(r"\b(?:[A-Z]{1,5}-?\d{2,}[A-Z0-9-]*|[A-Z]{2,5}-[A-Z0-9]*\d[A-Z0-9-]*)\b|#(\d{2,})\b")
NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:\.\d+)?(?![\w-])")
QUOTED = re.compile(r"\"([^\"]+)\"|'([^']{2,})'(?!\w)|“([^”]+)”|`([^`]+)`")
DATE = re.compile(r"\b(\d{4})-(\d{2})-(\d{2})")
EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
PLACE = re.compile(r"\b(?:in|at|for|from|to|of|about)\s+((?:[A-Z][\w'’-]*)(?:\s+[A-Z][\w'’-]*)*)")
REGIONS = {
    "EU": ("europe", "germany", "france", "spain", "italy", "austria", "netherlands", "berlin", "paris"),
    "UK": ("britain", "england", "scotland", "london"),
    "US": ("america", "states", "york", "california", "texas"),
}
_STOP_WORDS = """
a an and any are as at be by can could do does for from get give has have how i in is it its me my of on or
our please return tell that the their this to use using want was what when where which who will with you
your
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())


def words(text: str) -> set[str]:
    """The meaningful words of a text in lower case, without a plural's s."""
    found = re.findall(r"[a-z]{2,}", re.sub(r"([a-z])([A-Z])", r"\1 \2", text).replace("_", " ").lower())
    return {word[:-1] if len(word) > 3 and word.endswith("s") else word for word in found if word not in STOP_WORDS}


def order_id_in(text: str) -> str | None:
    """The last order id that a text mentions, like A-1042 or #1042."""
    found = None
    for match in ORDER_ID.finditer(text):
        found = match.group(1) or match.group()
    return found


def region_in(text: str) -> str | None:
    """The region that a text names, by its code or by a place in it."""
    if code := re.search(r"\b(EU|UK|US|USA|APAC)\b", text):
        return "US" if code.group() == "USA" else code.group()
    plain = set(re.findall(r"[a-z]{4,}", text.lower()))
    return next((region for region, places in REGIONS.items() if plain.intersection(places)), None)


def date_in(text: str, *, after: str = "") -> date | None:
    """The first ISO date of a text; with `after`, the first that follows that word."""
    start = text.lower().find(after) if after else 0
    if start < 0:
        return None
    match = DATE.search(text, start)
    try:
        return date(*map(int, match.groups())) if match else None
    except ValueError:
        return None  # 2026-02-31 is no day


def facts(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a JSON value as (dotted path, value) in order."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from facts(inner, f"{prefix}.{key}" if prefix else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from facts(inner, f"{prefix}[{index}]")
    else:
        yield prefix, value


def first_fact(value: Any, *names: str) -> Any:
    """The first leaf whose last name is one of `names`, in their order; None when there is none."""
    leaves = [(path.rpartition(".")[2].lower(), leaf) for path, leaf in facts(value)]
    for name in names:
        for leaf_name, leaf in leaves:
            if leaf_name == name and leaf is not None:
                return leaf
    return None


def fill(tool: Tool, known: Mapping[str, Any], text: str) -> dict[str, Any] | None:
    """Arguments for a tool from known values and a text; None when a required one cannot be found."""
    properties: Mapping[str, Any] = tool.parameters.get("properties") or {}
    required = set(tool.parameters.get("required") or ())
    source = _Source(text)
    arguments: dict[str, Any] = {}
    for name, schema in properties.items():
        value = known.get(name)
        if value is None:
            value = source.take(name, schema if isinstance(schema, dict) else {}, needed=name in required)
        if value is not None:
            arguments[name] = value
        elif name in required:
            return None
    return arguments


class _Source:
    """The values that a text offers, each used for one argument only."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._numbers = NUMBER.findall(text)
        self._quoted = ["".join(groups) for groups in QUOTED.findall(text)]
        self._places = PLACE.findall(text)

    def take(self, name: str, schema: Mapping[str, Any], *, needed: bool) -> Any:
        kind = schema.get("type")
        kind = next((entry for entry in kind if entry != "null"), None) if isinstance(kind, list) else kind
        if schema.get("enum"):
            return self._choice(list(schema["enum"]), schema, needed)
        if kind in ("integer", "number"):
            return self._number(kind, schema, needed)
        if kind == "boolean":
            return schema.get("default", True) if needed else None
        if kind == "array":
            return self._array(schema) if needed else None
        if kind == "object":
            return {} if needed else None
        return self._string(name, schema, needed)

    def _choice(self, options: list[Any], schema: Mapping[str, Any], needed: bool) -> Any:
        lowered = self._text.lower()
        for option in options:
            if re.search(rf"\b{re.escape(str(option).lower())}\b", lowered):
                return option
        return schema.get("default", options[0]) if needed else None

    def _number(self, kind: str, schema: Mapping[str, Any], needed: bool) -> Any:
        if self._numbers:
            value = float(self._numbers.pop(0))
            return int(value) if kind == "integer" or value.is_integer() else value
        return schema.get("default") if needed else None

    def _array(self, schema: Mapping[str, Any]) -> Any:
        if (schema.get("items") or {}).get("type") in ("integer", "number"):
            values, self._numbers = self._numbers, []
            return [float(value) if "." in value else int(value) for value in values] or None
        values, self._quoted = self._quoted, []
        return values or None

    def _string(self, name: str, schema: Mapping[str, Any], needed: bool) -> Any:
        lowered = name.lower()
        if "mail" in lowered or lowered == "to":
            match = EMAIL.search(self._text)
            return match.group() if match else None
        if "date" in lowered or schema.get("format") == "date":
            day = date_in(self._text)
            return day.isoformat() if day else None
        if lowered == "id" or lowered.endswith(("_id", "number")):
            return order_id_in(self._text) or (self._numbers.pop(0) if self._numbers else None)
        if "region" in lowered or "country" in lowered:
            return region_in(self._text) or (schema.get("default", "EU") if needed else None)
        if any(part in lowered for part in ("city", "location", "place")) and self._places:
            return self._places.pop(0)
        if self._quoted:
            return self._quoted.pop(0)
        if not needed:
            return None
        return schema.get("default") or (self._places.pop(0) if self._places else self._text.strip() or None)


def conversation_text(request: ModelRequest) -> str:
    """All that the user has said, oldest first."""
    return "\n".join(message.text for message in request.messages if message.role == "user" and message.text)
