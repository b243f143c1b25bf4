"""Where the randomness of a server comes from, so that it can be had again.

Every draw is seeded by the server's seed, the content of the request and how often that content was asked
before. Requests of other content, or their order, change nothing; so a seeded server answers a concurrent
program the same way in every run.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import replace
from hashlib import blake2b

from .model import ModelRequest
from .wire import Ids


def _number(*parts: bytes) -> int:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return int.from_bytes(digest.digest(), "big")


class Sampler:
    """Seeds for ids and for answers; without `seed` a random one."""

    def __init__(self, seed: int | None = None) -> None:
        self.seed = secrets.randbits(63) if seed is None else seed
        self._asked: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def _times_asked(self, content: bytes) -> int:
        with self._lock:
            times = self._asked.get(content, 0)
            self._asked[content] = times + 1
            return times

    def ids(self, content: bytes) -> Ids:
        """Ids for one answer to `content`; asking again gives others."""
        name = blake2b(content, digest_size=16).digest()
        return Ids(_number(b"ids", str(self.seed).encode(), name, str(self._times_asked(name)).encode()))

    def seeded(self, request: ModelRequest) -> ModelRequest:
        """The request with its `sampling_seed`.

        With temperature 0, or with a seed in the request, equal requests get equal seeds on every server;
        else each repetition gets its own, drawn from the server's seed.
        """
        content = request.digest()
        if request.temperature == 0 or request.seed is not None:
            return replace(request, sampling_seed=_number(b"fixed", content))
        times = self._times_asked(content)
        return replace(request, sampling_seed=_number(b"drawn", content, str(self.seed).encode(), str(times).encode()))
