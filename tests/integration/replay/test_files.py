"""Files of the disk: what the program met there is listed, and told where a replay met something else."""

from __future__ import annotations

import gc
import json
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

import rashomon
from rashomon import disk
from rashomon.disk import ABSENT, MORE, MOST
from rashomon.errors import Missed
from rashomon.model import Tape
from rashomon.testing import ProviderServer
from tests.support import rashomon as command_line
from tests.support import tapes_of

LastTape = Callable[[], Tape]
PROGRAM = """
import json, os, pathlib, sqlite3, sys, urllib.error, urllib.request
def ask(text):
    try:
        return urllib.request.urlopen(urllib.request.Request(sys.argv[1] + "/ask", text.encode())).status
    except urllib.error.HTTPError as error:
        return error.code
prompt = pathlib.Path("prompts/system.txt").read_text()
history = json.load(open("history.json")) if os.path.exists("history.json") else []
cache = sqlite3.connect("cache.db", isolation_level=None)
cache.execute("CREATE TABLE IF NOT EXISTS answers (question, answer)")
question = f"{prompt} {len(history)}"
if not cache.execute("SELECT * FROM answers WHERE question = ?", [question]).fetchall():
    cache.execute("INSERT INTO answers VALUES (?, ?)", [question, ask(question)])
json.dump([*history, question], open("history.json", "w"))
print(question)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the program works."""
    (tmp_path / "agent.py").write_text(PROGRAM)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "system.txt").write_text("be kind")
    return tmp_path


def made_by_it(folder: Path) -> None:
    """Remove what the program makes."""
    for name in ("history.json", "cache.db"):
        (folder / name).unlink(missing_ok=True)


def test_why_a_replay_left_is_told_by_the_files(folder: Path, home: Path, server: ProviderServer) -> None:
    """A cache that the recorded program filled itself, a history that it wrote, a prompt that somebody has changed;
    with the files as they were it holds."""
    command = [sys.executable, "agent.py", server.url]
    done = command_line("record", "--", *command, home=home, cwd=folder)
    assert done.returncode == 0, done.stderr
    (recorded,) = tapes_of(home)
    met = {path: (met, site.line if site else 0) for path, met, site in disk.told(recorded.trace.uncontrolled)}
    assert met == {
        "prompts/system.txt": ("7 bytes, 8f211c", 8),
        "cache.db": (ABSENT, 10),
        "history.json": (ABSENT, 15),
    }
    shown = command_line("show", recorded.trace.id, home=home).stdout
    assert f"prompts/system.txt: 7 bytes, 8f211c; {folder / 'agent.py'}:8 in <module>" in shown

    def replay(*paths: str, code: int) -> str:
        """Replay it; these files must be told to be others."""
        report = folder / "report.json"
        done = command_line("replay", recorded.trace.id, "--report", report, home=home, cwd=folder)
        assert done.returncode == code, done.stderr
        document = json.loads(report.read_text())
        assert sorted(one["path"] for one in document["files"]) == sorted(paths)
        assert ("The program met other files in the replay than in the recording." in done.stderr) == (code == 1)
        return done.stderr

    told = replay("cache.db", "history.json", code=1)
    assert "history.json was not there in the recording and had 13 bytes, " in told
    assert f" in the replay; {folder / 'agent.py'}:9 in <module>" in told
    made_by_it(folder)
    replay(code=0)
    made_by_it(folder)
    (folder / "prompts" / "system.txt").write_text("be cold")
    told = replay("prompts/system.txt", code=1)
    assert "prompts/system.txt had 7 bytes, 8f211c in the recording and had 7 bytes, " in told
    diff = command_line("diff", recorded.trace.id, "@last", home=home).stdout
    assert "files  The program met other files" in diff
    made_by_it(folder)
    (folder / "prompts" / "system.txt").unlink()
    assert "prompts/system.txt had 7 bytes, 8f211c in the recording and was not there in" in replay(
        "prompts/system.txt", code=1
    )


def test_doctor_lists_them(folder: Path, home: Path, server: ProviderServer) -> None:
    """As what is not controlled, with what to do; what the first run left for the second one is told."""
    done = command_line("doctor", "--json", "--", sys.executable, "agent.py", server.url, home=home, cwd=folder)
    found = {one["what"]: one for one in json.loads(done.stdout)["findings"] if one["group"] == "file"}
    assert sorted(found) == ["cache.db", "history.json", "prompts/system.txt"]
    assert {one["control"] for one in found.values()} == {"not controlled"}
    assert "was not there in the recording" in str(found["history.json"])
    assert not found["prompts/system.txt"]["detail"]


def listed(tape: Tape) -> dict[str, str]:
    """The files of a trace, by path."""
    return {path: met for path, met, _ in disk.told(tape.trace.uncontrolled)}


@rashomon.tool
def reads(path: str) -> str:
    """A tool whose result is recorded."""
    return Path(path).read_text()


def test_what_is_no_input_is_not_listed(
    tmp_path: Path, home: Path, last_tape: LastTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Modules, files of Python and of packages, what is written anew or added to, temporary files, what a tool reads,
    and what its caller has not waited for: a pipe."""
    (tmp_path / "module_here.py").write_text("value = 1")
    (tmp_path / "read.py").write_text("no module")
    for name in ("old.txt", "log.txt", "tools.txt", "twice.txt", "bytes.bin", "descriptor.txt"):
        (tmp_path / name).write_text("old")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_text("through the pipe"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    writer.start()
    with rashomon.trace("files"):
        import module_here  # type: ignore[import-not-found]

        assert module_here.value == 1
        assert Path("read.py").read_text() == "no module"
        assert Path(pytest.__file__).read_text()
        assert Path("/etc/passwd").read_text()
        assert Path("pipe").read_text() == "through the pipe"
        Path("old.txt").write_text("new")
        assert Path("old.txt").read_text() == "new"
        with open("log.txt", "a") as log:
            log.write("line")
        with open("fresh.txt", "x") as fresh:
            fresh.write("fresh")
        assert reads("tools.txt") == "old"
        for _ in range(2):
            assert Path("twice.txt").read_text() == "old"
        assert Path(os.fspath(tmp_path / "twice.txt")).read_text() == "old"
        assert open(b"bytes.bin").read() == "old"  # noqa: SIM115
        os.close(os.open("descriptor.txt", os.O_RDONLY))
        sqlite3.connect(":memory:").close()
        with pytest.raises(FileNotFoundError):
            open("missing.yaml")  # noqa: SIM115
        with pytest.raises(FileNotFoundError):
            open("/etc/missing.yaml")  # noqa: SIM115
    writer.join()
    told = listed(last_tape())
    assert told.pop("missing.yaml") == ABSENT
    assert sorted(told) == ["bytes.bin", "descriptor.txt", "read.py", "twice.txt"]


def test_a_replay_within_a_program_tells_it_too(
    tmp_path: Path, home: Path, server: ProviderServer, last_tape: LastTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `check` raises names the file."""
    monkeypatch.chdir(tmp_path)
    prompt = Path("prompt.txt")

    def ask() -> None:
        httpx2.post(f"{server.url}/ask", content=prompt.read_text())

    prompt.write_text("be kind")
    with rashomon.trace("asked"):
        ask()
    prompt.write_text("be cold")
    with rashomon.replay(last_tape()) as replaying, pytest.raises(Missed):
        ask()
    with pytest.raises(rashomon.Diverged, match=r"prompt\.txt had 7 bytes, 8f211c in the recording and had 7 bytes, "):
        replaying.check()


class _Opening:
    """Opens a file where the garbage collector finds it."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        open("finalized.txt").close()


def test_odd_ways_to_open(tmp_path: Path, home: Path, last_tape: LastTape, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are no text, an opener that is given whatever it likes, a name with a zero, a finalizer."""
    for name in (b"\xff.txt", b"finalized.txt", b"opened.txt"):
        (tmp_path / os.fsdecode(name)).write_text("x")
    monkeypatch.chdir(tmp_path)
    with rashomon.trace("odd"):
        assert open(b"\xff.txt").read() == "x"  # noqa: SIM115
        with open("anything", opener=lambda name, flags: os.open("opened.txt", flags)) as opened:
            assert opened.read() == "x"
        with pytest.raises(ValueError, match="null"):
            open("a\0b")  # noqa: SIM115
        _Opening()
        gc.collect()
        Path("\ud800.txt").exists()
    tape = last_tape()
    assert listed(tape).keys() == {"\\udcff.txt", "anything", "opened.txt"}
    assert tape.trace.losses == ()
    shown = command_line("show", tape.trace.id, home=home)
    assert (shown.returncode, "\\udcff.txt: 1 byte, " in shown.stdout) == (0, True)


def test_of_many_the_first_are_listed(
    tmp_path: Path, home: Path, last_tape: LastTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that reads thousands of documents has a short list, and it says so; large ones are read in part."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "large.bin").write_bytes(bytes(9 << 20))
    with rashomon.trace("many"):
        Path("large.bin").open("rb").close()
        for number in range(MOST + 50):
            Path(f"{number}.md").write_text("made")
    tape = last_tape()
    assert listed(tape)["large.bin"].startswith(f"{9 << 20:,} bytes, ")
    assert len(disk.told(tape.trace.uncontrolled)) == MOST
    assert [one for one in tape.trace.uncontrolled if one == MORE] == [MORE]
    shown = command_line("show", tape.trace.id, home=home).stdout
    assert f"and {MOST - 5} more: --json" in shown


def test_files_without_a_folder(
    tmp_path: Path, home: Path, last_tape: LastTape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the working folder has been deleted, or is the root, files are named in full."""
    other = tmp_path / "other"
    other.mkdir()
    (tmp_path / "input.txt").write_text("in")
    monkeypatch.setattr("rashomon.recorders.files._SYSTEM", ("/etc/", "/proc/"))
    monkeypatch.chdir(other)
    other.rmdir()
    with rashomon.trace("nowhere"):
        assert (tmp_path / "input.txt").read_text() == "in"
    assert list(listed(last_tape())) == [str(tmp_path / "input.txt")]


def test_processes_list_theirs(tmp_path: Path, home: Path) -> None:
    """What a child reads in a folder of its own is in the same trace; what several read, once."""
    for name in ("shared.txt", "sub/own.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "child.py").write_text("open('own.txt')")
    (tmp_path / "agent.py").write_text(
        "import multiprocessing, subprocess, sys\n"
        "def work(n): return open('shared.txt').read()\n"
        "if __name__ == '__main__':\n"
        "    print(multiprocessing.get_context('fork').Pool(2).map(work, range(4)))\n"
        "    subprocess.run([sys.executable, '../child.py'], cwd='sub', check=True)\n"
    )
    done = command_line("record", "--", sys.executable, "agent.py", home=home, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tape,) = tapes_of(home)
    assert sorted(path for path, _, _ in disk.told(tape.trace.uncontrolled)) == ["own.txt", "shared.txt"]
