"""Turns of an event loop as a recorder counts them."""

from __future__ import annotations

import asyncio
import socket

from rashomon.recorders import loops


def test_completions_in_every_turn_do_not_starve_sockets() -> None:
    """A turn for a completion does not look at the sockets, the next one does, even if it is for a completion too."""

    async def main() -> list[int]:
        loop = asyncio.get_running_loop()
        state = loops.attach(loop)
        assert state is not None
        ours, theirs = socket.socketpair()
        waits, turns = [], 0
        with ours, theirs:
            for _ in range(20):
                came = loop.create_future()
                loop.add_reader(ours, came.set_result, None)
                theirs.send(b"x")
                turns = 0
                while not came.done() and turns < 100:
                    turns += 1
                    await state.settle(lambda place: None)
                loop.remove_reader(ours)
                ours.recv(1)
                waits.append(turns)
        return waits

    assert max(asyncio.run(main())) <= 3
