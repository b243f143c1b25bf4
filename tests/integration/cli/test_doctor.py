"""`rashomon doctor`: real programs, run twice, and what is said about them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rashomon.commands.doctor_compare import examine_live
from rashomon.commands.doctor_findings import Control, Run
from rashomon.commands.doctor_output import OutputDifference, is_reordered, output_differences
from rashomon.testing import ProviderServer
from tests.integration.cli.conftest import llm_step, refund
from tests.support import DEMO_AGENT, environment, rashomon, tapes_of

Done = subprocess.CompletedProcess[str]

CONTROLLED = """
    import datetime, os, random, secrets, time, uuid

    def main():
        print(time.time(), random.random(), uuid.uuid4(), secrets.token_hex(4), os.getpid())
        print(datetime.datetime.now(), {"a", "b", "c"})
        time.sleep(0.01)

    main()
"""
RAW_SOCKET = """
    import socket, sys

    def fetch():
        with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
            return connection.recv(100)

    print(fetch())
"""
RACE = """
    import select, threading, time

    def computing():
        select.select([], [], [], 0.05)
        print("computed", flush=True)

    def waiting():
        time.sleep(0.5)
        print("waited", flush=True)

    threads = [threading.Thread(target=one) for one in (computing, waiting)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
"""
COUNTED = """
    import pathlib, time

    runs = pathlib.Path("runs")
    runs.write_text((runs.read_text() if runs.exists() else "") + "x")
    times = [time.time() for _ in runs.read_text()]
    print("done")
"""
ASKING_DEVICE = """
    import openai

    with open("/dev/urandom", "rb", buffering=0) as device:
        number = int.from_bytes(device.read(8))
    prompt = [{"role": "user", "content": f"What do you think of {number} as a number?"}]
    openai.OpenAI().chat.completions.create(model="gpt-4o", messages=prompt)
"""
DEVICE = """
    def token():
        with open("/dev/urandom", "rb", buffering=0) as device:
            return device.read(8).hex()

    print("a line that stays")
    print("token", token())
"""
CHILD = """
    import subprocess

    def version():
        return subprocess.run(["echo", "1.2"], capture_output=True, text=True).stdout

    print(version())
"""
LIBRARY_TIME = """
    import openai, stamps

    client = openai.OpenAI()
    prompt = [{"role": "user", "content": f"Now it is {stamps.now()}. What is up?"}]
    print(client.chat.completions.create(model="gpt-4o", messages=prompt).choices[0].message.content)
"""
OWN_TIME = """
    import time
    import openai

    client = openai.OpenAI()
    prompt = [{"role": "user", "content": f"Now it is {time.time()}. What is up?"}]
    client.chat.completions.create(model="gpt-4o", messages=prompt)
    print("done")
"""


@pytest.fixture
def server() -> Iterator[ProviderServer]:
    """A provider for a child process."""
    with ProviderServer(seed=4) as running:
        yield running


@pytest.fixture
def greeter() -> Iterator[int]:
    """The port of a server that speaks no HTTP."""
    listening = socket.create_server(("127.0.0.1", 0))

    def greet() -> None:
        while True:
            try:
                made, _ = listening.accept()
            except OSError:  # it was closed: the test is over
                return
            with made:
                made.sendall(b"hello")

    threading.Thread(target=greet, daemon=True).start()
    yield listening.getsockname()[1]
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Where a test writes its program."""
    return tmp_path / "agent.py"


def doctor(
    program: Path, source: str | None, *options: str, code: int, args: tuple[str, ...] = (), **more: Any
) -> Done:
    """Run the doctor on a program from its own folder."""
    if source is not None:
        program.write_text(textwrap.dedent(source))
    home = program.parent / "home"
    done = rashomon(
        "doctor", *options, "--", sys.executable, program.name, *args, home=home, cwd=program.parent, **more
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done


def examined(program: Path, source: str | None, *options: str, **more: Any) -> dict[str, Any]:
    """The doctor's JSON document."""
    document: dict[str, Any] = json.loads(doctor(program, source, "--json", *options, **more).stdout)
    assert document["format"] == "rashomon.doctor/1"
    return document


def only(document: dict[str, Any], group: str) -> dict[str, Any]:
    """The one finding of a group."""
    (found,) = [one for one in document["findings"] if one["group"] == group]
    return dict(found)


def test_a_controlled_program(program: Path) -> None:
    """Clock, chance, process number and set order: each is listed with its line, the replay held, exit 0."""
    document = examined(program, CONTROLLED, code=0)
    assert document["holds"]
    assert [run["role"] for run in document["runs"]] == ["recorded", "replayed"]
    places = {
        one["what"]: (one["control"], one["site"]["line"], one["site"]["function"])
        for one in document["findings"]
        if one["site"]
    }
    assert places["time.time()"] == ("controlled", 5, "main")
    assert places["random.random()"] == ("controlled", 5, "main")
    assert places["os.urandom(16)"] == ("controlled", 5, "main")
    assert places["os.getpid()"] == ("controlled", 5, "main")
    assert places["datetime.datetime.now()"] == ("controlled", 6, "main")
    assert places["time.sleep()"] == ("virtual", 7, "main")
    assert only(document, "order")["example"].startswith("PYTHONHASHSEED=")
    assert not any(one["advice"] for one in document["findings"])


def test_its_text(program: Path) -> None:
    """The report for people: the runs, each source with its place, the verdict last; no output of the program."""
    done = doctor(program, CONTROLLED, code=0)
    lines = done.stdout.splitlines()
    assert lines[0].endswith("agent.py")
    assert lines[1].startswith("recorded ")
    assert lines[2].startswith("replayed ")
    assert lines[2].endswith("held")
    assert any(line.split()[:3] == ["clock", "time.time()", "agent.py:5"] for line in lines)
    assert lines[-1] == "It held. The replay did what the recording did."
    assert done.stderr == ""


def test_the_demo_agent(program: Path, server: ProviderServer) -> None:
    """A whole agent is examined with its provider called once: the replay needs none."""
    program.write_bytes(DEMO_AGENT.read_bytes())
    document = examined(program, None, code=0, env=server.environ())
    assert document["runs"][1]["grades"] == {"exact": 6}
    assert len(tapes_of(program.parent / "home")) == 2


def test_a_raw_socket(program: Path, greeter: int) -> None:
    """A connection outside of any recorded call is named with its line, and as what changed the run."""
    document = examined(program, RAW_SOCKET, code=1, args=(str(greeter),))
    found = only(document, "connection")
    assert found["what"] == f"127.0.0.1:{greeter}"
    assert (found["control"], found["changes"], found["times"]) == ("not controlled", True, 1)
    assert (found["site"]["line"], found["site"]["function"]) == (5, "fetch")
    assert "@rashomon.tool" in found["advice"]
    assert document["output"] == {"line": 1, "first": "b'hello'", "second": None}
    assert only(document, "exit")["what"] == "exit code 0 when recorded, 1 when replayed"


def test_an_allowed_connection(program: Path, greeter: int) -> None:
    """What is allowed is still listed, but the replay holds."""
    document = examined(program, RAW_SOCKET, "--allow", "connect=127.0.0.1", code=0, args=(str(greeter),))
    assert only(document, "connection")["control"] == "not controlled"


def test_a_race_of_threads(program: Path) -> None:
    """Threads that race for something unrecorded print in another order: said so, with the lines."""
    document = examined(program, RACE, code=1)
    found = only(document, "output")
    assert found["detail"] == ["- computed", "+ waited", "the same lines in another order"]
    assert document["runs"][1]["held"]


def test_chance_from_a_device(program: Path) -> None:
    """Chance from /dev/urandom is not recorded: the line that differs is named, the exit code is 1."""
    done = doctor(program, DEVICE, code=1)
    lines = [line.strip() for line in done.stdout.splitlines()]
    at = lines.index("! output       line 2 of stdout")
    assert lines[at + 1].startswith("- token ")
    assert lines[at + 2].startswith("+ token ")
    assert lines[at + 1][2:] != lines[at + 2][2:]
    assert lines[-2] == "It did not hold: 1 thing changed the run, marked with !."
    shown = rashomon(*lines[-1].partition("rashomon ")[2].split(), home=program.parent / "home")
    assert (shown.returncode, lines[at + 2][2:] in shown.stdout) == (1, True), shown.stderr


def test_a_librarys_time_in_a_prompt(program: Path, server: ProviderServer) -> None:
    """A request that tells a time which a library read is served, and listed with what it flows from."""
    folder = program.parent / "site-packages"
    folder.mkdir()
    (folder / "stamps.py").write_text("import datetime\n\ndef now():\n    return datetime.datetime.now().isoformat()\n")
    document = examined(program, LIBRARY_TIME, code=0, env={**server.environ(), "PYTHONPATH": str(folder)})
    found = only(document, "request")
    assert found["control"] == "virtual"
    assert "request.messages[0].content differs at" in found["detail"][0]
    assert "read from datetime.datetime.now()" in found["detail"][0]
    assert "RASHOMON_USER_CODE" in found["advice"]
    more = {**server.environ(), "PYTHONPATH": str(folder), "RASHOMON_USER_CODE": "stamps"}
    followed = examined(program, None, code=0, env=more)
    assert not [one for one in followed["findings"] if one["group"] == "request"]
    assert only(followed, "clock")["site"]["line"] == 4


def test_a_request_that_differs(program: Path, server: ProviderServer) -> None:
    """A request that tells what no replay controls ends the replay: the path that differs is named, both ways."""
    document = examined(program, ASKING_DEVICE, code=1, env=server.environ())
    found = next(one for one in document["findings"] if one["group"] == "request")
    assert (found["control"], found["changes"]) == ("not controlled", True)
    assert any("request.messages[0].content" in line and "What do you think of" in line for line in found["detail"])
    assert found["advice"]
    live = examined(program, None, "--live", code=1, env=server.environ())
    found = next(one for one in live["findings"] if one["group"] == "request")
    assert (found["control"], found["varies"]) == ("not controlled", True)


def test_reads_that_only_the_replay_makes(program: Path) -> None:
    """A program that reads the clock more often in the replay gets made-up values there, which is said."""
    document = examined(program, COUNTED, code=0)
    found = only(document, "clock")
    assert (found["control"], found["site"]["line"]) == ("virtual", 6)
    assert found["detail"] == ["the replay read it 1 more time(s) than the recording"]


def test_a_subprocess(program: Path) -> None:
    """A program that is no Python runs again, which is said; where nothing differs, it is no reason to fail."""
    document = examined(program, CHILD, code=0)
    found = only(document, "subprocess")
    assert (found["what"], found["control"], found["site"]["line"]) == ("echo 1.2", "not controlled", 5)


def test_several_replays(program: Path) -> None:
    """`--replays 3` replays three times, and they are all the same."""
    document = examined(program, CONTROLLED, "--replays", "3", code=0)
    assert [run["role"] for run in document["runs"]] == ["recorded", "replayed", "replayed", "replayed"]
    done = doctor(program, DEVICE, "--replays", "2", code=1)
    assert "line 2 of stdout, between two replays" in done.stdout


def test_live(program: Path, server: ProviderServer) -> None:
    """`--live` runs it twice for real: what was read otherwise, and which request differs for it."""
    document = examined(program, OWN_TIME, "--live", code=1, env=server.environ())
    assert [run["role"] for run in document["runs"]] == ["live", "live"]
    assert not any(tape.trace.parent for tape in tapes_of(program.parent / "home"))
    assert only(document, "clock")["varies"]
    found = only(document, "request")
    assert (found["control"], found["changes"]) == ("controlled", True)
    assert "request.messages[0].content" in found["detail"][0]
    assert found["detail"][0].endswith("read from time.time() at agent.py:6")


def test_live_and_the_same(program: Path) -> None:
    """Two live runs that send and print the same are exit 0, though their clocks differ."""
    done = doctor(program, "import time\ntime.time()\nprint('done')\n", "--live", code=0)
    assert "varies" in done.stdout
    assert "The two runs did the same." in done.stdout


def test_live_output_that_is_controlled(program: Path) -> None:
    """A time that is printed differs in live runs, which a replay controls; chance from a device is not."""
    document = examined(program, "import time\nprint('at', time.time())\n", "--live", code=1)
    assert only(document, "output")["control"] == "controlled"
    assert only(document, "output")["detail"][2] == "read from time.time() at agent.py:2"
    device = examined(program, "import time\nprint('at', time.time())\n" + textwrap.dedent(DEVICE), "--live", code=1)
    assert only(device, "output")["control"] == "not controlled"
    assert only(device, "output")["what"] == "line 3 of stdout"


def test_show(program: Path) -> None:
    """`--show` lets the program be seen on stderr, in both runs, and stdout stays the report's."""
    done = doctor(program, "import sys\nprint('out')\nprint('err', file=sys.stderr)\n", "--show", "--json", code=0)
    assert (done.stderr.count("out"), done.stderr.count("err")) == (2, 2)
    assert json.loads(done.stdout)["holds"]


def test_stdin_is_given_to_each_run(program: Path, tmp_path: Path) -> None:
    """A file as stdin is read by both runs from its beginning."""
    given = tmp_path / "given"
    given.write_text("a question\n")
    with given.open() as file:
        done = doctor(program, "import sys\nprint(len(sys.stdin.read()))\n", code=0, stdin=file)
    assert "It held." in done.stdout


def test_a_pipe_as_stdin(program: Path) -> None:
    """What comes through a pipe is given to each run; a program that reads none of it is not waited for."""
    text = "a question\n" * 20_000
    for body in ("import sys\nprint(len(sys.stdin.read()))\n", "print('done')"):
        assert "It held." in doctor(program, body, code=0, input=text).stdout


def test_a_program_that_fails(program: Path) -> None:
    """A program that fails in the same way each time holds; its exit code is in the report."""
    document = examined(program, "raise SystemExit(7)", code=0)
    assert [run["exit_code"] for run in document["runs"]] == [7, 7]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "There is no command to examine."),
        (["--replays", "0", "--", "true"], "--replays 0 is no number of replays."),
        (["--live", "--replays", "2", "--", "true"], "--live replays nothing."),
        (["--allow", "fly=moon", "--", "true"], "does not say what to allow"),
    ],
)
def test_bad_usage(tmp_path: Path, options: list[str], problem: str) -> None:
    """What cannot be meant is refused with exit code 2 before anything runs."""
    done = rashomon("doctor", *options, home=tmp_path / "home")
    assert done.returncode == 2
    assert problem in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("command", [["no-such-program-here"], ["true"], [sys.executable, "-I", "-c", "pass"]])
def test_what_cannot_be_run(tmp_path: Path, command: list[str]) -> None:
    """A command that is gone, or in which nothing can be recorded, is exit code 3."""
    done = rashomon("doctor", "--", *command, home=tmp_path / "home")
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_ends_the_doctor(program: Path) -> None:
    """Ctrl-C in the program ends the doctor as well: it does not go on to replay."""
    program.write_text("import os, signal\nsignal.signal(signal.SIGINT, signal.SIG_DFL)\nos.kill(os.getpid(), 2)\n")
    home = program.parent / "home"
    command = [sys.executable, "-m", "rashomon.cli", "doctor", "--", sys.executable, str(program)]
    done = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 128 + signal.SIGINT, done.stderr
    assert len(tapes_of(home)) == 1


def test_differences_of_outputs(tmp_path: Path) -> None:
    """Outputs are compared line by line; the shorter one has nothing more, and a reordered one is told as such."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"a\nb\nc\n")
    second.write_bytes(b"a\nc\nb\nd")
    found = list(output_differences(first, second))
    assert found == [OutputDifference(2, "b", "c"), OutputDifference(3, "c", "b"), OutputDifference(4, None, "d")]
    assert is_reordered(found[:2])
    assert not is_reordered(found)


def test_output_that_follows_from_answers(tmp_path: Path) -> None:
    """A line that differs only in what a model answered otherwise is controlled: a replay gives the recorded answer."""
    outputs = tmp_path / "first", tmp_path / "second"
    asked: list[dict[str, Any]] = [{"role": "user", "content": "Is it late?"}]
    steps = [llm_step(0, asked, answer) for answer in ("Yes, by a day.", "I cannot tell from here.")]
    runs = []
    for path, step in zip(outputs, steps, strict=True):
        path.write_text(f"the model says: {json.loads(step.response.body)['choices'][0]['message']['content']}!\n")
        runs.append(Run("live", refund("00a1")._replace(steps=(step,)), 0, path))
    found = {one.group: one for one in examine_live(*runs)}
    assert found["answer"].control is Control.CONTROLLED
    assert found["output"].control is Control.CONTROLLED
    assert found["output"].detail[2] == "which follows from the other answer of openai.chat (0.0)"
    assert found["output"].changes


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a terminal")
def test_in_a_terminal(program: Path) -> None:
    """In a terminal the report has colour, and no line of the table is wider than the window."""
    program.write_text(textwrap.dedent(CONTROLLED))
    leader, follower = os.openpty()
    env = environment(program.parent / "home", COLUMNS="60", TERM="xterm-256color")
    command = [sys.executable, "-m", "rashomon.cli", "doctor", "--", sys.executable, str(program)]
    running = subprocess.Popen(command, env=env, stdout=follower, stderr=follower, stdin=subprocess.DEVNULL)
    os.close(follower)
    text = b""
    try:
        while chunk := os.read(leader, 4096):
            text += chunk
    except OSError:  # how Linux tells that the other end is closed
        pass
    assert running.wait(60) == 0
    os.close(leader)
    assert b"\x1b[" in text
    assert "time.time()" in text.decode()
