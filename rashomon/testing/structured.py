"""Answers in the shape of a JSON schema, filled from a text and from what tools returned."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from typing import Any

from .arguments import NUMBER, date_in, first_fact, order_id_in

MAX_DEPTH = 12  # a recursive schema has to end somewhere


class Filler:
    """Fills schemas: a field takes a fact of its name, else a value of its type out of the text."""

    def __init__(self, root: Mapping[str, Any], text: str, known: Any, answer: str, rng: random.Random) -> None:
        self._root = root
        self._text = text
        self._known = known
        self._answer = answer
        self._rng = rng
        self._numbers = NUMBER.findall(text)

    def value(self, schema: Mapping[str, Any], name: str = "", depth: int = 0) -> Any:
        """A value that is valid for `schema`, for a field called `name`."""
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        known = first_fact(self._known, name.lower()) if name else None
        if schema.get("enum"):
            return self._choice(list(schema["enum"]), known)
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((entry for entry in kind if entry != "null"), "null")
        if kind == "object" or "properties" in schema:
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, name, depth)
        if kind in ("integer", "number"):
            return self._number(kind, schema, known)
        if kind == "boolean":
            return known if isinstance(known, bool) else not re.search(r"\b(not|no|never|refus)", self._answer.lower())
        if kind == "null":
            return None
        return self._string(schema, name, known)

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        while "$ref" in schema:
            found: Any = self._root
            for part in str(schema["$ref"]).removeprefix("#/").split("/"):
                found = found.get(part, {}) if part != "#" else found
            schema = found
        for union in ("anyOf", "oneOf"):
            options = [entry for entry in schema.get(union, ()) if entry.get("type") != "null"]
            if options:
                return self._resolved(options[0])
        merged: dict[str, Any] = dict(schema)
        for entry in schema.get("allOf", ()):
            merged |= self._resolved(entry)
        return merged

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        properties: Mapping[str, Any] = schema.get("properties") or {}
        required = schema.get("required", list(properties)) if depth >= MAX_DEPTH else list(properties)
        return {name: self.value(properties[name], name, depth + 1) for name in properties if name in required}

    def _array(self, schema: Mapping[str, Any], name: str, depth: int) -> list[Any]:
        least = int(schema.get("minItems", 0))
        count = least if depth >= MAX_DEPTH else max(least, 1)
        items = schema.get("items") or {"type": "string"}
        if self._resolved(items).get("type") == "string" and not self._resolved(items).get("enum"):
            named = re.findall(r"\b[A-Z][a-z]+\b", self._text) or self._text.split()[:count]
            return (list(dict.fromkeys(named)) or [self._answer])[: max(count, 3)]
        return [self.value(items, name, depth + 1) for _ in range(count)]

    def _choice(self, options: list[Any], known: Any) -> Any:
        if known in options:
            return known
        lowered = (self._text + " " + self._answer).lower()
        return next((option for option in options if str(option).lower() in lowered), None) or self._rng.choice(options)

    def _number(self, kind: str, schema: Mapping[str, Any], known: Any) -> float:
        value: Any = known if isinstance(known, (int, float)) and not isinstance(known, bool) else None
        if value is None:
            value = float(self._numbers.pop(0)) if self._numbers else self._rng.randint(1, 100)
        value = max(value, schema.get("minimum", value))
        value = min(value, schema.get("maximum", value))
        return int(value) if kind == "integer" or float(value).is_integer() else float(value)

    def _string(self, schema: Mapping[str, Any], name: str, known: Any) -> str:
        lowered = name.lower()
        if known is not None:
            return str(known)
        if schema.get("format") in ("date", "date-time") or lowered in ("date", "day", "when"):
            day = date_in(self._text)
            weekday = re.search(r"\b(?:Mon|Tues|Wednes|Thurs|Fri|Satur|Sun)day\b", self._text)
            text = day.isoformat() if day else weekday.group() if weekday else "2026-01-01"
            return text + "T00:00:00Z" if schema.get("format") == "date-time" and "T" not in text else text
        if lowered == "id" or lowered.endswith("_id"):
            return order_id_in(self._text) or "none"
        if lowered in ("name", "title", "subject", "event", "customer"):
            named = re.findall(r"\b[A-Z][a-z]+(?: [A-Z][a-z]+)*\b", self._text)
            return named[-1] if named else self._text[:40].strip()
        return self._answer
