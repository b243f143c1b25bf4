"""What a replay gives a program that looks at its surroundings, and who counts as the program."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from rashomon.model import Lane, Read, Site, Tape, Trace
from rashomon.recorders.ambient import sites
from rashomon.replay.ambient import Ambient
from rashomon.replay.clock import VirtualClock

STARTED_NS = 1_700_000_000_000_000_000
HERE = Site(__file__, 10, "agent")
TIME = "time.time"


def unasked() -> Any:
    """A real value that must not be asked for."""
    raise AssertionError("the real value was asked for")


def a_read(what: str, value: Any, at_us: int = 0, lane: Lane = (), site: Site = HERE, process: int = 0) -> Read:
    """One recorded read."""
    kind = "clock" if what.startswith(("time", "datetime")) else "random"
    return Read(process, lane, kind, what, value, site, at_us)


def an_ambient(*reads: Read, process: int | None = None) -> tuple[Ambient, VirtualClock]:
    """A replay of these reads, and its clock."""
    trace = Trace("t1", "test", STARTED_NS)
    clock = VirtualClock(trace)
    return Ambient(Tape(trace, (), reads), clock, process), clock


def ask(ambient: Ambient, what: str, lane: Lane = (), site: Site = HERE, real: Callable[[], Any] = unasked) -> Any:
    """Ask as the program's own code does."""
    kind = "clock" if what.startswith(("time", "datetime")) else "random"
    return ambient.read(lane, kind, what, real, site)


def test_recorded_values_come_in_order() -> None:
    """Each lane gets its own values in the order in which it read them, bit for bit."""
    values = [0.1 + 0.2, 1e9 / 3, 1700000000.1234567]
    ambient, _ = an_ambient(
        *(a_read(TIME, value) for value in values), *(a_read(TIME, value + 1, lane=(0,)) for value in values)
    )
    assert [ask(ambient, TIME, (0,)) for _ in values] == [value + 1 for value in values]
    assert [ask(ambient, TIME) for _ in values] == values
    assert [read.value for read, _ in ambient.values()] == [value for _, value in ambient.values()]
    assert ambient.unrecorded == []


def test_another_line_of_the_function_is_the_same_place() -> None:
    """An edit that moves lines, or a working copy in another folder, finds its values again."""
    ambient, _ = an_ambient(a_read(TIME, 1.0), a_read(TIME, 2.0))
    assert ask(ambient, TIME, site=HERE._replace(line=99)) == 1.0
    assert ask(ambient, TIME, site=HERE._replace(file=f"/elsewhere/{os.path.basename(HERE.file)}")) == 2.0


def test_places_do_not_take_each_others_values(tmp_path: Path) -> None:
    """A function that is new gets no value of one that is still there; one that was renamed gets its own."""
    program = tmp_path / "agent.py"
    program.write_text("def old():\n    pass\ndef renamed():\n    pass\ndef added():\n    pass\n")
    old, gone = Site(str(program), 1, "old"), Site(str(program), 3, "before")
    ambient, _ = an_ambient(a_read(TIME, 1.0, site=old), a_read(TIME, 2.0, site=gone), a_read(TIME, 3.0, site=old))
    assert ask(ambient, TIME, site=Site(str(program), 3, "renamed")) == 2.0
    added = Site(str(program), 5, "added")
    assert ask(ambient, TIME, site=added) not in (1.0, 3.0)
    assert ambient.unrecorded == [(TIME, added)]
    assert [ask(ambient, TIME, site=old) for _ in range(2)] == [1.0, 3.0]


def test_a_clock_goes_on_where_the_recording_ends() -> None:
    """Beyond the recording each clock goes on from what it showed last, and never back."""
    for what, value, unit in [
        (TIME, 1.7e9, 1e9),
        ("time.perf_counter_ns", 5_000_000_000, 1),
        ("time.process_time", 0.5, 1e9),
    ]:
        ambient, clock = an_ambient(a_read(what, value, at_us=1000))
        assert ask(ambient, what) == value
        later = [ask(ambient, what) for _ in range(3)]
        assert all(a < b for a, b in pairwise([value, *later])), what
        clock.advance(2_000_000)
        assert ask(ambient, what) == pytest.approx(value + 2e9 / unit, rel=1e-3 if what == TIME else 0.01)
        assert [name for name, _ in ambient.unrecorded] == [what]


def test_a_loop_until_a_deadline_ends() -> None:
    """A loop that waits for a moment to come, and that the recording does not know, sees it come soon."""
    ambient, _ = an_ambient()
    deadline = ask(ambient, "time.monotonic") + 60
    looks = next(count for count in range(10_000) if ask(ambient, "time.monotonic") > deadline)
    assert looks < 2000


def test_a_library_is_never_behind_the_program() -> None:
    """A library's clock has passed what the program has been shown."""
    ambient, _ = an_ambient(a_read(TIME, STARTED_NS / 1e9 + 5, at_us=5_000_000))
    shown = ask(ambient, TIME)
    assert ambient.library_read((), "clock", TIME, unasked) > shown
    assert ambient.library_read((), "clock", "time.time_ns", unasked) > STARTED_NS + 5_000_000_000 - 1000


@pytest.mark.parametrize(
    ("what", "length"),
    [("time.localtime", 11), ("time.gmtime", 11), ("time.strftime", 11), ("datetime.datetime.now", 8),
     ("datetime.datetime.now(tz)", 8), ("datetime.datetime.utcnow", 8), ("datetime.datetime.today", 8),
     ("datetime.date.today", 3)],
)  # fmt: skip
def test_broken_down_time_beyond_the_recording(what: str, length: int) -> None:
    """Dates that were not recorded are those of the virtual clock, in the form that their players take."""
    ambient, _ = an_ambient()
    value = ask(ambient, what)
    assert len(value) == length
    assert value[:2] == [2023, 11]


def test_unrecorded_chance_is_the_same_in_every_replay() -> None:
    """Entropy that was not recorded is a stream of its own for each lane, equal in all replays."""
    first, second = (an_ambient()[0] for _ in range(2))
    for lane in ((), (0,)):
        drawn = [first.library_read(lane, "random", f"os.urandom({size})", unasked) for size in (16, 100, 16)]
        assert drawn == [second.library_read(lane, "random", f"os.urandom({size})", unasked) for size in (16, 100, 16)]
        assert [len(one) for one in drawn] == [16, 100, 16]
        assert drawn[0] != drawn[2]
    assert first.library_read((), "random", "os.urandom(16)", unasked) != first.library_read(
        (0,), "random", "os.urandom(16)", unasked
    )


def test_a_served_draw_moves_the_generator() -> None:
    """A recorded draw is served, and drawn for real as well: what is drawn after it is what would have been."""
    generator, twin = random.Random(5), random.Random(5)
    ambient, _ = an_ambient(a_read("random.random", twin.random()))
    drawn = [ask(ambient, "random.random", real=generator.random) for _ in range(3)]
    twin = random.Random(5)
    assert drawn == [twin.random() for _ in range(3)]


def test_a_process_gets_its_own_reads() -> None:
    """A forked process goes on with what the recorded process of its number read."""
    ambient, _ = an_ambient(a_read(TIME, 1.0), a_read(TIME, 2.0, process=1, lane=(0,)), process=0)
    assert ask(ambient, TIME) == 1.0
    ambient.after_fork(1)
    assert ask(ambient, TIME, lane=(0,)) == 2.0
    ambient.after_fork(None)
    ask(ambient, TIME, lane=(0,))
    assert [what for what, _ in ambient.unrecorded] == [TIME]


def test_threads_share_an_ambient() -> None:
    """Threads that read at once get each value of their lane exactly once."""
    count = 500
    ambient, _ = an_ambient(*(a_read(TIME, float(n), lane=(n % 4,)) for n in range(4 * count)))
    seen: dict[int, list[float]] = {}

    def reading(lane: int) -> None:
        seen[lane] = [ask(ambient, TIME, lane=(lane,)) for _ in range(count)]

    threads = [threading.Thread(target=reading, args=(lane,)) for lane in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {lane: [float(n) for n in range(4 * count) if n % 4 == lane] for lane in range(4)}


@pytest.mark.parametrize(
    ("file", "who"),
    [
        ("/home/me/agent.py", sites.USER),
        ("<stdin>", sites.USER),
        ("/venv/lib/python3.11/site-packages/openai/_client.py", sites.LIBRARY),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", sites.LIBRARY),
        ("/venv/lib/python3.11/site-packages/trio/_core/_run.py", sites.REAL),
        ("/venv/lib/python3.11/site-packages/ours/core.py", sites.USER),
        ("/venv/lib/python3.11/site-packages/single.py", sites.USER),
        ("/venv/lib/python3.11/site-packages/pydantic/main.py", sites.THIN),
        ("/venv/lib/python3.11/site-packages/pydantic_ai/agent.py", sites.LIBRARY),
        (random.__file__, sites.THIN),
        (threading.__file__, sites.REAL),
        (os.__file__, sites.LIBRARY),
        ("<frozen importlib._bootstrap>", sites.LIBRARY),
        (sites.__file__, sites.REAL),
    ],
)
def test_who_is_asking(file: str, who: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program's own code is told from libraries by its file; packages can be named that belong to it."""
    monkeypatch.setenv(sites.USER_CODE, "ours,single")
    assert sites.of_file(file) == who


def test_who_is_asking_beside_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a program is deployed with its packages in one folder, the installer's lists tell them apart."""
    installed = {"anyio-4": ["anyio/run.py", "anyio/_b/c.py"], "six-1": ["six.py"], "trio-0": ["trio/x.py"]}
    for name, files in installed.items():
        (tmp_path / f"{name}.dist-info").mkdir()
        listed = [*files, f"{name}.dist-info/RECORD"]
        (tmp_path / f"{name}.dist-info" / "RECORD").write_text("".join(f"{file},,\n" for file in listed))
    monkeypatch.syspath_prepend(tmp_path)
    expected = {"anyio/run.py": sites.LIBRARY, "anyio/_b/c.py": sites.LIBRARY, "six.py": sites.LIBRARY,
                "trio/x.py": sites.REAL, "agent.py": sites.USER, "tools/six.py": sites.USER}  # fmt: skip
    assert {name: sites.of_file(str(tmp_path / name)) for name in expected} == expected
    monkeypatch.setenv(sites.USER_CODE, "anyio")
    assert sites.of_file(str(tmp_path / "anyio" / "run.py")) == sites.USER


def test_generated_code_belongs_to_its_module() -> None:
    """Code without a file, such as a data class's methods, is that of the module it was made for."""
    names: dict[str, Any] = {"sys": sys, "__file__": "/venv/lib/python3.11/site-packages/openai/_models.py"}
    exec("def frame():\n    return sys._getframe()", names)
    assert sites.asker(names["frame"]())[1] == sites.LIBRARY
    names["__file__"] = "/home/me/agent.py"
    assert sites.asker(names["frame"]())[1] == sites.USER


def test_the_clock_may_be_read_while_it_is_read() -> None:
    """The garbage collector may close an answer in the middle of it, which looks at the clock; none goes back."""
    clock = VirtualClock(Trace("t1", "test", STARTED_NS))
    shown: list[int] = []

    class Moment(int):
        def __gt__(self, other: object) -> bool:
            clock.advance_to(90)
            shown.append(clock.look())
            return int(self) > shown[-1]

    reading = threading.Thread(target=clock.advance_to, args=(Moment(50),), daemon=True)
    reading.start()
    reading.join(10)
    assert not reading.is_alive()
    assert (shown, clock.now_us) == ([91], 91)
