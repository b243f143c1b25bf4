"""The answer to a query as text for people, and as CSV, JSON, Parquet and Arrow for programs.

An answer of ordinary size is printed when it is there: a query that fails or is stopped prints nothing, and the store
is not held open by a reader who takes time. A larger table or CSV is printed as it comes, by whole lines, so that
memory stays bounded and `| head` ends; JSON, Parquet and Arrow wait in a temporary file, for half of one is no use.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from rashomon.errors import UsageError

if TYPE_CHECKING:
    from rashomon.store.asking import Answer

HELD = 64 * 1024 * 1024
"""An answer in lines is printed from this many bytes on, though it is not whole yet."""

_IN_MEMORY = 4 * 1024 * 1024
_CHUNK = 1024 * 1024
_NO_ROOM = "The answer cannot be kept for a moment", "Make room, or name another folder in TMPDIR."


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"
    ARROW = "arrow"


BINARY = (Format.PARQUET, Format.ARROW)
_BY_SUFFIX = {f".{one}": one for one in Format if one is not Format.TABLE} | {".arrows": Format.ARROW}


def of_file(path: Path) -> Format:
    """The format that a file's name asks for; a table where it asks for none."""
    return _BY_SUFFIX.get(path.suffix.lower(), Format.TABLE)


class Sink(Protocol):
    """What an answer is written to."""

    def write(self, data: bytes, /) -> Any:
        """Write some of it."""


@contextmanager
def opened(shape: Format, path: Path | None) -> Iterator[Any]:
    """Where an answer of this shape goes, which has it when the block ends well: a file, or stdout.

    Gives None for a table in a terminal, where it goes as it comes. Raises `UsageError` where it cannot go there.
    """
    if path is not None:
        with _appearing(path) as file:
            yield file
        return
    if shape in BINARY and sys.stdout.isatty():
        raise UsageError(
            f"--format {shape} is binary, and stdout is a terminal.", f"Write it to a file: --output answer.{shape}"
        )
    sys.stdout.flush()
    if shape is Format.TABLE and sys.stdout.isatty():
        yield None
    elif shape in (Format.TABLE, Format.CSV, Format.JSONL):
        held = _Held(sys.stdout.buffer)
        yield held
        held.finish()
    elif shape is Format.JSON:
        lines = _Waiting()
        with _explaining(*_NO_ROOM):
            yield lines
        lines.send(sys.stdout.buffer)
    else:
        from shutil import copyfileobj
        from tempfile import SpooledTemporaryFile  # whole files, that can be sought in

        with SpooledTemporaryFile(_IN_MEMORY) as whole:
            with _explaining(*_NO_ROOM):
                yield whole
            whole.seek(0)
            copyfileobj(whole, sys.stdout.buffer, _CHUNK)
    sys.stdout.flush()


def write(answer: Answer, shape: Format, out: Any) -> None:
    """Write a whole answer to what `opened` gave."""
    if out is None:
        _print_rich(answer)
    else:
        _WRITERS[shape](answer, out)


class _Held:
    """Lines on their way to stdout, held back until they are all there or too many."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._waiting: _Waiting | None = _Waiting()
        self._size = 0

    def write(self, data: bytes, /) -> None:
        """Write whole lines."""
        if self._waiting is None:
            self._target.write(data)
            return
        with _explaining(*_NO_ROOM):
            self._waiting.write(data)
        self._size += len(data)
        if self._size > HELD:
            self.finish()

    def finish(self) -> None:
        """Write what is held back."""
        if self._waiting is not None:
            self._waiting.send(self._target)
            self._waiting = None


class _Waiting:
    """What waits until it is whole: in memory, and from some size on in a temporary file."""

    def __init__(self) -> None:
        self._file: IO[bytes] = io.BytesIO()

    def write(self, data: bytes, /) -> None:
        """Write some of it."""
        self._file.write(data)
        if isinstance(self._file, io.BytesIO) and self._file.tell() > _IN_MEMORY:
            from tempfile import TemporaryFile  # with much that a short answer does not need

            later = TemporaryFile()  # noqa: SIM115  # `send` closes it
            later.write(self._file.getvalue())
            self._file = later

    def send(self, target: IO[bytes]) -> None:
        """Write all of it to where it goes, and forget it."""
        with self._file:
            self._file.seek(0)
            while chunk := self._file.read(_CHUNK):
                target.write(chunk)


@contextmanager
def _explaining(problem: str, remedy: str) -> Iterator[None]:
    """Say what could not be written."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{problem}: {error.strerror}.", remedy) from error


@contextmanager
def _appearing(path: Path) -> Iterator[IO[bytes]]:
    """A file beside its place, put there when it is whole; a device or a pipe is written to as it is."""
    from rashomon.store.exporting import is_stream

    if is_stream(path):
        with _explaining(f"{path} cannot be written", "Choose another --output."), path.open("wb") as file:
            yield file
        return
    path = Path(os.path.realpath(path))
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with _explaining(f"{path} cannot be written", "Choose another --output."):
            with beside.open("wb") as file:
                yield file
            os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


# --------------------------------------------------------------------------------------------- values


def plain(value: Any) -> Any:
    """A value of the database as JSON: what JSON has no form for becomes text, NaN and infinity too."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "backslashreplace")
    return str(value)


def cell(value: Any) -> str:
    """A value as one cell of text; NULL is empty."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    simple = plain(value)
    if isinstance(simple, (list, dict)):
        return json.dumps(simple, ensure_ascii=False)
    return str(simple)


_SIGNED = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"}
_NUMERIC = _SIGNED | {f"U{name}" for name in _SIGNED} | {"FLOAT", "DOUBLE", "DECIMAL"}


def _numeric(answer: Answer) -> list[int]:
    """The columns that hold numbers."""
    return [at for at, kind in enumerate(answer.types) if kind.split("(")[0] in _NUMERIC]


# -------------------------------------------------------------------------------------------- formats


def _write_csv(answer: Answer, out: Sink) -> None:
    answer.start()
    _csv_lines([answer.columns], out)
    for block in answer.blocks():
        _csv_lines([[cell(value) for value in row] for row in block], out)


def _csv_lines(rows: list[list[str]], out: Sink) -> None:
    import csv

    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    out.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _write_json(answer: Answer, out: Sink) -> None:
    """`rashomon.sql/1`, a line for each row."""
    answer.start()
    columns = [{"name": name, "type": kind} for name, kind in zip(answer.columns, answer.types, strict=True)]
    head = json.dumps({"format": "rashomon.sql/1", "columns": columns}, ensure_ascii=False)
    out.write(f'{head[:-1]}, "rows": ['.encode("utf-8", "backslashreplace"))
    before = "\n"
    for block in answer.blocks():
        lines = [json.dumps([plain(value) for value in row], ensure_ascii=False) for row in block]
        out.write((before + ",\n".join(lines)).encode("utf-8", "backslashreplace"))
        before = ",\n"
    out.write(b"\n]}\n")


def _write_jsonl(answer: Answer, out: Sink) -> None:
    """A row is an object: by the name of its column, each value. A name that is there twice gets a number."""
    answer.start()
    names: dict[str, None] = {}
    for name in answer.columns:
        number, free = 0, name
        while free in names:
            number += 1
            free = f"{name}_{number}"
        names[free] = None
    for block in answer.blocks():
        rows = [dict(zip(names, map(plain, row), strict=True)) for row in block]
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        out.write("".join(lines).encode("utf-8", "backslashreplace"))


def _write_table(answer: Answer, out: Sink) -> None:
    """Plain columns, two spaces apart and as wide as their widest cell of the first block."""
    from rashomon.commands import terminal

    def shown(text: str) -> str:
        return terminal.clean(text).replace("\n", "\\n")

    answer.start()
    right = _numeric(answer)
    lines, widths = [[shown(name) for name in answer.columns]], list[int]()
    for block in answer.blocks():
        lines += [[shown(cell(value)) for value in row] for row in block]
        widths = widths or _widest(lines)
        out.write(_aligned(lines, widths, right))
        lines = []
    if lines:
        out.write(_aligned(lines, _widest(lines), right))


def _widest(lines: list[list[str]]) -> list[int]:
    return [max(map(len, cells)) for cells in zip(*lines, strict=True)]


def _aligned(lines: list[list[str]], widths: list[int], right: list[int]) -> bytes:
    aligned = [
        "  ".join(
            cell.rjust(widths[at]) if at in right else cell.ljust(widths[at]) for at, cell in enumerate(line)
        ).rstrip()
        for line in lines
    ]
    return ("\n".join(aligned) + "\n").encode("utf-8", "backslashreplace")


def _print_rich(answer: Answer) -> None:
    """A table for eyes; of a long answer one below the other, so that it is never all in memory."""
    from rich.table import Table

    from rashomon.commands import terminal

    answer.start()
    out, right, count = terminal.console(), _numeric(answer), 0
    for block in itertools.chain(answer.blocks(), [[]]):
        if not block and count:
            break
        table = Table(box=None, padding=(0, 1), header_style="dim", show_header=not count)
        for at, name in enumerate(answer.columns):
            table.add_column(terminal.styled(name), justify="right" if at in right else "left", overflow="fold")
        for row in block:
            table.add_row(*(terminal.styled(cell(value)) for value in row))
        out.print(table)
        count += len(block)
    out.print(terminal.styled(terminal.plural(count, "row"), "dim"))


def _write_parquet(answer: Answer, out: IO[bytes]) -> None:
    answer.write_parquet(out)


def _write_arrow(answer: Answer, out: IO[bytes]) -> None:
    answer.write_arrow(out)


_WRITERS: dict[Format, Callable[[Answer, Any], None]] = {
    Format.TABLE: _write_table,
    Format.CSV: _write_csv,
    Format.JSON: _write_json,
    Format.JSONL: _write_jsonl,
    Format.PARQUET: _write_parquet,
    Format.ARROW: _write_arrow,
}
