"""Time and chance: what a program reads from its surroundings comes back in a replay, whoever it asks."""

from __future__ import annotations

import copy
import datetime as dt
import logging
import os
import pickle
import random
import subprocess
import sys
import textwrap
import threading
import time
import uuid
import zoneinfo
from pathlib import Path
from typing import Any

import pytest

import rashomon
from rashomon import boundary
from rashomon.model import Tape
from tests.support import environment, needs_apart, tapes_of, with_apart
from tests.support import rashomon as command_line

CLOCKS = """
import time, datetime as dt, threading, queue, sys, os
from datetime import date, datetime, timezone
from time import monotonic, perf_counter, sleep, time as now

def clocks():
    print(now(), time.time_ns(), monotonic(), time.monotonic_ns(), perf_counter(), time.perf_counter_ns())
    print(time.process_time(), time.process_time_ns(), time.thread_time(), time.thread_time_ns())
    print(time.clock_gettime(time.CLOCK_REALTIME), time.clock_gettime_ns(time.CLOCK_MONOTONIC))
    print(time.localtime(), time.gmtime(), time.ctime(), time.asctime(), time.strftime("%F %T %Z %z"))
    print(datetime.now(), datetime.now(timezone.utc), dt.datetime.now(dt.timezone(dt.timedelta(hours=5))))
    print(datetime.today(), dt.datetime.utcnow(), date.today())

nap = float(os.environ.get("NAP", "0.01"))
clocks()
before, counter = now(), monotonic()
sleep(nap)
time.sleep(nap)
print("slept", now() - before, monotonic() - counter)
print("event", threading.Event().wait(nap))
try:
    queue.Queue().get(timeout=nap)
except queue.Empty:
    print("empty", monotonic() - counter)
clocks()
"""
CHANCE = """
import os, random, secrets, tempfile, uuid
from random import choice, random as draw

print(uuid.uuid4(), uuid.uuid1(), uuid.getnode(), secrets.token_hex(4), secrets.randbelow(1000), os.urandom(5))
print(random.random(), draw(), choice("abcdefgh"), random.gauss(0, 1), random.sample(range(100), 5))
print(random.randint(1, 10**40), random.Random().random(), random.SystemRandom().random(), tempfile.mktemp())
print(os.getpid(), os.getppid())
print(sum(random.random() for _ in range(5000)), random.random())
random.seed(7)
state = random.getstate()
print(random.random(), random.random())
random.setstate(state)
print(random.random())
random.seed()
print(random.random(), set("a quick brown fox jumps over the lazy dog".split()))
"""
THREADS = """
import random, sys, threading, time, uuid
from concurrent.futures import ThreadPoolExecutor
sys.setswitchinterval(1e-5)

def drawing(number):
    drawn = [random.random() for _ in range(200)] + [random.choice("abcdef") for _ in range(50)]
    return number, drawn, time.time(), uuid.uuid4().hex

found = []
threads = [threading.Thread(target=lambda n=n: found.append(drawing(n))) for n in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with ThreadPoolExecutor(4) as pool:
    found += pool.map(drawing, range(6, 12))
    print([pool.submit(function).result() for function in (uuid.uuid4, random.random, time.time)])
print(sorted(found))
"""
DEFAULTS = """
import dataclasses, datetime, random, secrets, time, uuid
import pydantic, pydantic.dataclasses

class Turn(pydantic.BaseModel):
    number: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)
    at: datetime.datetime = pydantic.Field(default_factory=datetime.datetime.now)
    day: datetime.date = pydantic.Field(default_factory=datetime.date.today)
    second: float = pydantic.Field(default_factory=time.time)
    key: str = pydantic.Field(default_factory=lambda: secrets.token_hex(4))
    drawn: float = pydantic.Field(default_factory=random.random)
    _since: float = pydantic.PrivateAttr(default_factory=time.perf_counter)

class Turns(pydantic.BaseModel):
    turns: list[Turn]

@pydantic.dataclasses.dataclass
class Checked:
    number: uuid.UUID = pydantic.Field(default_factory=uuid.uuid4)

@dataclasses.dataclass
class Plain:
    number: uuid.UUID = dataclasses.field(default_factory=uuid.uuid4)

print(Turn(), Turn()._since, Turns(turns=[{}, {}]), pydantic.TypeAdapter(Turn).validate_json("{}"))
print(Checked(), Plain(), dataclasses.replace(Plain()))
"""
CHILDREN = """
import os, random, subprocess, sys, time, uuid

print(random.random(), time.time(), flush=True)
for _ in range(2):
    if os.fork() == 0:
        print("forked", random.random(), time.time(), uuid.uuid4(), random.Random().random(), flush=True)
        os._exit(0)
    os.wait()
code = "import random, time, uuid; print('started', random.random(), time.time(), uuid.uuid4(), set('abcdefgh'))"
subprocess.run([sys.executable, "-c", code], check=True)
print(random.random(), time.time())
"""
OWN_NUMBER = """
import os, signal

got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append("signal"))
os.kill(os.getpid(), signal.SIGUSR1)
print(os.getpid(), got, flush=True)
if os.fork() == 0:
    os.kill(os.getppid(), signal.SIGUSR1)
    os._exit(0)
os.wait()
print(got)
"""
NUMPY = """
import numpy

print(numpy.random.rand(3), numpy.random.default_rng().random(3), numpy.random.RandomState().rand(2))
numpy.random.seed(3)
print(numpy.random.rand(2), numpy.random.permutation(20))
"""


def program(folder: Path, text: str) -> Path:
    """A program as its users write it."""
    path = folder / "agent.py"
    path.write_text(textwrap.dedent(text))
    return path


def played(home: Path, path: Path, env: dict[str, str] | None = None, **replay_env: str) -> list[str]:
    """Record a program and replay the recording twice: what it wrote each time."""
    env = env or {}
    recorded = command_line("record", "--", sys.executable, path, home=home, env=env)
    assert recorded.returncode == 0, recorded.stderr
    trace = tapes_of(home)[0].trace.id
    outputs = [recorded.stdout]
    for _ in range(2):
        replayed = command_line("replay", trace, home=home, env=env | replay_env)
        assert replayed.returncode == 0, replayed.stderr + replayed.stdout
        outputs.append(replayed.stdout)
    return outputs


@pytest.mark.parametrize("text", [CLOCKS, CHANCE, THREADS, DEFAULTS], ids=["clocks", "chance", "threads", "defaults"])
def test_a_replay_reads_what_the_recording_read(text: str, home: Path, tmp_path: Path) -> None:
    """Every clock and every source of chance, by whatever name it was imported, reads as recorded."""
    recorded, first, second = played(home, program(tmp_path, text))
    assert recorded
    assert first == recorded
    assert second == recorded


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_children_read_what_theirs_read(home: Path, tmp_path: Path) -> None:
    """Forked and started processes read as recorded, each its own."""
    recorded, first, second = played(home, program(tmp_path, CHILDREN))
    lines = recorded.splitlines()
    assert len({line.split()[1] for line in lines}) == len(lines)
    assert first == recorded
    assert second == recorded


def test_sleeping_costs_nothing(home: Path, tmp_path: Path) -> None:
    """A replay does not wait: a program that sleeps for days this time is through, and its clock reads as recorded."""
    recorded, first, _ = played(home, program(tmp_path, CLOCKS), NAP=str(5 * 86400.0))
    assert first == recorded


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_signal_to_oneself_reaches_oneself(home: Path, tmp_path: Path) -> None:
    """In a replay the program sees its recorded number and its parent's, and signals to them reach these two."""
    recorded, first, second = played(home, program(tmp_path, OWN_NUMBER))
    assert "['signal', 'signal']" in recorded
    assert first == second == recorded


@needs_apart("numpy")
def test_numpy_draws_as_recorded(home: Path, tmp_path: Path) -> None:
    """numpy's shared generator and those seeded from the system draw what they drew."""
    recorded, first, second = played(home, program(tmp_path, NUMPY), with_apart())
    assert first == second == recorded


def test_sets_have_their_recorded_order(home: Path, tmp_path: Path) -> None:
    """The order of sets varies from recording to recording, as without a recorder, and not in replays."""
    path = program(tmp_path, "print(set('a quick brown fox jumps over the lazy dog'.split()))")
    outputs = []
    for number in range(3):
        folder = tmp_path / str(number)
        recorded, *replays = played(folder, path)
        assert set(replays) == {recorded}
        outputs.append(recorded)
    assert len(set(outputs)) > 1


def test_a_chosen_hash_seed_is_kept(home: Path, tmp_path: Path) -> None:
    """PYTHONHASHSEED stays what the user has set it to."""
    path = program(tmp_path, "import os; print(os.environ['PYTHONHASHSEED'], hash('word'))")
    done = command_line("record", "--", sys.executable, path, home=home, env={"PYTHONHASHSEED": "17"})
    plain = subprocess.run(
        [sys.executable, path], env=environment(home, PYTHONHASHSEED="17"), capture_output=True, text=True, check=True
    )
    assert done.stdout == plain.stdout


def test_draws_beyond_the_recorded_ones_are_named(home: Path, tmp_path: Path) -> None:
    """Threads that share a generator for longer than is recorded are listed as not controlled."""
    path = program(
        tmp_path,
        """
        import random, threading
        def drawing():
            for _ in range(1500):
                random.random()
        threads = [threading.Thread(target=drawing) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """,
    )
    done = command_line("record", "--", sys.executable, path, home=home)
    assert done.returncode == 0, done.stderr
    tape = tapes_of(home)[0]
    assert len([read for read in tape.reads if read.what == "random.random"]) == 2000
    (named,) = tape.trace.uncontrolled
    assert named.what == "random.random"
    assert named.site is not None
    assert named.site.function == "drawing"


@pytest.fixture
def recorded(home: Path) -> Any:
    """Record a function in this process; gives its result and the tape."""

    def run(function: Any) -> tuple[Any, Tape]:
        with rashomon.trace("t"):
            result = function()
        rashomon.session.close_journal()
        return result, tapes_of(home)[-1]

    return run


def ask_all() -> list[Any]:
    """What a program may ask for, by the modules' names."""
    return [time.time(), time.monotonic_ns(), dt.datetime.now(), dt.datetime.now(dt.UTC), dt.date.today(),
            uuid.uuid4(), os.urandom(3), random.random(), random.choice(range(1000)), random.getrandbits(100),
            random.Random().random(), time.localtime()]  # fmt: skip


def test_in_process(recorded: Any) -> None:
    """A block of one's own program is played back in process, with the generator's state left to the program."""
    random.seed(11)
    result, tape = recorded(ask_all)
    after = random.random()
    random.seed(11)
    with rashomon.replay(tape) as session:
        assert ask_all() == result
    assert session.divergences == ()
    assert random.random() == after


def test_reads_name_their_place(recorded: Any) -> None:
    """A read is kept with the file, the line and the function of the program's code that asked."""

    def asking() -> float:
        return time.time()

    value, tape = recorded(asking)
    (read,) = [one for one in tape.reads if one.what == "time.time"]
    assert read.value == value
    assert read.site == (__file__, asking.__code__.co_firstlineno + 1, asking.__code__.co_qualname)


def library_function() -> Any:
    """A function of an installed package."""
    names: dict[str, Any] = {"__file__": "/venv/lib/python3/site-packages/somewhere/core.py"}
    exec("import os, time\ndef ask():\n    return time.time(), time.monotonic(), os.urandom(8)", names)
    return names["ask"]


def test_libraries_are_virtual_and_not_recorded(recorded: Any) -> None:
    """What a library reads is not recorded; a replay gives it virtual time and the same chance each time."""
    ask = library_function()
    _, tape = recorded(ask)
    assert tape.reads == ()
    seen = []
    for _ in range(2):
        with rashomon.replay(tape):
            seen.append(ask())
    assert seen[0] == seen[1]
    assert seen[0][0] == pytest.approx(tape.trace.started_ns / 1e9, abs=1.0)


def test_generators_keep_their_ways(recorded: Any) -> None:
    """Seeding, states, copies and generators of one's own work as they do without a recorder."""

    def drawing() -> list[float]:
        random.seed(3)
        first = [random.random(), random.gauss(0, 1), random.random()]
        state = random.getstate()
        again = random.Random()
        again.setstate(state)
        twin = copy.deepcopy(again)
        return [*first, random.random() - again.random(), twin.random() - random.Random(3).random()]

    plain = drawing()
    assert recorded(drawing)[0] == plain
    assert plain[0] == 0.23796462709189137


class Moment(dt.datetime):
    """A class of the program's own."""


def test_dates_are_of_the_class_that_was_asked(recorded: Any) -> None:
    """Subclasses, zones, pickles and `isinstance` know no difference."""
    zone = zoneinfo.ZoneInfo("Europe/Berlin")

    def asking() -> list[Any]:
        return [Moment.now(), Moment.now(zone), Moment.today(), dt.datetime.now(tz=zone)]

    for values in (asking(), recorded(asking)[0]):
        assert [type(value) for value in values] == [Moment, Moment, Moment, dt.datetime]
        assert [value.tzinfo for value in values] == [None, zone, None, zone]
        assert isinstance(values[0], dt.date)
        assert pickle.loads(pickle.dumps(values)) == values
    with pytest.raises(TypeError):
        dt.datetime.now("Berlin")  # type: ignore[arg-type]


class OneClock:
    """A class that keeps functions as attributes, which a built-in one survives and a Python one would not."""

    clock: Any = time.time
    broken_down: Any = time.localtime


def test_patched_functions_pass_for_built_in_ones() -> None:
    """They can be class attributes, are pickled by name, and refuse what the originals refuse."""
    rashomon.install()
    assert OneClock().clock() > 1e9
    assert OneClock().broken_down(0).tm_year in (1969, 1970)
    assert logging.Formatter().formatTime(logging.makeLogRecord({}))
    for function in (time.time, time.sleep, os.urandom, uuid.uuid1, random.random):
        assert pickle.loads(pickle.dumps(function)) is function
    wrong: list[tuple[Any, Any]] = [(time.time, 1), (time.sleep, "x"), (os.urandom, "x"), (time.localtime, "x")]
    for refusing, argument in wrong:
        with pytest.raises(TypeError):
            refusing(argument)
    with pytest.raises(ValueError, match="negative"):
        time.sleep(-1)


def test_waits_end_as_recorded(recorded: Any) -> None:
    """A wait that ran out runs out again without waiting; one that was answered is answered again."""
    limit = 0.01

    def waiting() -> tuple[bool, bool, list[str]]:
        event, rung = threading.Event(), list[str]()
        before = event.wait(limit)
        threading.Thread(target=event.set).start()
        timer = threading.Timer(limit, rung.append, ["rung"])
        timer.start()
        timer.join()
        return before, event.wait(60), rung

    expected = (False, True, ["rung"])
    assert waiting() == expected
    result, tape = recorded(waiting)
    assert result == expected
    limit = 86400.0
    with rashomon.replay(tape):
        assert waiting() == expected


def stamp() -> str:
    """Used in a tool and around it."""
    return f"{time.time()} {uuid.uuid4()}"


@rashomon.tool
def stamping() -> list[str]:
    """A tool whose own code reads the clock."""
    return [stamp(), stamp()]


def test_a_served_tool_leaves_others_their_values(recorded: Any) -> None:
    """What a tool's code had read while it ran is not given to the program, which gets the tool's answer."""

    def agent() -> list[Any]:
        return [stamp(), stamping(), stamp(), stamping(), stamp()]

    result, tape = recorded(agent)
    with rashomon.replay(tape) as session:
        assert agent() == result
    assert session.divergences == ()


@needs_apart("time_machine")
@pytest.mark.parametrize("loaded_first", [True, False])
def test_time_machine_has_the_clocks(loaded_first: bool, home: Path, tmp_path: Path) -> None:
    """A program that uses time-machine gets its time, and the trace says that it is not controlled."""
    text = """
        import datetime as dt, time
        from time import time as now
        FIRST
        import rashomon
        rashomon.install()
        with rashomon.trace("t"):
            import time_machine
            with time_machine.travel(dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc), tick=False):
                print(time.time(), now(), dt.datetime.now(dt.timezone.utc), dt.date.today().year)
    """.replace("FIRST", "import time_machine" if loaded_first else "")
    env = environment(home, **with_apart())
    done = subprocess.run(
        [sys.executable, program(tmp_path, text)], env=env, capture_output=True, text=True, check=False
    )
    assert done.stdout == "1577836800.0 1577836800.0 2020-01-01 00:00:00+00:00 2020\n", done.stderr
    assert "time_machine" in [one.what for one in tapes_of(home)[-1].trace.uncontrolled]


@pytest.mark.parametrize("loaded_first", [True, False])
def test_freezegun_freezes(loaded_first: bool, home: Path, tmp_path: Path) -> None:
    """freezegun's time is what the program sees, and the recorder's functions are back behind it."""
    text = """
        import datetime as dt, time
        from time import time as now
        FIRST
        import rashomon
        rashomon.install()
        with rashomon.trace("t"):
            import freezegun
            for _ in range(2):
                with freezegun.freeze_time("2020-01-01"):
                    print(time.time(), now(), dt.datetime.now(), dt.date.today())
                print(now() > 1.6e9, time.time() > 1.6e9, dt.datetime.now().year > 2020)
    """.replace("FIRST", "import freezegun" if loaded_first else "")
    env = environment(home)
    done = subprocess.run(
        [sys.executable, program(tmp_path, text)], env=env, capture_output=True, text=True, check=False
    )
    frozen = "1577836800.0 1577836800.0 2020-01-01 00:00:00 2020-01-01\nTrue True True\n"
    assert done.stdout == frozen * 2, done.stderr
    reads = [read.what for read in tapes_of(home)[-1].reads]
    assert reads.count("time.time") == 4
    assert reads.count("datetime.datetime.now") == 2


def test_nothing_is_asked_without_a_trace(home: Path) -> None:
    """Outside a trace nothing is recorded."""
    rashomon.install()
    assert boundary.current() is None
    assert time.time() > 0
    assert not (home / "journals").exists() or tapes_of(home) == []
