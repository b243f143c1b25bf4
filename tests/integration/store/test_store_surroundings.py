"""Reads, points, subprocesses and uncontrolled sources come out of the store as the journals tell them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from random import Random

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rashomon import launch, nesting, tapes
from rashomon.errors import DamagedData
from rashomon.journal import Code
from rashomon.model import Tape
from rashomon.store import TraceStore, ingest, ingest_new
from tests.recordings import Run, made_up
from tests.support import rashomon

BY_PLACE = "select file, line, count(*) from ambient where what = 'time.time' group by all order by all"


def told(folder: Path) -> dict[str, Tape]:
    """What a folder of journals tells, by trace."""
    return {
        tape.trace.id: tape for tape in tapes.assemble([tapes.read_part(path) for path in sorted(folder.iterdir())])
    }


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(chance=st.randoms(use_true_random=False))
@example(chance=Random(3))
def test_store_gives_back_what_the_journals_tell(chance: Random) -> None:
    """Tapes of several processes with traces within traces are equal, one by one and as a whole."""
    with tempfile.TemporaryDirectory() as home:
        run, journals, path = made_up(chance, events=40), Path(home) / "journals", Path(home) / "store.duckdb"
        run.write(journals)
        found = told(journals)
        report = ingest(journals, path)
        assert report.damaged == ()
        with TraceStore(path) as store:
            for name, tape in found.items():
                assert repr(store.tape(name, within=False)) == repr(tape)  # also 0.0 from -0.0, 1 from True
                assert store.tape(name) == nesting.whole(found, name)
                rows = store.step_rows(name)
                assert [(row.id, row.started_us, row.within) for row in rows] == [
                    (step.id, step.started_us, step.within) for step in store.tape(name).steps
                ]
            total = sum(len(tape.reads) for tape in found.values())
            assert store.query("select count(value::varchar), count(*) from ambient").rows == [(total, total)]


def test_a_trace_that_grows_is_replaced_with_its_surroundings(tmp_path: Path) -> None:
    """When a journal grows, the reads and points of its traces are those of the whole journal, each once."""
    run = made_up(Random(11), events=60)
    whole = [list(frames) for frames in run.processes]
    for frames in run.processes:
        del frames[len(frames) // 2 :]
    run.write(tmp_path / "journals")
    ingest_new(tmp_path)
    run._replace(processes=whole).write(tmp_path / "journals")
    ingest_new(tmp_path)
    clean = tmp_path / "clean.duckdb"
    ingest(tmp_path / "journals", clean)
    for table in ("ambient", "points", "launched", "uncontrolled"):
        query = f"select * from {table} order by all"
        found = TraceStore(tmp_path / "store.duckdb").query(query).rows
        assert found
        assert found == TraceStore(clean).query(query).rows


@pytest.mark.parametrize("seed", range(5))
def test_launcher_and_store_tell_the_same(tmp_path: Path, seed: int) -> None:
    """The tape that a launcher puts together from the journals is the one that the store gives."""
    made_up(Random(seed), events=40).write(tmp_path / "journals")
    ingest_new(tmp_path)
    assert launch.gather(str(tmp_path), "outer", 0) == TraceStore(tmp_path / "store.duckdb").tape("outer")


def test_points_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """A store whose points are damaged says so, and what to do."""
    made_up(Random(3), events=60).write(tmp_path / "journals")
    ingest_new(tmp_path)
    with duckdb.connect(str(tmp_path / "store.duckdb")) as writer:
        writer.execute("update points set packed = 'nonsense'::blob")
    with pytest.raises(DamagedData, match=r"points of trace outer that cannot be read.*`rashomon ingest`"):
        TraceStore(tmp_path / "store.duckdb").tape("outer")


def test_reads_of_the_clock_by_file_and_line(tmp_path: Path) -> None:
    """`rashomon sql` answers where a program read the clock, what it gave, and what else there was."""
    site, place = [0, "/srv/agent.py", 34, "Agent.run"], ["/srv/agent.py", 34, "Agent.run"]
    frames: list[list[object]] = [
        [Code.PROCESS, {"started_ns": 10**18, "pid": 1, "argv": ["agent.py"]}],
        [Code.TRACE, 0, {"id": "t1", "name": "agent", "started_ns": 10**18}],
        [Code.READ, 0, "clock", "time.time", 1700000000.5, [], 10, None, site],
        [Code.READ, 0, "clock", "time.time", 1700000001.25, [0, 1], 20, None, 0],
        [Code.READ, 0, "clock", "time.time", 1700000002, [], 30, None, [1, "/srv/tools.py", 7, "now"]],
        [Code.READ, 0, "random", "os.urandom", b"\xff\x00", [], 40, None, 0],
        [Code.READ, 0, "random", "random.getrandbits", 2**64 - 1, [], 50, None, 0],
        [Code.LAUNCHED, 0, ["git", "log"], [0], None, 0],
        [Code.UNCONTROLLED, 0, "uvloop", "its timers are its own", None],
    ]
    Run([frames]).write(tmp_path / "journals")
    assert asked(BY_PLACE, tmp_path) == [["/srv/agent.py", 34, 2], ["/srv/tools.py", 7, 1]]
    assert asked("select max(value::double) - min(value::double) from ambient where kind = 'clock'", tmp_path) == [
        [1.5]
    ]
    assert asked("select value::hugeint::varchar from ambient where what = 'random.getrandbits'", tmp_path) == [
        ["18446744073709551615"]
    ]
    drawn = """select value->>'$."$bytes"' from ambient where what = 'os.urandom'"""
    assert asked(drawn, tmp_path) == [["ff00"]]
    assert asked("select lane from ambient where at_us = 20", tmp_path) == [["0.1"]]
    assert asked("select argv, lane, file, line, function from launched", tmp_path) == [[["git", "log"], "0", *place]]
    assert asked("select what, reason, file from uncontrolled", tmp_path) == [
        ["uvloop", "its timers are its own", None]
    ]


def asked(query: str, home: Path) -> list[list[object]]:
    """The rows that `rashomon sql` prints."""
    ran = rashomon("sql", query, "--json", home=home)
    assert ran.returncode == 0, ran.stderr
    rows: list[list[object]] = json.loads(ran.stdout)["rows"]
    return rows
