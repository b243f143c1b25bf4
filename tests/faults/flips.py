"""Damages journals and stores at random, and runs commands on them: as a test a few times, by hand thousands of times.

    python -m tests.faults.flips --count 2000 [--seed 7]

Each case: a fresh copy of a home, one file of it with bytes flipped, zeroed, cut, doubled or put in; then the commands
that a user would try. None may end in a traceback, die of a signal or run for more than `LIMIT_S`; every trace that the
damage did not touch must be readable in the end.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from rashomon import cli
from rashomon.model import Tape
from rashomon.store import TraceStore, ingest_new
from tests.faults.store_journals import frames, write_frames

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120
TRACES = 4
COMMANDS = (["ls", "--json"], ["ingest"], ["show", "@last"], ["verify"], ["sql", "select count(*) from steps"])
KINDS = ("flip", "flip", "flips", "zero", "cut", "double", "insert")


def make_home(home: Path) -> None:
    """A home with some traces, all in the store."""
    for number in range(TRACES):
        write_frames(home / "journals" / f"t{number}.rsj", frames(f"t{number}", 12, process=number, size=400))
    ingest_new(home)


def damage(data: bytes, chance: random.Random) -> bytes:
    """Bytes with something wrong."""
    kind, at = chance.choice(KINDS), chance.randrange(len(data))
    changed = bytearray(data)
    if kind == "flip":
        changed[at] ^= chance.randrange(1, 256)
    elif kind == "flips":
        for _ in range(chance.choice((2, 10, 100))):
            changed[chance.randrange(len(data))] ^= chance.randrange(1, 256)
    elif kind == "zero":
        size = min(chance.choice((4, 512, 4096)), len(data) - at)
        changed[at : at + size] = bytes(size)
    elif kind == "cut":
        del changed[at:]
    elif kind == "double":
        changed[at:at] = data[at : at + chance.choice((1, 100, 4096))]
    else:
        changed[at:at] = chance.randbytes(chance.choice((1, 100)))
    return bytes(changed)


def run(home: Path, *arguments: str) -> tuple[int, str]:
    """One command in this process: exit code and what it printed."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
    os.environ["RASHOMON_HOME"] = str(home)
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(list(arguments))
    out.flush()
    buffer = out.buffer
    assert isinstance(buffer, io.BytesIO)
    return code, buffer.getvalue().decode() + err.getvalue()


def case(template: Path, home: Path, seed: int, expected: dict[str, Tape]) -> str:
    """One damaged home; what came of it. Raises AssertionError with what is wrong."""
    chance = random.Random(seed)
    shutil.rmtree(home, ignore_errors=True)
    shutil.copytree(template, home)
    what = chance.choice(("journal", "journal", "store", "both", "fresh"))
    hurt: set[str] = set()
    if what in ("journal", "both", "fresh"):
        victim = f"t{chance.randrange(TRACES)}"
        path = home / "journals" / f"{victim}.rsj"
        path.write_bytes(damage(path.read_bytes(), chance))
        hurt.add(victim)
    if what == "fresh":  # nothing was ingested before
        (home / "store.duckdb").unlink()
    if what in ("store", "both"):
        store = home / "store.duckdb"
        store.write_bytes(damage(store.read_bytes(), chance))
    codes = []
    for command in chance.sample(COMMANDS, 3):
        code, text = run(home, *command)
        assert "Traceback" not in text, f"{command}: {text[-1500:]}"
        assert code in (0, 2, 4), f"{command} ended with {code}: {text[-1500:]}"
        codes.append(code)
    code, text = run(home, "salvage", "--json") if what in ("store", "both") else run(home, "verify", "--json")
    assert code in (0, 4), f"exit code {code}: {text[-1500:]}"
    document: dict[str, Any] = json.loads(text)
    reader = TraceStore(home / "store.duckdb")
    there = {row.id for row in reader.traces()}
    for one, tape in expected.items():
        if one not in hurt:
            assert one in there, f"{one} is lost"
            assert reader.tape(one) == tape, f"{one} is another"
    if hurt and what != "both" and code == 0 and not document.get("flaws"):
        (victim,) = hurt  # nothing wrong was found: then nothing may be wrong, but for a tail that a writer may leave
        kept = reader.tape(victim).steps if victim in there else ()
        whole = expected[victim].steps
        assert len(kept) < len(whole) or kept == whole or kept[:-1] == whole[:-1], f"{victim} changed unnoticed"
    return f"{what} {max(codes)}"


def child(template: Path, home: Path, start: int, stop: int) -> None:
    """Cases one after another; says which is next, so that the parent knows which one it died of."""
    reader = TraceStore(template / "store.duckdb")
    expected = {row.id: reader.tape(row.id) for row in reader.traces()}
    for seed in range(start, stop):
        print(f"next {seed}", flush=True)
        signal.alarm(LIMIT_S)
        try:
            print(f"done {case(template, home, seed, expected)}", flush=True)
        except AssertionError as error:
            print(f"WRONG seed {seed}: {error!s:.1500}".replace("\n", " | "), flush=True)


def many(count: int, seed: int, folder: Path) -> tuple[Counter[str], list[str]]:
    """So many cases; a tally of what came of them, and what is wrong."""
    make_home(folder / "template")
    tally: Counter[str] = Counter()
    wrong: list[str] = []
    at, stop = seed, seed + count
    while at < stop:
        command = [sys.executable, "-m", "tests.faults.flips", "--child", str(folder), str(at), str(stop)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        for line in process.stdout:
            word, _, rest = line.rstrip().partition(" ")
            if word == "next":
                at = int(rest)
            elif word == "done":
                tally[rest] += 1
            else:
                wrong.append(line.rstrip())
                print(line.rstrip(), flush=True)
            if word == "next" and (at - seed) % 25 == 24:
                print(f"{at - seed + 1} cases, {len(wrong)} wrong", flush=True)
        _, errors = process.communicate()
        if process.returncode != 0:
            wrong.append(f"seed {at}: the process ended with {process.returncode}: {errors[-1000:]}")
        at += 1
    return tally, wrong


def main() -> int:
    """Run cases and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--child", nargs=3, metavar=("FOLDER", "START", "STOP"))
    options = parser.parse_args()
    if options.child:
        folder = Path(options.child[0])
        child(folder / "template", folder / "home", int(options.child[1]), int(options.child[2]))
        return 0
    print(f"seeds {options.seed} to {options.seed + options.count - 1}", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        tally, wrong = many(options.count, options.seed, Path(temporary))
    print(*wrong, sep="\n")
    print(f"{options.count} cases, {len(wrong)} wrong: {dict(sorted(tally.items()))}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
