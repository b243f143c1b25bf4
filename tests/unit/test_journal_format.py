"""The journal as its page describes it: a reader written from that page alone agrees with ours."""

from __future__ import annotations

import asyncio
import os
import random
import struct
import subprocess
import sys
import threading
import time
import uuid
import zlib
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgpack
import pytest

import rashomon
from rashomon import journal, session, tapes
from rashomon.errors import ForeignFile, NewerFormat
from rashomon.model import Site, Tape


@rashomon.tool
def double(number: int) -> int:
    """A tool, so that there is something to record."""
    return number * 2


@rashomon.tool
async def slowly(number: int) -> int:
    """A tool that hands its result out at another turn of the loop."""
    await asyncio.sleep(0.001)
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


Place = tuple[str, int, str]


class Surroundings:
    """What the frames 12 to 15 tell, read as docs/formats/journal.md says."""

    def __init__(self, frames: list[list[Any]]) -> None:
        self.reads: list[tuple[str, str, Any, tuple[int, ...], Place | None, int | str | None]] = []
        self.points: list[tuple[Any, ...]] = []
        self.uncontrolled: list[tuple[str, str, Place | None]] = []
        self.launched: list[tuple[tuple[str, ...], Place | None]] = []
        self.last_processes: list[Any] = []
        self._places: dict[int, Place] = {}
        for code, *elements in frames:
            if code == 12:
                _, kind, what, value, lane, _, within, site = elements[:8]
                self.reads.append((kind, what, value, tuple(lane), self.place(site), within))
                self.last_processes += elements[8:9]
            elif code == 13:
                _, event, step, lane, number, loop, epoch, tick, _, _ = elements[:10]
                delay = elements[10] if len(elements) > 10 else 0
                self.points.append((event, step, tuple(lane), number, loop, epoch, tick, delay))
            elif code == 14:
                _, what, reason, site = elements
                self.uncontrolled.append((what, reason, self.place(site)))
            elif code == 15:
                _, argv, _, _, site = elements
                self.launched.append((tuple(argv), self.place(site)))

    def place(self, site: Any) -> Place | None:
        """A place that is written out, and maybe defined, or one that was defined before."""
        if site is None or isinstance(site, int):
            return None if site is None else self._places[site]
        number, *named = site
        if number is not None:
            self._places[number] = (named[0], named[1], named[2])
        return (named[0], named[1], named[2])


def surroundings_of(tape: Tape) -> Surroundings:
    """The same, as ours reads it."""
    found = Surroundings([])
    for read in tape.reads:
        found.reads.append((read.kind, read.what, read.value, read.lane, _as_place(read.site), _number_of(read.within)))
    for one in tape.points:
        place = one.loop, one.epoch, one.tick
        found.points.append((str(one.event), _number_of(one.step), one.lane, one.number, *place, one.delay_us))
    found.uncontrolled = [(one.what, one.reason, _as_place(one.site)) for one in tape.trace.uncontrolled]
    found.launched = [(one.argv, _as_place(one.site)) for one in tape.trace.launched]
    return found


def _as_place(site: Site | None) -> Place | None:
    return None if site is None else (site.file, site.line, site.function)


def _number_of(step: str | None) -> int | None:
    return None if step is None else int(step.partition(".")[2])


def steps_of(path: Path) -> int:
    """How many steps a journal's traces have."""
    return sum(len(tape.steps) for tape in tapes.assemble([tapes.read_part(path)]))


def test_a_reader_from_the_page_agrees(recorded: Path) -> None:
    """Header, frames and codes are as the page says."""
    frames = frames_of(recorded.read_bytes())
    assert [list(one) for one in journal.read(recorded).frames] == frames
    assert [one[0] for one in frames if one[0] < 12] == [0, 1, *[2, 4, 5] * 10, 8, 10]
    assert frames[1][2]["tags"] == {"a": "b"}


def use_surroundings() -> dict[str, Any]:
    """A program that reads clock and chance, waits in several ways, and starts a command. Returns what it read."""
    drawn: dict[str, Any] = {"time.time": time.time(), "time.monotonic_ns": time.monotonic_ns()}
    drawn["time.gmtime"] = time.gmtime()
    drawn["datetime.datetime.now(tz)"] = datetime.now(UTC)
    drawn["datetime.date.today"] = date.today()
    drawn["os.urandom(5)"] = os.urandom(5)
    drawn["uuid.uuid1"] = uuid.uuid1()
    drawn["random.random"] = random.random()
    drawn["random.getrandbits(64)"], drawn["random.getrandbits(65)"] = random.getrandbits(64), random.getrandbits(65)
    drawn["os.getpid"] = os.getpid()
    drawn["threading.Event.wait"] = threading.Event().wait(0.001)
    thread = threading.Thread(target=lambda: time.sleep(0.001))
    thread.start()
    thread.join()

    async def both() -> None:
        await asyncio.gather(slowly(1), slowly(2))

    asyncio.run(both())
    subprocess.run([sys.executable, "-c", ""], check=True)
    return drawn


def test_a_reader_from_the_page_agrees_on_the_surroundings(home: Path, tmp_path: Path) -> None:
    """Reads, points, subprocesses and what is uncontrolled are as the page says, in a journal and in a tape file."""
    with rashomon.trace("surroundings"):
        drawn = use_surroundings()
    session.close_journal()
    path = next((home / "journals").glob("*.rsj"))
    from_page, ours = Surroundings(frames_of(path.read_bytes())), tapes.only_tape(path)
    expected = surroundings_of(ours)
    assert from_page.reads == expected.reads
    assert from_page.points == expected.points
    assert list(dict.fromkeys(from_page.uncontrolled)) == expected.uncontrolled
    assert from_page.launched == expected.launched
    check_values({what: value for _, what, value, *_ in from_page.reads}, drawn)
    assert [what for _, what, *_ in from_page.reads].count("time.sleep") == 2  # one behind the wait that ran out
    assert {event for event, *_ in from_page.points} >= {"begin", "timer", "head"}
    tapes.write_tape(tmp_path / "tape.rsj", ours)
    written = Surroundings(frames_of((tmp_path / "tape.rsj").read_bytes()))
    assert written.reads == from_page.reads
    assert written.last_processes == [0] * len(written.reads)
    again = tapes.only_tape(tmp_path / "tape.rsj")
    assert (again.reads, again.points) == (ours.reads, ours.points)


def check_values(found: dict[str, Any], drawn: dict[str, Any]) -> None:
    """Each value has the form that the page gives it."""
    for what in ("time.time", "time.monotonic_ns", "os.urandom(5)", "random.random", "random.getrandbits(64)",
                 "os.getpid", "threading.Event.wait"):  # fmt: skip
        assert found[what] == drawn[what], what
    moment, today = drawn["datetime.datetime.now(tz)"], drawn["datetime.date.today"]
    assert found["datetime.datetime.now(tz)"] == [*moment.timetuple()[:6], moment.microsecond, 0]
    assert found["datetime.date.today"] == [today.year, today.month, today.day]
    assert found["time.gmtime"][:9] == list(drawn["time.gmtime"])
    assert len(found["time.gmtime"]) == 11
    assert int.from_bytes(found["random.getrandbits(65)"], "little") == drawn["random.getrandbits(65)"]
    assert found["uuid.uuid1"] == [drawn["uuid.uuid1"].bytes, drawn["uuid.uuid1"].is_safe.value]


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


def test_a_length_that_reaches_over_other_frames(recorded: Path, tmp_path: Path) -> None:
    """A damaged length that happens to end where another frame, or the file, does costs its own frame only."""
    data, starts = recorded.read_bytes(), [journal.HEADER_SIZE]
    while starts[-1] < len(data):
        starts.append(starts[-1] + 8 + struct.unpack_from("<I", data, starts[-1])[0])
    for first, start in enumerate(starts[:-2]):
        for end in {*starts[first + 2 :][:4], starts[-1]}:
            changed = bytearray(data)
            struct.pack_into("<I", changed, start, end - start - 8)
            path = tmp_path / "longer.rsj"
            path.write_bytes(changed)
            read = journal.read(path)
            assert len(read.frames) == len(starts) - 2
            assert [(one.offset, one.size) for one in read.damage] == [(start, starts[first + 1] - start)]


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
