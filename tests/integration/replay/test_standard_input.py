"""What somebody types, or a pipe gives, is recorded, and a replay asks nobody for it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import shlex
import struct
import subprocess
import sys
import time
import zlib
from pathlib import Path

import msgpack
import pytest

from rashomon.journal import Code
from rashomon.model import STDIN, End, Kind, Tape
from tests.support import environment, needs_apart, rashomon, tapes_of, with_apart


def record(folder: Path, program: str, said: str | bytes, code: int = 0, *args: str) -> str:
    """Record a program that is given `said`: what it printed."""
    (folder / "agent.py").write_text(program)
    command = [sys.executable, "-m", "rashomon.cli", "record", "--", sys.executable, *args, "agent.py"]
    given = said.encode() if isinstance(said, str) else said
    done = subprocess.run(
        command, input=given, capture_output=True, timeout=60, cwd=folder, env=environment(folder / "home")
    )
    assert done.returncode == code, done.stderr.decode()
    return done.stdout.decode()


def replay(folder: Path, *options: str, code: int = 0, reference: str = "@last") -> str:
    """Replay it where nobody says anything: what it printed."""
    done = rashomon("replay", reference, *options, home=folder / "home", cwd=folder, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stderr
    return done.stdout


def heard(tape: Tape) -> list[tuple[str, int]]:
    """What was read from stdin: by what, and in how many pieces."""
    return [(step.name, len(step.response.pieces)) for step in tape.steps if step.kind is Kind.TOOL]


CHAT = """
while True:
    try:
        line = input("you> ")
    except EOFError:
        print("bye")
        break
    print("bot>", line.upper())
"""


def test_a_chat_is_replayed_with_nobody_there(tmp_path: Path) -> None:
    """Each answer is a step, the end of the input too; questions are shown again."""
    printed = record(tmp_path, CHAT, "hello\nrefund 4711\n")
    assert printed == "you> bot> HELLO\nyou> bot> REFUND 4711\nyou> bye\n"
    assert replay(tmp_path) == printed
    first, again = tapes_of(tmp_path / "home")
    assert heard(first) == heard(again) == [("input", 1), ("input", 1), ("input", 0)]
    assert [step.response.end for step in first.steps] == [End.COMPLETE, End.COMPLETE, End.ERROR]
    assert [step.match.grade for step in again.steps if step.match] == ["exact"] * 3


WAYS = {
    "lines": "for line in sys.stdin: print(line.strip())",
    "readlines": "print(sys.stdin.readlines())",
    "readline": "print([sys.stdin.readline(), sys.stdin.readline(3), sys.stdin.readline()])",
    "next": "print(next(sys.stdin), next(iter(sys.stdin)))",
    "read": "print(repr(sys.stdin.read()))",
    "some": "print([sys.stdin.read(4), sys.stdin.read(4), sys.stdin.read(400), sys.stdin.read(4)])",
    "bytes": "print([sys.stdin.buffer.read(3), sys.stdin.buffer.peek()[:2], sys.stdin.buffer.readline(), "
    "sys.stdin.buffer.read()])",
    "read1": "print([sys.stdin.buffer.read1(), sys.stdin.buffer.read1()])",
    "into": "b = bytearray(5); print(sys.stdin.buffer.readinto(b), b, sys.stdin.buffer.readinto1(memoryview(b)), b)",
    "wrapped": "t = io.TextIOWrapper(sys.stdin.buffer, 'utf-8'); print(t.readline(), list(t))",
    "fileinput": "print(list(fileinput.input()))",
    "json": "print(json.load(sys.stdin.buffer) if 0 else [json.dumps(line) for line in sys.stdin])",
    "both": "print(input(), sys.stdin.readline(), input(), list(sys.stdin))",
    "again": "a = sys.stdin.read(); b = sys.stdin.read(); print(a, repr(b))",
}


@pytest.mark.parametrize("way", WAYS)
def test_ways_to_read(tmp_path: Path, way: str) -> None:
    """Whatever reads it: the replay reads the same."""
    imports = "import fileinput, io, json, sys\n"
    printed = record(tmp_path, imports + WAYS[way] + "\n", "eins\nzwei für drei\nvier\nfünf", 0)
    assert printed == subprocess.run(
        [sys.executable, "agent.py"], input="eins\nzwei für drei\nvier\nfünf", text=True, capture_output=True,
        cwd=tmp_path, timeout=60, check=True,
    ).stdout  # fmt: skip
    assert replay(tmp_path) == printed
    assert tapes_of(tmp_path / "home")[0].steps


def test_lines_are_pieces_of_one_call(tmp_path: Path) -> None:
    """Of a thousand lines that a loop reads there are not a thousand steps; none is open at the end."""
    program = "import sys\nfor line in sys.stdin:\n    if line.strip() == '900': break\nprint(line)\n"
    program = f"import sys; sys.stdin.read(0); sys.stdin.buffer.read(0)\n{program}"
    record(tmp_path, program, "".join(f"{number}\n" for number in range(1000)))
    assert replay(tmp_path).strip() == "900"
    for tape in tapes_of(tmp_path / "home"):
        assert heard(tape) == [("sys.stdin.readline", 901)]
        assert tape.steps[0].response.end is End.CLOSED


def test_more_than_was_recorded_is_not_made_up(tmp_path: Path) -> None:
    """A program that has changed, and reads on, is stopped: nobody knows what it would have got."""
    record(tmp_path, "import sys\nprint(sys.stdin.readline())\n", "one\ntwo\n")
    (tmp_path / "agent.py").write_text("import sys\nprint(sys.stdin.readline() + sys.stdin.readline())\n")
    assert replay(tmp_path, code=1) == ""
    record(tmp_path, "print(input('yes? '))\n", "y\n")
    (tmp_path / "agent.py").write_text("print(input('delete all? '))\n")
    assert replay(tmp_path, code=1) == ""


def test_another_answer_may_be_given(tmp_path: Path) -> None:
    """What somebody said is swapped like another tool's result; or asked for again."""
    program = "print('refunded' if input('Refund 500? ') == 'yes' else 'refused')\n"
    assert record(tmp_path, program, "yes\n") == "Refund 500? refunded\n"
    trace = tapes_of(tmp_path / "home")[0].trace.id
    done = rashomon("replay", trace, "--stub", 'input="no"', home=tmp_path / "home", cwd=tmp_path)
    assert "refused" in done.stdout, done.stderr
    (tmp_path / "agent.py").write_text("print(input('Refund 700? '))\n")
    done = rashomon("replay", trace, "--live", "tool", home=tmp_path / "home", cwd=tmp_path, input="by hand\n")
    assert "by hand" in done.stdout


CONCURRENT = """
import asyncio, threading, rashomon

@rashomon.tool
async def slow(name):
    await asyncio.sleep(0.05)
    return name * 2

@rashomon.tool
def approve(what):
    return input(f"{what}? ")

async def main():
    async def ask(): return await asyncio.to_thread(input, "first? ")
    async def work(): return [await slow(str(number)) for number in range(3)]
    print(await asyncio.gather(ask(), work()))
    print(await asyncio.to_thread(approve, "second"))
    print(input("third? "))

asyncio.run(main())
thread = threading.Thread(target=lambda: print(input("fourth? ")))
thread.start(); thread.join()
"""


def test_threads_and_tools_ask(tmp_path: Path) -> None:
    """Each gets its own; what a tool had asked is not asked in a replay, which does not run it."""
    printed = record(tmp_path, CONCURRENT, "a\nb\nc\nd\n")
    assert replay(tmp_path).replace("second? ", "") == printed.replace("second? ", "")
    first, again = tapes_of(tmp_path / "home")
    assert heard(first).count(("input", 1)) == 4
    assert heard(again).count(("input", 1)) == 3
    inner = [step for step in first.steps if step.within]
    assert [step.name for step in inner] == ["input"]


FAMILY = """
import subprocess, sys
here = [sys.executable, "-c", "print('child', input())"]
print(input())
print(subprocess.run(here, input="mine", text=True, capture_output=True).stdout)
sys.stdout.flush()
subprocess.run([sys.executable, "-c", "print('heir', __import__('sys').stdin.read())"])
"""


def test_children(tmp_path: Path) -> None:
    """A child that has its parent's stdin is replayed as the parent is; what the parent gives it, it gets again."""
    printed = record(tmp_path, FAMILY, b"".join([b"x" * 8191, b"\nthe rest"]))
    assert "child mine" in printed
    assert "heir the rest" in printed
    assert replay(tmp_path) == printed
    read = [[name for name, _ in heard(tape)] for tape in tapes_of(tmp_path / "home")]
    assert read == [["input", "sys.stdin.read"]] * 2


ASKS = """
import sys
print(sys.stdin is None)
try:
    print(input("Sure? "))
except (RuntimeError, EOFError) as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize("then", ["yes\n", "", None], ids=["said", "empty", "closed"])
@pytest.mark.parametrize("now", ["closed", "empty"])
def test_where_there_is_no_stdin_at_all(tmp_path: Path, then: str | None, now: str) -> None:
    """A replay by a service manager that closed its stdin has what the recording had; and one of a recording that had
    none has none."""
    (tmp_path / "agent.py").write_text(ASKS)
    environ = environment(tmp_path / "home")

    def run(*args: str, stdin: str) -> str:
        command = shlex.join([sys.executable, "-m", "rashomon.cli", *args]) + stdin
        done = subprocess.run(
            command, shell=True, capture_output=True, text=True, cwd=tmp_path, env=environ, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    (tmp_path / "said").write_text(then or "")
    recorded = run("record", "--", sys.executable, "agent.py", stdin=" <&-" if then is None else " <said")
    assert recorded.startswith("True\nRuntimeError" if then is None else "False\n")
    assert run("replay", "@last", stdin=" <&-" if now == "closed" else " </dev/null") == recorded


def test_a_shell_gives_it_again(tmp_path: Path) -> None:
    """What comes from a pipe that the command itself makes comes from it in a replay as well."""
    (tmp_path / "agent.py").write_text("import sys\nprint(sys.stdin.read())\n")
    command = ["sh", "-c", f"echo from the shell | {sys.executable} agent.py"]
    done = rashomon("record", "--", *command, home=tmp_path / "home", cwd=tmp_path, input="unread")
    assert done.stdout == "from the shell\n\n", done.stderr
    assert replay(tmp_path) == "from the shell\n\n"
    assert [heard(tape) for tape in tapes_of(tmp_path / "home")] == [[], []]


def test_a_text_of_the_programs_own(tmp_path: Path) -> None:
    """Whoever puts something else in the place of `sys.stdin` reads that."""
    program = "import io, sys\nsys.stdin = io.StringIO('own\\n')\nprint(input())\n"
    assert record(tmp_path, program, "other") == "own\n"
    assert replay(tmp_path) == "own\n"
    assert tapes_of(tmp_path / "home")[0].steps == ()


PAST = """
import asyncio, sys

async def main():
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print((await reader.readline()).decode())

asyncio.run(main())
"""


OPENS = """
def main():
    with open({}) as file:
        print(file.readline())

main()
"""


@pytest.mark.parametrize(("program", "line"), [(PAST, 6), (OPENS.format(0), 3), (OPENS.format("'/dev/stdin'"), 3)])
def test_what_is_read_past_it_is_told(tmp_path: Path, program: str, line: int) -> None:
    """An event loop reads the descriptor, or the program opens it again: the recording says so, and where."""
    assert record(tmp_path, program, "hello\n") == "hello\n\n"
    (told,) = tapes_of(tmp_path / "home")[0].trace.uncontrolled
    assert told.site is not None
    assert (told.what, told.site.line, told.site.function) == ("stdin", line, "main")


OWN = """
import sys, rashomon
with rashomon.trace("t"):
    print(input("in? "), sys.stdin.readlines())
"""


def test_in_a_program_that_records_itself(tmp_path: Path) -> None:
    """`with rashomon.trace()`: what is asked within it is recorded; other input is read again."""
    (tmp_path / "agent.py").write_text(OWN)
    command, home = [sys.executable, "agent.py"], tmp_path / "home"
    done = subprocess.run(
        command, input="one\ntwo\n", text=True, capture_output=True, timeout=60, cwd=tmp_path,
        env=environment(home), check=True,
    )  # fmt: skip
    assert done.stdout == "in? one ['two\\n']\n"
    (tape,) = tapes_of(home)
    assert heard(tape) == [("input", 1)]
    done = rashomon("replay", tape.trace.id, "--", *command, home=home, cwd=tmp_path, input="other\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "in? one ['other\\n']\n"


def test_older_recordings(tmp_path: Path) -> None:
    """They have nothing of what was read: a program reads what it is given now."""
    record(tmp_path, "print(1)\n", "")
    for journal in (tmp_path / "home" / "journals").glob("*.rsj"):
        _as_it_was(journal)
    (tmp_path / "agent.py").write_text("assert input('x') == 'given now'\nprint(1)\n")
    done = rashomon("replay", "@last", "--any-output", home=tmp_path / "home", cwd=tmp_path, input="given now\n")
    assert done.returncode == 0, done.stderr


WAITS = """
import sys, threading, time

def read():
    if len(sys.argv) > 1:
        for line in sys.stdin: lines.append(line)
    while True: lines.append(input("cmd> "))

lines = []
threading.Thread(target=read, daemon=True).start()
for number in range(3):
    time.sleep(0.2)
    print("work", number, len(lines))
"""


@pytest.mark.parametrize("way", [[], ["lines"]])
def test_a_thread_that_waits_when_the_program_ends(tmp_path: Path, way: list[str]) -> None:
    """Nobody answers it in a replay either, and it is not told as something that went wrong."""
    (tmp_path / "agent.py").write_text(WAITS)
    command = [sys.executable, "-m", "rashomon.cli", "record", "--", sys.executable, "agent.py", *way]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tmp_path,
                          env=environment(tmp_path / "home")) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("stop\n")
        process.stdin.flush()
        printed = process.stdout.read()
        assert process.wait() == 0
    assert "work 2 1" in printed
    done = rashomon("replay", "@last", home=tmp_path / "home", cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert (done.returncode, done.stdout) == (0, printed), done.stderr
    assert "stopped" not in done.stderr


def _as_it_was(journal: Path) -> None:
    """Make of a journal what an older version wrote: without what a trace keeps of stdin."""
    data = journal.read_bytes()
    written, at = bytearray(data[:64]), 64
    while at < len(data):
        (size,) = struct.unpack_from("<I", data, at)
        frame = msgpack.unpackb(data[at + 8 : at + 8 + size], strict_map_key=False)
        if frame[0] == Code.TRACE:
            frame[2].get("environ", {}).pop(STDIN, None)
        payload = msgpack.packb(frame)
        written += struct.pack("<II", len(payload), zlib.crc32(payload)) + payload
        at += 8 + size
    journal.write_bytes(written)


def test_a_program_that_is_killed_while_it_asks(tmp_path: Path) -> None:
    """What it had heard is there; where it was killed a replay ends with that."""
    (tmp_path / "agent.py").write_text("print(input('one? '), flush=True)\nprint(input('two? '), flush=True)\n")
    command = [sys.executable, "-m", "rashomon.cli", "record", "--", sys.executable, "agent.py"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path,
        env=environment(tmp_path / "home"), start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"first\n")
        process.stdin.flush()
        assert process.stdout.readline() == b"one? first\n"
        process.stdout.read(4)
        os.killpg(process.pid, 9)
    done = rashomon("replay", "@last", home=tmp_path / "home", cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert "the replay held: 2 of 2 steps" in done.stderr
    assert "one? first" in done.stdout
    assert "was killed in it" in done.stderr


def test_under_dev_mode_nothing_complains(tmp_path: Path) -> None:
    """No ResourceWarning for the stream that stands aside."""
    program = "import sys\nprint(input(), sys.stdin.readline(), sys.stdin.buffer.read(), sys.__stdin__ is sys.stdin)\n"
    printed = record(tmp_path, program, "a\nb\nc", 0, "-X", "dev", "-W", "error")
    assert printed == "a b\n b'' True\n" or printed == "a b\n b'c' True\n"
    assert replay(tmp_path) == printed


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, *command: str | Path, folder: Path, **more: str) -> None:
        self._fd, theirs = pty.openpty()
        wanted = {**environment(folder / "home", TERM="dumb"), **more}
        words = [sys.executable, "-c", _LEADS, *map(str, command)]
        self._process = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, cwd=folder, env=wanted,
                                         start_new_session=True)  # fmt: skip
        os.close(theirs)
        self.seen = ""
        self._begins = 0

    def until(self, text: str) -> None:
        """Read until it is shown, behind what was waited for before."""
        while text not in self.seen[self._begins :]:
            assert select.select([self._fd], [], [], 30)[0], self.seen
            try:
                self.seen += os.read(self._fd, 4096).decode(errors="replace")
            except OSError:
                raise AssertionError(self.seen) from None
        self._begins = self.seen.index(text, self._begins) + len(text)

    def type(self, text: str) -> None:
        """Press these keys."""
        os.write(self._fd, text.encode())

    def end(self) -> int:
        """Its exit code."""
        with contextlib.suppress(OSError):  # Linux says so where nobody is left
            while select.select([self._fd], [], [], 30)[0] and (more := os.read(self._fd, 4096)):
                self.seen += more.decode(errors="replace")
        os.close(self._fd)
        return self._process.wait(timeout=30)


_LEADS = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "rashomon.cli", *sys.argv[1:]])
"""


@pytest.fixture
def typed(tmp_path: Path) -> Path:
    """A folder with a program that somebody talks to in a terminal."""
    (tmp_path / "agent.py").write_text(
        "import getpass, os, sys\n"
        "print('terminal', sys.stdin.isatty(), os.isatty(0))\n"
        "word = getpass.getpass('word? ')\n"
        "print(len(word) > 3)\n"
        "try:\n"
        "    while True: print('bot>', input('you> '))\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    return tmp_path


def test_in_a_terminal(typed: Path) -> None:
    """Ctrl-C at a question comes again, a password is on no disk, and a terminal is one where there is none."""
    terminal = Terminal("record", "--", sys.executable, "agent.py", folder=typed)
    terminal.until("word? ")
    terminal.type("hunter2-of-mine\n")
    terminal.until("you> ")
    terminal.type("hello\n")
    terminal.until("bot> hello")
    terminal.until("you> ")
    time.sleep(0.5)  # CPython misses what comes between the question and the read
    terminal.type("\x03")
    assert terminal.end() == 0, terminal.seen
    assert "terminal True True" in terminal.seen
    assert "interrupted" in terminal.seen
    done = rashomon("replay", "@last", home=typed / "home", cwd=typed, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "terminal True True\nword? \nTrue\nyou> hello\nbot> hello\nyou> \ninterrupted\n"
    assert not [path for path in (typed / "home").rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]
    shown = Terminal("replay", tapes_of(typed / "home")[0].trace.id, folder=typed)
    assert shown.end() == 0, shown.seen
    assert "you> hello\r\nbot> hello" in shown.seen


FED = """
import subprocess, sys
child = "import getpass, sys; word = getpass.getpass('word? '); print(len(word) > 3, sys.stdin.read())"
print(subprocess.run([sys.executable, "-c", child], input="fed", text=True, capture_output=True).stdout)
"""


def test_a_password_that_a_child_asks_for(tmp_path: Path) -> None:
    """It is asked for at the terminal, whatever the child's stdin is: a replay asks nobody for it."""
    (tmp_path / "agent.py").write_text(FED)
    terminal = Terminal("record", "--", sys.executable, "agent.py", folder=tmp_path)
    terminal.until("word? ")
    terminal.type("hunter2-of-mine\n")
    assert terminal.end() == 0, terminal.seen
    assert "True fed" in terminal.seen
    done = rashomon("replay", "@last", home=tmp_path / "home", cwd=tmp_path, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    assert "True fed" in done.stdout


PROMPTS = """
import asyncio
from prompt_toolkit import PromptSession, prompt
from prompt_toolkit.formatted_text import HTML

session, ticks = PromptSession(), []

async def tick():
    for number in range(3):
        await asyncio.sleep(0.05)
        ticks.append(number)

async def main():
    task = asyncio.create_task(tick())
    print("heard", await session.prompt_async(HTML("<b>awaited</b>> ")), ticks)
    await task

print("heard", prompt("plain> "))
print("long", len(prompt("hidden> ", is_password=True)) > 3)
asyncio.run(main())
try:
    session.prompt("last> ")
except KeyboardInterrupt:
    print("interrupted")
"""


@needs_apart("prompt_toolkit")
def test_prompt_toolkit(tmp_path: Path) -> None:
    """It reads keys by itself, and with an event loop; tasks beside an awaited question come as far as they came."""
    (tmp_path / "agent.py").write_text(PROMPTS)
    more = {**with_apart(), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
    terminal = Terminal("record", "--", sys.executable, "agent.py", folder=tmp_path, **more)
    asked = [("plain", "one\r"), ("hidden", "hunter2-of-mine\r"), ("awaited", "two\r"), ("last", "\x03")]
    for question, keys in asked:
        terminal.until(question)
        time.sleep(0.5)  # it draws for a while, and asks the terminal how it is
        terminal.type(keys)
    assert terminal.end() == 0, terminal.seen
    done = rashomon("replay", "@last", home=tmp_path / "home", cwd=tmp_path, stdin=subprocess.DEVNULL, env=with_apart())
    assert done.returncode == 0, done.stderr
    assert "heard one" in done.stdout
    assert "heard two [0, 1, 2]" in done.stdout
    assert "interrupted" in done.stdout
    assert not [path for path in (tmp_path / "home").rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]


def test_a_debugger_speaks_with_who_is_there(tmp_path: Path) -> None:
    """A breakpoint in a program that is replayed asks whoever replays it, and is no step."""
    record(tmp_path, "name = input('name? ')\nprint('hello', name)\n", "Ada\n")
    (tmp_path / "agent.py").write_text("name = input('name? ')\nbreakpoint()\nprint('hello', name)\n")
    report = tmp_path / "report.json"
    done = rashomon("replay", "@last", "--any-output", "--report", report, home=tmp_path / "home", cwd=tmp_path,
                    input="print('seen', name)\nc\n")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "seen Ada" in done.stdout
    assert "hello Ada" in done.stdout
    assert json.loads(report.read_text())["held"]


ASIDE = """
import concurrent.futures, pdb

class Threaded(pdb.Pdb):
    def cmdloop(self, intro=None):
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            print("said", pool.submit(input, "(db) ").result())
        self.set_continue()

Threaded().set_trace()
print("hello", name)
"""


def test_a_debugger_that_asks_in_a_thread(tmp_path: Path) -> None:
    """As IPython's does."""
    record(tmp_path, "name = input('name? ')\nprint('hello', name)\n", "Ada\n")
    (tmp_path / "agent.py").write_text(f"name = input('name? ')\n{ASIDE}")
    done = rashomon("replay", "@last", "--any-output", home=tmp_path / "home", cwd=tmp_path, input="go on\n")
    assert done.returncode == 0, done.stderr
    assert "said go on" in done.stdout
    assert "hello Ada" in done.stdout
