"""`rashomon record` needs no edit of the program, however the program is started."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from rashomon.testing import ProviderServer
from tests.support import environment, rashomon, tapes_of

PROGRAM = """
import sys
try:
    import rashomon
    tool = rashomon.tool
except ImportError:
    tool = lambda function: function

@tool
def add(a, b):
    return a + b

def main():
    print("sum", add(2, 3), [entry for entry in sys.path if "hook" in entry])

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the program in it, as a script and as a package."""
    package = tmp_path / "project" / "adder"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "__main__.py").write_text("from adder.core import main\nmain()\n")
    (package / "core.py").write_text(PROGRAM)
    (tmp_path / "project" / "agent.py").write_text(PROGRAM)
    return tmp_path / "project"


@pytest.fixture(scope="module")
def bare_venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment in which nothing is installed, rashomon neither."""
    folder = tmp_path_factory.mktemp("venv") / "v"
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


def recorded(home: Path, *command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    """Record a command; assert that its one tool call is on a tape and that it noticed nothing."""
    done = rashomon("record", "--", *command, home=home, **options)
    assert done.stdout == "sum 5 []\n", done.stderr
    steps = tapes_of(home)[0].steps
    assert [step.name for step in steps] == ["add"], done.stderr
    return done


def test_script(project: Path, tmp_path: Path) -> None:
    """python agent.py"""
    recorded(tmp_path / "home", sys.executable, "agent.py", cwd=project)


def test_module(project: Path, tmp_path: Path) -> None:
    """python -m package"""
    recorded(tmp_path / "home", sys.executable, "-m", "adder", cwd=project)


def test_environment_without_rashomon(project: Path, tmp_path: Path, bare_venv: Path) -> None:
    """A venv in which rashomon is not installed: the launcher's own copy is found there."""
    recorded(tmp_path / "home", bare_venv, "agent.py", cwd=project)


@pytest.mark.parametrize("path", ["", ":", ":/elsewhere", "/elsewhere:", "/elsewhere::/other", "/elsewhere"])
def test_an_empty_entry_of_the_path_is_the_current_folder(tmp_path: Path, path: str) -> None:
    """What a program finds is what it finds without a recorder, and so it is for a child of it."""
    (tmp_path / "beside").mkdir()
    (tmp_path / "here.py").write_text("")
    program = tmp_path / "beside" / "program.py"
    program.write_text(
        "import importlib.util, subprocess, sys\n"
        "print(importlib.util.find_spec('here') is not None, flush=True)\n"
        "if len(sys.argv) == 1: subprocess.run([sys.executable, __file__, 'child'], check=True)\n"
    )
    bare = {**os.environ, "PYTHONPATH": path}
    found = subprocess.run(
        [sys.executable, program], env=bare, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert found.stdout == f"{path not in ('', '/elsewhere')}\n" * 2
    home = tmp_path / "home"
    for command in (["record", "--name", "it", "--", sys.executable, program], ["replay", "it"]):
        done = rashomon(*command, home=home, cwd=tmp_path, env={"PYTHONPATH": path})
        assert (done.returncode, done.stdout) == (0, found.stdout), done.stderr


def test_console_script(project: Path, tmp_path: Path, bare_venv: Path) -> None:
    """A console script, with the shebang of its own environment."""
    script = tmp_path / "adder-cli"
    script.write_text(
        f"#!{bare_venv}\nimport sys\nsys.path.insert(0, {str(project)!r})\nfrom adder.core import main\nmain()\n"
    )
    script.chmod(0o755)
    recorded(tmp_path / "home", script)


def test_own_sitecustomize(project: Path, tmp_path: Path) -> None:
    """The program's own sitecustomize still runs, and finds itself under its own name."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text("import sys\nsys.own = sys.modules['sitecustomize'].__file__\n")
    program = project / "uses_own.py"
    program.write_text(
        PROGRAM.replace("def main():", "def main():\n    assert sys.own == __import__('sitecustomize').__file__")
    )
    recorded(tmp_path / "home", sys.executable, program, env={"PYTHONPATH": str(folder)})


@pytest.mark.skipif(
    shutil.which("uv") is None and not Path(sys.executable).with_name("uv").exists(), reason="uv is not installed"
)
def test_uv_run(project: Path, tmp_path: Path, bare_venv: Path) -> None:
    """uv run, which starts the Python of another environment by itself."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    command = [uv, "run", "--offline", "--no-project", "--python", str(bare_venv), "agent.py"]
    recorded(tmp_path / "home", *command, cwd=project, env={"UV_CACHE_DIR": str(tmp_path / "uv")})


def test_streams_pass_through(tmp_path: Path) -> None:
    """stdin, stdout and stderr are the program's own, bytes and all."""
    program = "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d[::-1])"
    program += "; sys.stderr.write('note'); sys.exit(7)"
    command = [sys.executable, "-m", "rashomon.cli", "record", "--quiet", "--", sys.executable, "-c", program]
    done = subprocess.run(command, input=b"\x00\xffabc", capture_output=True, env=environment(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (7, b"cba\xff\x00", b"note")


def test_isolated_mode_is_said_loudly(tmp_path: Path) -> None:
    """python -I cannot be hooked: the program runs, and the user is told that nothing was recorded."""
    done = rashomon("record", "--", sys.executable, "-I", "-c", "print('ran')", home=tmp_path)
    assert (done.returncode, done.stdout) == (0, "ran\n")
    assert "WARNING: the recorder did not start" in done.stderr
    (listed,) = json.loads(rashomon("ls", "--json", home=tmp_path).stdout)["traces"]
    assert (listed["complete"], listed["losses"], listed["lost"]) == (False, 1, 0)
    table = rashomon("ls", home=tmp_path).stdout
    assert "INCOMPLETE" in table
    assert "complete" not in table
    shown = rashomon("show", "@last", home=tmp_path).stdout
    assert "coverage   INCOMPLETE" in shown
    assert "the recorder did not start" in shown


def test_connections_without_a_call(tmp_path: Path) -> None:
    """A program that speaks to a network and makes no call that we see is warned of, loudly."""
    program = (
        "import socket, threading\n"
        "listening = socket.create_server(('127.0.0.1', 0))\n"
        "s = socket.create_connection(listening.getsockname())\n"
    )
    done = rashomon("record", "--", sys.executable, "-c", program, home=tmp_path)
    assert done.returncode == 0
    assert "NO LLM CALL WAS RECORDED" in done.stderr
    assert not tapes_of(tmp_path)[0].trace.coverage.complete


def test_connections_of_recorded_calls(tmp_path: Path, server: ProviderServer) -> None:
    """A program that calls no model is not warned of where its calls were recorded."""
    program = f"import httpx2; httpx2.get({server.openai_url + '/models'!r})"
    done = rashomon("record", "--quiet", "--", sys.executable, "-c", program, home=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert [step.kind for step in tapes_of(tmp_path)[0].steps] == ["http"]


def test_no_command(tmp_path: Path) -> None:
    """record without a command: one sentence, what to do, exit 2."""
    done = rashomon("record", home=tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr
        == "rashomon: There is no command to record. Write it after --: rashomon record -- python agent.py\n"
    )
    assert not os.path.exists(tmp_path / "journals")


def test_command_that_does_not_exist(tmp_path: Path) -> None:
    """A command that is not there: exit 3 and its name."""
    done = rashomon("record", "--", "no-such-program", home=tmp_path)
    assert done.returncode == 3
    assert "'no-such-program' does not exist" in done.stderr


INSTRUMENT = """
import os, sys
path = os.environ.get("PYTHONPATH", "")
folder = os.path.dirname(os.path.abspath(__file__))
os.environ["PYTHONPATH"] = os.path.join(folder, "instrumentation") + os.pathsep + path
os.execl(sys.executable, sys.executable, *sys.argv[1:])
"""
"""As `opentelemetry-instrument` does it, whose `sitecustomize` runs no other one."""


def test_a_launcher_that_puts_itself_first(project: Path, tmp_path: Path) -> None:
    """A program that is started by one with a `sitecustomize` of its own: both are run, and a replay is in control."""
    (project / "instrument.py").write_text(INSTRUMENT)
    (project / "instrumentation").mkdir()
    ours = "import sys; print('instrumented', file=sys.stderr)\n"
    (project / "instrumentation" / "sitecustomize.py").write_text(ours)
    done = recorded(tmp_path / "home", sys.executable, "instrument.py", "agent.py", cwd=project)
    assert done.stderr.count("instrumented") == 1
    assert "WARNING" not in done.stderr
    replayed = rashomon("replay", "@last", home=tmp_path / "home", cwd=project)
    assert (replayed.returncode, replayed.stdout) == (0, done.stdout), replayed.stderr
    assert "1 of 1 steps" in replayed.stderr


def test_a_child_without_the_recorder(project: Path, tmp_path: Path) -> None:
    """A Python child in which no recorder began is told of; one in which a replay should have begun, and did not, is
    where it left the recording."""
    real = os.path.realpath(sys.executable)
    for name, first in (("with", ""), ("without", "unset PYTHONPATH; ")):
        child = tmp_path / name / os.path.basename(real)
        child.parent.mkdir()
        child.write_text(f'#!/bin/sh\n{first}exec {real} "$@"\n')
        child.chmod(0o755)
    (project / "child.py").write_text("print('done')\n")
    (project / "parent.py").write_text("import os, subprocess\nsubprocess.run([os.environ['CHILD'], 'child.py'])\n")
    home, command = tmp_path / "home", ("record", "--", sys.executable, "parent.py")
    children = {name: {"CHILD": str(tmp_path / name / os.path.basename(real))} for name in ("with", "without")}
    told = "ran without the recorder, so nothing of them is recorded"
    assert told in rashomon(*command, home=home, cwd=project, env=children["without"]).stderr
    alone = rashomon("replay", "@last", home=home, cwd=project, env=children["without"])
    assert alone.returncode == 0
    assert "WARNING: 1 Python program(s) ran for real, past the replay" in alone.stderr
    assert told not in rashomon(*command, home=home, cwd=project, env=children["with"]).stderr
    assert rashomon("replay", "@last", home=home, cwd=project, env=children["with"]).returncode == 0
    left = rashomon("replay", "@prev", home=home, cwd=project, env=children["without"])
    assert left.returncode == 1, left.stderr
    assert "no replay has begun in it" in left.stderr
