"""Which recorded step answers a call. Pure: steps and calls in, a step or nothing out.

Exact content first, among all steps of the same kind and name that have not been served; the lane, then
the arrival, break ties. Whatever has no exact equal is never answered with another call's answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rashomon.canonical import content_digest
from rashomon.model import Call, Kind, Lane, Step, Tape


class Found(NamedTuple):
    """The step that answers, and how many equal requests it was chosen from."""

    step: Step
    of: int
    same_lane: bool


def call_of(step: Step) -> Call:
    """A recorded step as the call that it was."""
    return Call(step.kind, step.name, step.request)


def of_process(tape: Tape, number: int | None) -> Tape:
    """The tape as one process of the recording sees it: its own steps; none for a process that was not recorded."""
    prefix = f"{number}."
    return tape._replace(steps=tuple(step for step in tape.steps if step.id.startswith(prefix)))


class Matcher:
    """The steps of a tape that are still to be served. Digests are computed when first asked for."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = tuple(steps)
        self._by_name: dict[tuple[Kind, str], list[Step]] = {}
        for step in self._steps:
            self._by_name.setdefault((step.kind, step.name), []).append(step)
        self._by_digest: dict[str, list[Step]] = {}
        self._indexed: set[tuple[Kind, str]] = set()
        self._served: set[str] = set()

    def take(self, call: Call, lane: Lane) -> Found | None:
        """The step that answers this call; it is served with that, and never again."""
        self._index(call.kind, call.name)
        waiting = self._by_digest.get(content_digest(call))
        if not waiting:
            return None
        position = next((n for n, step in enumerate(waiting) if step.lane == lane), None)
        found = Found(waiting[position or 0], len(waiting), position is not None)
        del waiting[position or 0]
        self._served.add(found.step.id)
        return found

    def _index(self, kind: Kind, name: str) -> None:
        if (kind, name) in self._indexed:
            return
        self._indexed.add((kind, name))
        for step in self._by_name.get((kind, name), ()):
            if "damaged-request" not in step.marks and step.id not in self._served:
                self._by_digest.setdefault(content_digest(call_of(step)), []).append(step)

    def take_in_order(self, call: Call, lane: Lane) -> Step | None:
        """For a call whose answer is given anyway: the step that it stands for, by content or by place."""
        found = self.take(call, lane)
        if found is not None:
            return found.step
        waiting = [step for step in self._by_name.get((call.kind, call.name), ()) if step.id not in self._served]
        chosen = next((step for step in waiting if step.lane == lane), waiting[0] if waiting else None)
        if chosen is not None:
            self._served.add(chosen.id)
            for steps in self._by_digest.values():
                if chosen in steps:
                    steps.remove(chosen)
        return chosen

    def unserved(self) -> Iterable[Step]:
        """What the recording has and nobody asked for; the inner calls of tools that were served do not count."""
        return [step for step in self._steps if step.id not in self._served and not self._inner(step)]

    def waiting(self) -> list[Step]:
        """All steps that were not served."""
        return [step for step in self._steps if step.id not in self._served]

    def served(self) -> list[Step]:
        """All steps that were served."""
        return [step for step in self._steps if step.id in self._served]

    def _inner(self, step: Step) -> bool:
        return step.within is not None and step.within in self._served
