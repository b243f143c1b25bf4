"""How the command line fails: in sentences, with exit codes, without tracebacks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.in_process import main
from tests.support import rashomon as rashomon_of

OLD = "000100000000000000000000aa"
Run = Callable[..., Any]
RAISING = """
import rashomon.cli as cli
def stop(arguments):
    raise {}
cli._run = stop
raise SystemExit(cli.main(["ls"]))
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "nothing-like-it"],
        ["show", "0"],  # a prefix of three traces
        ["show", OLD, "99"],
        ["show", OLD, "--raw", "response"],
        ["show"],
        ["ls", "--since", "yesterday"],
        ["ls", "--limit", "none"],
        ["ls", "--wrong"],
        ["ls", "--where", "nonsense = 1"],
        ["lss"],
        ["tui"],
        ["record"],
        ["replay", "nothing-like-it"],
    ],
    ids=" ".join,
)
def test_bad_usage_is_explained(rashomon: Run, arguments: list[str]) -> None:
    """Bad usage: exit code 2, nothing on stdout, what is wrong and what to do on stderr."""
    ran = rashomon(*arguments)
    assert ran.code == 2, ran.out + ran.err
    assert ran.out == ""
    assert ran.err.strip()
    assert "Traceback" not in ran.err


def test_ambiguous_prefix_names_the_choices(rashomon: Run) -> None:
    """A prefix that several traces share is refused, and the message says which they are."""
    ran = rashomon("show", "000")
    assert ran.code == 2
    assert OLD[:4] in ran.err


def test_foreign_database_is_left_alone(rashomon: Run, tape_home: Path) -> None:
    """A store.duckdb that somebody else made: exit code 4, and the file stays as it was."""
    import duckdb

    path = tape_home / "store.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table mine (x integer)")
    before = path.read_bytes()
    ran = rashomon("ls")
    assert ran.code == 4
    assert "Traceback" not in ran.err
    assert path.read_bytes() == before


def test_empty_home_lists_nothing(rashomon: Run, tmp_path: Path) -> None:
    """A home without recordings is no error: nothing in a pipe, an empty list as JSON."""
    home = {"RASHOMON_HOME": str(tmp_path / "new")}
    assert rashomon("ls", env=home)[:3] == (
        0, "", f"rashomon: {tmp_path / 'new'} is not there: nothing has been recorded in it. Check RASHOMON_HOME.\n"
    )  # fmt: skip
    assert rashomon("ls", "--json", env=home).json()["traces"] == []


ABSENT = ["grep x", "show @last", "show @last 1", "show @last --follow", "sql table", "diff a b", "note @last seen",
          "note --list", "gc --keep 30d", "export @last -o x.rsh", "export --to lake", "forget --trace x", "verify",
          "salvage", "lake"]  # fmt: skip
"""Commands that read, check or take away what is there."""


@pytest.mark.parametrize("words", ["ls", "ls status:err", *ABSENT])
def test_a_home_that_is_named_and_is_not_there(rashomon: Run, tmp_path: Path, words: str) -> None:
    """A list of nothing would say that nothing happened; nothing is made, either."""
    ran = rashomon(*words.split(), "--home", str(tmp_path / "mispelt"))
    assert (ran.code, ran.out) == (2, "")
    assert "mispelt is not there: nothing has been recorded in it. Check --home." in ran.err
    assert not (tmp_path / "mispelt").exists()


@pytest.mark.parametrize("words", ABSENT)
def test_a_home_that_the_variable_names_and_is_not_there(tmp_path: Path, words: str) -> None:
    """It is the same home that nobody has made, whoever names it; also an all-clear about it would mislead."""
    ran = main(*words.split(), home=tmp_path / "mispelt")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr == (
        f"rashomon: {tmp_path / 'mispelt'} is not there: nothing has been recorded in it. Check RASHOMON_HOME.\n"
    )
    assert not (tmp_path / "mispelt").exists()


@pytest.mark.parametrize("words", [["record", "--", "true"], ["import", "chat.json"]])
def test_commands_that_write_make_the_home(tmp_path: Path, words: list[str]) -> None:
    """A home that the variable names is made by the first command that puts something into it."""
    (tmp_path / "chat.json").write_text('[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]')
    made = [str(tmp_path / word) if word == "chat.json" else word for word in words]
    assert rashomon_of(*made, home=tmp_path / "new").returncode == 0
    assert (tmp_path / "new").is_dir()


def test_home_option_wins(rashomon: Run, tmp_path: Path, tape_home: Path) -> None:
    """`--home` counts before RASHOMON_HOME."""
    ran = rashomon("ls", "--home", str(tape_home), env={"RASHOMON_HOME": str(tmp_path / "elsewhere")})
    assert OLD in ran.out


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no SIGPIPE here")
def test_closed_pipe_is_quiet(tape_home: Path) -> None:
    """A reader that goes away ends the command without a word, as 141 in a shell."""
    environ = {**os.environ, "RASHOMON_HOME": str(tape_home)}
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "rashomon.cli", "ls"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, env=environ, check=False)
    os.close(writer)
    assert done.stderr == b""
    assert done.returncode in (-signal.SIGPIPE, 141)


def test_interrupt_is_quiet(tmp_path: Path) -> None:
    """Ctrl-C ends a command with 130 and without a traceback."""
    code = RAISING.format("KeyboardInterrupt")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (130, b"")


def test_bug_of_ours_is_one_line(tmp_path: Path) -> None:
    """An unexpected exception gives exit code 70 and the way to its traceback; RASHOMON_DEBUG shows it."""
    code = RAISING.format("ValueError('odd')")
    environ = {key: value for key, value in os.environ.items() if key != "RASHOMON_DEBUG"}
    quiet = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    environ["RASHOMON_DEBUG"] = "1"
    loud = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert quiet.returncode == 70
    assert "ValueError: odd" in quiet.stderr
    assert "RASHOMON_DEBUG=1" in quiet.stderr
    assert "Traceback" not in quiet.stderr
    assert "Traceback" in loud.stderr


def test_ingest_refuses_what_is_no_journal(rashomon: Run, tape_home: Path, tmp_path: Path) -> None:
    """A named file that is no journal: exit code 4, and nothing of it gets into the home."""
    file = tmp_path / "notes.rsj"
    file.write_text("shopping: milk, bread and a good deal more than sixty-four bytes of other things")
    ran = rashomon("ingest", str(file))
    assert ran.code == 4
    assert "notes.rsj is not a Rashomon journal" in ran.err
    assert not (tape_home / "journals" / "notes.rsj").exists()


def test_damage_is_told_each_time(rashomon: Run, tape_home: Path) -> None:
    """A foreign file in the home's journals is named by `ingest`, however often it is asked."""
    (tape_home / "journals" / "odd.rsj").write_bytes(b"not a journal at all" * 10)
    for _ in range(2):
        ran = rashomon("ingest", "--json")
        assert ran.code == 4
        assert [one["journal"] for one in ran.json()["unread"]] == ["odd.rsj"]


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full")
@pytest.mark.parametrize("arguments", [["ls"], ["sql", "select 1"], ["verify"]], ids=" ".join)
def test_a_full_disk_behind_stdout_is_a_sentence(rashomon: Run, tape_home: Path, arguments: list[str]) -> None:
    """What finds no room is said to have found none, once, with exit code 2, and is no bug of ours."""
    rashomon("ingest")
    command = [sys.executable, "-m", "rashomon.cli", *arguments, "--home", str(tape_home)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stderr.decode().startswith("rashomon: There is no room for what is to be written")
    assert len(done.stderr.splitlines()) == 1


def test_a_closed_stdout_is_no_bug(rashomon: Run, tape_home: Path) -> None:
    """Whoever wants the exit code alone and closes stdout gets it."""
    rashomon("ingest")
    command = f"exec {sys.executable} -m rashomon.cli verify --home '{tape_home}' >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", ["sql", "export"])
def test_an_output_that_is_no_file_is_not_replaced(rashomon: Run, tmp_path: Path, command: str) -> None:
    """A named pipe gets the answer and stays a pipe, as `/dev/null` stays what it is; a link stays a link."""
    arguments = ["sql", "select 42 as answer"] if command == "sql" else ["export", OLD, "--format", "jsonl"]
    pipe, target, link = (tmp_path / name for name in ("pipe", "target.jsonl", "link"))
    os.mkfifo(pipe)
    reading = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE)
    assert rashomon(*arguments, "--output", str(pipe)).code == 0
    assert reading.communicate()[0].startswith(b"answer" if command == "sql" else b'{"format"')
    assert pipe.is_fifo()
    target.write_text("old")
    link.symlink_to(target)
    assert rashomon(*arguments, "--output", str(link)).code == 0
    assert link.is_symlink()
    assert target.read_text() != "old"
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_file()) == ["link", "target.jsonl"]


def test_a_home_that_the_database_cannot_open_is_said(rashomon: Run, tmp_path: Path) -> None:
    """DuckDB takes what is behind a ? for a query: a folder named so is refused in a sentence, not called damaged."""
    (tmp_path / "is it?").mkdir()
    ran = rashomon("ls", "--home", str(tmp_path / "is it?"))
    assert (ran.code, "DuckDB does not take a ? in a path" in ran.err) == (2, True)


@pytest.mark.parametrize(
    "command", [["ls"], ["ingest"], ["verify"], ["gc", "--keep", "1d"], ["sql", "select 1"]], ids=str
)
def test_a_file_where_a_folder_should_be(rashomon: Run, tmp_path: Path, command: list[str]) -> None:
    """A home that is a file, and one whose journals are a file, are named in a sentence."""
    (tmp_path / "file").write_text("shopping list")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "journals").write_text("shopping list")
    for home in ("file", "other"):
        ran = rashomon(*command, "--home", str(tmp_path / home))
        assert ran.code == 2, ran.err
        assert f"{tmp_path / home}" in ran.err
        assert "cannot be read: Not a directory" in ran.err


def test_a_folder_where_the_notes_should_be(rashomon: Run, tape_home: Path, tmp_path: Path) -> None:
    """Notes that cannot be read or written are said to be what is wrong, and not the file that is imported."""
    rashomon("note", OLD, "here")
    bundle = str(tmp_path / "a.rsh")
    rashomon("export", OLD, "-o", bundle)
    (tape_home / "notes.jsonl").unlink()
    (tape_home / "notes.jsonl").mkdir()
    other = tmp_path / "other"
    (other / "notes.jsonl").mkdir(parents=True)
    for arguments in (["note", "--list"], ["note", OLD, "x"], ["note", "--remove", "x"]):
        ran = rashomon(*arguments)
        assert (ran.code, "notes.jsonl cannot be used: Is a directory" in ran.err) == (2, True), ran.err
    ran = rashomon("import", bundle, "--home", str(other))
    assert (ran.code, "notes.jsonl cannot be used" in ran.err) == (2, True), ran.err


def test_what_no_command_can_use_is_said_in_its_own_words(tape_home: Path, tmp_path: Path) -> None:
    """A folder or a pipe to import, a file as a lake, a limit beyond all numbers: no word of Python's."""
    (tmp_path / "file").write_text("shopping list")
    os.mkfifo(tmp_path / "pipe")
    wrong: list[tuple[list[str | Path], str]] = [
        (["import", tmp_path], f"{tmp_path} is a folder"),
        (["import", tmp_path / "pipe"], "is a pipe or a device"),
        (["export", "--to", tmp_path / "file"], "file cannot be used: Not a directory."),
        (["export", "--to", tmp_path / "new", "--partition-by", "hour"], "'--partition-by': 'hour' is not one of"),
        (["export", "--to", "s3:/bucket"], "s3:/bucket is neither a folder nor an address"),
        (["salvage", tmp_path / "nowhere.rsh"], "nowhere.rsh is no file"),
    ]
    for words, problem in wrong:
        ran = main(*words, home=tape_home)
        assert (ran.returncode, problem in ran.stderr) == (2, True), ran.stderr
    listed = main("ls", "--limit", "9" * 30, home=tape_home)
    assert (listed.returncode, OLD in listed.stdout) == (0, True), listed.stderr
