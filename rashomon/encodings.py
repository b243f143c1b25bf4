"""Content encodings of HTTP bodies: gzip, deflate, and where a module for them is installed, brotli and zstandard."""

from __future__ import annotations

import zlib
from collections.abc import Callable

MAX_DECODED = 64 * 1024 * 1024
"""A compressed body is shown up to this many bytes."""


def decoded(encoding: str, body: bytes) -> bytes:
    """A body without its content encoding; the bytes as they are where that is unknown or untrue.

    A cut body gives what can be read of it, and no more than `MAX_DECODED` bytes.
    """
    for name in reversed([part.strip().lower() for part in encoding.split(",")]):
        decoder = _DECODERS.get(name)
        if decoder is not None:
            try:
                body = decoder(body)
            except Exception:  # zlib.error, brotli.error, ...: bytes that a client had decoded already
                return body
    return body


def _gunzip(body: bytes) -> bytes:
    if body[:2] != b"\x1f\x8b":
        return body
    out, rest, left = [], body, MAX_DECODED
    while rest[:2] == b"\x1f\x8b" and left > 0:  # a gzip file may have several members
        stream = zlib.decompressobj(31)
        out.append(stream.decompress(rest, left))
        left -= len(out[-1])
        rest = stream.unused_data
    return b"".join(out)


def _inflate(body: bytes) -> bytes:
    try:
        return zlib.decompressobj(15).decompress(body, MAX_DECODED)
    except zlib.error:  # RFC 9110 §8.4.1.2: some senders leave the zlib wrapper out
        return zlib.decompressobj(-15).decompress(body, MAX_DECODED)


def _unbrotli(body: bytes) -> bytes:
    import brotli  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return bytes(brotli.decompress(body))


def _unzstd(body: bytes) -> bytes:
    import zstandard  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(body))


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": _gunzip,
    "x-gzip": _gunzip,
    "deflate": _inflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}
