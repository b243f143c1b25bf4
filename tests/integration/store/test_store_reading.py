"""Asking the store: lists, references, steps, SQL."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from rashomon import tapes, values
from rashomon.errors import AmbiguousTrace, TraceNotFound, UsageError
from rashomon.model import Tape, Trace
from rashomon.store import TraceStore, ingest
from tests.steps import llm, said, tool

SECOND = 10**9


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four traces: two of one name, a replay of the first, and one with a failing tool."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "journals").mkdir()
    answer = said("It is blue.") | {"model": "gpt-4o", "usage": {"prompt_tokens": 12, "completion_tokens": 4}}
    asked = llm(answer, {"model": "gpt-4o", "messages": [{"role": "user", "content": "What colour?"}]})
    looked = tool({"order_id": "A-1042"}, {"status": "refunded"})
    traces = [
        (Trace("aa11", "colour", 1 * SECOND, 3 * SECOND, "ok", 0, tags={"env": "prod"}), [asked, looked]),
        (Trace("aa22", "colour", 2 * SECOND, 3 * SECOND, "ok", 0), [asked]),
        (Trace("bb33", "colour", 3 * SECOND, 4 * SECOND, "ok", 0, parent="aa11", swaps=({"model": "o3"},)), [asked]),
        (Trace("cc44", "shop", 4 * SECOND, 5 * SECOND, "error", 1, "boom"), [looked, looked, looked]),
    ]
    for trace, steps in traces:
        placed = [step._replace(id=f"0.{at}", index=at, started_us=at) for at, step in enumerate(steps)]
        tapes.write_tape(folder / "journals" / f"{trace.id}.rsj", Tape(trace, tuple(placed)))
    ingest(folder / "journals", folder / "store.duckdb")
    return folder / "store.duckdb"


@pytest.fixture
def store(path: Path) -> TraceStore:
    """That store."""
    return TraceStore(path)


def test_traces_come_newest_first_with_what_they_add_up_to(store: TraceStore) -> None:
    """A list has counts, tokens, models, tags and swaps of each trace."""
    rows = store.traces()
    assert [row.id for row in rows] == ["cc44", "bb33", "aa22", "aa11"]
    first = rows[-1]
    assert (first.steps, first.llm_calls, first.tool_calls, first.input_tokens, first.output_tokens) == (2, 1, 1, 12, 4)
    assert (first.models, first.tags, first.duration_us, first.outcome) == (
        ["gpt-4o"],
        {"env": "prod"},
        2 * 10**6,
        "ok",
    )
    assert rows[1].parent == "aa11"
    assert rows[1].swaps == [{"model": "o3"}]
    assert (rows[0].exit_code, rows[0].error, rows[0].models) == (1, "boom", [])


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"where": "outcome = 'error'"}, ["cc44"]),
        ({"where": "tags->>'env' = 'prod' -- only there"}, ["aa11"]),
        ({"where": "steps > 1 and list_contains(models, 'gpt-4o')"}, ["aa11"]),
        ({"since_ns": 3 * SECOND}, ["cc44", "bb33"]),
        ({"name": "colour", "limit": 2}, ["bb33", "aa22"]),
        ({"name": "colour", "since_ns": 2 * SECOND, "where": "parent is null"}, ["aa22"]),
    ],
)
def test_traces_are_chosen(store: TraceStore, asked: dict[str, object], found: list[str]) -> None:
    """SQL, age, name and number narrow the list, alone and together."""
    assert [row.id for row in store.traces(**asked)] == found  # type: ignore[arg-type]


@pytest.mark.parametrize("where", ["nonsense", "1 = ", "true); select 1; --", "outcome", ""])
def test_a_bad_condition_is_one_sentence(store: TraceStore, where: str) -> None:
    """SQL that cannot be run is refused with the condition in the message, and without a trace of ours."""
    with pytest.raises(UsageError) as caught:
        store.traces(where=where)
    assert repr(where) in caught.value.problem
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("reference", "found"),
    [
        ("aa22", "aa22"), ("c", "cc44"), ("@last", "cc44"), ("@prev", "bb33"), ("@last~2", "aa22"),
        ("@prev~2", "aa11"), ("shop", "cc44"), ("colour", "aa22"),
    ],
)  # fmt: skip
def test_references_name_a_trace(store: TraceStore, reference: str, found: str) -> None:
    """An id, a unique prefix, a count from the end, or a name: the newest recording of it."""
    assert store.resolve(reference) == found


@pytest.mark.parametrize(
    ("reference", "error", "said_"),
    [
        ("aa", AmbiguousTrace, "aa22 (colour), aa11 (colour)"),
        ("zz", TraceNotFound, "cc44 (shop), bb33 (colour)"),
        ("", TraceNotFound, "cc44"),
        ("@last~4", TraceNotFound, "@last~3"),
        ("@first", TraceNotFound, "@prev"),
    ],
)
def test_bad_references_say_what_there_is(
    store: TraceStore, reference: str, error: type[Exception], said_: str
) -> None:
    """A reference that names no trace, or several, lists candidates."""
    with pytest.raises(error, match=r".") as caught:
        store.resolve(reference)
    assert said_ in str(caught.value)


def test_steps_are_found_by_id_and_by_index(store: TraceStore) -> None:
    """A step is had by its id or its place; another one is refused with what there is."""
    assert values.decode(store.step("aa11", "0.1").request.body) == {"order_id": "A-1042"}
    assert store.step("aa11", "1") == store.step("aa11", "0.1")
    with pytest.raises(UsageError, match=r"has no step '7'. Its steps: 0 to 1"):
        store.step("aa11", "7")


def test_step_rows_say_what_happened(store: TraceStore) -> None:
    """Light rows carry model, tokens, status and a title."""
    asked, looked = store.step_rows("aa11")
    assert (asked.model, asked.input_tokens, asked.output_tokens, asked.status) == ("gpt-4o", 12, 4, 200)
    assert asked.title == 'gpt-4o → "It is blue."'
    assert looked.title == 'get_order(order_id="A-1042") → {"status": "refunded"}'


def test_an_unknown_trace_is_not_found(store: TraceStore) -> None:
    """Every question about a trace that is not there says so."""
    for question in (store.trace, store.tape, store.step_rows):
        with pytest.raises(TraceNotFound, match="'nope'"):
            question("nope")


def test_equal_calls_have_equal_digests(store: TraceStore) -> None:
    """The same call in two traces is found by its digest."""
    found = store.query("select count(distinct request_digest), count(*) from llm_calls")
    assert found.rows == [(1, 3)]


def test_sql_gives_columns_types_and_rows(store: TraceStore) -> None:
    """A query answers with names, types and Python values."""
    result = store.query("select trace, model, input_tokens from llm_calls order by trace limit 1;")
    assert result == (["trace", "model", "input_tokens"], ["VARCHAR", "VARCHAR", "BIGINT"], [("aa11", "gpt-4o", 12)])
    assert store.query("select count(*) from tool_calls where title like '%A-1042%'").rows == [(4,)]


WRITES = [
    "delete from traces", "create table t (a int)", "drop view llm_calls", "update meta set value = '9'",
    "insert into meta values ('a', 'b')", "attach ':memory:' as m",
]  # fmt: skip
REACHES = [
    "copy traces to 'out.csv'", "export database 'out'", "attach 'other.duckdb'", "install httpfs", "load httpfs",
    "select * from read_csv('/etc/passwd')", "select * from '/etc/passwd'", "select * from read_text('/etc/passwd')",
    "select * from glob('/*')", "set enable_external_access = true", "reset lock_configuration",
    "pragma enable_profiling",
]  # fmt: skip
BAD = ["select", "nonsense", "", "select 1; select 2"]


@pytest.mark.parametrize("sql", WRITES + REACHES + BAD)
def test_sql_cannot_write_load_or_reach_files(
    path: Path, sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the statement, nothing changes, nothing is loaded, no other file is read or made."""
    monkeypatch.chdir(tmp_path)
    before = path.read_bytes()
    with pytest.raises(UsageError) as caught:
        TraceStore(path).query(sql)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sql", REACHES + BAD)
def test_sql_cannot_reach_out_of_a_missing_store(sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same holds where there is no store yet."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError):
        TraceStore(tmp_path / "none.duckdb").query(sql)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_does_not_exist_reads_as_empty(tmp_path: Path) -> None:
    """Before anything is recorded, lists are empty and references say how to record."""
    store = TraceStore(tmp_path / "store.duckdb")
    assert store.traces() == []
    assert store.query("select count(*) from steps").rows == [(0,)]
    with pytest.raises(TraceNotFound, match="rashomon record"):
        store.resolve("@last")


def test_every_table_and_column_is_described(path: Path) -> None:
    """The schema carries a comment on every table, view and column of a table."""
    with duckdb.connect(str(path), read_only=True) as connection:
        tables = connection.execute("select table_name from duckdb_tables() where comment is null").fetchall()
        views = connection.execute(
            "select view_name from duckdb_views() where not internal and comment is null"
        ).fetchall()
        columns = connection.execute(
            "select table_name, column_name from duckdb_columns() where not internal and comment is null"
            " and table_name in (select table_name from duckdb_tables())"
        ).fetchall()
    assert (tables, views, columns) == ([], [], [])


def test_with_holds_the_file_and_without_does_not(path: Path) -> None:
    """Outside of `with` a store can be written between two questions; inside, all questions see one state."""
    store = TraceStore(path)
    store.traces()
    duckdb.connect(str(path)).close()
    with store:
        store.traces()
        with pytest.raises(duckdb.ConnectionException):
            duckdb.connect(str(path))
    duckdb.connect(str(path)).close()
