"""The journal as its page describes it: a reader written from that page alone agrees with ours."""

from __future__ import annotations

import random
import struct
import zlib
from pathlib import Path
from typing import Any

import msgpack
import pytest

import rashomon
from rashomon import journal, session, tapes
from rashomon.errors import ForeignFile, NewerFormat
from rashomon.model import Tape


@rashomon.tool
def double(number: int) -> int:
    """A tool, so that there is something to record."""
    return number * 2


@pytest.fixture
def recorded(home: Path) -> Path:
    """A journal with ten steps."""
    with rashomon.trace("ten", tags={"a": "b"}):
        for number in range(10):
            double(number)
    session.close_journal()
    return next((home / "journals").glob("*.rsj"))


def frames_of(data: bytes) -> list[list[Any]]:
    """The reader of docs/formats/journal.md, for a file without damage."""
    assert data[:8] == b"RSHJRNL\0"
    version, size = struct.unpack_from("<HH", data, 8)
    assert version == 1
    found, offset = [], size
    while offset + 8 <= len(data):
        length, crc = struct.unpack_from("<II", data, offset)
        payload = data[offset + 8 : offset + 8 + length]
        if len(payload) < length:
            break
        assert zlib.crc32(payload) == crc
        found.append(msgpack.unpackb(payload, strict_map_key=False, unicode_errors="surrogatepass"))
        offset += 8 + length
    return found


def steps_of(path: Path) -> int:
    """How many steps a journal's traces have."""
    return sum(len(tape.steps) for tape in tapes.assemble([tapes.read_part(path)]))


def test_a_reader_from_the_page_agrees(recorded: Path) -> None:
    """Header, frames and codes are as the page says."""
    frames = frames_of(recorded.read_bytes())
    assert [list(one) for one in journal.read(recorded).frames] == frames
    assert [one[0] for one in frames] == [0, 1, *[2, 4, 5] * 10, 8, 10]
    assert frames[1][2]["tags"] == {"a": "b"}


def test_cut_anywhere(recorded: Path, tmp_path: Path) -> None:
    """A journal cut at any byte is read up to its last whole frame; nothing is called damage."""
    data, cut = recorded.read_bytes(), tmp_path / "cut.rsj"
    before = 0
    for size in range(0, len(data), 7):
        cut.write_bytes(data[:size])
        part = tapes.read_part(cut)
        assert part.damage == ()
        steps = steps_of(cut)
        assert steps >= before
        before = steps
    assert before == 10


def test_flipped_bytes(recorded: Path, tmp_path: Path) -> None:
    """One byte flipped anywhere costs at most the frames it lies in, is named, and never ends in a traceback."""
    data, seed = recorded.read_bytes(), random.randrange(1 << 30)
    print(f"seed {seed}")
    chance, flipped = random.Random(seed), tmp_path / "flipped.rsj"
    for _ in range(400):
        position = chance.randrange(journal.HEADER_SIZE, len(data))
        changed = bytearray(data)
        changed[position] ^= 1 << chance.randrange(8)
        flipped.write_bytes(changed)
        read = journal.read(flipped)
        assert read.damage or read.torn, (seed, position)
        assert len(read.frames) >= len(frames_of(data)) - 2, (seed, position)
        tapes.assemble([tapes.understand(read)])


def test_many_bytes_flipped(recorded: Path, tmp_path: Path) -> None:
    """Whole stretches of noise: the reader comes to an end and keeps what is whole."""
    data, seed = recorded.read_bytes(), random.randrange(1 << 30)
    print(f"seed {seed}")
    chance, broken = random.Random(seed), tmp_path / "broken.rsj"
    for _ in range(100):
        changed = bytearray(data)
        start = chance.randrange(journal.HEADER_SIZE, len(data))
        size = chance.randrange(1, 300)
        changed[start : start + size] = chance.randbytes(len(changed[start : start + size]))
        broken.write_bytes(changed)
        tapes.assemble([tapes.read_part(broken)])
        assert journal.read(broken).frames


@pytest.mark.parametrize("content", [b"SQLite format 3\0", b"hello", b"\x89PNG\r\n"])
def test_somebody_elses_file(content: bytes, tmp_path: Path) -> None:
    """A file that is no journal is refused by name."""
    path = tmp_path / "other.rsj"
    path.write_bytes(content)
    with pytest.raises(ForeignFile, match=r"other\.rsj is not a Rashomon journal"):
        journal.read(path)


def test_a_newer_format(recorded: Path) -> None:
    """A journal of a newer version is refused with both versions."""
    data = bytearray(recorded.read_bytes())
    struct.pack_into("<H", data, 8, 7)
    recorded.write_bytes(data)
    with pytest.raises(NewerFormat, match="journal format 7; this version reads up to 1"):
        journal.read(recorded)


def test_a_tape_file_is_the_same_tape(recorded: Path, tmp_path: Path) -> None:
    """Written as a tape file and read again, a trace has the same steps, byte for byte."""
    tape: Tape = tapes.assemble([tapes.read_part(recorded)])[0]
    tapes.write_tape(tmp_path / "tape.rsj", tape)
    again = tapes.only_tape(tmp_path / "tape.rsj")
    assert again.steps == tape.steps
    assert again.trace._replace(processes=tape.trace.processes) == tape.trace
