"""A trace and the traces within it are one tape, which says what one undivided recording would have said."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

from hypothesis import example, given
from hypothesis import strategies as st

from rashomon import nesting, tapes
from rashomon.model import Process, Read, Site, Step, Tape, Trace
from tests.recordings import Run, made_up
from tests.steps import tool


def assembled(run: Run) -> dict[str, Tape]:
    """The traces that the run's journals tell, by id."""
    with tempfile.TemporaryDirectory() as folder:
        run.write(Path(folder))
        found = tapes.assemble([tapes.read_part(path) for path in sorted(Path(folder).iterdir())])
    return {tape.trace.id: tape for tape in found}


@given(st.randoms(use_true_random=False))
@example(Random(3))
def test_what_was_recorded_within_stands_where_it_happened(chance: Random) -> None:
    """Steps, reads and points of inner traces get the ids, times and places that an undivided one gives them."""
    run = made_up(chance, events=30)
    found, undivided = assembled(run), assembled(run.undivided())["outer"]
    whole = nesting.whole(found, "outer")
    assert whole is not None
    assert whole.steps == undivided.steps
    assert whole.reads == undivided.reads
    assert whole.points == undivided.points
    assert whole.trace.processes == undivided.trace.processes
    assert sorted(map(repr, whole.trace.launched)) == sorted(map(repr, undivided.trace.launched))
    assert set(whole.trace.uncontrolled) == set(undivided.trace.uncontrolled)
    assert len(whole.trace.uncontrolled) == len(set(whole.trace.uncontrolled))


@given(st.randoms(use_true_random=False))
def test_a_trace_alone_is_its_own_tape(chance: Random) -> None:
    """A trace without inner ones comes back as it was; one that is not there is None."""
    found = assembled(made_up(chance))
    inside = {tape.trace.within for tape in found.values()}
    for name in found.keys() - inside:
        assert nesting.whole(found, name) is found[name]
    assert nesting.whole(found, "elsewhere") is None


def _tape(name: str, *steps: Step, within: str | None = None, pid: int = 1, started_ns: int = 0) -> Tape:
    process = Process(0, pid, ("a.py",), "3.11.9", True, epoch_ns=pid)
    reads = tuple(Read(0, (), "clock", name, at, Site("a.py", 1, "f"), at, step.id) for at, step in enumerate(steps))
    return Tape(Trace(name, name, started_ns, within=within, processes=(process,)), steps, reads)


def test_processes_of_inner_traces_do_not_collide() -> None:
    """Two inner traces of two other processes, each of which counts its own process as 0, get numbers of their own."""
    step = tool({"n": 1})._replace(id="0.0")
    outer, one, two = (
        _tape("outer", step, pid=1),
        _tape("one", step, within="outer", pid=2, started_ns=5000),
        _tape("two", step, within="outer", pid=3, started_ns=9000),
    )
    whole = nesting.together([outer, one, two])
    assert [step.id for step in whole.steps] == ["0.0", "1.0", "2.0"]
    assert [(read.process, read.what, read.within) for read in whole.reads] == [
        (0, "outer", "0.0"), (1, "one", "1.0"), (2, "two", "2.0")]  # fmt: skip
    assert [(process.number, process.pid) for process in whole.trace.processes] == [(0, 1), (1, 2), (2, 3)]


def test_traces_within_each_other_end() -> None:
    """Traces that claim to be within each other are put together once each."""
    step = tool({"n": 1})._replace(id="0.0")
    found = {"a": _tape("a", step, within="b", pid=1), "b": _tape("b", step, within="a", pid=2)}
    whole = nesting.whole(found, "a")
    assert whole is not None
    assert len(whole.steps) == 2


def test_a_process_that_only_reads_is_kept_apart() -> None:
    """A read of a process that the inner trace does not list is not taken for one of the outer trace."""
    step = tool({"n": 1})._replace(id="0.0")
    outer, inner = _tape("outer", step, pid=1), _tape("inner", step, within="outer", pid=1)
    stray = inner.reads[0]._replace(process=4, within=None)
    whole = nesting.together([outer, inner._replace(steps=(), reads=(stray,))])
    assert [read.process for read in whole.reads] == [0, 1]
