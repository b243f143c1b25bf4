"""`rashomon sql`: formats, files, errors, Ctrl-C, and the session in a real terminal."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rashomon.commands.interrupting import Interruptible
from rashomon.errors import UsageError
from rashomon.store import connection, open_home
from rashomon.store.asking import ask
from tests.in_process import main
from tests.integration.cli.conftest import NEW, OLD, Ran

Run = Callable[..., Ran]
ENDLESS = "select range as n, repeat('x', 500) as t from range(1000000000000)"
FOREVER = "select count(*) from range(100000000) a, range(100000) b"


def started(home: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """`rashomon sql ARGUMENTS`, running."""
    command = [sys.executable, "-m", "rashomon.cli", "sql", *arguments, "--home", str(home)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


# -------------------------------------------------------------------------------------------- formats


def test_parquet_to_a_file_and_through_a_pipe(rashomon: Run, tmp_path: Path) -> None:
    """`--format parquet` writes a Parquet file of the answer, whether it is named or piped."""
    parquet = pytest.importorskip("pyarrow.parquet")
    query = "select id, steps, tags from trace_list where name = 'refund' order by id"
    piped = rashomon("sql", query, "--format", "parquet")
    named = rashomon("sql", query, "--output", str(tmp_path / "answer.parquet"))
    expected = [{"id": one, "steps": 6, "tags": '{"build":"412"}'} for one in (OLD, NEW)]
    assert (piped.code, named.code, named.raw) == (0, 0, b"")
    assert parquet.read_table(io.BytesIO(piped.raw)).to_pylist() == expected
    assert parquet.read_table(tmp_path / "answer.parquet").to_pylist() == expected


def test_arrow_is_a_stream(rashomon: Run) -> None:
    """`--format arrow` writes an Arrow stream, with the types of the columns."""
    ipc = pytest.importorskip("pyarrow.ipc")
    ran = rashomon("sql", "select 1::bigint as n, [1, 2] as l, null as nothing", "--format", "arrow")
    table = ipc.open_stream(ran.raw).read_all()
    assert table.to_pylist() == [{"n": 1, "l": [1, 2], "nothing": None}]
    assert str(table.schema.field("n").type) == "int64"


def test_parquet_says_which_column_it_has_no_form_for(rashomon: Run) -> None:
    """A type that Parquet does not know is told in a sentence, with what to do."""
    pytest.importorskip("pyarrow")
    ran = rashomon("sql", "select interval 1 day as age", "--format", "parquet")
    assert (ran.code, ran.raw) == (2, b"")
    assert "Parquet has no form for" in ran.err
    assert "::VARCHAR" in ran.err


def test_csv_and_json_to_files(rashomon: Run, tmp_path: Path) -> None:
    """The end of `--output` chooses the format, and the file has exactly the answer."""
    query = "select name, error from trace_list order by name desc, id"
    rashomon("sql", query, "--output", str(tmp_path / "answer.csv"))
    rashomon("sql", query, "--output", str(tmp_path / "answer.json"))
    rows = list(csv.reader((tmp_path / "answer.csv").open(newline="")))
    document = json.loads((tmp_path / "answer.json").read_text())
    assert rows == [["name", "error"], ["refund", ""], ["refund", ""], ["broken", "Killed"]]
    assert document["rows"] == [["refund", None], ["refund", None], ["broken", "Killed"]]
    assert document["format"] == "rashomon.sql/1"


def test_a_file_that_cannot_be_written_is_explained(rashomon: Run, tmp_path: Path) -> None:
    """A folder that is not there gives a sentence and exit code 2."""
    ran = rashomon("sql", "select 1", "--output", str(tmp_path / "nowhere" / "a.csv"))
    assert ran.code == 2
    assert "cannot be written: No such file or directory" in ran.err


def test_a_query_that_fails_leaves_an_older_file(rashomon: Run, tmp_path: Path) -> None:
    """`--output` names a file that is replaced when the answer is whole, and not before."""
    (tmp_path / "answer.csv").write_text("older\n")
    ran = rashomon("sql", "select (range::varchar || case when range = 9000 then 'x' else '' end)::int as n"
                   " from range(10000)", "--output", str(tmp_path / "answer.csv"))  # fmt: skip
    assert ran.code == 2
    assert "9000x" in ran.err
    assert sorted(one.name for one in tmp_path.glob("*answer*")) == ["answer.csv"]
    assert (tmp_path / "answer.csv").read_text() == "older\n"


def test_rows_as_objects(rashomon: Run, tape_home: Path, tmp_path: Path) -> None:
    """`--format jsonl` writes a row a line, and loses no column that has the name of another; an export does so too."""
    query = "select range as n, 'a' as n, null as n_1, [1.5, 'nan'::double] as l from range(3)"
    ran = rashomon("sql", query, "--format", "jsonl")
    rows = [{"n": number, "n_1": "a", "n_1_1": None, "l": [1.5, "nan"]} for number in range(3)]
    assert [json.loads(line) for line in ran.out.splitlines()] == rows
    for command in (["sql", query, "-o"], ["export", "--sql", query, "-o"]):
        path = tmp_path / f"{command[0]}.jsonl"
        done = rashomon(*command, str(path))
        assert (done.code, path.read_text()) == (0, ran.out), done.err
    assert done.out == f"{path}: 3 rows.\n"
    assert rashomon("export", "--sql", query, "-o", "-", "--format", "jsonl").out == ran.out
    assert rashomon("export", "--sql", query, "-o", str(tmp_path / "rows.rsh")).code == 2
    both = rashomon("export", "@last", "--sql", query, "-o", str(tmp_path / "rows.jsonl"))
    assert (both.code, "--sql chooses what is written by itself" in both.err) == (2, True)


def test_a_query_that_fails_late_prints_nothing(rashomon: Run) -> None:
    """An error in the ten-thousandth row comes before anything is printed."""
    query = "select (range::varchar || case when range = 9000 then 'x' else '' end)::int as n from range(10000)"
    for shape in ("table", "csv", "json", "jsonl"):
        ran = rashomon("sql", query, "--format", shape)
        assert (ran.code, ran.raw) == (2, b""), shape
        assert f"at line 1, column {query.index('::int') + 1}." in ran.err


def test_a_long_table_is_aligned(rashomon: Run) -> None:
    """Rows beyond those that the widths are taken from stand in the same columns."""
    lines = rashomon("sql", "select range as number, 'x' as x from range(5000)").out.splitlines()
    assert len(lines) == 5001
    assert {len(line) for line in lines[1:]} == {9}
    assert lines[-1] == "  4999  x"


def test_a_query_can_come_from_stdin(rashomon: Run) -> None:
    """Without QUERY, or with -, the statement is read from stdin."""
    for arguments in (["sql"], ["sql", "-"]):
        assert rashomon(*arguments, stdin=b"select 42 as answer").out.split() == ["answer", "42"]


def test_bytes_that_are_no_text_are_refused_in_a_sentence(rashomon: Run, tape_home: Path) -> None:
    """Neither stdin nor an argument need be UTF-8: that is said, and is no bug of ours."""
    ran = rashomon("sql", "-", stdin=b"select '\xff'")
    assert (ran.code, "no UTF-8 at byte 8" in ran.err) == (2, True)
    command = [sys.executable, "-m", "rashomon.cli", "sql", os.fsdecode(b"select '\xff'"), "--home", str(tape_home)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert (done.returncode, b"no UTF-8" in done.stderr) == (2, True), done.stderr


def test_a_dash_is_stdout_for_an_output_too(rashomon: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-o -` prints, as it does for `export`, and leaves no file of that name."""
    monkeypatch.chdir(tmp_path)
    assert rashomon("sql", "select 42 as answer", "-o", "-").out.split() == ["answer", "42"]
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("shape", ["table", "csv", "json", "jsonl"])
def test_months_and_nanoseconds_are_what_the_database_has(rashomon: Run, shape: str) -> None:
    """A month is not thirty days, and nanoseconds are not cut, for all that Python's types have neither."""
    query = (
        "select interval 1 year as a, timestamp_ns '2024-01-01 00:00:00.123456789' as b, a, [interval 2 month] as d,"
        " range as n from range(3) order by range desc; -- the last"
    )
    ran = rashomon("sql", query, "--format", shape)
    for expected in ("1 year", "2024-01-01 00:00:00.123456789", "2 months"):
        assert ran.out.count(expected) == (6 if expected == "1 year" else 3), ran.out + ran.err
    if shape == "csv":
        assert [line[-1] for line in ran.out.splitlines()] == ["n", "2", "1", "0"]
    if shape == "json":
        assert [one["type"] for one in json.loads(ran.out)["columns"]][:2] == ["INTERVAL", "TIMESTAMP_NS"]


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
def test_times_are_in_utc_wherever_the_machine_is(tape_home: Path, zone: str) -> None:
    """What is compared with the store's times is in UTC as they are, and a time with a zone is in every shape."""
    query = "select current_setting('TimeZone'), to_timestamp(0), now()::timestamp = (now() at time zone 'UTC')"
    environ = {**os.environ, "TZ": zone, "RASHOMON_HOME": str(tape_home)}
    for shape in ("csv", "table", "json", "jsonl"):
        command = [sys.executable, "-m", "rashomon.cli", "sql", query, "--format", shape]
        ran = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert "UTC" in ran.stdout
        assert "1970-01-01 00:00:00+00" in ran.stdout
        assert "true" in ran.stdout.lower()


@pytest.mark.parametrize("shape", ["table", "csv", "json", "jsonl"])
def test_what_never_ends_is_called_so(tmp_path: Path, shape: str) -> None:
    """The infinite date and timestamp are `infinity`, and the last day that Python knows is that day."""
    query = "select 'infinity'::timestamp as a, '-infinity'::date as b, '9999-12-31'::date as c, 'inf'::timestamptz"
    ran = main("sql", query, "--format", shape, home=tmp_path)
    assert re.findall(r"-?infinity|\d{4}-\d\d-\d\d", ran.stdout) == ["infinity", "-infinity", "9999-12-31", "infinity"]


def test_a_million_rows_of_csv_in_bounded_memory(rashomon: Run, tape_home: Path) -> None:
    """A million rows are never all in memory: they add less to it than a tenth of what they would take."""
    rashomon("ingest")
    sizes = []
    for rows in (1_000, 1_000_000):
        running = started(tape_home, f"select range as n, repeat('x', 50) as t from range({rows})", "--format", "csv")
        assert running.stdout is not None
        lines = 0
        while chunk := running.stdout.read(1 << 20):
            lines += chunk.count(b"\n")
        _, status, usage = os.wait4(running.pid, 0)
        running.returncode = os.waitstatus_to_exitcode(status)
        assert (running.returncode, lines) == (0, rows + 1)
        sizes.append(usage.ru_maxrss)
    kilobytes = sizes[1] - sizes[0]
    assert kilobytes < 60_000, sizes  # a million of these rows as Python has them are some 250 MB


# --------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "statement",
    [
        "copy (select 1) to '{file}'",
        "copy traces to '{file}' (format parquet)",
        "export database '{file}'",
        "attach '{file}' as other",
        "select * from read_csv('/etc/hostname')",
        "select * from '/etc/hostname'",
        "select * from read_text('/etc/hostname')",
        "select * from glob('/etc/*')",
        "select * from store",  # a variable of ours
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "reset lock_configuration",
        "create table t as select 1",
        "update traces set name = 'x'",
        "drop view llm_calls",
    ],
)
def test_sql_neither_writes_nor_reads_files(tape_home: Path, tmp_path: Path, statement: str) -> None:
    """Nothing that is asked changes the store or reaches a file, also where the answer is to be Arrow."""
    store = open_home(tape_home)
    file, before = tmp_path / "written", store.path.read_bytes()
    for arrow in (False, True):
        with ask(store.path, statement.format(file=file)) as answer, pytest.raises(UsageError, match="cannot be run"):
            answer.write_arrow(io.BytesIO()) if arrow else answer.start()
    assert not file.exists()
    assert store.path.read_bytes() == before


def test_a_refused_statement_is_told_in_a_sentence(rashomon: Run, tmp_path: Path) -> None:
    """`copy ... to` gives exit code 2, why, and no file."""
    ran = rashomon("sql", f"copy (select 1) to '{tmp_path / 'written'}'")
    assert (ran.code, ran.raw) == (2, b"")
    assert "Cannot access file" in ran.err
    assert "Traceback" not in ran.err
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("before", ["", "  ", "\t", "\t 1,\t", "'漢字', 'é', ", "'漢字', " * 40, "select_me, " * 3])
def test_a_column_is_counted_in_characters(tape_home: Path, before: str) -> None:
    """The place of a mistake is right behind tabs, wide characters and very long lines."""
    line = f"{before}nonsense, {'1, ' * 80}2"
    with (
        ask(open_home(tape_home).path, f"select 1 as select_me,\n{line}") as answer,
        pytest.raises(UsageError) as error,
    ):
        answer.start()
    assert f"at line 2, column {len(before) + 1}." in str(error.value)


def test_errors_say_where(rashomon: Run) -> None:
    """A mistake is told with its line and column, also far to the right of a long line; a near miss is suggested."""
    second = rashomon("sql", "select name,\n  nonsense\nfrom traces")
    far = rashomon("sql", f"select {', '.join(['name'] * 80)}, nonsense, {', '.join(['id'] * 80)} from traces")
    table = rashomon("sql", "select * from llm_cals")
    assert (second.code, far.code, table.code) == (2, 2, 2)
    assert "at line 2, column 3." in second.err
    assert f"at line 1, column {len('select ') + 80 * len('name, ') + 1}." in far.err
    assert "Did you mean llm_calls?" in table.err


# --------------------------------------------------------------------------------------------- stopping


def test_ctrl_c_ends_a_single_query_with_whole_lines(rashomon: Run, tape_home: Path) -> None:
    """Ctrl-C in the middle of an endless answer: exit code 130, no traceback, no half line."""
    rashomon("ingest")
    running = started(tape_home, ENDLESS, "--format", "csv")
    assert running.stdout is not None
    head = os.read(running.stdout.fileno(), 1 << 16)  # it prints, so it runs
    running.send_signal(signal.SIGINT)
    rest, errors = running.communicate(timeout=60)
    lines = (head + rest).decode().split("\n")
    assert running.returncode == 130
    assert errors == b""
    assert lines[0] == "n,t"
    assert lines[-1] == ""
    assert {len(line) - len(line.lstrip("0123456789")) for line in lines[1:-1] if not line.endswith("x" * 500)} == set()


def test_ctrl_c_stops_a_query_that_has_nothing_to_print_yet(tape_home: Path) -> None:
    """A query that would run for hours ends at once, and Ctrl-C is afterwards what it was before."""
    path, before = open_home(tape_home).path, signal.getsignal(signal.SIGINT)
    interruptible = Interruptible()

    def pressed(work: Callable[[], Any], stop: Callable[[], None]) -> Any:
        def working() -> Any:
            os.kill(os.getpid(), signal.SIGINT)
            return work()

        return interruptible(working, stop)

    with interruptible, ask(path, FOREVER, pressed) as answer, pytest.raises(KeyboardInterrupt):
        answer.start()
    assert signal.getsignal(signal.SIGINT) is before


LITTLE_MEMORY = """
import sys
from rashomon import cli
from rashomon.store import connection
connection._READ |= {"memory_limit": "20MB", "threads": "1"}
sys.argv = ["rashomon", *sys.argv[1:]]
cli.main()
"""


def test_what_did_not_fit_into_memory_is_removed(tape_home: Path) -> None:
    """A query that needs the disk leaves nothing there: the database removes it, and the command waits for that."""
    store = open_home(tape_home).path
    query = "select hash(range) as h, repeat('x', 40) as t from range(200000) order by h offset 199999"
    command = [sys.executable, "-c", LITTLE_MEMORY, "sql", query, "--format", "csv", "--home", str(tape_home)]
    main("ls", home=tape_home)  # nothing is new: the command opens the store while it loads what it asks with
    done = subprocess.run(command, capture_output=True, check=True)
    assert (done.stdout.split(b",")[-1], done.stderr) == (b"x" * 40 + b"\n", b"")
    assert [one.name for one in store.parent.glob(f"{store.name}.tmp*")] == []


def test_a_reader_that_goes_away_is_no_error(rashomon: Run, tape_home: Path) -> None:
    """`rashomon sql ... | head` ends as other tools do, without a word."""
    rashomon("ingest")
    for shape in ("csv", "table"):
        running = started(tape_home, ENDLESS, "--format", shape)
        assert running.stdout is not None
        assert running.stdout.readline().split(b",")[0].strip() in (b"n", b"n  t")
        running.stdout.close()
        assert running.wait(60) in (-signal.SIGPIPE, 141)
        assert running.stderr is not None
        assert running.stderr.read() == b""


# ---------------------------------------------------------------------------------------------- session


class Session:
    """`rashomon sql` in a pseudo-terminal of its own, which it also controls."""

    def __init__(self, home: Path, state: Path, *arguments: str) -> None:
        self.controller, screen = pty.openpty()
        fcntl.ioctl(screen, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        environ = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "CI")}
        environ |= {"RASHOMON_HOME": str(home), "TERM": "xterm", "XDG_STATE_HOME": str(state), "NO_COLOR": "1"}
        environ |= {"INPUTRC": os.devnull}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "rashomon.cli", "sql", *arguments], env=environ, stdin=screen, stdout=screen,
            stderr=screen, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(screen)
        self._seen = ""

    def until(self, text: str) -> str:
        """All that is drawn up to and with a text."""
        assert self.seen(text, 60), f"no {text!r} in {self._seen!r}"
        drawn, _, self._seen = self._seen.partition(text)
        return drawn + text

    def interrupt(self, text: str) -> None:
        """Press Ctrl-C, again where Python's readline lost it: it does when it is just about to wait."""
        for _ in range(20):
            self.type("\x03")
            if self.seen(text, 3):
                break
        self.until(text)

    def seen(self, text: str, wait_s: float) -> bool:
        """Whether a text is drawn within so many seconds."""
        deadline = time.monotonic() + wait_s
        while text not in self._seen:
            ready, _, _ = select.select([self.controller], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                return False
            self._seen += re.sub(r"\x1b\[\??[0-9;]*[a-zA-Z]", "", os.read(self.controller, 65536).decode())
        return True

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.controller, text.encode())

    def until_it_works(self) -> None:
        """Wait until the line is taken: readline has given the terminal back."""
        deadline = time.monotonic() + 60
        while not termios.tcgetattr(self.controller)[3] & termios.ICANON:
            assert time.monotonic() < deadline
            os.sched_yield()

    def end(self) -> int:
        """End it; its exit code."""
        self.type("\x04")
        code = self.process.wait(60)
        os.close(self.controller)
        return code


@pytest.fixture
def session(tape_home: Path, tmp_path: Path) -> Iterator[Session]:
    """A session at its first prompt."""
    running = Session(tape_home, tmp_path / "state")
    running.until("rashomon> ")
    yield running
    if running.process.poll() is None:
        running.process.kill()
        running.process.wait()


def test_a_statement_may_take_several_lines(session: Session) -> None:
    """A statement goes on until its semicolon, whatever is in its texts and comments; then it is answered."""
    session.type("select 'a;b' as semicolon, -- not here;\n")
    session.until("...> ")
    session.type("  40 + 2 as answer;\n")
    drawn = session.until("1 row")
    assert "a;b" in drawn
    assert "42" in drawn
    session.until("rashomon> ")
    assert session.end() == 0


def test_ctrl_c_stops_the_query_and_not_the_session(session: Session) -> None:
    """A query that would run for hours is stopped, and the next one is answered."""
    session.type(f"{FOREVER};\n")
    session.until(";")
    session.until_it_works()
    session.type("\x03")
    session.until("Stopped.")
    session.until("rashomon> ")
    session.type("select 41 + 1 as answer;\n")
    session.until("42")
    session.until("rashomon> ")
    assert session.end() == 0


def test_ctrl_c_drops_what_is_typed(session: Session) -> None:
    """Ctrl-C at the prompt begins a new statement."""
    session.type("select nonsense\n")
    session.until("...> ")
    session.interrupt("rashomon> ")
    session.type("select 7 * 6 as answer;\n")
    session.until("42")
    session.until("rashomon> ")
    assert session.end() == 0


def test_tab_completes_names(session: Session) -> None:
    """Tab completes views behind `from`, and columns of what the statement reads, by alias too."""
    session.type("select count(*) as n from trace_l\t;\n")
    assert "trace_list" in session.until("1 row")
    session.until("rashomon> ")
    session.type("select c.dura\t from tool_calls c limit 1\x01")
    session.type("\x05;\n")
    session.until("rashomon> ")
    session.type("selec\t 1 as one;\n")
    session.until("1 row")
    session.until("rashomon> ")
    assert session.end() == 0


def test_commands_with_a_dot(session: Session) -> None:
    """.tables and .schema describe the store, .help the session; an unknown one is told; .quit leaves."""
    session.type(".tables\n")
    assert "llm_calls" in session.until("rashomon> ")
    session.type(".schema costs\n")
    drawn = session.until("rashomon> ")
    assert "trace_name" in drawn
    assert "DOUBLE" in drawn
    session.type(".nothing\n")
    assert "no command '.nothing'" in session.until("rashomon> ")
    session.type(".help\n")
    assert ".schema [NAME]" in session.until("rashomon> ")
    session.type(".quit\n")
    assert session.process.wait(60) == 0


def test_errors_in_a_session_are_told(session: Session) -> None:
    """A mistake is one sentence with its place, and the session goes on."""
    session.type("select nonsense from traces;\n")
    drawn = session.until("rashomon> ")
    assert "at line 1, column 8." in re.sub(r"\s+", " ", drawn)
    assert "Traceback" not in drawn
    assert session.end() == 0


def test_history_outlives_the_session(session: Session, tape_home: Path, tmp_path: Path) -> None:
    """The arrow up brings back a statement of an earlier session; the file is the user's alone."""
    session.type("select 6\n* 7 as answer;\n")
    session.until("1 row")
    session.until("rashomon> ")
    assert session.end() == 0
    path = tmp_path / "state" / "rashomon" / "sql_history"
    assert path.read_text().splitlines()[-1] == "select 6 * 7 as answer;"
    assert path.stat().st_mode & 0o077 == 0
    again = Session(tape_home, tmp_path / "state")
    again.until("rashomon> ")
    again.type("\x1b[A\n")
    assert "42" in again.until("1 row")
    again.until("rashomon> ")
    assert again.end() == 0


def test_binary_formats_refuse_a_terminal(tape_home: Path, tmp_path: Path) -> None:
    """Parquet is not sent to a screen: a sentence says so, and what to do."""
    running = Session(tape_home, tmp_path / "state", "select 1", "--format", "parquet")
    drawn = running.until("answer.parquet")
    assert "binary, and stdout is a terminal" in re.sub(r"\s+", " ", drawn)
    assert running.process.wait(60) == 2


def test_a_slow_reader_does_not_hold_the_store(rashomon: Run, tape_home: Path) -> None:
    """While a pager shows the first page of an answer, the store can be written."""
    rashomon("ingest")
    running = started(tape_home, "select range as n, repeat('x', 100) as t from range(20000)", "--format", "csv")
    assert running.stdout is not None
    assert running.stdout.read(4) == b"n,t\n"  # the rest is more than a pipe holds
    connection.open_writer(open_home(tape_home).path, wait_s=5).close()  # it lets go a moment after its answer is there
    assert running.poll() is None
    assert running.stdout.read().count(b"\n") == 20000
    assert running.wait(60) == 0
