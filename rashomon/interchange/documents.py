"""A file's JSON: one document or one a line, as it is or gzipped."""

from __future__ import annotations

import gzip
import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from rashomon.errors import DamagedData, UsageError

MAX_SIZE = 2 * 1024**3
"""Bytes of an unpacked file; a small gzip file can hold more than any memory."""

_CHUNK = 1024 * 1024


class Documents(NamedTuple):
    """The JSON values of a file, in order, and the numbers of the lines that hold none (`lines` says that it has
    several)."""

    values: list[Any]
    lines: bool = False
    unread: tuple[int, ...] = ()


def load(path: Path | str) -> Documents:
    """The JSON of a file.

    Raises `UsageError` for a file that cannot be opened or holds no JSON at all, `DamagedData` for one that is cut or
    broken. A last line that is cut is left out and counted; so are broken lines between whole ones.
    """
    path = Path(path)
    data = _unpacked(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path} is no text: byte {error.start:,} is no UTF-8.", "Give JSON, or a file of rashomon export."
        ) from None
    if not text.strip():
        raise UsageError(f"{path} is empty.", "Give a file of spans or of messages, in JSON.")
    try:
        return Documents([json.loads(text)])
    except RecursionError:
        raise DamagedData(f"{path} is nested too deeply to be read.", "Give another file.") from None
    except ValueError as error:
        return _lines(path, text, error)


def _lines(path: Path, text: str, error: ValueError) -> Documents:
    found, unread = [], []
    for number, line in enumerate(text.split("\n"), 1):  # not at every line end that Unicode has
        if not line.strip():
            continue
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            unread.append(number)
    if len(unread) <= len(found):
        return Documents(found, True, tuple(unread))
    begins = text.lstrip()[:1]
    if begins in ("{", "["):
        raise DamagedData(f"{path} is broken JSON: {error}.", "Export it again, or copy it whole.")
    raise UsageError(f"{path} is no JSON.", "Give a file of spans or of messages, in JSON.")


def _unpacked(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not packed:
                return _limited(path, file)
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _limited(path, unpacked)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedData(f"{path} is a broken gzip file: {error}.", "Copy it whole.") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}.", "Name a file.") from error


def _limited(path: Path, file: Any) -> bytes:
    chunks, size = [], 0
    while chunk := file.read(_CHUNK):
        size += len(chunk)
        if size > MAX_SIZE:
            raise UsageError(f"{path} holds more than {MAX_SIZE >> 30} GiB.", "Split it by trace.")
        chunks.append(chunk)
    return b"".join(chunks)
