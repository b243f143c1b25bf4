"""Which traces go, and taking them away: journals first, then rows, then their space.

In this order a process that is killed leaves the store knowing what is still to be done: repeating completes it, and
no journal ever brings back what the store has forgotten.
"""

from __future__ import annotations

import math
import shutil
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rashomon import home as homes
from rashomon import notes
from rashomon.errors import DamagedData, NotWritable, UsageError
from rashomon.journal import Code, Scan
from rashomon.measures import shown_size
from rashomon.store import compaction, importing, journal_removal, listed, liveness, removal, seen
from rashomon.store import connection as connections
from rashomon.store.annotations import mirror
from rashomon.store.engine import duckdb
from rashomon.store.folder import listing
from rashomon.store.journal_removal import Removed
from rashomon.store.prices import MEMORY

STEP_ON_DISK = 300
"""How many bytes a step takes in the store beside its parts, about."""

Progress = Callable[[int, int], None]


class Keep(NamedTuple):
    """What is kept. A trace goes when it is older than `age_ns`, and the oldest go until all fits in `max_bytes`.

    Neither takes a trace with one of `labels` on it or on a step of it, or one whose id is in `ids`.
    """

    age_ns: int | None = None
    max_bytes: int | None = None
    labels: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()


class Going(NamedTuple):
    """A trace that may go: when it ended (Unix nanoseconds), and about how many bytes come back."""

    id: str
    name: str
    ended_ns: int
    store_bytes: int
    journal_bytes: int


class Plan(NamedTuple):
    """What would go, what stays although it is old, and why; sizes of store and journals now, in bytes."""

    going: tuple[Going, ...]
    spared: tuple[tuple[str, str], ...]
    store_bytes: int
    journal_bytes: int


class Done(NamedTuple):
    """What was done. Sizes are of files, measured before and after."""

    removed: tuple[str, ...]
    journals: tuple[Removed, ...]
    store_before: int
    store_after: int
    journals_before: int
    journals_after: int

    @property
    def left(self) -> tuple[tuple[str, str], ...]:
        """Journals that hold what was to go, and why they were left."""
        return tuple((one.name, one.reason) for one in self.journals if one.action == "left")


class _Trace(NamedTuple):
    id: str
    name: str
    ended_ns: int
    steps: int
    parent: str | None
    within: str | None
    outcome: str


class _Facts(NamedTuple):
    """What the store knows that decides."""

    traces: dict[str, _Trace]
    journals: dict[str, tuple[int, bool, tuple[str, ...]]]
    labelled: dict[str, str]


def sizes(home: Path | str) -> tuple[int, int]:
    """Bytes of the store (with its log) and of all journals."""
    store = Path(homes.store_path(home))
    files = (store, store.with_name(f"{store.name}.wal"))
    own = sum(path.stat().st_size for path in files if path.exists())
    return own, sum(stat.size for stat in listing(Path(homes.journals(home))).values())


def plan(home: Path | str, keep: Keep, now_ns: int, ended: bool = False) -> Plan:
    """What would go. Everything recorded so far must have been ingested. Takes in new notes: their labels decide.

    Raises `UsageError` for a limit of size that an empty store would exceed: to take all traces would not reach it.
    """
    store, folder = Path(homes.store_path(home)), Path(homes.journals(home))
    store_bytes, journal_bytes = sizes(home)
    if not store.exists():
        return Plan((), (), store_bytes, journal_bytes)
    empty = min(store_bytes, len(connections.empty()))
    if keep.max_bytes is not None and keep.max_bytes < empty:
        raise UsageError(
            f"{shown_size(keep.max_bytes)} is less than a store without traces takes: {shown_size(empty)}.",
            "Give more, or an age: --keep 0s takes all that may go.",
        )
    mirror(home)
    with connections.open_reader(store) as reader:
        facts = _facts(reader, keep.labels)
        units = _units(facts.traces)
        spared = _spared(folder, facts, keep, ended)
        kept = {unit for unit, members in units.items() if any(one in spared for one in members)}
        _keep_recordings(facts.traces, units, kept, spared)
        costs = _costs(reader, facts, store_bytes - empty)
    chosen = _choose(facts.traces, units, kept, keep, now_ns, costs, store_bytes + journal_bytes, spared)
    going = [
        Going(one.id, one.name, one.ended_ns, *costs[one.id])
        for one in sorted(facts.traces.values(), key=lambda one: (one.ended_ns, one.id))
        if one.id in chosen
    ]
    limit = -math.inf if keep.age_ns is None else now_ns - keep.age_ns
    if keep.max_bytes is not None:
        limit = math.inf
    old = {one.id for one in facts.traces.values() if one.ended_ns < limit}
    told = tuple((one, why) for one, why in spared.items() if one in old)
    return Plan(tuple(going), told, store_bytes, journal_bytes)


def _facts(reader: duckdb.DuckDBPyConnection, labels: Sequence[str]) -> _Facts:
    rows = reader.execute(
        "SELECT id, name, coalesce(ended_ns, started_ns), coalesce(steps, 0), parent, within, outcome FROM traces"
    ).fetchall()
    journals = reader.execute("SELECT name, size, closed, traces FROM journals").fetchall()
    labelled = reader.execute(
        "SELECT trace, any_value(label) FROM (SELECT trace, unnest(labels) AS label FROM annotations)"
        " WHERE label IN (SELECT unnest(?::VARCHAR[])) GROUP BY trace",
        [list(labels)],
    ).fetchall()
    said = reader.execute(
        "SELECT trace, any_value(label) FROM"
        " (SELECT trace, unnest(TRY_CAST(request_head->'$.note.labels' AS VARCHAR[]))"
        " AS label FROM steps WHERE kind = 'note') WHERE label IN (SELECT unnest(?::VARCHAR[])) GROUP BY trace",
        [list(labels)],
    ).fetchall()
    return _Facts(
        {row[0]: _Trace(*row) for row in rows},
        {name: (size, closed, tuple(traces)) for name, size, closed, traces in journals},
        dict(said) | dict(labelled),
    )


def _units(traces: dict[str, _Trace]) -> dict[str, list[str]]:
    """Traces with the traces within them, by the outermost: they go or stay together."""
    units: dict[str, list[str]] = {}
    for one in traces:
        units.setdefault(_outermost(traces, one), []).append(one)
    return units


def _outermost(traces: dict[str, _Trace], one: str) -> str:
    seen = {one}
    while (outer := traces[one].within) is not None and outer in traces and outer not in seen:
        one = outer
        seen.add(one)
    return min(seen) if outer in seen else one  # those that enclose each other are one unit all the same


def _spared(folder: Path, facts: _Facts, keep: Keep, ended: bool) -> dict[str, str]:
    """Traces that stay whatever their age, and why."""
    spared: dict[str, str] = {}
    for name, (_, closed, told) in sorted(facts.journals.items()):
        if closed or not told:
            continue
        reason = liveness.growing(folder / name, process_of(folder / name), closed, ended)
        if reason is not None:
            spared |= dict.fromkeys(told, f"still being written: of {name}, {reason}")
    for one, label in facts.labelled.items():
        spared[one] = f"labelled {label}"
    for one in keep.ids:
        spared.setdefault(one, "chosen to be kept")
    return spared


def process_of(path: Path) -> dict[str, object]:
    """What the first frames of a journal say of its process; empty when that cannot be read."""
    try:
        with path.open("rb") as file:
            for elements in islice(Scan(file, str(path)), 3):
                if elements[0] == Code.PROCESS and len(elements) > 1 and isinstance(elements[1], dict):
                    return elements[1]
    except (OSError, DamagedData):  # what it is cannot be told: its time of change decides
        pass
    return {}


def _keep_recordings(
    traces: dict[str, _Trace], units: dict[str, list[str]], kept: set[str], spared: dict[str, str]
) -> None:
    """Keep the recordings that kept replays name, and theirs."""
    unit_of = {one: unit for unit, members in units.items() for one in members}
    todo = list(kept)
    while todo:
        for one in units[todo.pop()]:
            parent = traces[one].parent
            if parent in unit_of and unit_of[parent] not in kept:
                kept.add(unit_of[parent])
                spared[parent] = f"recording of the replay {one}, which is kept"
                todo.append(unit_of[parent])


def _choose(
    traces: dict[str, _Trace],
    units: dict[str, list[str]],
    kept: set[str],
    keep: Keep,
    now_ns: int,
    costs: dict[str, tuple[int, int]],
    total: int,
    spared: dict[str, str],
) -> set[str]:
    """Ids of what goes: by age first, then the oldest until the rest fits."""
    ages = {unit: max(traces[one].ended_ns for one in members) for unit, members in units.items()}
    kept = set(kept)
    if keep.age_ns is not None:
        limit = now_ns - keep.age_ns
        young = {unit for unit, ended_ns in ages.items() if ended_ns >= limit}
        needed = set(young | kept)
        _keep_recordings(traces, units, needed, spared)
        gone = set(units) - needed
    else:
        gone = set()
    if keep.max_bytes is not None:
        left = total - sum(sum(costs[one]) for unit in gone for one in units[unit])
        for unit in _oldest_first(traces, units, ages, kept | gone):
            if left <= keep.max_bytes:
                break
            gone.add(unit)
            left -= sum(sum(costs[one]) for one in units[unit])
    return {one for unit in gone for one in units[unit]}


def _oldest_first(
    traces: dict[str, _Trace], units: dict[str, list[str]], ages: dict[str, int], kept: Collection[str]
) -> list[str]:
    """Units in the order in which they may go: a recording behind the last of its replays."""
    unit_of = {one: unit for unit, members in units.items() for one in members}
    last = dict(ages)
    depth = dict.fromkeys(units, 0)
    for _ in range(len(units)):
        changed = False
        for one in traces.values():
            recording = unit_of.get(one.parent or "")
            unit = unit_of[one.id]
            if recording is None or recording == unit or depth[unit] + 1 > len(units):
                continue
            wanted = max(last[recording], last[unit]), max(depth[recording], depth[unit] + 1)
            if wanted != (last[recording], depth[recording]):
                last[recording], depth[recording] = wanted
                changed = True
        if not changed:
            break
    return sorted((unit for unit in units if unit not in kept), key=lambda unit: (last[unit], depth[unit], unit))


def _costs(reader: duckdb.DuckDBPyConnection, facts: _Facts, store_bytes: int) -> dict[str, tuple[int, int]]:
    """About how many bytes of the store and of the journals each trace takes. `store_bytes`: without an empty one's.

    A part that several share counts for the one that ended last: it goes when all of them have gone.
    """
    rows = reader.execute(
        "WITH users AS (SELECT DISTINCT trace, part FROM step_parts),"
        " owners AS (SELECT part, max_by(trace, (coalesce(ended_ns, started_ns), trace)) AS owner"
        "  FROM users JOIN traces ON traces.id = users.trace GROUP BY part)"
        " SELECT owner, sum(size) FROM owners JOIN parts ON parts.digest = owners.part GROUP BY owner"
    ).fetchall()
    weights = Counter({one.id: STEP_ON_DISK * (one.steps + 1) for one in facts.traces.values()})
    weights.update({owner: int(size) for owner, size in rows})
    whole = max(1, weights.total())
    journal_bytes: Counter[str] = Counter()
    for size, _, told in facts.journals.values():
        there = [one for one in told if one in facts.traces]
        steps = sum(facts.traces[one].steps + 1 for one in there)
        for one in there:
            journal_bytes[one] += size * (facts.traces[one].steps + 1) // max(1, steps)
    return {one: (store_bytes * weights[one] // whole, journal_bytes[one]) for one in facts.traces}


# ------------------------------------------------------------------------------------------------- doing it


def remove(
    home: Path | str, ids: Iterable[str], progress: Progress | None = None, ended: bool = False, always: bool = False
) -> Done:
    """Take traces away for good, and give their space back.

    A trace with a journal that may still grow stays whole in the store. `always` writes the store anew even
    when nothing was deleted from it. Raises `UsageError` when a folder cannot be written.
    """
    store, folder = Path(homes.store_path(home)), Path(homes.journals(home))
    make_room(home)
    store_before, journals_before = sizes(home)
    wanted = dict.fromkeys(ids)
    told = _told(store, wanted)
    steps_to_do = len(told) + len(wanted) + 1
    done: list[Removed] = []
    try:
        for name in sorted(told):
            if (folder / name).exists():
                done.append(journal_removal.remove_from(folder / name, wanted, ended))
            else:
                done.append(Removed(name, "deleted", 0, 0))
            if progress is not None:
                progress(len(done), steps_to_do)
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}.", "Check its permissions.") from error
    stays = {one for removed in done if removed.action == "left" for one in told[removed.name]}
    going = [one for one in wanted if one not in stays]
    forget_notes(home, going)
    deleted, rewritten = ([one.name for one in done if one.action == what] for what in ("deleted", "rewritten"))
    removal.remove_traces(
        store, going, deleted, rewritten, progress and (lambda at, _: progress(len(done) + at, steps_to_do))
    )
    if store.exists() and (always or compaction.is_due(store)):
        try:
            removal.sweep(store)
            compaction.compact(store)
        except NotWritable:  # the rows are gone; their space comes back with the next one that finds room
            if always:
                raise
    seen.drop(store)
    store_after, journals_after = sizes(home)
    return Done(tuple(going), tuple(done), store_before, store_after, journals_before, journals_after)


def _told(store: Path, ids: Collection[str]) -> dict[str, list[str]]:
    """The journals that tell of any of these traces, with which."""
    if not store.exists():
        return {}
    with connections.open_reader(store) as reader:
        rows = reader.execute("SELECT name, traces FROM journals").fetchall()
    found = {name: [one for one in traces if one in ids] for name, traces in rows}
    return {name: traces for name, traces in found.items() if traces}


def clean(home: Path | str) -> list[Path]:
    """Delete what killed commands left half-written; which files those were."""
    found = leftovers(home)
    for path in found:
        compaction.remove(path)
    importing.sweep(Path(home))
    store = Path(homes.store_path(home))
    spilled = Path(connections.spill(store))
    if spilled.exists():
        with connections.open_writer(store):  # so nobody else is at work with it
            shutil.rmtree(spilled, ignore_errors=True)
    return found


def make_room(home: Path | str) -> None:
    """Delete what is only there to be quick, and what killed commands left: for a disk that is full."""
    store = Path(homes.store_path(home))
    listed.drop(store)
    seen.drop(store)
    Path(home, MEMORY).unlink(missing_ok=True)
    clean(home)


def leftovers(home: Path | str) -> list[Path]:
    """What commands that were killed left half-written in a home."""
    store, folder = Path(homes.store_path(home)), Path(homes.journals(home))
    left = [*compaction.leftovers(store), *compaction.left_by_salvage(store)]
    return [*left, *journal_removal.leftovers(folder, compaction.alive)]


def forget_notes(
    home: Path | str, ids: Collection[str], also: Callable[[dict[str, object]], bool] | None = None
) -> int:
    """Take the notes on these traces out of `notes.jsonl`, and lines for which `also` is true; how many went."""
    gone = set(ids)
    try:
        dropped = {note.id for note in notes.read(home).notes if note.trace in gone}
        return notes.rewrite(
            home,
            lambda line: (
                not (line.get("trace") in gone or line.get("remove") in dropped or (also is not None and also(line)))
            ),
        )
    except OSError as error:
        raise UsageError(f"{notes.path_of(home)} cannot be written: {error.strerror}.", "Check it.") from error
