"""What a replayed program may not do: reach, run and write what its recording did not."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rashomon
from rashomon.model import Tape
from tests.support import rashomon as command
from tests.support import tapes_of


@pytest.fixture
def outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is in no working copy and not temporary; the program runs in another one."""
    for name in ("project", "t", "outside/kept"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "outside/kept/file").write_text("kept")
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path / "outside"


@pytest.fixture
def tape(home: Path, last_tape: Callable[[], Tape]) -> Tape:
    """A recording of a program that did nothing."""
    with rashomon.trace("nothing"):
        pass
    return last_tape()


def contents(folder: Path) -> dict[str, str]:
    """The files of a folder and what is in them."""
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()}


def _os_open(folder: Path) -> None:
    os.close(os.open(folder / "new", os.O_WRONLY | os.O_CREAT))


def _relative(folder: Path) -> None:
    directory = os.open(folder, os.O_RDONLY)
    try:
        os.mkdir("new", dir_fd=directory)
    finally:
        os.close(directory)


def _through_a_link(folder: Path) -> None:
    os.symlink(folder, "link")
    Path("link/new").write_text("x")


WRITES: dict[str, Callable[[Path], object]] = {
    "write_text": lambda folder: (folder / "new").write_text("x"),
    "append": lambda folder: (folder / "kept/file").open("a"),
    "update": lambda folder: (folder / "kept/file").open("r+"),
    "os.open": _os_open,
    "a link to it": _through_a_link,
    "relative to a descriptor": _relative,
    "rmtree": lambda folder: shutil.rmtree(folder / "kept"),
    "remove": lambda folder: os.remove(folder / "kept/file"),
    "rename away": lambda folder: os.rename(folder / "kept/file", "here"),
    "move there": lambda folder: shutil.move(_made("here"), folder / "there"),
    "copy there": lambda folder: shutil.copy(_made("here"), folder / "there"),
    "mkdir": lambda folder: (folder / "new").mkdir(),
    "hard link": lambda folder: os.link(_made("here"), folder / "new"),
    "symbolic link": lambda folder: (folder / "new").symlink_to("x"),
    "truncate": lambda folder: os.truncate(folder / "kept/file", 0),
    "chmod": lambda folder: (folder / "kept/file").chmod(0o600),
    "touch": lambda folder: (folder / "kept/file").touch(),
    "sqlite": lambda folder: sqlite3.connect(folder / "new.db"),
}


def _made(name: str) -> str:
    Path(name).write_text("made")
    return name


@pytest.mark.parametrize("name", WRITES)
def test_files_outside_are_refused(name: str, outside: Path, tape: Tape) -> None:
    """No way of changing a file outside the working copy works in a replay, and the report says where it was tried."""
    before = contents(outside)
    with rashomon.replay(tape) as replaying, pytest.raises(rashomon.Escaped, match=r"tried to write .*outside"):
        WRITES[name](outside)
    assert contents(outside) == before
    assert not (outside / "new").exists()
    (divergence,) = replaying.divergences
    assert divergence.kind == "escaped"
    assert "test_isolation.py:" in divergence.summary
    assert "--allow write=" in divergence.detail[-1]


def test_files_inside_are_free(outside: Path, tape: Tape) -> None:
    """In the working copy, in temporary folders, on devices, and for reading anywhere, files are the program's own."""
    with rashomon.replay(tape) as replaying:
        WRITES["write_text"](Path())
        shutil.rmtree(_tree("some/folders"))
        sqlite3.connect("new.db").close()
        with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as file:
            Path(folder, "x").symlink_to("/etc/passwd")
            file.write(b"x")
        Path(os.devnull).write_text("x")
        assert (outside / "kept/file").read_text() == "kept"
        sqlite3.connect("file::memory:", uri=True).close()
        (outside / "kept").mkdir(exist_ok=True)
        (outside / "kept").chmod(stat.S_IMODE((outside / "kept").stat().st_mode))
        with pytest.raises(FileNotFoundError):
            os.remove(outside / "gone")
    replaying.check()


def _tree(name: str) -> str:
    os.makedirs(name)
    return name.split("/")[0]


def test_an_allowance_opens_one_place(outside: Path, tape: Tape) -> None:
    """With `write=PATH` this path may be changed, and the one beside it may not."""
    with rashomon.replay(tape, allow=(f"write={outside}/kept",)):
        (outside / "kept/file").write_text("changed")
        with pytest.raises(rashomon.Escaped):
            (outside / "new").write_text("x")
    assert contents(outside) == {"kept/file": "changed"}


def test_a_thread_is_refused_too(outside: Path, tape: Tape) -> None:
    """What a thread tries is refused and reported with the thread's lane."""
    errors: list[BaseException] = []

    def attempt() -> None:
        try:
            (outside / "new").write_text("x")
        except BaseException as error:
            errors.append(error)

    with rashomon.replay(tape) as replaying:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert isinstance(errors[0], rashomon.Escaped)
    assert "lane 0" in replaying.divergences[0].detail[1]


RUNS: dict[str, Callable[[str], object]] = {
    "subprocess": lambda word: subprocess.run(["echo", word], capture_output=True, check=True),
    "a shell": lambda word: subprocess.run(f"echo {word}", shell=True, capture_output=True, check=True),
    "os.system": lambda word: os.system(f"echo {word} > /dev/null"),
    "os.popen": lambda word: os.popen(f"echo {word}").read(),
    "os.posix_spawn": lambda word: os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", f": {word}"], {}), 0),
}


@pytest.mark.parametrize("name", RUNS)
def test_subprocesses(name: str, home: Path, last_tape: Callable[[], Tape]) -> None:
    """A command that the recording ran runs again, once; with another word it is refused before it starts."""
    with rashomon.trace("runs"):
        RUNS[name]("first")
    (launched,) = last_tape().trace.launched
    assert launched.site is not None
    assert launched.site.file == __file__
    with rashomon.replay(last_tape()) as replaying:
        RUNS[name]("first")
    replaying.check()
    for word in ("second", "first"):
        with rashomon.replay(tapes_of(home)[0]):
            RUNS[name]("first")
            with pytest.raises(rashomon.Escaped, match="tried to run"):
                RUNS[name](word)


@pytest.fixture
def listener() -> Iterator[tuple[str, int]]:
    """Something that can be connected to."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()


def test_sockets(listener: tuple[str, int], tape: Tape) -> None:
    """A connection is refused with the place that tried; with `connect=HOST:PORT` it is made."""
    host, port = listener
    with (
        rashomon.replay(tape) as replaying,
        pytest.raises(rashomon.Escaped, match=rf"tried to reach {host}:{port} at "),
    ):
        socket.create_connection(listener)
    assert "in test_sockets" in replaying.divergences[0].summary
    with rashomon.replay(tape, allow=(f"connect=localhost:{port}",)) as replaying:
        socket.create_connection(listener).close()
    replaying.check()


def test_names_are_not_looked_up(tape: Tape) -> None:
    """Not even the name of a host leaves the process."""
    with rashomon.replay(tape), pytest.raises(rashomon.Escaped, match=r"tried to resolve api\.example\.com"):
        socket.getaddrinfo("api.example.com", 443)


# ---------------------------------------------------------------------------------------------- the command

PROGRAM = """
import ctypes, multiprocessing, os, pathlib, socket, struct, subprocess, sys

def job(number):
    return number * 2

def main():
    if "pool" in sys.argv:
        for method in ("fork", "spawn", "forkserver"):
            context = multiprocessing.get_context(method)
            with context.Pool(1) as pool:
                print(method, pool.map(job, [1, 2]))
        with multiprocessing.Manager() as manager:
            print(dict(manager.dict(a=1)))
    if "python" in sys.argv:
        child = "import os, pathlib; pathlib.Path(os.environ['OUT'], 'child').write_text('x')"
        print(subprocess.run([sys.executable, "-c", child]).returncode)
    if "native" in sys.argv and os.environ.get("PORT"):
        libc, port = ctypes.CDLL(None), int(os.environ["PORT"])
        address = struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton("127.0.0.1") + bytes(8)
        print(libc.connect(libc.socket(socket.AF_INET, socket.SOCK_STREAM, 0), address, 16))

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def program(outside: Path) -> Callable[..., dict[str, Any]]:
    """Records the program above, replays it in another environment, and returns the report."""
    home, file = outside.parent / "home", Path("program.py")
    file.write_text(textwrap.dedent(PROGRAM))

    def run(argument: str, *options: str, code: int, **env: str) -> dict[str, Any]:
        if not home.exists():
            done = command("record", "--name", "p", "--quiet", "--", sys.executable, file, argument, home=home,
                           env={"OUT": str(outside.parent / "t")})  # fmt: skip
            assert done.returncode == 0, done.stderr
        again = command("replay", "p", "--report", "report.json", *options, home=home, env=env)
        assert again.returncode == code, again.stderr
        assert "Traceback" not in again.stderr
        report: dict[str, Any] = json.loads(Path("report.json").read_text())
        return report | {"stderr": again.stderr}

    return run


@pytest.mark.slow
def test_programs_that_ran_for_real_are_told(tmp_path: Path, home: Path) -> None:
    """A replay says which, beside what it found; a tool's are not among them, for they did not run."""
    source = "import rashomon, subprocess\n@rashomon.tool\ndef work(): return subprocess.run(['true']).returncode\n"
    source += "work()\nsubprocess.run(['git', '--version'])\nsubprocess.run(['git', '--version'])\n"
    (tmp_path / "agent.py").write_text(source)
    command("record", "--", sys.executable, "agent.py", home=home, cwd=tmp_path)
    held = "(, with no network)?(, writing in the working copy only)?"
    told = rf"NOTE: as in the recording, what is no Python ran for real{held}: git --version\.\n"
    replayed = command("replay", "@last", home=home, cwd=tmp_path)
    assert (replayed.returncode, len(re.findall(told, replayed.stderr))) == (0, 1), replayed.stderr
    assert "NOTE" not in command("replay", "@last", "--quiet", home=home, cwd=tmp_path).stderr
    report = command("replay", "@last", "--report", "report.json", home=home, cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    assert json.loads((tmp_path / "report.json").read_text())["ran"] == ["git --version"] * 2


def test_multiprocessing_is_not_refused(program: Callable[..., dict[str, Any]]) -> None:
    """Pools of each start method and a manager work in a replay: their sockets are the program's own."""
    assert program("pool", code=0)["held"]


def test_a_python_child_is_held_to_the_same(program: Callable[..., dict[str, Any]], outside: Path) -> None:
    """A recorded subprocess runs again; what it now tries to write elsewhere is refused, unless it is allowed."""
    report = program("python", code=1, OUT=str(outside))
    assert [one["kind"] for one in report["divergences"]] == ["escaped"]
    assert not (outside / "child").exists()
    program("python", "--allow", f"write={outside}", code=0, OUT=str(outside))
    assert (outside / "child").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="sockets opened in C are found on Linux only")
def test_what_cannot_be_refused_is_reported(program: Callable[..., dict[str, Any]], listener: tuple[str, int]) -> None:
    """A connection that a C library makes where the kernel is not asked (tools may go live) goes out, and the replay
    does not hold: its report names the peer."""
    host, port = listener
    report = program("native", "--live", "tool", code=1, PORT=str(port))
    assert f"reached {host}:{port} by a library's own sockets" in report["divergences"][0]["summary"]
    assert report["uncontrolled"][0]["what"] == f"{host}:{port}"
    program("native", "--live", "tool", "--allow", f"connect={host}", code=0, PORT=str(port))


@pytest.mark.parametrize("allow", ["connect=", "nonsense", "connect=https://example.com", "run='"])
def test_an_allowance_that_cannot_be_read(allow: str, program: Callable[..., dict[str, Any]]) -> None:
    """A wrong `--allow` ends with exit code 2 and the forms that there are."""
    done = command("replay", "x", "--allow", allow, home=Path("home"))
    assert done.returncode == 2
    assert "--allow" in done.stderr
    assert "Traceback" not in done.stderr
