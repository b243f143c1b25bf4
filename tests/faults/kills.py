"""Kills work on a home at random moments, and checks what is left: as a test a few times, by hand hundreds of times.

    python -m tests.faults.kills --count 500 [--seed 7] [--work gc]

Each case: a fresh copy of a home, a process that does the work, `kill -9` at a random moment of it. Then the store must
open and verify, nothing that was to stay may be missing, and the same work again must end as if nothing had happened.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import duckdb

from rashomon.model import Tape
from rashomon.store import TraceStore, ingest_new
from rashomon.store import connection as connections
from rashomon.store.forgetting import choose, forget
from rashomon.store.retention import remove
from rashomon.store.salvage import salvage
from rashomon.store.verification import verify
from tests.faults.store_journals import frames, write_frames
from tests.integration.store.test_retention import interleaved
from tests.integration.store.test_store_schema import earlier

ROOT = Path(__file__).resolve().parents[2]
OLD = ("old-0000000000", "old-0000000001", "old-0000000002", "mixed-00000-a")
SECRET = "old-0000000001 0 3 "
"""A text that stands in one of the old traces."""


def make_home(home: Path) -> None:
    """A home with old and new traces, some of them in one journal."""
    for age in ("old", "new"):
        for number in range(3):
            trace = f"{age}-{number:010d}"
            write_frames(home / "journals" / f"{trace}.rsj", frames(trace, 30, process=number, size=700))
    write_frames(home / "journals" / "mixed.rsj", interleaved(40, "mixed-00000-a", "mixed-00000-b"))


def tapes(home: Path) -> dict[str, Tape]:
    """Every trace in the store of a home."""
    store = TraceStore(home / "store.duckdb")
    return {row.id: store.tape(row.id) for row in store.traces()}


class Work(NamedTuple):
    """Something that may be killed: how its home begins, the work, and which traces there are when it is done."""

    begin: Callable[[Path], None]
    do: Callable[[Path], object]
    gone: tuple[str, ...]


def ingested(home: Path) -> None:
    """With everything in the store."""
    make_home(home)
    ingest_new(home)


def alone(home: Path) -> None:
    """With a store that alone has one of the traces."""
    ingested(home)
    (home / "journals" / "new-0000000002.rsj").unlink()


def aged(home: Path) -> None:
    """With a store of the first schema, as good as empty."""
    from rashomon.store import migrate

    make_home(home)
    with duckdb.connect(str(home / "store.duckdb")) as writer:
        migrate.migrate(writer, migrate.migrations()[:1])


def aged_alone(home: Path) -> None:
    """With a store of the tenth schema that alone has what is in it."""
    earlier(home, 10)
    shutil.rmtree(home / "journals")


def ingest_slowly(home: Path) -> None:
    """In many small batches."""
    from rashomon.store import ingestion

    with mock.patch.object(ingestion, "BATCH_BYTES", 20_000):  # the work is repeated in the process of the tests, too
        ingest_new(home)


def ingest_unlogged(home: Path) -> None:
    """In many small batches, each of which is put into the file at once, as long contents are."""
    from rashomon.store import pace

    with mock.patch.object(pace, "LOG_BYTES", 0):
        ingest_slowly(home)


def migrate_store(home: Path) -> None:
    """Bring the store's schema up to date, and take in the journals."""
    connections.open_writer(home / "store.duckdb").close()
    ingest_new(home)


def export(home: Path) -> None:
    """Write everything into a bundle; put a whole one in the place of an older one."""
    from rashomon.store.exporting import export_bundle

    with TraceStore(home / "store.duckdb") as store:
        ids = sorted(row.id for row in store.traces())
        export_bundle(store, home, ids, home / "all.rsh")


WORKS = {
    "ingest": Work(make_home, ingest_slowly, ()),
    "ingest-unlogged": Work(make_home, ingest_unlogged, ()),
    "migrate": Work(aged, migrate_store, ()),
    "migrate-alone": Work(aged_alone, migrate_store, ()),
    "gc": Work(ingested, lambda home: remove(home, OLD), OLD),
    "forget": Work(ingested, lambda home: forget(home, choose(home, OLD, [SECRET]), [SECRET]), OLD),
    "salvage": Work(alone, salvage, ()),
    "export": Work(ingested, export, ()),
}


class Killer:
    """Kills one kind of work, again and again."""

    def __init__(self, name: str, folder: Path, chance: random.Random) -> None:
        self.name, self.folder, self.chance = name, folder, chance
        self.work = WORKS[name]
        self.template = folder / "template"
        self.work.begin(self.template)
        reference = folder / "reference"
        shutil.copytree(self.template, reference)
        process = self.start(reference)
        began = time.monotonic()
        self.go(process)
        assert process.wait(120) == 0
        self.takes_s = time.monotonic() - began
        self.expected = tapes(reference)
        assert self.expected
        assert not set(self.expected) & set(self.work.gone)

    def start(self, home: Path) -> subprocess.Popen[str]:
        """A process that is about to do the work: it waits for a line."""
        command = [sys.executable, "-m", "tests.faults.kills", "--child", self.name, str(home)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    def go(self, process: subprocess.Popen[str]) -> None:
        """Let it begin."""
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()

    def case(self) -> str:
        """One kill; `killed` or `finished`. Raises AssertionError with what is wrong."""
        home = self.folder / "home"
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.template, home)
        process = self.start(home)
        self.go(process)
        try:
            process.wait(self.chance.uniform(0, self.takes_s))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        code = process.wait(60)
        assert code in (0, -signal.SIGKILL), code
        self.check(home)
        return "finished" if code == 0 else "killed"

    def check(self, home: Path) -> None:
        """What is left is sound, nothing that stays is missing, and doing it again ends well."""
        found = verify(home)
        flaws = [flaw for flaw in found.flaws if "was forgotten" not in flaw.problem]
        assert not flaws, flaws
        if self.name not in ("ingest", "ingest-unlogged", "migrate", "salvage"):
            missing = set(self.expected) - set(tapes(home))
            assert not missing, missing
        self.work.do(home)
        assert tapes(home) == self.expected
        again = verify(home, deep=True)
        assert not again.flaws, again.flaws
        left = [path.name for path in home.rglob("*") if ".compact-" in path.name or ".rewrite-" in path.name]
        assert not left, left
        ingest_new(home)
        assert set(tapes(home)) == set(self.expected)


def child(name: str, home: str) -> None:
    """What the killed process does."""
    print("ready", flush=True)
    sys.stdin.readline()
    WORKS[name].do(Path(home))


def main() -> int:
    """Run cases and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="cases of each kind of work")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--work", choices=sorted(WORKS), action="append")
    parser.add_argument("--child", nargs=2, metavar=("NAME", "HOME"))
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return 0
    wrong = 0
    for name in options.work or sorted(WORKS):
        print(f"{name}: seed {options.seed}", flush=True)
        tally: Counter[str] = Counter()
        with tempfile.TemporaryDirectory() as folder:
            killer = Killer(name, Path(folder), random.Random(options.seed))
            for number in range(options.count):
                try:
                    tally[killer.case()] += 1
                except AssertionError as error:
                    tally["WRONG"] += 1
                    wrong += 1
                    print(f"{name}, case {number}: {str(error)[:500]}", flush=True)
        print(f"{name}: {dict(tally)}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
