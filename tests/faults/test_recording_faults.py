"""Recording never breaks the program: its output and exit code stay what they are without us, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rashomon import redaction
from tests.support import AGENTS, environment, rashomon, tapes_of

AGENT = str(AGENTS / "offline_agent.py")


def bare(*args: str, home: Path) -> subprocess.CompletedProcess[str]:
    """The agent without the recorder."""
    return subprocess.run([sys.executable, AGENT, *args], env=environment(home), capture_output=True, text=True)


def same_outcome(recorded: subprocess.CompletedProcess[str], plain: subprocess.CompletedProcess[str]) -> bool:
    """Standard output and exit code are the same."""
    return (recorded.stdout, recorded.returncode) == (plain.stdout, plain.returncode)


def test_values_that_cannot_be_encoded(tmp_path: Path) -> None:
    """Arguments and results whose repr raises are recorded by their type; the tool does not notice."""
    recorded = rashomon("record", "--", sys.executable, AGENT, home=tmp_path)
    assert same_outcome(recorded, bare(home=tmp_path)), recorded.stderr
    steps = tapes_of(tmp_path)[0].steps
    assert len(steps) == 8
    assert b"Odd" in steps[1].request.body


def test_disk_full(tmp_path: Path) -> None:
    """The disk takes 16 kB and no more: the program ends as ever, the loss is told once and is in the trace."""
    limited = ["bash", "-c", f'ulimit -f 16; exec "{sys.executable}" "{AGENT}" 40']
    recorded = rashomon("record", "--", *limited, home=tmp_path)
    assert same_outcome(recorded, bare("40", home=tmp_path)), recorded.stderr
    assert recorded.stderr.count("recording is incomplete") == 1
    tape = tapes_of(tmp_path)[0]
    assert tape.trace.losses[0].steps > 0
    assert 0 < len(tape.steps) < 80
    assert len(tape.steps) + tape.trace.losses[0].steps == 80
    assert "not everything was recorded" in recorded.stderr


@pytest.mark.parametrize("home", ["/dev/null/home", "/proc/home"])
def test_home_that_cannot_be_written(home: str, tmp_path: Path) -> None:
    """Without a home nothing is recorded; one sentence says so and what to do."""
    recorded = rashomon("record", "--", sys.executable, AGENT, home=Path(home))
    assert same_outcome(recorded, bare(home=tmp_path))
    assert recorded.stderr.count("nothing is recorded: cannot write to") == 1
    assert "RASHOMON_HOME" in recorded.stderr


def test_home_deleted_in_mid_run(tmp_path: Path) -> None:
    """The home is deleted under the recorder: the journal is written anew, with every step."""
    home = tmp_path / "home"
    recorded = rashomon("record", "--", sys.executable, AGENT, "6", "delete-home", home=home)
    assert same_outcome(recorded, bare("6", home=tmp_path)), recorded.stderr
    assert recorded.stderr.count("was deleted while it was written") == 1
    assert len(tapes_of(home)[0].steps) == 12


@pytest.mark.parametrize(
    "where",
    ["Redactor.content", "Redactor.open_end", "Redactor.encoded", "Redactor.replacements", "StreamRedactor.finish"],
)
def test_exception_inside_the_recorder(where: str, tmp_path: Path) -> None:
    """A bug in our redaction is counted as a loss and told once; the program goes on."""
    broken = "import rashomon.redaction as r\n" + "def _broken(self, *args): raise RuntimeError('ours')\n"
    broken += f"r.Redactor.content = _broken\nr.{where} = _broken\nimport runpy, sys\n"
    broken += f"sys.argv = ['{AGENT}']\nrunpy.run_path('{AGENT}', run_name='__main__')\n"
    recorded = rashomon("record", "--", sys.executable, "-c", broken, home=tmp_path)
    assert same_outcome(recorded, bare(home=tmp_path)), recorded.stderr
    assert recorded.stderr.count("recording is incomplete: RuntimeError: ours") == 1
    assert tapes_of(tmp_path)[0].trace.losses


def test_exception_inside_the_shim(tmp_path: Path) -> None:
    """A bug in the HTTP shim lets the request through and is counted."""
    broken = "import rashomon.recorders.httpx_shim as s\n"
    broken += "def _broken(*a): raise RuntimeError('shim')\ns._Shim.call = _broken\nimport runpy, sys\n"
    broken += f"sys.argv = ['{AGENT}']\nrunpy.run_path('{AGENT}', run_name='__main__')\n"
    recorded = rashomon("record", "--", sys.executable, "-c", broken, home=tmp_path)
    assert same_outcome(recorded, bare(home=tmp_path)), recorded.stderr
    assert tapes_of(tmp_path)[0].trace.losses[0].steps == 4


def test_os_exit(tmp_path: Path) -> None:
    """A program that leaves by os._exit keeps its exit code, and every step it had made is there."""
    recorded = rashomon("record", "--", sys.executable, AGENT, "4", "exit", home=tmp_path)
    assert same_outcome(recorded, bare("4", "exit", home=tmp_path))
    assert recorded.returncode == 3
    tape = tapes_of(tmp_path)[0]
    assert len(tape.steps) == 6
    assert (tape.trace.exit_code, tape.trace.outcome) == (3, "error")


def test_an_exception_of_the_program(tmp_path: Path) -> None:
    """The program's own traceback and exit code are untouched; the trace names the exception."""
    recorded = rashomon("record", "--", sys.executable, AGENT, "4", "raise", home=tmp_path)
    plain = bare("4", "raise", home=tmp_path)
    assert same_outcome(recorded, plain)
    assert plain.stderr in recorded.stderr
    assert tapes_of(tmp_path)[0].trace.error == "ValueError: a failure of the program's own"


@pytest.mark.parametrize("to_group", [True, False], ids=["from the terminal", "from kill"])
def test_ctrl_c(to_group: bool, tmp_path: Path) -> None:
    """SIGINT reaches the program once, whoever sends it; it ends as it decides, and its steps are kept."""
    command = [sys.executable, "-m", "rashomon.cli", "record", "--", sys.executable, AGENT, "4", "interrupt"]
    running = subprocess.Popen(
        command,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )
    assert running.stdout is not None
    said = ""
    while "ready" not in said:
        said += running.stdout.readline()
    if to_group:
        from_terminal(running.pid)
    else:
        running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=30)
    assert out.splitlines()[-1] == "interrupted", err
    assert running.returncode == 5
    assert len(tapes_of(tmp_path)[0].steps) == 6


def from_terminal(leader: int) -> None:
    """Signal only the program, as the kernel does for a terminal's whole group; the launcher ignores its share."""
    children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGINT)


def test_a_program_that_is_killed(tmp_path: Path) -> None:
    """A program that dies by a signal makes `record` die by it too, as a shell expects."""
    killed = rashomon("record", "--", sys.executable, "-c", "import os; os.kill(os.getpid(), 9)", home=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    assert tapes_of(tmp_path)[0].trace.outcome == "killed"


def test_switched_off(tmp_path: Path) -> None:
    """RASHOMON_OFF=1 runs the program as if we were not there."""
    recorded = rashomon("record", "--", sys.executable, AGENT, home=tmp_path / "home", env={"RASHOMON_OFF": "1"})
    assert same_outcome(recorded, bare(home=tmp_path))
    assert not (tmp_path / "home").exists()


def test_the_patched_names_exist() -> None:
    """The two tests above that break the recorder on purpose break methods that are there."""
    assert {"content", "open_end"} <= set(vars(redaction.Redactor))
