"""Request bodies as they are written: without secrets, and as what is new against an earlier one.

Bodies and prefixes of a conversation are found by memcmp, so that a turn costs what is new in it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from rashomon import journal as format
from rashomon.journal import BASE_WINDOW, DELTA_MIN
from rashomon.redaction import Redactor

_BASE_BYTES = 64 << 20
_NEAR = 512
"""How far into the unchanged parts of a body a changed stretch is searched for secrets that begin or end there."""


class Bodies:
    """What one journal's writer knows of the bodies that it has written. One thread at a time."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._bases: dict[int, bytes] = {}
        self._numbered: deque[int] = deque(maxlen=BASE_WINDOW)
        self._by_key: dict[Any, int] = {}

    def forget(self) -> None:
        """What was written last may not be on the disk: nothing that comes may build on it."""
        self._bases.clear()
        self._by_key.clear()

    def written(self, number: int, lane: Any, body: bytes, encoded: bool) -> Any:
        """The body to write: whole, or as a delta against a recent one, secrets replaced either way."""
        redactor = self._redactor
        if encoded:
            return self._remember(number, None, redactor.encoded(body))
        keys = (("lane", lane), body[:64], body[:DELTA_MIN])
        best = self._best_base(keys, body)
        if best is None:
            return self._remember(number, keys, redactor.content(body))
        base_number, base, prefix = best
        suffix = format.common_suffix(base, body, min(len(base), len(body)) - prefix)
        changed = body[max(0, prefix - _NEAR) : len(body) - suffix + _NEAR]
        if redactor.suspicious(changed) and redactor.content(changed) != changed:
            body = redactor.content(body)
            prefix = format.common_prefix(base, body)
            suffix = format.common_suffix(base, body, min(len(base), len(body)) - prefix)
        self._remember(number, keys, body)
        if prefix + suffix < len(body) // 4:
            return body
        return [base_number, prefix, suffix, body[prefix : len(body) - suffix]]

    def _best_base(self, keys: tuple[Any, ...], body: bytes) -> tuple[int, bytes, int] | None:
        best: tuple[int, bytes, int] | None = None
        seen = set()
        for key in keys:
            number = self._by_key.get(key)
            base = None if number is None else self._bases.get(number)
            if number is None or base is None or number in seen:
                continue
            seen.add(number)
            prefix = format.common_prefix(base, body)
            if best is None or prefix > best[2]:
                best = (number, base, prefix)
            if prefix > len(base) // 2:
                break
        return best

    def _remember(self, number: int, keys: tuple[Any, ...] | None, body: bytes) -> bytes:
        """Keep a body as a base for later ones, as long as the reader does; only the last of each conversation."""
        if len(body) < DELTA_MIN:
            return body
        if len(self._numbered) == BASE_WINDOW:
            self._bases.pop(self._numbered[0], None)  # the reader forgets it now
        self._numbered.append(number)
        if keys is None:
            return body
        for key in keys:
            self._by_key[key] = number
        bases = self._bases
        bases[number] = body
        wanted = set(self._by_key.values())
        for known in [known for known in bases if known not in wanted]:
            del bases[known]
        if len(self._by_key) > 4 * BASE_WINDOW or sum(map(len, bases.values())) > _BASE_BYTES:
            self._by_key = {key: known for key, known in self._by_key.items() if known == number}
        return body
