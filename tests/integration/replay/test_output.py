"""A replay whose program prints something else than the recorded one says so."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import environment, rashomon

CHANCE = "open('/dev/urandom', 'rb').read(8).hex()"


def replay(folder: Path, program: str, *options: str, args: tuple[str, ...] = ()) -> tuple[int, dict[str, Any], str]:
    """Record a program and replay it: exit code, report and what was said."""
    (folder / "agent.py").write_text(program)
    home, report = folder / "home", folder / "report.json"
    done = rashomon("record", "--", sys.executable, *args, "agent.py", home=home, cwd=folder)
    assert done.returncode == 0, done.stderr
    done = rashomon("replay", "@last", "--report", report, *options, home=home, cwd=folder)
    return done.returncode, json.loads(report.read_text()), done.stderr


@pytest.mark.parametrize("write", ["print({})", "sys.stdout.write({})", "sys.stdout.writelines([{}])"])
def test_it_is_told(tmp_path: Path, write: str) -> None:
    """Chance that no recorder sees, printed: the replay has not held, and says which line, in words of its own run."""
    program = f"import sys\nprint('first')\n{write.format(CHANCE)}\nprint('last')\n"
    code, report, said = replay(tmp_path, program)
    assert (code, report["held"], report["output"]["same"]) == (1, False, False)
    assert "What the program printed differs from the recording at line 2." in said
    assert "line 2 in the replay: '" in said
    assert "--any-output" in said
    assert [one["kind"] for one in report["divergences"]] == ["output"]


def test_it_may_be_let_pass(tmp_path: Path) -> None:
    """With --any-output it is told all the same."""
    code, report, said = replay(tmp_path, f"print({CHANCE})\n", "--any-output")
    assert (code, report["held"], report["output"]["same"]) == (0, True, False)
    assert "NOTE: What the program printed differs from the recording at line 1." in said


def test_nothing_printed_is_known_as_well(tmp_path: Path) -> None:
    """A recording that printed nothing, and a replay that does."""
    code, _, said = replay(tmp_path, "import os\nif os.path.exists('here'): print('more')\nopen('here', 'w')\n",
                           "--any-output")  # fmt: skip
    assert code == 0
    assert "In the recording the program printed 0 lines, in the replay 1 line." in said


SAME = """
import asyncio, concurrent.futures, logging, multiprocessing, os, subprocess, sys, threading, time, rashomon

logging.basicConfig(stream=sys.stdout, format="%(asctime)s.%(msecs)03d %(message)s")

@rashomon.tool
def look():
    print("in a tool", os.urandom(8).hex(), open("/dev/urandom", "rb").read(8).hex())
    thread = threading.Thread(target=print, args=("in its thread",)); thread.start(); thread.join()
    return 1

class Dropped:
    def __init__(self): self.me = self
    def __del__(self): print("collected", id(self))

def work(n):
    for i in range(20):
        print("work", n, i, end=" "); print(time.time(), flush=True)
        time.sleep(0.001)
    return n

async def task(n):
    for i in range(5):
        await asyncio.sleep(0.001 * n); print("task", n, i)
    return await asyncio.to_thread(look)

async def main():
    print(sum(await asyncio.gather(*(task(n) for n in range(5)))))

if __name__ == "__main__":
    logging.warning("began")
    for _ in range(2000): Dropped()
    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    [one.start() for one in threads]; [one.join() for one in threads]
    asyncio.run(main())
    with concurrent.futures.ThreadPoolExecutor(2) as pool: print(list(pool.map(work, range(3))))
    with concurrent.futures.ProcessPoolExecutor(2) as pool: print(list(pool.map(work, range(3))))
    for way in ("fork", "spawn"):
        child = multiprocessing.get_context(way).Process(target=work, args=(way,)); child.start(); child.join()
    if os.fork() == 0:
        print("forked"); sys.stdout.flush(); os._exit(0)
    os.wait()
    subprocess.run([sys.executable, "-c", "print('a child', object())"], check=True)
    logging.warning("ended")
"""


def test_an_unchanged_program_prints_the_same(tmp_path: Path) -> None:
    """Threads, tasks, pools and processes that print beside each other; tools, finalizers and loggers' times."""
    code, report, said = replay(tmp_path, SAME)
    assert code == 0, said
    assert report["held"]
    assert report["output"]["same"] is not None
    assert "rashomon: not recorded" not in said


BUSY = """
import sys, time
from rich.console import Console
from rich.progress import track
console = Console()
with console.status("thinking"):
    for number in range(4):
        time.sleep(0.13)
        console.print("step", number)
for number in track(range(5)):
    time.sleep(0.05)
for number in range(3):
    print(f"\\r{number} of 3", end="")
print()
print("done", *sys.argv[1:])
"""


def test_progress_bars_may_turn_as_they_like(tmp_path: Path) -> None:
    """How often they are drawn is a matter of time; what is printed beside them counts."""
    code, report, said = replay(tmp_path, BUSY)
    assert (code, report["output"]["same"]) == (0, True), said


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_so_they_may_in_a_terminal(tmp_path: Path) -> None:
    """There they write over their lines all the time."""
    import pty

    (tmp_path / "agent.py").write_text(BUSY)
    codes, said = [], b""
    for words in (["record", "--", sys.executable, "agent.py"], ["replay", "@last"]):
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(tmp_path)
            environ = environment(tmp_path / "home", TERM="xterm")
            os.execve(sys.executable, [sys.executable, "-m", "rashomon.cli", *words], environ)
        with contextlib.suppress(OSError):  # the terminal's other side is closed
            while data := os.read(terminal, 65_536):
                said += data
        os.close(terminal)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    assert codes == [0, 0], said.decode()
    assert b"the replay held" in said


@pytest.mark.parametrize(
    "program",
    [
        "import sys\nsys.stdout = None\nprint('nowhere')\n",
        "import io, sys\nsys.stdout = io.StringIO()\nprint('kept')\n",
        "import sys\nsys.stdout.buffer.write(b'bytes\\n')\nsys.stdout = open(1, 'w', closefd=False)\nprint('x')\n",
        "import sys\nsys.stdout.close()\n",
        "import os, sys\nprint('a', flush=True)\nos.close(1)\nsys.stdout = None\n",
        "import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as kept: print('x')\nprint(kept)\n",
        "import sys\nsys.stdout.reconfigure(line_buffering=True, errors='replace')\nprint('\\udcff')\n",
        "import sys\ntry: sys.stdout.write(b'x')\nexcept TypeError as error: print(error)\n",
    ],
)
def test_whatever_is_done_to_stdout(tmp_path: Path, program: str) -> None:
    """The program does what it does without a recorder, and the replay as well."""
    code, report, said = replay(tmp_path, program)
    assert (code, report["held"]) == (0, True), said


def test_what_was_printed_stays_off_the_disk(tmp_path: Path) -> None:
    """Of a recording only digests are kept."""
    code, _, said = replay(tmp_path, "print('an unusual sentence')\n")
    assert code == 0, said
    kept = b"".join(file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file())
    assert b"unusual sentence" not in kept


def test_a_killed_process_told_nothing(tmp_path: Path) -> None:
    """Nothing is compared with what a killed child printed; what the others printed is."""
    program = (
        "import os, signal, subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', \"import os; print('x', flush=True); os.kill(os.getpid(), 9)\"])\n"
        f"print({CHANCE} if len(sys.argv) > 9 else 'same')\n"
    )
    code, report, said = replay(tmp_path, program)
    assert code == 0, said
    assert report["output"]["same"] is None
    assert "NOTE: not all that was printed could be compared" in said


def diff(folder: Path, left: str, right: str) -> tuple[int, dict[str, Any], str]:
    """Compare two traces: exit code, document and text."""
    done = rashomon("diff", left, right, "--json", home=folder / "home", cwd=folder)
    text = rashomon("diff", left, right, home=folder / "home", cwd=folder)
    assert text.returncode == done.returncode
    return done.returncode, json.loads(done.stdout), text.stdout


@pytest.mark.parametrize("option", [[], ["--any-output"]])
def test_a_comparison_tells_it_too(tmp_path: Path, option: list[str]) -> None:
    """The steps of a recording and its replay are the same, and the traces are not."""
    replay(tmp_path, f"print('a')\nprint({CHANCE})\n", *option)
    code, document, text = diff(tmp_path, "@prev", "@last")
    assert (code, document["same"], document["first"], document["pairs"]) == (1, False, None, [])
    assert [end["kind"] for end in document["ends"]] == ["output"]
    assert "~ output  What the program printed differs from the recording at line 2." in text
    assert "line 2 in the replay: '" in text
    assert text.endswith("Different: output. 0 steps the same.\n")


def test_two_recordings_that_ended_otherwise(tmp_path: Path) -> None:
    """Exit codes and output of any two traces are compared, where they are known; the same trace twice is the same."""
    (tmp_path / "agent.py").write_text("import sys\nprint('to', sys.argv[1])\nsys.exit(int(sys.argv[1]))\n")
    for given in "0", "3":
        rashomon("record", "--", sys.executable, "agent.py", given, home=tmp_path / "home", cwd=tmp_path)
    code, document, text = diff(tmp_path, "@prev", "@last")
    assert (code, [end["kind"] for end in document["ends"]]) == (1, ["output", "exit"])
    assert "~ output  What the program printed differs from the left trace at line 1." in text
    assert "~ exit  The program ended with exit code 0 in the left trace, 3 in the right one." in text
    assert text.endswith("Different: output, exit. 0 steps the same.\n")
    code, document, text = diff(tmp_path, "@last", "@last")
    assert (code, document["same"], document["ends"]) == (0, True, [])
    assert text.endswith("The same: 0 steps.\n")


def test_what_a_logger_printed_does_not_make_a_difference(tmp_path: Path) -> None:
    """Its numbers are told in passing."""
    program = f"import logging, sys\nlogging.basicConfig(stream=sys.stdout)\nlogging.warning(int({CHANCE}, 16))\n"
    replay(tmp_path, program)
    code, document, text = diff(tmp_path, "@prev", "@last")
    assert (code, document["same"], [end["passing"] for end in document["ends"]]) == (0, True, [True])
    assert "  output  Numbers or times in what loggers printed differ from the recording." in text


TESTS = f"""
import os, rashomon, time
@rashomon.tool
def fetched():
    time.sleep(0.3)
    return 1
def test_that_holds():
    assert fetched() == 1
def test_that_fails():
    print({CHANCE} if "CHANCE" in os.environ else "told")
    assert fetched() == 2
"""


@pytest.mark.parametrize("option", ["-q", "--durations=2"])
def test_how_long_tests_took_makes_no_difference(tmp_path: Path, option: str) -> None:
    """A suite of tests as the recorded program: pytest tells of other seconds in each run. What tests say counts."""
    (tmp_path / "test_agent.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", option, "-p", "no:cacheprovider", "test_agent.py"]
    done = rashomon("record", "--name", "suite", "--", *command, home=tmp_path / "home", cwd=tmp_path)
    assert (done.returncode, "1 failed, 1 passed in " in done.stdout) == (1, True), done.stdout
    again = rashomon("replay", "suite", home=tmp_path / "home", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert again.stdout != done.stdout
    other = rashomon("replay", "suite", home=tmp_path / "home", cwd=tmp_path, env={"CHANCE": "1"})
    assert other.returncode == 1
    assert "What the program printed differs" in other.stderr


def test_a_secret_in_the_line_that_differs(tmp_path: Path) -> None:
    """That line's text is kept of a replay, redacted as all that is kept, and found by who searches for it."""
    secret = "sk-ant-api03-" + "R4sh0m0nT3st" * 4
    program = f"print('Key {secret[:20]}' + '{secret[20:]}', 'of Ada Lovelace', {CHANCE})\n"
    _, report, said = replay(tmp_path, program)
    kept = b"".join(file.read_bytes() for file in (tmp_path / "home").rglob("*") if file.is_file())
    assert secret.encode() not in kept
    assert secret not in said + json.dumps(report)
    assert "of Ada Lovelace" in said
    found = rashomon("forget", "--text", "Ada Lovelace", home=tmp_path / "home", cwd=tmp_path)
    assert report["trace"] in found.stdout + found.stderr
