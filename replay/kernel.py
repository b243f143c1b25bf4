"""What the kernel holds a launched replay to, where it can: whom it reaches, and what files it changes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from rashomon.model import Divergence, Tape
from rashomon.replay.policy import Policy, kept_in, temporary_folders

if TYPE_CHECKING:
    from rashomon.replay.fence import Fence
    from rashomon.replay.wall import Wall


class Around(Protocol):
    """What stands around a launched program. `prepare` runs in the child between fork and exec, all else outside."""

    def open(self) -> None:
        """Before the fork."""

    def prepare(self) -> None:
        """In the child."""

    def serve(self, child: int) -> None:
        """When the child of this number runs."""

    def close(self) -> None:
        """When it has ended, or was never begun."""


class Kernel(NamedTuple):
    """What stands around a replay: None of what the kernel does not offer, or what would keep nothing in."""

    wall: Wall | None = None
    fence: Fence | None = None

    @property
    def around(self) -> tuple[Around, ...]:
        """Both, as far as they are there."""
        return tuple(one for one in (self.fence, self.wall) if one is not None)

    @property
    def facts(self) -> dict[str, bool]:
        """As `rashomon.replay/1` tells it."""
        return {
            "kernel_isolated": self.wall is not None and self.wall.stands,
            "files_isolated": self.fence is not None and self.fence.stands,
        }

    @property
    def divergences(self) -> list[Divergence]:
        """What was refused; of files nobody is told."""
        return [] if self.wall is None else [kept_in(*refused) for refused in self.wall.refused]


def kernel_for(tape: Tape, allow: Sequence[str], live: Sequence[str], folder: str | None, home: str) -> Kernel:
    """What is to stand around the replay of a tape: nothing where tools go live, since what they do is not known.

    `folder` is where it runs, `home` what it is recorded into. A command that was allowed may write what it likes.
    """
    if "tool" in live or not sys.platform.startswith("linux"):
        return Kernel()
    from rashomon.replay.fence import fence_for
    from rashomon.replay.wall import wall_for

    recorded = temporary_folders({**os.environ, **tape.trace.environ})
    policy = Policy(tape, allow, folder, (home, tempfile.gettempdir(), *recorded))
    return Kernel(wall_for(policy), None if policy.allows_commands else fence_for(policy.writable))
