"""An empty store, ready-made beside the migrations: to run them all takes a second, to unpack what they leave does not.

It says of which migrations it is, and in which form of file. Where these are others by now, it is not used.
`python tools/blank_store.py` makes it anew.
"""

from __future__ import annotations

from pathlib import Path

from rashomon.store import migrate

FILE = Path(__file__).with_name("blank.bin")


def mark(form: str) -> bytes:
    """What a ready-made store must say of itself to be one of today's: `form` is that of the file."""
    try:
        from _blake2 import blake2b  # here: every command loads this module, and hardly any makes a store
    except ImportError:
        from hashlib import blake2b

    text = "\0".join([form, *(f"{step.number} {step.sql}" for step in migrate.migrations())])
    return blake2b(text.encode(), digest_size=16).hexdigest().encode()


def pack(content: bytes, form: str) -> bytes:
    """What is kept of the file of an empty store: its mark, a line feed, the file compressed by zlib."""
    import zlib

    return mark(form) + b"\n" + zlib.compress(content, 9)


def ready(form: str) -> bytes | None:
    """The file of an empty store; None where it is not there, damaged, or not of today's schema and form."""
    import zlib

    try:
        said, _, packed = FILE.read_bytes().partition(b"\n")
        return zlib.decompress(packed) if said == mark(form) else None
    except (OSError, zlib.error):
        return None
