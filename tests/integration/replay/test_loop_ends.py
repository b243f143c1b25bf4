"""Tasks that the main task of a loop leaves behind get as far in a replay as in the recording."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

import rashomon
from rashomon.model import Event, Tape

_prepared: list[bool] = []


@rashomon.tool
def prepared() -> str:
    """A tool that does more than it returns: a replay does not run it."""
    _prepared.append(True)
    return "prepared"


@rashomon.tool
async def fetched(what: int) -> int:
    """A tool that takes its time."""
    await asyncio.sleep(0.004)
    if what == 4:
        raise LookupError(what)
    return what


def _run(late: bool) -> tuple[list[object], bool]:
    """What a task came to that was left behind, while the main task went on, maybe only since the tool ran."""
    _prepared.clear()
    came: list[object] = []

    async def left_behind() -> None:
        try:
            for what in range(5):
                came.append(await fetched(what))
        except BaseException as error:
            came.append(type(error).__name__)
            raise

    async def main() -> None:
        prepared()
        task = asyncio.create_task(left_behind())
        task.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        if _prepared:
            await asyncio.sleep(0.2 if late else 0.014)

    asyncio.run(main())
    return came, bool(_prepared)


@pytest.mark.parametrize("late", [True, False], ids=["to its end", "cancelled"])
def test_they_get_as_far(late: bool, home: Path, last_tape: Callable[[], Tape]) -> None:
    """The main task ends earlier in a replay, where a body that made it wait does not run; they have their time."""
    with rashomon.trace("left behind"):
        recorded, ran = _run(late)
    assert ran
    assert recorded[-1] == ("LookupError" if late else "CancelledError")
    tape = last_tape()
    ends = [(point.lane, point.number) for point in tape.points if point.event is Event.END and not point.step]
    assert ends == [((), 0)]
    for _ in range(3):
        with rashomon.replay(tape) as session:
            replayed, ran = _run(late)
        assert not ran
        assert replayed == recorded
        assert session.divergences == ()
