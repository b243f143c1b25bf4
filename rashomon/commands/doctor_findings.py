"""What makes runs of one program differ, found by comparing them. Pure: runs in, findings out."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple

from rashomon import disk, recorders, telemetry, views
from rashomon.model import STDIN, Divergence, Event, Lane, Launched, Read, Site, Tape, Trace, Uncontrolled
from rashomon.output_marks import OUTPUT
from rashomon.recorders.natives import UNSEEN
from rashomon.recorders.reaching import ALONE
from rashomon.recorders.trio_lanes import ORDER as ORDER_ON_TRIO
from rashomon.recorders.uvloop_lanes import ORDER as ORDER_ON_UVLOOP
from rashomon.replay.differences import Difference
from rashomon.replay.flow import UNKNOWN, Reading, Sources, called
from rashomon.replay.origins import Origin, origins

BEYOND = "the recording has no more reads here"
_OWN = Path(recorders.__file__).resolve().parent
_GROUPS = {"clock": "clock", "random": "chance", "sleep": "sleep", "process": "process"}
_FILES = 5
_OF_FILES = "Keep it as it was for replays, or read it in a function marked @rashomon.tool."
_HASH_SEED = "PYTHONHASHSEED"
_ENTROPY = "process.entropy"


class Control(StrEnum):
    """What a replay makes of a source. `VIRTUAL`: it has a value of the replay's own, the same in every replay."""

    CONTROLLED = "controlled"
    VIRTUAL = "virtual"
    UNCONTROLLED = "not controlled"


class Finding(NamedTuple):
    """One source of nondeterminism, or one trace that it left.

    `group`: `clock`, `chance`, `sleep`, `process`, `environment`, `order`, `subprocess`, `connection`, `library`,
    `file`, `telemetry`, `recording` (sources); `request`, `answer`, `output`, `exit` (what differed). `times`: how
    often the first run met it. `varies`: whether two live runs differed in it; None where only one was live. `changes`:
    it makes this run fail the doctor. `detail` are lines for people, `advice` one sentence, empty where there is
    nothing to do.
    """

    group: str
    what: str
    control: Control
    site: Site | None = None
    times: int = 1
    example: str = ""
    varies: bool | None = None
    changes: bool = False
    detail: tuple[str, ...] = ()
    advice: str = ""


class Run(NamedTuple):
    """One finished run of the program. `role` is `recorded`, `replayed` or `live`; `output` holds what it wrote to
    stdout; `divergences` are where a replay left the recording, with what was seen when it had ended."""

    role: str
    tape: Tape
    exit_code: int
    output: Path
    divergences: tuple[Divergence, ...] = ()


# --------------------------------------------------------------------------------------------- what the program reads


def of_reads(first: Tape, varying: Sequence[Reading] | None = None) -> list[Finding]:
    """Each place where the program's own code took a value from its surroundings. `varying`: what a second live run
    read otherwise."""
    apart = None if varying is None else {(one.what, one.site) for one in varying}
    places: dict[tuple[str, str, Site | None], list[Read]] = {}
    for read in _taken(first):
        places.setdefault((read.kind, read.what, _program_site(read.site)), []).append(read)
    waits = {site for kind, what, site in places if kind == "sleep" and what != "time.sleep"}
    return [
        _of_place(reads, site, None if apart is None else (what, site) in apart)
        for (kind, what, site), reads in places.items()
        if not (what == "time.sleep" and site in waits)  # how such a wait is made
    ]


def _taken(tape: Tape) -> Iterator[Read]:
    """What was read from the surroundings: what was printed is compared as text."""
    return (read for read in tape.reads if read.kind != OUTPUT)


def _program_site(site: Site) -> Site | None:
    """A place of the program's; None for ours: what is read before it begins, or is itself what a thread was given."""
    return None if _OWN in Path(site.file).resolve().parents else site


def _of_place(reads: list[Read], site: Site | None, varies: bool | None) -> Finding:
    read = reads[0]
    group = _GROUPS.get(read.kind, read.kind)
    if read.what == _ENTROPY:
        return Finding(group, "seeds of random and numpy.random", Control.CONTROLLED, None, len(reads),
                       "32 bytes of the system's", True if varies is not None else None)  # fmt: skip
    control = Control.VIRTUAL if read.kind == "sleep" else Control.CONTROLLED
    return Finding(group, called(read.what), control, site, len(reads), shown(read), varies)


_LOOKS = (".communicate", ".done", ".empty", ".exitcode", ".full", ".is_alive", ".is_set", ".locked", ".poll", ".qsize",
          ".ready", ".returncode", ".running", ".connection.wait")  # fmt: skip
"""How the names of those end that are told what they found, and not a time."""


def shown(read: Read) -> str:
    """The value of a read as a person would write it."""
    value, what = read.value, read.what
    if read.kind == "sleep":
        return _wait_text(what, value)
    if isinstance(value, bytes):
        return value.hex()[:24] + ("…" if len(value) > 12 else "")
    if isinstance(value, (list, tuple)) and what.startswith(("datetime.", "time.")) and len(value) >= 3:
        moment = "{:04}-{:02}-{:02}".format(*value[:3])
        return moment + (" {:02}:{:02}:{:02}".format(*value[3:6]) if len(value) >= 6 else "")
    return views.one_line(repr(value), 40)


def _wait_text(what: str, value: Any) -> str:
    if what.endswith(_LOOKS):
        return views.one_line(repr(value), 40)
    if isinstance(value, bool):
        return "came in time" if value else "ran out"
    if what in ("queue.Queue.get", "queue.SimpleQueue.get"):  # by whom it was put there, and its number
        return f"item {value[1]}" if isinstance(value, (list, tuple)) else "it was shut down"
    if what == "concurrent.futures.as_completed" and value == -1:
        return "ran out"
    if what.startswith("concurrent.futures."):
        return "job " + ", ".join(map(str, value)) if isinstance(value, list) else f"job {value}"
    return f"{value:g} s" if isinstance(value, (int, float)) else views.one_line(repr(value), 40)


def readings_apart(first: Tape, second: Tape, reason: str = "") -> list[Reading]:
    """What the second run read otherwise than the first, place by place; `reason` is that of reads that were more."""
    known: dict[tuple[object, ...], Iterator[Read]] = {}
    for key, reads in _by_place(_taken(first)).items():
        known[key] = iter(reads)
    found = []
    for read in _taken(second):
        before = next(known.get(_place_key(read), iter(())), None)
        if before is None:
            found.append(Reading(read.kind, read.what, read.value, UNKNOWN, read.site, reason))
        elif before.value != read.value:
            found.append(Reading(read.kind, read.what, read.value, before.value, before.site))
    return found


def _by_place(reads: Iterable[Read]) -> dict[tuple[object, ...], list[Read]]:
    places: dict[tuple[object, ...], list[Read]] = {}
    for read in reads:
        places.setdefault(_place_key(read), []).append(read)
    return places


def _place_key(read: Read) -> tuple[object, ...]:
    return read.lane, read.what, read.site.file, read.site.function


def beyond_recording(readings: Sequence[Reading]) -> list[Finding]:
    """Reads that only the replay made: they got virtual values."""
    places: dict[tuple[str, Site | None], list[Reading]] = {}
    for reading in readings:
        places.setdefault((reading.what, reading.site), []).append(reading)
    return [
        Finding(
            _GROUPS.get(found[0].kind, found[0].kind),
            called(what),
            Control.VIRTUAL,
            site,
            len(found),
            detail=(f"the replay read it {len(found)} more time(s) than the recording",),
            advice="Find out why the program takes another way here; what it reads beyond the recording is made up.",
        )
        for (what, site), found in places.items()
        if found[0].recorded is UNKNOWN and found[0].kind != "sleep"
    ]


# ------------------------------------------------------------------------------------------ what it has around itself


def of_surroundings(tape: Tape) -> list[Finding]:
    """The environment that a replay restores, what the program started, and what slipped past the recorder."""
    trace = tape.trace
    others = [one for one in trace.uncontrolled if not disk.is_one(one)]
    found = [*_restored(tape), *_launched(tape), *(of_source(one, trace) for one in others), *_files(trace)]
    known = {one.what for one in trace.uncontrolled}
    for peer in dict.fromkeys(peer for peer in trace.coverage.missed if peer not in known):
        found.append(of_source(Uncontrolled(peer, "it was reached outside of any recorded call"), trace))
    return found + list(_unrecorded(tape))


def _restored(tape: Tape) -> Iterator[Finding]:
    """What a replay puts back: the environment, the order of sets, completions and timers."""
    environ = dict(tape.trace.environ)
    environ.pop(STDIN, None)  # no variable of the program's
    seed = environ.pop(_HASH_SEED, None)
    if seed is not None:
        yield Finding("order", "sets of strings", Control.CONTROLLED, example=f"{_HASH_SEED}={seed}")
    if environ:
        yield Finding("environment", "variables", Control.CONTROLLED, example=", ".join(sorted(environ)))
    lanes = len(lanes_of(tape))
    if lanes > 1:
        example = f"{lanes} of them; completions come as recorded"
        yield Finding("order", "tasks, threads and processes", Control.CONTROLLED, example=example)
    delays = [point.delay_us for point in tape.points if point.event is Event.TIMER]
    if delays:
        example = f"the longest {max(delays) / 1e6:g} s"
        yield Finding("sleep", "timers of event loops", Control.VIRTUAL, None, len(delays), example)


def _files(trace: Trace) -> Iterator[Finding]:
    """What the program met on the disk: each of the first, and how many there are."""
    found = disk.told(trace.uncontrolled)
    for path, met, site in found[:_FILES]:
        yield Finding("file", path, Control.UNCONTROLLED, site, example=met, advice=_OF_FILES)
    if len(found) > _FILES:
        more = len(found) - _FILES
        yield Finding("file", f"and {more:,} more", Control.UNCONTROLLED, found[-1][2], more, advice=_OF_FILES)


def files_apart(first: Trace, second: Trace) -> list[Finding]:
    """The files that a replay met otherwise than its recording."""
    sites = {path: site for path, _, site in reversed(disk.told(first.uncontrolled))}  # where the recording lists it
    return [
        Finding("file", one.path, Control.UNCONTROLLED, sites.get(one.path, one.site), example=one.before, varies=True,
                detail=(one.told("the recording", "the replay"),), advice=_OF_FILES)
        for one in disk.apart(first.uncontrolled, second.uncontrolled)
    ]  # fmt: skip


def _unrecorded(tape: Tape) -> Iterator[Finding]:
    """What the recorder lost, and calls of which it does not know who made them."""
    advice = "Run it with RASHOMON_DEBUG=1 and report what it says."
    for loss in tape.trace.losses:
        yield Finding(
            "recording", loss.reason, Control.UNCONTROLLED, times=max(1, loss.steps), changes=True, advice=advice
        )
    lost = [step for step in tape.steps if "no-lane" in step.marks]
    if lost:
        what, example = "calls of a thread that was there before the recorder", views.summary(lost[0]).title
        advice = "Start the thread after the recorder, so that it has a name of its own."
        yield Finding("order", what, Control.UNCONTROLLED, None, len(lost), example, advice=advice)


def lanes_of(tape: Tape) -> set[Lane]:
    """The lines of control that are known to have done something."""
    found: set[Lane] = {(), *(step.lane for step in tape.steps), *(read.lane for read in tape.reads)}
    return found | {point.lane for point in tape.points} | {process.lane for process in tape.trace.processes}


def _launched(tape: Tape) -> list[Finding]:
    places: dict[tuple[tuple[str, ...], Site | None, str | None], list[Launched]] = {}
    for one in tape.trace.launched:
        places.setdefault((one.argv, one.site, one.within), []).append(one)
    names = {step.id: step.name for step in tape.steps}
    recorded = {process.argv[1:] for process in tape.trace.processes}
    found = []
    for (argv, site, within), several in places.items():
        finding = Finding("subprocess", shlex.join(argv), Control.CONTROLLED, site, len(several))
        if within is not None:
            finding = finding._replace(example=f"inside {names.get(within, within)}, which is answered from the tape")
        elif argv[1:] in recorded:
            finding = finding._replace(example="a Python program: recorded with the rest")
        else:
            finding = finding._replace(
                control=Control.UNCONTROLLED,
                detail=("it runs again in a replay; what it answers is not recorded",),
                advice="Start it inside a function marked @rashomon.tool: its result is then on the tape.",
            )
        found.append(finding)
    return found


def of_source(one: Uncontrolled, trace: Trace) -> Finding:
    """Something that the recorder listed as beyond control; telemetry is not."""
    if telemetry.is_one(one):
        who, _, why = one.reason.partition(": ")
        return Finding(telemetry.WHAT, who, Control.CONTROLLED, one.site, example=why)
    peer = one.what.startswith(("dns:", "unix:")) or one.what in trace.coverage.missed
    group = "connection" if peer else "library" if one.what in UNSEEN else "order" if "order" in one.what else "chance"
    if one.reason == ALONE:
        group = "subprocess"
    if one.what.startswith("tool "):
        group = "answer"
    times = max(1, trace.coverage.missed.count(one.what))
    return Finding(
        group, one.what, Control.UNCONTROLLED, one.site, times, detail=(one.reason,), advice=_advice(one, group)
    )


def _advice(one: Uncontrolled, group: str) -> str:
    if one.reason == ALONE:
        return "Start it without them, or inside a function marked @rashomon.tool: its result is then on the tape."
    if group == "connection":
        return "Do it in a function marked @rashomon.tool, or by a client that is recorded (httpx, requests, aiohttp)."
    if group == "answer":
        return "Have the tool give and take what can be written down (docs/formats/values.md), or stub it in replays."
    if group == "library":
        return "Mark the function that uses it with @rashomon.tool: its result is then on the tape."
    if one.what == "set order":
        return f"Set {_HASH_SEED}, or sort the sets."
    if one.what in (ORDER_ON_UVLOOP, ORDER_ON_TRIO):
        return "Run it on asyncio's own loop: there the order is kept turn by turn."
    if one.what == "order":
        return "Await or join everything that you start, so that no completion is left behind."
    if one.what.startswith("random."):
        return "Give each thread a random.Random() of its own."
    if one.what == "numpy.random":
        return "Seed its generators in the program."
    return "Seed it in the program, or mark the function that uses it with @rashomon.tool."


# ----------------------------------------------------------------------------------------------- where values come from


def sources_of(first: Run, second: Run) -> Sources:
    """Where differences between two runs may come from."""
    trace = first.tape.trace
    span = None if trace.ended_ns is None else (trace.started_ns / 1e9, trace.ended_ns / 1e9)
    reason = "" if second.role == "live" else BEYOND
    readings = readings_apart(first.tape, second.tape, reason)
    return Sources(readings, (), first.tape.reads, span, (*trace.uncontrolled, *second.tape.trace.uncontrolled))


def told_origin(difference: Difference, sources: Sources) -> Origin:
    """Where one difference comes from, as a sentence's end without its comma."""
    found = origins([difference], sources, ())[0]
    return found._replace(sentence=found.sentence.lstrip(",: "))
