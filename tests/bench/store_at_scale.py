"""`make bench-store`: what the store costs and how fast it answers, with a million steps in twenty thousand traces.

The journals are made up once (`store_journals.py`) and kept, with their store, in a cache folder outside of the
checkout. Commands are measured as they are typed, in processes of their own, between runs of `python -c pass`, whose
time is taken off. Processor time is beside the time on the wall: where other work runs it is the steadier of the two.

    python tests/bench/store_at_scale.py [--scale 1 | 10 | 100] [--folder FOLDER] [--runs 9]

`--scale 100` takes a hundredth of everything.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from tests.bench import store_journals  # noqa: E402  # it lies beside

TRACES, STEPS, SEED = 20_000, 1_000_000, 1
RASHOMON = [sys.executable, "-m", "rashomon.cli"]
BASE = [sys.executable, "-c", "pass"]


class Run(NamedTuple):
    """A process that has ended: seconds on the wall, seconds of processors, peak of memory in bytes, its output."""

    wall_s: float
    cpu_s: float
    peak: int
    out: str


def run(command: list[str], *, expected: tuple[int, ...] = (0,)) -> Run:
    """Run a command to its end. Raises RuntimeError when it ends otherwise than expected."""
    with tempfile.TemporaryFile() as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=_environment())
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        text = out.read().decode("utf-8", "replace")
    if process.returncode not in expected:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {text[-500:]}")
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(took, usage.ru_utime + usage.ru_stime, peak, text)


def _environment() -> dict[str, str]:
    """Compiled modules are kept, as in an installed package."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RASHOMON_")}
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept | {"PYTHONPYCACHEPREFIX": str(cache() / "pycache")}


def cache() -> Path:
    """Where what is made once is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rashomon-bench"


def home_of(folder: Path | None, scale: int) -> Path:
    """A home with its journals, made on first use."""
    home = folder or cache() / f"store-{scale}"
    made = home / "made.json"
    if not made.exists():
        shutil.rmtree(home, ignore_errors=True)
        found = store_journals.write_journals(home / "journals", TRACES // scale, STEPS // scale, SEED)
        made.write_text(json.dumps(found._asdict()))
    return home


def ingested(home: Path) -> dict[str, float]:
    """Take the journals in, once; what that cost is kept beside them."""
    kept = home / "ingested.json"
    if kept.exists() and (home / "store.duckdb").exists():
        return dict(json.loads(kept.read_text()))
    for left in home.glob("store.duckdb*"):
        left.unlink()
    made = json.loads((home / "made.json").read_text())
    done = run([*RASHOMON, "ingest", "--home", str(home)])
    figures = {
        "steps": made["steps"],
        "traces": made["traces"],
        "journals_mb": made["size"] / 1e6,
        "store_mb": (home / "store.duckdb").stat().st_size / 1e6,
        "steps_per_s": made["steps"] / done.wall_s,
        "mb_per_s": made["size"] / 1e6 / done.wall_s,
        "steps_per_cpu_s": made["steps"] / done.cpu_s,
        "peak_mb": done.peak / 1e6,
    }
    kept.write_text(json.dumps(figures))
    return figures


def long_documents(scale: int) -> dict[str, dict[str, float]]:
    """The same of journals whose tools answer with long documents, by sentences of 60 characters in one."""
    found = {}
    for long, traces, steps in (100, 1000, 40_000), (300, 400, 16_000), (1000, 200, 8_000):
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            made = store_journals.write_journals(home / "journals", traces // scale, steps // scale, SEED, long=long)
            (home / "made.json").write_text(json.dumps(made._asdict()))
            found[f"{long} sentences"] = ingested(home)
    return found


def again(home: Path) -> dict[str, float]:
    """A second ingestion of the same journals: it must not touch the store."""
    before = (home / "store.duckdb").stat().st_mtime_ns
    done = run([*RASHOMON, "ingest", "--home", str(home)])
    touched = (home / "store.duckdb").stat().st_mtime_ns != before
    return {"wall_ms": done.wall_s * 1000, "cpu_ms": done.cpu_s * 1000, "touched": float(touched)}


def commands(home: Path) -> dict[str, list[str]]:
    """What is measured, each as it is typed."""
    long, needle, rare = store_journals.LONG_NAME, store_journals.NEEDLE, store_journals.RARE
    typed = {
        "ls": ["ls"],
        "ls, failed only": ["ls", "status:err"],
        "ls, by model and cost": ["ls", "model:gpt-4o", "in>100k"],
        "ls, by a tool's failure": ["ls", "step.status:err", "tool:get_order"],
        "show, 5,000 steps": ["show", long],
        "show --json, 5,000 steps": ["show", long, "--json"],
        "show, one step of it": ["show", long, "1234"],
        "sql, light columns": ["sql", "select count(*) from steps where kind = 'tool' and duration_us > 300000"],
        "sql, text of all bodies": ["sql", f"select count(*) from parts where text like '%{needle}%'"],
        "grep, one place": ["grep", "-F", needle],
        "grep, some hundred places": ["grep", "-F", rare, "--limit", "20"],
    }
    return {name: [*RASHOMON, *words, "--home", str(home)] for name, words in typed.items()}


def typed(home: Path, runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds of each command beyond those of a bare interpreter, and how many times those that is."""
    found: dict[str, dict[str, float]] = {}
    for name, command in commands(home).items():
        run(command, expected=(0, 1))
        measured, bare = [], []
        for _ in range(runs):
            bare.append(run(BASE))
            measured.append(run(command, expected=(0, 1)))
        base, base_cpu = _median(bare)
        wall, cpu = _median(measured)
        found[name] = {
            "wall_ms": 1000 * (wall - base),
            "cpu_ms": 1000 * (cpu - base_cpu),
            "bare_wall_ms": 1000 * base,
            "times_bare_cpu": (cpu - base_cpu) / base_cpu,
        }
    return found


def _median(runs: list[Run]) -> tuple[float, float]:
    return statistics.median(one.wall_s for one in runs), statistics.median(one.cpu_s for one in runs)


def imports(runs: int) -> dict[str, dict[str, float]]:
    """Milliseconds that modules cost in a fresh interpreter, beyond a bare one."""
    found = {}
    for what in ("_duckdb", "duckdb", "typer, pydantic", "rashomon", "rashomon.store.reading", "rashomon.commands.app"):
        command = [sys.executable, "-c", f"import {what}"]
        run(command)
        pairs = [(run(BASE), run(command)) for _ in range(runs)]
        found[what] = {
            "wall_ms": 1000 * statistics.median(one.wall_s - bare.wall_s for bare, one in pairs),
            "cpu_ms": 1000 * statistics.median(one.cpu_s - bare.cpu_s for bare, one in pairs),
        }
    return found


INSIDE = """
import json, sys, time
from pathlib import Path
from rashomon.store import open_home
found = {}
def took(name, ask, times=5):
    runs = []
    for _ in range(times):
        start = time.perf_counter()
        ask()
        runs.append(1000 * (time.perf_counter() - start))
    found[name] = {"first_ms": runs[0], "best_ms": min(runs)}
start = time.perf_counter()
with open_home(Path(sys.argv[1])) as store:
    store.query("SELECT 1")
    found["open"] = {"first_ms": 1000 * (time.perf_counter() - start)}
    took("SELECT count(*) FROM steps", lambda: store.query("SELECT count(*) FROM steps"))
    took("first page", lambda: store.traces(limit=50))
    took("all traces", lambda: store.traces(), 3)
    took("resolve a name", lambda: store.resolve(sys.argv[2]))
    took("resolve a prefix", lambda: store.resolve(store.traces(limit=1)[0].id[:20]))
    long = store.resolve(sys.argv[2])
    took("outline of 5,000 steps", lambda: store.outline(long))
    took("tape of 5,000 steps", lambda: store.tape(long), 3)
    took("one step of it", lambda: store.step(long, "1234"))
    took("filter on light columns", lambda: store.query(
        "SELECT count(*) FROM steps WHERE kind = 'tool' AND duration_us > 300000"))
    took("text of all bodies", lambda: store.query(f"SELECT count(*) FROM parts WHERE text LIKE '%{sys.argv[3]}%'"), 3)
    took("the same, any case", lambda: store.query(
        f"SELECT count(*) FROM parts WHERE text ILIKE '%{sys.argv[3]}%'"), 3)
print(json.dumps(found))
"""


def inside(home: Path) -> dict[str, dict[str, float]]:
    """Milliseconds of questions within one process."""
    done = run([sys.executable, "-c", INSIDE, str(home), store_journals.LONG_NAME, store_journals.NEEDLE])
    return dict(json.loads(done.out.splitlines()[-1]))


SCREEN = """
import asyncio, json, sys, time
start = time.perf_counter()
from pathlib import Path
from rashomon.tui.app import RashomonApp
from rashomon.tui.source import StoreSource
loaded = time.perf_counter()

async def settled(app, asked):
    while not asked():
        await asyncio.sleep(0.001)

async def main():
    app = RashomonApp(StoreSource(Path(sys.argv[1])), rest_s=0)
    async with app.run_test(size=(160, 48)) as pilot:
        shown = time.perf_counter()
        from rashomon.tui.lines import LineList
        await settled(app, lambda: len(app.screen.query_one(LineList)._rows or ()) > 0)
        listed = time.perf_counter()
        trace = app.source.resolve(sys.argv[2])
        opening = time.perf_counter()
        tape = app.source.tape(trace)
        data = time.perf_counter()
        app.source.tape = lambda one: tape
        app.open_trace(trace)
        await settled(app, lambda: getattr(app.screen, "current", None) is not None)
        opened = time.perf_counter()
        print(json.dumps({"imports_ms": 1000 * (loaded - start), "first_frame_ms": 1000 * (shown - loaded),
                          "list_ms": 1000 * (listed - shown), "tape_ms": 1000 * (data - opening),
                          "opened_after_data_ms": 1000 * (opened - data)}))

asyncio.run(main())
"""


def screen(home: Path, runs: int) -> dict[str, float]:
    """Milliseconds of the terminal application: its first frame, its list, a trace of 5,000 steps."""
    command = [sys.executable, "-c", SCREEN, str(home), store_journals.LONG_NAME]
    found = [json.loads(run(command).out.splitlines()[-1]) for _ in range(runs)]
    return {name: statistics.median(one[name] for one in found) for name in found[0]}


RECORD = """
import json, os, sys
sys.path.insert(0, sys.argv[2])
os.environ["RASHOMON_HOME"] = sys.argv[1]
import httpx2
import rashomon
from rashomon import session
from run import conversation
body = {"id": "chatcmpl-1", "choices": [{"message": {"role": "assistant", "content": "I will look further."}}]}
raw = json.dumps(body).encode()
turns = [{"model": "gpt-4o", "messages": one} for one in conversation(60)]
kind = {"content-type": "application/json"}
answer = lambda request: httpx2.Response(200, stream=httpx2.ByteStream(raw), headers=kind)
client = httpx2.Client(transport=httpx2.MockTransport(answer))
for _ in range(int(sys.argv[3])):
    session.close_journal()
    with rashomon.trace("sixty"):
        for turn in turns:
            client.post("http://provider/v1/chat/completions", json=turn)
session.close_journal()
unique = {json.dumps(message) for turn in turns for message in turn["messages"]}
print(sum(map(len, unique)) + 60 * len(raw), sum(len(json.dumps(turn)) for turn in turns))
"""


def sixty_turns(times: int = 10) -> dict[str, float]:
    """Recordings of one agent of 60 turns: the size of their store by what the agent's content is, each."""
    with tempfile.TemporaryDirectory() as folder:
        done = run([sys.executable, "-c", RECORD, folder, str(Path(__file__).parent), str(times)])
        unique, wire = map(int, done.out.split()[-2:])
        run([*RASHOMON, "ingest", "--home", folder])
        size = (Path(folder) / "store.duckdb").stat().st_size
        journals = sum(one.stat().st_size for one in Path(folder, "journals").iterdir())
    return {
        "unique_kb": unique / 1000,
        "wire_kb": wire / 1000,
        "journals_by_unique": journals / times / unique,
        "store_kb": size / 1000,
        "store_by_unique": size / times / unique,
    }


def show(title: str, rows: dict[str, Any]) -> None:
    """One table, for reading."""
    print(f"\n{title}", flush=True)
    for name, row in rows.items():
        cells = row.items() if isinstance(row, dict) else [("", row)]
        print(f"  {name:28}" + "  ".join(f"{key} {value:,.1f}" for key, value in cells))


def main() -> None:
    """Run everything; print tables, then one JSON document."""
    parser = argparse.ArgumentParser(description="Measure the store at scale.")
    parser.add_argument("--scale", type=int, default=1, help="take one so-manieth of everything")
    parser.add_argument("--folder", type=Path, default=None, help="where the home is kept (default: the user's cache)")
    parser.add_argument("--runs", type=int, default=9, help="how often each command is run")
    options = parser.parse_args()
    home = home_of(options.folder, options.scale)
    results: dict[str, Any] = {"ingestion": ingested(home)}
    show("ingestion", results["ingestion"])
    for name, title, measure in (
        ("long documents", "ingestion of long documents", lambda: long_documents(options.scale)),
        ("sixty turns", "ten recordings of an agent of 60 turns", sixty_turns),
        ("again", "the same journals again", lambda: again(home)),
        ("commands", "commands, beyond `python -c pass`", lambda: typed(home, options.runs)),
        ("inside", "within one process", lambda: inside(home)),
        ("imports", "imports, beyond `python -c pass`", lambda: imports(options.runs)),
        ("screen", "terminal application", lambda: screen(home, 3)),
    ):
        results[name] = measure()
        show(title, results[name])
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
