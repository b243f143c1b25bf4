"""OpenAI's POST /v1/embeddings: vectors that follow from the text alone.

Words are hashed to a few positions of the vector, so that texts that share words are near each other and a
small retrieval program works; a trace of the whole text keeps different texts apart.
"""

from __future__ import annotations

import base64
import math
import re
import sys
from array import array
from hashlib import blake2b, shake_256
from typing import Any

from .wire import ApiError, number, token_count

DIMENSIONS = {"text-embedding-3-large": 3072}  # others: 1536
_WORD = re.compile(r"\w+")


def vector(text: str, dimensions: int = 1536) -> list[float]:
    """The unit vector of a text: `dimensions` numbers, the same in every process."""
    noise = array("I", shake_256(text.encode()).digest(4 * dimensions))
    if sys.byteorder == "big":
        noise.byteswap()
    values = [(number / 2**32 - 0.5) * 0.02 for number in noise]
    for word in _WORD.findall(text.lower()):
        digest = blake2b(word.encode(), digest_size=32).digest()
        for start in range(0, 32, 4):
            position = int.from_bytes(digest[start : start + 4], "little")
            values[(position >> 1) % dimensions] += 1.0 if position & 1 else -1.0
    length = math.sqrt(sum(value * value for value in values)) or 1.0
    return [round(value / length, 9) for value in values]


def render(raw: Any) -> dict[str, Any]:
    """The answer to an embeddings request. Raises ApiError for what OpenAI refuses."""
    if not isinstance(raw, dict) or not isinstance(raw.get("model"), str):
        raise ApiError(400, "you must provide a model parameter")
    texts = _inputs(raw.get("input"))
    dimensions = number(raw, "dimensions", int) or DIMENSIONS.get(raw["model"], 1536)
    if not 1 <= dimensions <= 3072:
        raise ApiError(400, f"Invalid value for 'dimensions' = {dimensions}. Must be at most 3072.", param="dimensions")
    as_base64 = raw.get("encoding_format") == "base64"
    entries = []
    for index, text in enumerate(texts):
        values = vector(text, dimensions)
        encoded: str | list[float] = _packed(values) if as_base64 else values
        entries.append({"object": "embedding", "index": index, "embedding": encoded})
    tokens = sum(token_count(text) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": entries, "model": raw["model"], "usage": usage}


def _packed(values: list[float]) -> str:
    packed = array("f", values)
    if sys.byteorder == "big":
        packed.byteswap()  # the wire is little-endian
    return base64.b64encode(packed.tobytes()).decode()


def _inputs(value: Any) -> list[str]:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or not value:
        raise ApiError(400, "'$.input' is invalid. Please check the API reference.", param="input")
    if all(isinstance(entry, int) for entry in value):  # the tokens of one text
        value = [value]
    return [entry if isinstance(entry, str) else " ".join(map(str, entry)) for entry in value]
