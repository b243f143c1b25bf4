"""Journals of several processes with everything in them, made up by chance, for tests of what puts them together."""

from __future__ import annotations

import os
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from rashomon import journal
from rashomon.journal import Code
from rashomon.model import Event

TEXTS = ("", "time.time", "a b", "é🎉", "\ud800 alone", 'quoted "x"', "nul \0", "\x1b[31m")
VALUES: tuple[Any, ...] = (
    1700000000.123456789, -0.0, 1e-320, float("inf"), 0, -1, 2**31, 2**63 - 1, -(2**63), 2**64 - 1, True, None,
    b"", b"\xff\x00random", "text", "\udcff", [1, [2.5, b"x"]], {"a": 1}, {1: "one", "b": b"\x80"}, [0.5, "é"],
)  # fmt: skip
OUTER = 0
PARENTS = {"outer": None, "inner": "outer", "second": "outer", "innermost": "inner"}
"""The traces of a made-up run, and within which other each of them was recorded."""


class Run(NamedTuple):
    """One made-up run: for each process its frames. The second element of a frame may name a trace by number."""

    processes: list[list[list[Any]]]

    def undivided(self) -> Run:
        """The same run when nothing was recorded within anything: all of it belongs to the outer trace."""
        return Run([[_of_outer(frame) for frame in frames if not _begins_inner(frame)] for frames in self.processes])

    def write(self, folder: Path) -> None:
        """Write the journals, as if long ago."""
        folder.mkdir(parents=True, exist_ok=True)
        for number, frames in enumerate(self.processes):
            path = folder / f"{number:016x}.rsj"
            path.write_bytes(journal.header_bytes() + b"".join(journal.frame(journal.pack(one)) for one in frames))
            os.utime(path, ns=(10**18, 10**18))


_TRACE_AT = {Code.CALL: 2, Code.READ: 1, Code.POINT: 1, Code.LAUNCHED: 1, Code.UNCONTROLLED: 1}


def _of_outer(frame: list[Any]) -> list[Any]:
    at = _TRACE_AT.get(frame[0])
    return frame if at is None else [*frame[:at], OUTER, *frame[at + 1 :]]


def _begins_inner(frame: list[Any]) -> bool:
    return bool(frame[0] == Code.TRACE and frame[1] != OUTER)


def made_up(chance: Random, events: int = 12) -> Run:
    """A run of one to four processes, which all take part in the outer trace and in some of the inner ones."""
    started = {name: 10**18 + chance.randrange(10**7) for name in PARENTS}
    return Run([_process(chance, number, started, chance.randrange(events)) for number in range(chance.randint(1, 4))])


def _process(chance: Random, number: int, started: dict[str, int], events: int) -> list[list[Any]]:
    began_ns = 10**18 + chance.randrange(10**7)
    # the operating system gives process ids again, and the same program has the same arguments
    process = {
        "started_ns": began_ns,
        "monotonic_ns": chance.randrange(2**40),
        "pid": 70 + number % 2,
        "argv": ["a.py"],
    }
    frames: list[list[Any]] = [[Code.PROCESS, process]]
    names = list(PARENTS)
    joined = {OUTER, *(at for at in range(1, len(names)) if chance.random() < 0.5)}
    traces = sorted(joined | {names.index(PARENTS[names[at]] or "outer") for at in joined})
    for trace in traces:
        name = names[trace]
        frames.append(
            [Code.TRACE, trace, {"id": name, "name": name, "started_ns": started[name], "within": PARENTS[name]}]
        )
    t_us = steps = 0
    for _ in range(events):
        t_us += chance.randint(1, 5000)
        trace, event = chance.choice(traces), chance.randrange(6)
        within = chance.randrange(steps) if steps and chance.random() < 0.3 else None
        if event <= 1:
            frames += _call(chance, steps, trace, t_us, within)
            steps += 1
        elif event == 2:
            frames.append(_read(chance, trace, t_us, within))
        elif event == 3:
            frames.append(_point(chance, trace, t_us, steps, within))
        elif event == 4:
            argv = [chance.choice(TEXTS) for _ in range(chance.randrange(3))]
            frames.append([Code.LAUNCHED, trace, argv, _lane(chance), within, _site(chance)])
        else:
            what, reason = chance.choice(TEXTS), chance.choice(TEXTS)
            frames.append([Code.UNCONTROLLED, trace, what, reason, _site(chance)])
    return frames


def _call(chance: Random, step: int, trace: int, t_us: int, within: int | None) -> list[list[Any]]:
    call = [Code.CALL, step, trace, "tool", "look", _lane(chance), t_us, within, {"ref": "m:look"}, b"\x80"]
    return (
        [call] if chance.random() < 0.2 else [call, [Code.END, step, t_us + chance.randrange(9000), "complete", None]]
    )


def _read(chance: Random, trace: int, t_us: int, within: int | None) -> list[Any]:
    site = _site(chance) or [None, chance.choice(TEXTS), 2**64 - 1, chance.choice(TEXTS)]
    kind, what = chance.choice(["clock", "random", "sleep", "process"]), chance.choice(TEXTS)
    return [Code.READ, trace, kind, what, chance.choice(VALUES), _lane(chance), t_us, within, site]


def _point(chance: Random, trace: int, t_us: int, steps: int, within: int | None) -> list[Any]:
    step = chance.randrange(steps) if steps and chance.random() < 0.7 else None
    loop = chance.choice([[-1, -1, -1], [0, t_us // 3000, t_us % 5], [1, 7, chance.randrange(2**40)]])
    return [
        Code.POINT,
        trace,
        chance.choice(list(Event)),
        step,
        _lane(chance),
        chance.randrange(300),
        *loop,
        t_us,
        within,
    ]


def _lane(chance: Random) -> list[int]:
    return [chance.randrange(3) for _ in range(chance.randrange(3))]


def _site(chance: Random) -> list[Any] | None:
    if chance.random() < 0.3:
        return None
    return [chance.choice([None, 0, 1]), "/srv/agent.py", chance.randint(1, 99), chance.choice(["main", "Agent.run"])]
