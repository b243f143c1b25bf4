"""Lakes: Parquet by table and day, on a disk and on a server that speaks S3; written again and again, read by SQL."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rashomon.errors import DamagedData, ForeignFile, NewerFormat, UsageError
from rashomon.model import Launched, Tape
from rashomon.notes import Note, write
from rashomon.store import lake, open_home
from rashomon.store.importing import import_tapes
from tests.dialect_samples import SAMPLES
from tests.in_process import main
from tests.steps import asked, llm, said, tool, user
from tests.steps import tape as tape_of
from tests.support import environment

pytest.importorskip("fsspec", reason="lakes need fsspec")
pytest.importorskip("pyarrow", reason="lakes need pyarrow")

import duckdb  # as above

from rashomon.commands.sql_words import Completer
from rashomon.store import lake_writing
from rashomon.store.asking import relations
from rashomon.store.export_tables import TABLES, read_through
from rashomon.store.lake_files import LakeFiles
from rashomon.store.lake_writing import LakeReport, export_lake  # it needs what may be missing
from rashomon.store.verification import verify

DAY_NS = 86_400 * 10**9
MONDAY = 20_000 * DAY_NS
"""2024-10-04."""


def trace(number: int, day: int = 0, steps: int = 3, text: str = "hello") -> Tape:
    """A trace of some day."""
    calls = [llm(said(f"{text} {at}"), asked(user("Always the same long question, " * 5))) for at in range(steps - 1)]
    found = tape_of([*calls, tool({"order": number}, {"state": text})], f"{number:04d}" + "d" * 22)
    return found._replace(trace=found.trace._replace(name="daily", started_ns=MONDAY + day * DAY_NS + number))


def home_of(folder: Path, *found: Tape) -> Path:
    """A home with these traces."""
    import_tapes(folder, found, "a test")
    return folder


def exported(home: Path, url: str) -> LakeReport:
    """Bring a lake up to date."""
    return export_lake(open_home(home), home, url)


def rows(url: Path, table: str, columns: str = "count(*)") -> list[tuple[Any, ...]]:
    """What any DuckDB client finds in a lake, without us."""
    with duckdb.connect() as client:
        found = f"read_parquet('{url}/table={table}/*/*.parquet', hive_partitioning = true, union_by_name = true)"
        return client.execute(f"SELECT {columns} FROM {found} GROUP BY ALL ORDER BY ALL").fetchall()


def asked_of(home: Path, sql: str) -> list[tuple[Any, ...]]:
    """What SQL with the home's lakes gives."""
    with lake.open_reader(home / "store.duckdb") as reader:
        return reader.execute(sql).fetchall()


# ------------------------------------------------------------------------------------------------ writing


def test_anything_that_reads_parquet_finds_days(tmp_path: Path) -> None:
    """Traces, steps and parts lie under table= and day= folders, by the day in UTC on which their trace began."""
    home = home_of(tmp_path / "home", trace(1), trace(2), trace(3, day=1))
    done = exported(home, str(tmp_path / "lake"))
    assert (done.days, done.traces) == (("2024-10-04", "2024-10-05"), 3)
    assert [(str(day), count) for day, count in rows(tmp_path / "lake", "traces", "day, count(*)")] == [
        ("2024-10-04", 2),
        ("2024-10-05", 1),
    ]
    assert rows(tmp_path / "lake", "steps") == [(9,)]
    texts = rows(tmp_path / "lake", "steps", "text, count(*)")
    assert ("hello 0", 3) in texts


def test_a_day_that_is_exported_twice_is_there_once(tmp_path: Path) -> None:
    """The second export writes nothing; one new trace writes its own day again, and nobody is there twice."""
    home, place = home_of(tmp_path / "home", trace(1), trace(2, day=1)), tmp_path / "lake"
    exported(home, str(place))
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()}
    assert exported(home, str(place)) == LakeReport((), 0, 0)
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*") if path.is_file()} == before
    home_of(home, trace(3, day=1))
    assert exported(home, str(place)).days == ("2024-10-05",)
    assert rows(place, "traces") == [(3,)]
    assert rows(place, "steps") == [(9,)]
    assert all(path.stat().st_mtime_ns == before[path] for path in before if "day=2024-10-04" in str(path))


def test_what_the_home_has_forgotten_stays_in_the_lake(tmp_path: Path) -> None:
    """A home that keeps a month fills a lake that keeps years: a trace that is gone here is still there."""
    home, place = home_of(tmp_path / "home", trace(1), trace(2)), tmp_path / "lake"
    exported(home, str(place))
    shutil.copyfile(home / "lakes.json", tmp_path / "kept.json")
    shutil.rmtree(home)
    home_of(home, trace(3))
    shutil.copyfile(tmp_path / "kept.json", home / "lakes.json")
    exported(home, str(place))
    assert rows(place, "traces", "id") == [(trace(number).trace.id,) for number in (1, 2, 3)]
    assert rows(place, "steps") == [(9,)]
    exported(home, str(place))
    assert rows(place, "steps") == [(9,)]


def test_several_homes_share_a_lake(tmp_path: Path) -> None:
    """Two machines write the same day side by side; a trace that both have is there once."""
    one, two = home_of(tmp_path / "one", trace(1), trace(2)), home_of(tmp_path / "two", trace(2), trace(3))
    exported(one, str(tmp_path / "lake"))
    assert exported(two, str(tmp_path / "lake")).traces == 1
    assert rows(tmp_path / "lake", "traces", "id, count(*)") == [(trace(number).trace.id, 1) for number in (1, 2, 3)]


def test_a_note_brings_its_day_again(tmp_path: Path) -> None:
    """A note that was written later reaches the lake with the next export."""
    home, place = home_of(tmp_path / "home", trace(1)), tmp_path / "lake"
    exported(home, str(place))
    write(home, Note("n1", trace(1).trace.id, None, 5, "ana", "the cause", ("root-cause",)))
    assert exported(home, str(place)).traces == 1
    assert rows(place, "annotations", "text, labels") == [("the cause", ["root-cause"])]


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    """A folder with something else in it, and a lake of another format, are refused."""
    home = home_of(tmp_path / "home", trace(1))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(ForeignFile, match="not empty, and no lake"):
        exported(home, str(tmp_path / "photos"))
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "rashomon-lake.json").write_text('{"format": "rashomon.lake/9"}')
    with pytest.raises(NewerFormat, match=r"rashomon\.lake/9"):
        exported(home, str(tmp_path / "new"))
    done = main("export", "--to", "nosuch://place", home=home)
    assert (done.returncode, "nosuch" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


def gone() -> int:
    """The id of a process that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return ended.pid


def test_what_a_killed_export_left_half_written_goes(tmp_path: Path) -> None:
    """The next export deletes its home's unfinished files, also where it has nothing to write; `forget` everybody's."""
    home, place = forgetful(tmp_path / "home", str(tmp_path / "lake"), trace(1)), tmp_path / "lake"
    source, day = lake.source_of(home), place / "table=steps" / "day=2024-10-04"
    own, living = day / f".{source}.parquet.{gone()}-abcdef.part", day / f".{source}.parquet.{os.getppid()}-abcdef.part"
    other = place / "_manifest" / "day=2024-10-04" / f".77777777.json.{gone()}-abcdef.part"
    for path in (own, living, other):
        path.write_bytes(b"jane")
    assert exported(home, str(place)) == LakeReport((), 0, 0)
    assert (own.exists(), living.exists(), other.exists()) == (False, True, True)
    assert main("forget", "--text", "jane", "--lakes", "--yes", home=home).returncode == 0
    assert (living.exists(), other.exists()) == (True, False)


@pytest.mark.slow
def test_killed_exports_leave_a_lake_that_reads(tmp_path: Path) -> None:
    """Killed at random moments, the lake reads at any time with nobody twice, and a repetition completes it."""
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    home, place = home_of(tmp_path / "home", *[trace(n, n % 4, 8) for n in range(12)]), tmp_path / "lake"
    whole = tmp_path / "whole"
    began = time.monotonic()
    assert main("export", "--to", whole, home=home).returncode == 0
    took_s = time.monotonic() - began
    killed = 0
    for _ in range(4):
        command = [sys.executable, "-m", "rashomon.cli", "export", "--to", str(place)]
        process = subprocess.Popen(command, env=environment(home), stdout=subprocess.DEVNULL)
        try:
            process.wait(chance.uniform(took_s / 4, took_s))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
        for table in ("traces", "steps"):
            if list(place.glob(f"table={table}/*/*.parquet")):
                key = "id" if table == "traces" else "trace, id"
                assert {row[-1] for row in rows(place, table, f"{key}, count(*)")} <= {1}
        if chance.random() < 0.3:
            shutil.rmtree(place, ignore_errors=True)
    print(f"{killed} of 4 were killed in the middle")
    exported(home, str(place))
    for table in ("traces", "steps", "parts", "step_parts"):
        assert rows(place, table) == rows(whole, table)
    assert not list(place.rglob(".*"))


# ------------------------------------------------------------------------------------------------ reading


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a home with one trace of its own, and a lake of another home's."""
    folder = tmp_path_factory.mktemp("lake")
    other = home_of(folder / "other", trace(1), trace(2, day=1), trace(3, day=2, text="lost"))
    exported(other, str(folder / "lake"))
    home_of(folder / "home", trace(9, day=9))
    return folder


@pytest.fixture
def lake_home(tmp_path: Path, made_once: Path) -> Path:
    """A home with one trace of its own, and a lake of another home's attached as `years`."""
    for name in ("home", "lake"):
        shutil.copytree(made_once / name, tmp_path / name)
    lake.attach(tmp_path / "home", str(tmp_path / "lake"), "years")
    return tmp_path / "home"


def test_an_attached_lake_is_read_beside_the_store(lake_home: Path) -> None:
    """`steps` is the store's, `years.steps` the lake's; both in one query; days and JSON can be asked for."""
    assert asked_of(lake_home, "SELECT (SELECT count(*) FROM steps), (SELECT count(*) FROM years.steps)") == [(3, 9)]
    both = "SELECT id FROM traces UNION SELECT id FROM years.traces"
    assert asked_of(lake_home, f"SELECT count(*) FROM ({both})") == [(4,)]
    by_day = "SELECT count(*) FROM years.steps WHERE day = DATE '2024-10-06' AND text LIKE 'lost%'"
    assert asked_of(lake_home, by_day) == [(2,)]
    assert asked_of(lake_home, "SELECT count(*) FROM years.traces WHERE tags->>'x' IS NULL") == [(3,)]
    typed = main("sql", "select count(*) as n from years.steps", "--format", "csv", home=lake_home)
    assert typed.stdout.split() == ["n", "9"], typed.stderr


def test_the_views_of_the_domain_look_into_the_lake(lake_home: Path) -> None:
    """`years.llm_calls` and the others are over the lake's tables, and not over the store's."""
    assert asked_of(lake_home, "SELECT count(*) FROM years.llm_calls") == [(6,)]
    assert asked_of(lake_home, "SELECT count(*) FROM llm_calls") == [(2,)]
    assert asked_of(lake_home, "SELECT DISTINCT trace FROM years.tool_calls ORDER BY 1") == [
        (trace(number).trace.id,) for number in (1, 2, 3)
    ]


def test_what_a_lake_does_not_have_is_told(lake_home: Path) -> None:
    """Who asks a lake for a table that only stores have is not answered from this home's."""
    ran = main("sql", "select count(*) from years.points", home=lake_home)
    assert ran.returncode == 2
    assert "A lake does not have all tables" in ran.stderr


def _columns(reader: Any, view: str) -> str:
    """What there is to compare of a view: sums of dollars to a billionth, and no first one of equals."""
    found = [(name, kind) for name, kind, *_ in reader.execute(f"DESCRIBE {view}").fetchall() if name != "first_trace"]
    return ", ".join(f'round("{name}", 9)' if kind == "DOUBLE" else f'"{name}"' for name, kind in found)


@pytest.fixture(scope="module")
def every_dialect(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with calls of each provider, tools that models asked for, a tool's own trace, replays, and its lake."""
    folder = tmp_path_factory.mktemp("dialects")
    calls = [one.step() for one in SAMPLES.values()]
    runs = [trace(1), trace(2, day=1, text="other")]
    for number in range(3):
        made = tape_of(calls, f"{number}" * 26)
        curl = Launched(("curl", "-s", "https://example.com"), ())
        info: dict[str, Any] = {
            "started_ns": MONDAY + number * DAY_NS,
            "launched": (curl,) * number,
            "tags": {"customer": "acme"},
        }
        within, parent = "0" * 26 if number == 1 else None, "0" * 26 if number == 2 else None
        runs.append(made._replace(trace=made.trace._replace(**info, within=within, parent=parent)))
    home = home_of(folder / "home", *runs)
    write(home, Note("n1", runs[0].trace.id, None, 1, "ann", "why", ("root-cause",)))
    exported(home, str(folder / "lake"))
    lake.attach(home, str(folder / "lake"), "years")
    return home


def test_each_view_has_the_rows_of_the_stores_own(every_dialect: Path) -> None:
    """A lake has every view of the store, and gives what that gives, of every provider's calls."""
    sql = "SELECT view_name FROM duckdb_views() WHERE database_name = 'store' AND NOT internal ORDER BY 1"
    with lake.open_reader(every_dialect / "store.duckdb") as reader:
        views = [name for (name,) in reader.execute(sql).fetchall()]
        assert {"messages", "prompts", "requested_calls", "trace_list"} <= set(views)
        for view in views:
            here, there = (
                sorted(map(repr, reader.execute(f"SELECT {_columns(reader, view)} FROM {of}{view}").fetchall()))
                for of in ("", "years.")
            )
            assert here == there, view
            assert here, view


def test_a_lake_of_an_older_version_is_read_and_brought_up_to_date(
    every_dialect: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files without `holes` and `launched` have all views; the next export writes those days again, once."""
    home = tmp_path / "home"
    shutil.copytree(every_dialect, home, ignore=shutil.ignore_patterns("lakes.json"))
    before = tuple(
        table._replace(columns=tuple(name for name in table.columns if name != "holes"))
        for table in TABLES
        if table.name != "launched"
    )
    with monkeypatch.context() as older:
        older.setattr(lake_writing, "TABLES", before)
        exported(home, str(tmp_path / "lake"))
    lake.attach(home, str(tmp_path / "lake"), "years")
    sql = "SELECT view_name FROM duckdb_views() WHERE database_name = 'store' AND NOT internal"
    views = [name for (name,) in asked_of(home, sql)]
    here = _counts(home, views)
    assert {view for view, rows in _counts(home, views, "years.").items() if rows != here[view]} == {"messages"}
    assert asked_of(home, "SELECT sum(unseen) FROM years.trace_list") == [(0,)]
    assert len(exported(home, str(tmp_path / "lake")).days) == 3
    assert _counts(home, views, "years.") == here
    assert asked_of(home, "SELECT sum(unseen) FROM years.trace_list") == [(3,)]
    assert exported(home, str(tmp_path / "lake")).days == ()


def _counts(home: Path, views: list[str], of: str = "") -> dict[str, int]:
    counts = [f"SELECT '{view}', count(*) FROM {of}{view}" for view in views]
    return dict(asked_of(home, " UNION ALL ".join(counts)))


def test_a_broken_file_of_a_lake_is_told_as_that(lake_home: Path, tmp_path: Path) -> None:
    """Damage in its pages is a sentence about the lake, with exit code 4, or is not noticed; it is never the SQL's."""
    (path, *_) = sorted((tmp_path / "lake").glob("table=parts/*/*.parquet"))
    good, chance, codes = path.read_bytes(), random.Random(8), set()
    for _ in range(12):
        broken, at = bytearray(good), chance.randrange(4, len(good) - 8 - int.from_bytes(good[-8:-4], "little"))
        broken[at : at + 4] = chance.randbytes(len(broken[at : at + 4]))
        path.write_bytes(broken)
        ran = main("sql", "select max(digest), sum(length(part.text)) from years.parts as part", home=lake_home)
        codes.add((ran.returncode, "A file of an attached lake cannot be read" in ran.stderr))
    assert {(4, True)} <= codes <= {(0, False), (4, True), (4, False)}  # (4, False): met as it is attached


def test_verify_finds_any_damage_in_a_lake(lake_home: Path, tmp_path: Path) -> None:
    """A flipped bit anywhere in any file is found, where Parquet's readers mostly see nothing wrong."""
    files, chance = sorted((tmp_path / "lake").rglob("*.parquet")), random.Random(11)
    sound = verify(lake_home, lakes=True)
    assert (sound.flaws, sound.remarks, sound.lake_files) == ((), (), len(files))
    for _ in range(40):
        path = chance.choice(files)
        good = path.read_bytes()
        broken = bytearray(good)
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        path.write_bytes(broken)
        (flaw,) = verify(lake_home, lakes=True).flaws
        assert (flaw.place, flaw.where) == ("lake years", str(path.relative_to(tmp_path / "lake")))
        path.write_bytes(good)
    assert verify(lake_home).lake_files == 0


@pytest.fixture
def own_lake(tmp_path: Path) -> Path:
    """A home that has its own lake attached as `years`."""
    home = home_of(tmp_path / "home", trace(1), trace(2), trace(3, day=1))
    exported(home, str(tmp_path / "lake"))
    lake.attach(home, str(tmp_path / "lake"), "years")
    return home


def test_a_damaged_file_that_is_deleted_is_written_again(own_lake: Path, tmp_path: Path) -> None:
    """What `verify --lakes` says to do: delete it, and export again."""
    path = min((tmp_path / "lake").rglob("table=steps/*/*.parquet"))
    _flip(path)
    told = main("verify", "--lakes", home=own_lake)
    assert (told.returncode, "is not what its manifest says" in told.stdout, "salvage" in told.stdout) == (
        4,
        True,
        False,
    )
    assert "delete it, and export again from the home that wrote it" in told.stdout
    path.unlink()
    assert "is not there, and its manifest names it" in main("verify", "--lakes", home=own_lake).stdout
    assert len(exported(own_lake, str(tmp_path / "lake")).days) == 1
    told = main("verify", "--lakes", "--json", home=own_lake)
    assert (told.returncode, json.loads(told.stdout)["lake_files"] > 10) == (0, True)


def test_damage_is_not_made_sound_by_writing_it_anew(own_lake: Path, tmp_path: Path) -> None:
    """Neither an export that keeps old rows nor `forget --lakes` reads a damaged page, and gives it a new checksum."""
    path = min((tmp_path / "lake").rglob("table=steps/*/*.parquet"))
    before = _flip(path)
    gone = trace(1).trace.id
    told = main("forget", "--trace", gone, "--lakes", "--yes", home=own_lake)
    assert (told.returncode, "cannot be read" in told.stdout + told.stderr) == (4, True)
    assert path.read_bytes() == before
    home_of(own_lake, trace(9))
    with pytest.raises(DamagedData, match="has a file that cannot be read"):
        exported(own_lake, str(tmp_path / "lake"))
    assert path.read_bytes() == before


def test_days_without_digests_are_read_and_get_them(own_lake: Path, tmp_path: Path) -> None:
    """A lake of an older version is read through, says so, and has digests with the next export."""
    for path in (tmp_path / "lake" / "_manifest").rglob("*.json"):
        manifest = json.loads(path.read_bytes())
        for told in manifest["tables"].values():
            del told["sha256"]
        path.write_text(json.dumps(manifest))
    found = verify(own_lake, lakes=True)
    assert (found.flaws, len(found.remarks), "without a digest" in found.remarks[0]) == ((), 1, True)
    _flip(min((tmp_path / "lake").rglob("table=steps/*/*.parquet")))
    assert [flaw.problem.split(":")[0] for flaw in verify(own_lake, lakes=True).flaws] == ["cannot be read"]
    exported(own_lake, str(tmp_path / "lake"))
    found = verify(own_lake, lakes=True)
    assert (found.flaws, found.remarks) == ((), ())


def test_a_lake_that_cannot_be_checked_is_a_flaw(lake_home: Path, tmp_path: Path) -> None:
    """One that is gone, and manifests that are none; without a lake that is said."""
    manifest = min((tmp_path / "lake" / "_manifest").rglob("*.json"))
    manifest.write_text("[]")
    assert [flaw.problem for flaw in verify(lake_home, lakes=True).flaws] == ["is no manifest"]
    shutil.rmtree(tmp_path / "lake")
    (flaw,) = verify(lake_home, lakes=True).flaws
    assert "is not there any more" in flaw.problem
    lake.detach(lake_home, "years")
    assert verify(lake_home, lakes=True).remarks == ("No lake is attached.",)


def _flip(path: Path) -> bytes:
    """Damage a page of a Parquet file so that its readers do not see it, unless they compare checksums."""
    good = path.read_bytes()
    for at in range(4, len(good)):
        broken = bytearray(good)
        broken[at] ^= 1
        path.write_bytes(broken)
        with duckdb.connect() as client:
            try:
                client.execute(f"SELECT max(columns(*)) FROM read_parquet('{path}')").fetchall()
            except duckdb.Error:
                continue
        with path.open("rb") as file, contextlib.suppress(DamagedData):
            read_through(file)
            continue
        return bytes(broken)
    raise AssertionError("every flip was seen, or none was")


def test_opening_a_lake_takes_no_longer_with_more_days(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files with the columns of today one a table is looked into, however many days there are; and a statement about
    a day opens that day's. Those of other versions are looked into, and give what they have."""
    home = home_of(tmp_path / "home", *(trace(day, day=day) for day in range(12)))
    exported(home, str(tmp_path / "lake"))
    lake.attach(home, str(tmp_path / "lake"), "years")
    looked = set()
    open_file = LakeFiles._open

    def _open(self: LakeFiles, path: str, *given: Any, **more: Any) -> Any:
        looked.add("/".join(path.split("/")[-3:]))
        return open_file(self, path, *given, **more)

    monkeypatch.setattr(LakeFiles, "_open", _open)
    assert asked_of(home, "SELECT count(*) FROM years.steps WHERE day = DATE '2024-10-09'") == [(3,)]
    assert len(looked) <= len(TABLES) + 1
    assert asked_of(home, "SELECT count(*), count(DISTINCT day) FROM years.steps") == [(36, 12)]
    for manifest in sorted((tmp_path / "lake").rglob("_manifest/**/*.json"))[:5]:
        manifest.unlink()  # so nobody says what is in its day's files
    for file in sorted((tmp_path / "lake").rglob("table=steps/**/*.parquet"))[:3]:
        with duckdb.connect() as client:
            client.execute(f"COPY (SELECT * EXCLUDE (holes, cost) FROM '{file}') TO '{file}.new' (FORMAT parquet)")
        Path(f"{file}.new").replace(file)
    found = asked_of(home, "SELECT count(*), count(holes), count(text), count(DISTINCT day) FROM years.steps")
    assert found == [(36, 27, 24, 12)]
    assert asked_of(home, "SELECT count(*) FROM years.llm_calls") == [(24,)]
    everywhere = "read_parquet('rashomon-lake://years/*table=steps/*.parquet', union_by_name = true)"
    assert asked_of(home, f"SELECT count(*) FROM {everywhere}") == [(36,)], "each file is there once"


def test_threads_read_a_file_each_for_itself(tmp_path: Path) -> None:
    """DuckDB's threads share a file that it has opened: none reads where another one has gone meanwhile."""
    exported(home_of(tmp_path / "home", trace(1)), str(tmp_path / "lake"))
    system = LakeFiles({"years": str(tmp_path / "lake")}, {})
    (name,) = system.glob("rashomon-lake://years/table=steps/day=*/*.parquet")
    content = (tmp_path / "lake" / name.removeprefix("years/")).read_bytes()
    gone, done = threading.Barrier(2, timeout=20), threading.Barrier(2, timeout=20)
    got: dict[int, bytes] = {}
    with system.open(f"rashomon-lake://{name}") as file:

        def read(place: int) -> None:
            file.seek(place)
            gone.wait()
            got[place] = file.read(8)
            done.wait()
            assert file.tell() == place + 8

        other = threading.Thread(target=read, args=(100,))
        other.start()
        read(4)
        other.join()
    assert got == {place: content[place : place + 8] for place in (4, 100)}
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_a_home_without_recordings_reads_lakes(lake_home: Path, tmp_path: Path) -> None:
    """Who only wants to ask a lake needs no recordings of their own."""
    lake.attach(tmp_path / "empty", str(tmp_path / "lake"), "years")
    assert asked_of(tmp_path / "empty", "SELECT count(*) FROM years.steps") == [(9,)]


def test_a_part_of_several_days_is_there_once(lake_home: Path) -> None:
    """Joining steps with their parts gives each body once, though each day has a copy of it."""
    sql = (
        "SELECT count(*), count(DISTINCT text) FROM years.step_parts JOIN years.parts ON digest = part"
        " WHERE text LIKE '%Always the same%'"
    )
    assert asked_of(lake_home, sql) == [(6, 1)]


def test_attach_detach_list(lake_home: Path, tmp_path: Path) -> None:
    """The command attaches, lists and detaches; what is no lake, or has a name that cannot be, is refused."""
    listed = json.loads(main("lake", "list", "--json", home=lake_home).stdout)
    assert listed["lakes"] == [{"name": "years", "url": str(tmp_path / "lake")}]
    assert main("lake", "attach", tmp_path / "lake", "--name", "again", home=lake_home).returncode == 0
    assert [one.name for one in lake.attached(lake_home)] == ["again", "years"]
    assert "again" in main("lake", home=lake_home).stdout
    assert main("lake", "detach", "again", home=lake_home).returncode == 0
    for wrong in (["attach", tmp_path], ["attach", tmp_path / "lake", "--name", "a b"], ["detach", "nobody"],
                  ["attach", tmp_path / "lake", "--name", "years"], ["attach"], ["list", "x"]):  # fmt: skip
        done = main("lake", *wrong, home=lake_home)
        assert done.returncode in (2, 4), wrong
        assert "Traceback" not in done.stderr
    assert [one.name for one in lake.attached(lake_home)] == ["years"]


def test_a_lake_that_is_gone_is_one_sentence(lake_home: Path, tmp_path: Path) -> None:
    """When an attached lake cannot be reached, SQL says which, and goes on once it is detached."""
    (tmp_path / "lake").rename(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="lake"):
        asked_of(lake_home, "SELECT 1")
    lake.detach(lake_home, "years")
    assert asked_of(lake_home, "SELECT count(*) FROM steps") == [(3,)]


def test_a_damaged_lake_is_named_with_its_file(lake_home: Path, tmp_path: Path) -> None:
    """A file that is no Parquet is a sentence with its name, exit code 4, and how to go on; others do."""
    damaged = next(iter((tmp_path / "lake").rglob("table=steps/day=2024-10-05/*.parquet")))
    damaged.write_bytes(damaged.read_bytes()[:100])
    assert main("sql", "select count(*) from years.traces", home=lake_home).returncode == 0
    done = main("sql", "select count(*) from years.steps", home=lake_home)
    assert (done.returncode, "Traceback" in done.stderr, "bug" in done.stderr) == (4, False, False)
    for named in (f"rashomon-lake://years/table=steps/day=2024-10-05/{damaged.name}", "detach the lake"):
        assert named in done.stderr


def test_a_file_of_a_lake_that_is_missing_is_named(tmp_path: Path) -> None:
    """It does not read as no rows: SQL names the file with exit code 4, an export writes it again."""
    place = tmp_path / "lake"
    home = forgetful(tmp_path / "home", str(place), trace(1), trace(2, day=1))
    missing = next(iter(place.rglob("table=steps/day=2024-10-05/*.parquet")))
    missing.unlink()
    name = f"table=steps/day=2024-10-05/{missing.name}"
    with pytest.raises(DamagedData, match=f"lacks {name}, which it should have"):
        asked_of(home, "SELECT count(*) FROM years.steps")
    told = main("forget", "--text", "nobody says this", "--lakes", home=home)
    assert f"lacks {name}" in told.stdout
    assert exported(home, str(place)).days == ("2024-10-05",)
    assert asked_of(home, "SELECT count(*) FROM years.steps") == [(6,)]
    missing.unlink()
    (place / "_manifest" / "day=2024-10-05" / f"{missing.stem}.json").unlink()
    assert asked_of(home, "SELECT count(*) FROM years.steps") == [(3,)], "nobody says any more that it should be there"


def test_a_missing_file_that_held_what_the_home_lacks(tmp_path: Path) -> None:
    """An export does not write such a day as if it were whole: it names the file, and what to do."""
    place = tmp_path / "lake"
    home = forgetful(tmp_path / "home", str(place), trace(1), trace(2))
    next(iter(place.rglob("table=parts/**/*.parquet"))).unlink()
    kept = (home / "lakes.json").read_bytes()
    shutil.rmtree(home)
    home_of(home, trace(2))
    (home / "lakes.json").write_bytes(kept)
    with pytest.raises(DamagedData, match=r"lacks table=parts/day=2024-10-04/.*does not have any more"):
        exported(home, str(place))


@pytest.mark.parametrize(
    "listed", ['{"name": "main", "url": "x"}', '{"name": "a\'b", "url": "x"}', '{"name": "x", "url": null}', "3"]
)
def test_a_list_of_lakes_that_somebody_broke(tmp_path: Path, listed: str) -> None:
    """What was edited by hand and cannot be is refused in a sentence with the file's name."""
    home = home_of(tmp_path / "home", trace(1))
    (home / "lakes.json").write_text(f'{{"lakes": [{listed}]}}')
    with pytest.raises(DamagedData, match=r"lakes\.json is not a list of lakes"):
        asked_of(home, "SELECT 1")


@pytest.mark.parametrize(
    "content", ["{}", '{"format": "rashomon.lakes/1", "source": "12345678"}', '{"lake": []}', "[", "[]"]
)
def test_a_file_without_a_list_of_lakes_is_damaged(tmp_path: Path, content: str) -> None:
    """It does not count as no lakes: `forget --lakes` would pass over them in silence."""
    home = home_of(tmp_path / "home", trace(1))
    (home / "lakes.json").write_text(content)
    for words in (("lake", "list"), ("forget", "--lakes", "--yes")):
        done = main(*words, home=home)
        assert (done.returncode, "lakes.json" in done.stderr) == (4, True), done.stdout


def test_a_home_that_cannot_be_written_takes_no_lake(
    lake_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To attach, to detach and to export say so in a sentence: it is no bug."""
    place = tmp_path / "place"
    exported(lake_home, str(place))
    lake.attach(lake_home, str(place), "one")
    fresh = home_of(tmp_path / "fresh", trace(1))

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "write_text", refuse)
    commands = (
        (lake_home, "lake", "attach", place, "--name", "two"),
        (lake_home, "lake", "detach", "one"),
        (fresh, "export", "--to", place),
    )
    for home, *words in commands:
        done = main(*words, home=home)
        assert done.returncode == 2, done.stderr
        assert "lakes.json cannot be written: Read-only file system." in done.stderr


def test_a_lake_is_not_called_by_a_word_of_sql(lake_home: Path, tmp_path: Path) -> None:
    """`select` and its like are refused as names; one that stands in the file all the same is quoted."""
    for word in ("select", "order", "table"):
        with pytest.raises(UsageError, match="word of SQL"):
            lake.attach(lake_home, str(tmp_path / "lake"), word)
    config = lake_home / "lakes.json"
    config.write_text(config.read_text().replace("years", "select"))
    assert asked_of(lake_home, 'SELECT count(*) FROM "select".llm_calls') == [(6,)]


HOSTILE = (
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('{secret}')",
    "SELECT * FROM '{secret}'",
    "SELECT * FROM glob('/etc/*')",
    "SELECT * FROM read_text('rashomon-lake://years/../secret.csv')",
    "SELECT * FROM read_text('rashomon-lake://years/table=steps/../../../secret.csv')",
    "SELECT * FROM read_text('rashomon-lake://years/table=steps/day=2024-10-04/../../../secret.csv')",
    "SELECT * FROM read_text('rashomon-lake://{secret}')",
    "SELECT * FROM read_text('rashomon-lake:///{secret}')",
    "SELECT * FROM read_text('rashomon-lake://years/rashomon-lake.json')",
    "SELECT * FROM read_text('rashomon-lake://years//{secret}')",
    "SELECT * FROM read_text('file://{secret}')",
    "SELECT * FROM read_text('local://{secret}')",
    "SELECT * FROM read_parquet('rashomon-lake://other/table=steps/day=2024-10-04/x.parquet')",
    "SELECT * FROM read_blob(['rashomon-lake://years/table=steps/*/*.parquet', '{secret}'])",
    "COPY (SELECT 1) TO '{out}'",
    "COPY (SELECT 1) TO 'rashomon-lake://years/new.csv'",
    "COPY (SELECT 1) TO '{parquet}' (FORMAT parquet)",
    "COPY (SELECT 1 AS a, 2 AS b) TO 'rashomon-lake://years/p' (FORMAT parquet, PARTITION_BY a)",
    "COPY years.t FROM '{secret}'",
    "EXPORT DATABASE '{out}'",
    "EXPORT DATABASE 'rashomon-lake://years/dump'",
    "ATTACH '{out}' AS x",
    "ATTACH 'rashomon-lake://years/x.duckdb' AS x",
    "ATTACH '{store}' AS writable",
    "DETACH store",
    "DELETE FROM store.traces",
    "CREATE TABLE store.x AS SELECT 1",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{out}'",
    "SET enable_external_access = true",
    "SET allowed_directories = ['/']",
    "SET allowed_paths = ['{secret}']",
    "RESET allowed_directories",
    "SET lock_configuration = false",
    "SET temp_directory = '/tmp/x'",
    "SET secret_directory = '/tmp/x'",
    "SET log_query_path = '{out}'",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA profiling_output = '{out}'",
    "CREATE SECRET s (TYPE s3)",
    "SELECT * FROM sniff_csv('{secret}')",
    "SELECT * FROM parquet_metadata('{secret}')",
    "SELECT * FROM query('COPY (SELECT 1) TO ''{out}''')",
    "SELECT getenv('HOME')",
)


def test_no_statement_reaches_beyond_the_lakes(lake_home: Path, tmp_path: Path) -> None:
    """With a lake attached, a statement still reads no other file, and writes none at all."""
    secret = tmp_path / "secret.csv"
    secret.write_text("the,secret\n1,2\n")
    parquet = next((tmp_path / "lake" / "table=steps").rglob("*.parquet")).relative_to(tmp_path / "lake")
    named = {"secret": secret, "out": tmp_path / "out", "store": lake_home / "store.duckdb",
             "parquet": f"rashomon-lake://years/{parquet}"}  # fmt: skip

    def files() -> dict[str, tuple[int, int]]:
        found = [path for path in tmp_path.rglob("*") if path.is_file()]
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in found}

    with lake.open_reader(lake_home / "store.duckdb") as reader:
        before = files()
        for sql in HOSTILE:
            try:
                got = reader.execute(sql.format(**named)).fetchall()
            except (duckdb.Error, OSError):
                got = []
            assert not re.search("secret|root:|/etc", str(got)), sql
            assert not got or not re.search("FROM (read_|glob|'|sniff|parquet_m)", sql), (sql, got)
            assert files() == before, sql
        assert reader.execute("SELECT count(*) FROM years.steps").fetchall() == [(9,)]


def test_writing_to_a_lake_is_refused_in_a_sentence(lake_home: Path) -> None:
    """Who tries to write into a lake is told that it is read-only, without a traceback."""
    done = main("sql", "copy (select 1) to 'rashomon-lake://years/new.csv'", home=lake_home)
    assert (done.returncode, "Traceback" in done.stderr, "read-only" in done.stderr) == (2, False, True)


def test_without_a_lake_nothing_is_open(tmp_path: Path) -> None:
    """A home without lakes is read as it always was: by a connection that reaches no file at all."""
    home = home_of(tmp_path / "home", trace(1))
    with lake.open_reader(home / "store.duckdb") as reader, pytest.raises(duckdb.PermissionException):
        reader.execute("SELECT * FROM read_text('rashomon-lake://years/x')")


# ----------------------------------------------------------------------------------------------------- S3


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """A bucket on a server of our own that speaks S3."""
    pytest.importorskip("s3fs", reason="s3:// needs s3fs")
    server_module = pytest.importorskip("moto.server", reason="the S3 server of these tests is moto's")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for variable, value in settings.items():
        monkeypatch.setenv(variable, value)
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    name = f"traces-{os.urandom(4).hex()}"  # the server's buckets outlive it, in this process
    s3fs.S3FileSystem().mkdir(name)
    yield lambda prefix: f"s3://{name}/{prefix}"
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def test_a_lake_on_s3(tmp_path: Path, bucket: Callable[[str], str]) -> None:
    """Written, written again, attached and asked, on a bucket: as on a disk; keys are not on any disk of ours."""
    url = bucket("prod/lake")
    home = home_of(tmp_path / "home", trace(1), trace(2, day=1))
    first = main("export", "--to", url, "--partition-by", "day", "--json", home=home)
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["days"] == 2
    assert exported(home, url) == LakeReport((), 0, 0)
    home_of(home, trace(3, day=1))
    assert exported(home, url).traces == 2
    other = home_of(tmp_path / "other", trace(9))
    assert main("lake", "attach", url, "--name", "s3lake", home=other).returncode == 0
    assert asked_of(other, "SELECT count(*), count(DISTINCT trace) FROM s3lake.steps") == [(9, 3)]
    assert b"testing" not in (other / "lakes.json").read_bytes()


def test_what_a_home_lacks_stays_on_s3_too(tmp_path: Path, bucket: Callable[[str], str]) -> None:
    """Rows of traces that are gone here are kept when their day is written again on a bucket."""
    url = bucket("years")
    home = home_of(tmp_path / "home", trace(1))
    exported(home, url)
    kept = (home / "lakes.json").read_bytes()
    shutil.rmtree(home)
    home_of(home, trace(2))
    (home / "lakes.json").write_bytes(kept)
    exported(home, url)
    lake.attach(home, url, "years")
    assert asked_of(home, "SELECT count(DISTINCT trace) FROM years.steps") == [(2,)]


def test_a_bucket_that_is_not_there(tmp_path: Path, bucket: Callable[[str], str]) -> None:
    """A bucket that does not exist is a sentence with its name."""
    home = home_of(tmp_path / "home", trace(1))
    done = main("export", "--to", "s3://no-such-bucket/x", home=home)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "no-such-bucket" in done.stderr


def test_a_bucket_without_keys(tmp_path: Path) -> None:
    """Where there are no keys, that is a sentence and exit code 2."""
    pytest.importorskip("s3fs", reason="s3:// needs s3fs")
    home = home_of(tmp_path / "home", trace(1))
    none = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    kept = {name: "" for name in os.environ if name.startswith("AWS_")}
    done = main("export", "--to", "s3://bucket/lake", home=home, env={**kept, **none})
    assert (done.returncode, "s3://bucket/lake cannot be used" in done.stderr) == (2, True), done.stderr


def test_names_in_lakes_are_completed(tmp_path: Path) -> None:
    """`from years.` offers the lake's tables and views, an alias its columns; a lake out of reach offers nothing."""
    place, home = tmp_path / "lake", tmp_path / "home"
    forgetful(home, str(place), trace(1))
    completer = Completer(relations(home / "store.duckdb"))
    assert {"years.llm_calls", "years.steps", "years.traces"} <= set(completer.candidates("years.", "from years."))
    assert completer.candidates("c.mod", "select c.mod from years.llm_calls c") == ["c.model"]
    assert "llm_calls" in completer.candidates("llm", "from llm")
    shutil.rmtree(place)
    assert Completer(relations(home / "store.duckdb")).candidates("years.", "from years.") == []


# ------------------------------------------------------------------------------------------------ forgetting


def forgetful(folder: Path, url: str, *found: Tape) -> Path:
    """A home with these traces, all in a lake that is attached to it."""
    home = home_of(folder, *found)
    exported(home, url)
    lake.attach(home, url, "years")
    return home


def everything_in(place: Path) -> str:
    """All that any DuckDB client can read in a lake's files, and the names of the files, as one text."""
    said = [str(path.relative_to(place)) for path in sorted(place.rglob("*"))]
    for path in sorted(place.rglob("*.json")):
        said.append(path.read_text())
    with duckdb.connect() as client:
        for path in sorted(place.rglob("*.parquet")):
            said += [str(row) for row in client.execute(f"SELECT * FROM read_parquet('{path}')").fetchall()]
    return "\n".join(said)


def test_what_is_forgotten_goes_from_the_lake_too(tmp_path: Path) -> None:
    """Rows, parts that nobody else has and the manifest's line go; the other traces of the day are whole."""
    place, one, two = tmp_path / "lake", trace(1, text="anna was here"), trace(2, text="bert")
    home = forgetful(tmp_path / "home", str(place), one, two, trace(3, day=1, text="cora"))
    before = {path: path.read_bytes() for path in place.rglob("*") if "day=2024-10-05" in str(path) and path.is_file()}
    rows_of_two = rows(place, "step_parts", "trace, count(*)")[1]
    said = main("forget", "--trace", one.trace.id, "--yes", home=home)
    assert said.returncode == 4
    assert "LEFT in lake years, day 2024-10-04" in said.stdout
    assert "--lakes takes them out there too" in said.stdout
    assert "anna was here" in everything_in(place)
    done = main("forget", "--lakes", "--yes", "--json", home=home)
    assert (done.returncode, json.loads(done.stdout)["lakes"]) == (0, [])
    told = everything_in(place)
    assert "anna" not in told
    assert one.trace.id not in told
    assert rows(place, "traces", "id") == [(two.trace.id,), (trace(3).trace.id,)]
    assert rows(place, "step_parts", "trace, count(*)")[0] == rows_of_two
    (lost,) = asked_of(home, "SELECT count(*) FROM years.step_parts ANTI JOIN years.parts ON part = digest")[0]
    assert lost == 0
    assert {path: path.read_bytes() for path in before} == before
    assert exported(home, str(place)) == LakeReport((), 0, 0)


def test_a_text_is_found_in_lakes_where_the_home_has_it_no_more(tmp_path: Path) -> None:
    """Years later the person asks: the home keeps a month, the lake has it, with the replay of it in another day."""
    place = tmp_path / "lake"
    replay = trace(4, day=3, text="nothing")
    replay = replay._replace(trace=replay.trace._replace(parent=trace(1).trace.id))
    home = forgetful(tmp_path / "home", str(place), trace(1, text="jane@example.com"), replay, trace(5, day=3))
    kept = (home / "lakes.json").read_bytes()
    shutil.rmtree(home)
    home_of(home, trace(6))
    (home / "lakes.json").write_bytes(kept)
    plan = main("forget", "--text", "jane@example.com", "--lakes", home=home)
    assert "also in lake years, day 2024-10-04" in plan.stdout
    assert "jane@example.com" in everything_in(place), "a plan changes nothing"
    assert main("forget", "--text", "jane@example.com", "--lakes", "--yes", home=home).returncode == 0
    assert "jane@example.com" not in everything_in(place)
    assert rows(place, "traces", "id") == [(trace(5).trace.id,)]
    assert not list(place.rglob("day=2024-10-04/*")), "a day of which nothing is left has no files"


def test_a_note_goes_from_the_lake_without_its_trace(tmp_path: Path) -> None:
    """What only a note says goes with the note; the trace that it was on stays, in the home and in the lake."""
    place = tmp_path / "lake"
    home = home_of(tmp_path / "home", trace(1), trace(2))
    write(home, Note("n1", trace(1).trace.id, None, 5, "ana", "ask jane", ()))
    write(home, Note("n2", trace(1).trace.id, None, 6, "ana", "all good", ()))
    exported(home, str(place))
    lake.attach(home, str(place), "years")
    done = main("forget", "--text", "jane", "--lakes", "--yes", home=home)
    assert done.returncode == 0, done.stdout
    assert "taken out of lake years, day 2024-10-04" in done.stdout
    assert "1 note" in done.stdout.splitlines()[-1]
    assert "jane" not in everything_in(place)
    assert rows(place, "annotations", "text") == [("all good",)]
    assert rows(place, "traces") == [(2,)]
    assert asked_of(home, "SELECT count(*) FROM traces") == [(2,)]


def test_other_homes_files_are_no_exception(tmp_path: Path) -> None:
    """A trace that another home wrote into the shared lake goes as well."""
    place = tmp_path / "lake"
    exported(home_of(tmp_path / "one", trace(1, text="jane"), trace(2)), str(place))
    home = forgetful(tmp_path / "two", str(place), trace(3, text="jane"))
    assert main("forget", "--text", "jane", "--lakes", "--yes", home=home).returncode == 0
    assert "jane" not in everything_in(place)
    assert rows(place, "traces", "id") == [(trace(2).trace.id,)]


def test_files_of_an_export_that_was_killed_are_looked_into(tmp_path: Path) -> None:
    """Where there is no manifest yet, the files themselves say whose they are."""
    place = tmp_path / "lake"
    home = forgetful(tmp_path / "home", str(place), trace(1, text="jane"), trace(2))
    for path in (*place.rglob("_manifest/**/*.json"), *place.rglob("table=traces/**/*.parquet")):
        path.unlink()
    assert main("forget", "--trace", trace(1).trace.id, "--lakes", "--yes", home=home).returncode == 0
    assert "jane" not in everything_in(place)
    assert rows(place, "steps", "trace, count(*)") == [(trace(2).trace.id, 3)]


def test_a_lake_that_cannot_be_reached_or_read_is_named(tmp_path: Path) -> None:
    """What could not be searched is no proof: it is named, and the exit code is 4."""
    place = tmp_path / "lake"
    home = forgetful(tmp_path / "home", str(place), trace(1, text="jane"), trace(2, day=1))
    damaged = next(iter(place.rglob("table=steps/day=2024-10-05/*.parquet")))
    damaged.write_bytes(b"PAR1 nothing")
    said = main("forget", "--text", "jane", "--lakes", "--yes", home=home)
    assert said.returncode == 4
    assert "NOT searched or changed, lake years" in said.stdout
    assert "day=2024-10-05" in said.stdout
    assert "LEFT" not in said.stdout, "what could be read was dealt with"
    assert rows(place, "traces", "id") == [(trace(2).trace.id,)]
    shutil.rmtree(place)
    gone = main("forget", "--lakes", "--yes", home=home)
    assert (gone.returncode, "NOT searched" in gone.stdout) == (4, True)
    assert "Traceback" not in gone.stderr


def test_a_day_that_cannot_be_written_anew_does_not_hide_what_was_done(tmp_path: Path) -> None:
    """The home has forgotten, other days and lakes too; the damaged day is named, and the exit code is 4."""
    place, second = tmp_path / "lake", tmp_path / "second"
    home = forgetful(tmp_path / "home", str(place), trace(1, text="jane"), trace(2), trace(3, day=1, text="jane"))
    exported(home, str(second))
    lake.attach(home, str(second), "zz")
    damaged = next(iter(place.rglob("table=traces/day=2024-10-04/*.parquet")))
    damaged.write_bytes(damaged.read_bytes()[:-9])
    said = main("forget", "--text", "jane", "--lakes", "--yes", home=home)
    assert (said.returncode, "Traceback" in said.stderr) == (4, False), said.stderr
    assert "2 traces forgotten" in said.stdout
    assert "NOT searched or changed, lake years" in said.stdout
    assert "LEFT in lake years, day 2024-10-04" in said.stdout
    assert not list(place.rglob("day=2024-10-05/*"))
    assert "LEFT in lake zz" not in said.stdout
    assert rows(second, "traces", "id") == [(trace(2).trace.id,)]


def test_what_only_a_lake_holds_is_noted_as_forgotten(tmp_path: Path) -> None:
    """Killed before it came to the lakes, `forget --lakes` takes the trace out that a text had found in a lake."""
    place, one = tmp_path / "lake", trace(1, text="jane")
    home = forgetful(tmp_path / "home", str(place), one)
    kept = (home / "lakes.json").read_bytes()
    shutil.rmtree(home)
    home_of(home, trace(6))
    (home / "lakes.json").write_bytes(kept)
    killed = """
import os, sys
from rashomon import cli
from rashomon.store import lake_removal
lake_removal.remove = lambda *_: os._exit(9)
sys.exit(cli.main(["forget", "--text", "jane", "--lakes", "--yes"]))
"""
    assert subprocess.run([sys.executable, "-c", killed], env=environment(home), check=False).returncode == 9
    assert rows(place, "traces", "id") == [(one.trace.id,)]
    assert main("forget", "--lakes", "--yes", home=home).returncode == 0
    assert "jane" not in everything_in(place)


def test_a_family_that_only_the_lake_knows_goes_from_the_home_too(tmp_path: Path) -> None:
    """The recording is in the lake alone: with `--lakes` its replay goes from the home as well as from the lake."""
    place = tmp_path / "lake"
    one, replay = trace(1, text="jane"), trace(2, text="retold")
    replay = replay._replace(trace=replay.trace._replace(parent=one.trace.id))
    home = forgetful(tmp_path / "home", str(place), one, replay)
    kept = (home / "lakes.json").read_bytes()
    shutil.rmtree(home)
    home_of(home, replay, trace(3))
    (home / "lakes.json").write_bytes(kept)
    done = main("forget", "--text", "jane", "--lakes", "--yes", home=home)
    assert done.returncode == 0, done.stdout
    assert asked_of(home, "SELECT id FROM traces") == [(trace(3).trace.id,)]
    assert not list(place.rglob("*.parquet"))


def test_a_tag_or_an_id_that_only_the_lake_has(tmp_path: Path) -> None:
    """With `--lakes`, a tag and a whole id find what the home has no more; an id that nobody has is refused."""
    place = tmp_path / "lake"
    tagged = trace(1, text="jane")
    tagged = tagged._replace(trace=tagged.trace._replace(tags={"user": "u-17"}))
    home = forgetful(tmp_path / "home", str(place), tagged, trace(2), trace(3))
    kept = (home / "lakes.json").read_bytes()
    shutil.rmtree(home)
    home_of(home, trace(6))
    (home / "lakes.json").write_bytes(kept)
    refused = main("forget", "--trace", "nobody", "--lakes", "--yes", home=home)
    assert (refused.returncode, "'nobody'" in refused.stderr) == (2, True)
    said = main("forget", "--tag", "user=u-17", "--trace", trace(2).trace.id, "--lakes", "--yes", home=home)
    assert said.returncode == 0, said.stderr
    assert rows(place, "traces", "id") == [(trace(3).trace.id,)]
