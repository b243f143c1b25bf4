"""Which recorded step answers a call. Steps and calls in, a step or nothing out.

The ladder, from the top (`docs/matching.md`): equal content, among all steps of the same kind and name that have not
been served, whichever process recorded them; equal but for generated ids; different only in what the clock and chance
gave. Lane, process and arrival choose among equals, and nothing else: a call that merely stands where another stood
is never given that one's answer, unless it is asked for (`take_drifted`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rashomon.canonical import content_digest
from rashomon.model import Call, Failure, Grade, Kind, Lane, Step, Tape
from rashomon.replay.identifiers import Identifiers, Renaming, neutral

if TYPE_CHECKING:
    from rashomon.replay.flow import Sources

_TRIED = 8
"""So many steps are tried, when a difference is to be explained by the clock or chance."""


class Found(NamedTuple):
    """The step that answers, and how it was chosen.

    `of` counts the recorded requests that equal the call, this one included. `by` says what chose among them:
    `content` (there was one), `lane`, `process` or `arrival`. `ambiguous`: they had different answers, and it was not
    the lane that chose. `detail` names what differs all the same: renamed ids, times.
    """

    step: Step
    grade: Grade
    of: int
    by: str
    ambiguous: bool = False
    detail: str = ""

    @property
    def note(self) -> str:
        """The choice in words, for `Match.detail`; empty when there was none."""
        chosen = "" if self.of == 1 else f"one of {self.of} equal requests, by {self.by}"
        doubt = "; their answers differ, so it may be another's" if self.ambiguous else ""
        return f"{chosen}{doubt}{'; ' if chosen and self.detail else ''}{self.detail}"


def call_of(step: Step) -> Call:
    """A recorded step as the call that it was."""
    return Call(step.kind, step.name, step.request)


def process_of(step: Step) -> int:
    """The number of the process that recorded a step."""
    return int(step.id.partition(".")[0])


def job_steps(tape: Tape) -> frozenset[str]:
    """Ids of the steps on lines that were given to their process by another one, so that any worker may have them."""
    lanes = {process.number: process.lane for process in tape.trace.processes}
    return frozenset(step.id for step in tape.steps if step.lane[: len(own := lanes.get(process_of(step), ()))] != own)


def of_process(tape: Tape, number: int | None) -> Tape:
    """The tape as one process of the recording sees it: its own steps; none for a process that was not recorded."""
    prefix = f"{number}."
    return tape._replace(steps=tuple(step for step in tape.steps if step.id.startswith(prefix)))


def inner_steps(steps: Sequence[Step]) -> dict[str, list[str]]:
    """By step: all that happened inside it, however deep."""
    above = {step.id: step.within for step in steps}
    found: dict[str, list[str]] = {}
    for step in steps:
        outer = step.within
        while outer is not None:
            found.setdefault(outer, []).append(step.id)
            outer = above.get(outer)
    return found


class _Group:
    """Steps any of which might answer a call, to be looked through in the order of preference."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._queues: dict[object, deque[Step]] = {}
        self._answers: bool | None = None

    def add(self, step: Step) -> None:
        """One more, later than all others."""
        process = process_of(step)
        self.steps.append(step)
        lanes = () if "no-lane" in step.marks else ((process, step.lane), step.lane)
        for key in (*lanes, process, None):
            self._queues.setdefault(key, deque()).append(step)

    def waiting(self, key: object, gone: set[str]) -> Iterator[Step]:
        """Those of a (process, lane), of a lane, of a process, or (None) all that are not gone, by arrival."""
        queue = self._queues.get(key)
        if queue is None:
            return
        while queue and queue[0].id in gone:
            queue.popleft()
        yield from (step for step in queue if step.id not in gone)

    def answers_differ(self) -> bool:
        """True when not all of them were answered the same."""
        if self._answers is None:
            first = _answer(self.steps[0])
            self._answers = any(_answer(step) != first for step in self.steps[1:])
        return self._answers


_NONE = _Group()


def _answer(step: Step) -> tuple[object, ...]:
    response = step.response
    failure: Failure | None = response.failure
    return (response.head or {}).get("status"), response.end, failure, response.body


class Matcher:
    """The steps of a tape that are still to be served. Digests are computed when first asked for.

    `steps` are those of all processes of the tape, in its order; `process` is the one that this process stands for.
    Where several processes replay one tape, `claim(step_id)` must say True for a step to be served: False means that
    another process has it. Then no `process` means one that was not recorded: nothing on the tape may answer it but
    `jobs`, steps on lines that their process was given by another one (a pool's), and those on their own line only.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        process: int | None = None,
        claim: Callable[[str], bool] | None = None,
        identifiers: Identifiers | None = None,
        jobs: frozenset[str] = frozenset(),
    ) -> None:
        self._steps = tuple(steps)
        self._process = process
        self._claim = claim
        self._jobs = jobs
        self.identifiers = identifiers or Identifiers(self._steps)
        self._by_name: dict[tuple[Kind, str], _Group] = {}
        for step in self._steps:
            self._by_name.setdefault((step.kind, step.name), _Group()).add(step)
        self._by_digest: dict[str, _Group] = {}
        self._indexed: set[tuple[Kind, str]] = set()
        self._by_form: dict[tuple[Kind, str, int], dict[str, _Group]] = {}
        self._by_size: dict[tuple[Kind, str], dict[int, list[Step]]] = {}
        self._renamings: dict[str, Renaming] = {}
        self._agreed: list[Step] = []
        self._lanes: dict[Lane, set[int]] = {}
        self._gone: set[str] = set()
        self._within = inner_steps(self._steps)
        self._passed: set[str] = set()
        self._served: set[str] = set()
        self._barred: set[str] = set()
        if process is None and claim is not None:
            self._bar(step for step in self._steps if step.id not in jobs)

    def narrow(self, process: int | None) -> None:
        """In a forked child: it stands for this recorded process. Without a claim, only its own steps are left."""
        self._process = process
        if self._claim is None:
            self._bar(step for step in self._steps if process_of(step) != process)
        elif process is None:
            self._bar(step for step in self._steps if step.id not in self._jobs)

    def _bar(self, steps: Iterable[Step]) -> None:
        """These are for others, and were not served here."""
        barred = {step.id for step in steps} - self._gone
        self._barred |= barred
        self._gone |= barred

    def take(self, call: Call, lane: Lane | None, sources: Sources | None = None) -> Found | None:
        """The step that answers this call; it is served with that, and never again.

        With `sources`, also one that differs only in what the clock and chance gave.
        """
        found = self._take_equal(call, lane) or self._take_renamed(call, lane)
        if found is None and sources is not None and sources.readings:
            found = self._take_explained(call, lane, sources)
        return found

    def take_in_order(self, call: Call, lane: Lane | None) -> Step | None:
        """For a call whose answer is given anyway: the step that it stands for, by content or by place."""
        found = self._take_equal(call, lane)
        if found is not None:
            return found.step
        group = self._by_name.get((call.kind, call.name), _NONE)
        return next((step for step, _ in self._candidates(group, lane) if self._take(step)), None)

    def take_drifted(self, call: Call, lane: Lane | None) -> Step | None:
        """The step that stands where this call does: the next of its lane; else, of those that are next in any
        lane, the one that is most alike, and of equals the earliest. Not its answer: only for who asks for it."""
        group = self._by_name.get((call.kind, call.name), _NONE)
        for step, by in self._candidates(group, lane):
            if by != "lane":
                break
            if self._take(step):
                return step
        first: dict[tuple[int, Lane], Step] = {}
        for step in group.waiting(None, self._gone):
            first.setdefault((process_of(step), step.lane), step)
        from rashomon.replay.explain import alike_steps

        ranked = alike_steps(call, list(first.values()), len(first))
        return next((step for step in ranked if self._take(step)), None)

    def unserved(self, taken: Callable[[str], bool] | None = None) -> Iterable[Step]:
        """What the recording has and nobody asked for; the inner calls of tools that were served do not count.

        Of the own process, where there is one; `taken` tells what other processes have served.
        """
        left = [step for step in self._steps if step.id not in self._gone]
        if self._process is None and self._claim is not None:
            return []  # those whose jobs they were, tell
        if self._process is not None:
            left = [step for step in left if process_of(step) == self._process]
        return left if taken is None else [step for step in left if not taken(step.id)]

    def waiting(self) -> list[Step]:
        """All steps that were not served."""
        return [step for step in self._steps if step.id not in self._gone or step.id in self._barred]

    def served(self) -> list[Step]:
        """All steps that were served, here or by another process as far as it is known."""
        unasked = self._barred | (self._passed - self._served)
        return [step for step in self._steps if step.id in self._gone and step.id not in unasked]

    # ------------------------------------------------------------------------------- the choice among equals

    def _candidates(self, group: _Group, lane: Lane | None) -> Iterator[tuple[Step, str]]:
        """The steps that wait, the preferred one first, and what makes it so."""
        if lane is not None:
            for key in ((self._process, lane), lane):
                for step in group.waiting(key, self._gone):
                    yield step, "lane"
        if self._process is None and self._claim is not None:
            return  # of several processes, one that was not recorded: nothing but a lane says whose answer is its own
        for step in () if self._process is None else group.waiting(self._process, self._gone):
            yield step, "process"
        for step in group.waiting(None, self._gone):
            yield step, "arrival"

    def _take(self, step: Step) -> bool:
        """Serve a step, unless another process has it."""
        self._gone.add(step.id)
        if self._claim is not None and not self._claim(step.id):
            return False
        self._served.add(step.id)
        passed = self._within.get(step.id, ())  # they happened inside it, and will not be asked for
        self._passed.update(passed)
        self._gone.update(passed)
        return True

    def _found(self, group: _Group, step: Step, by: str, detail: str = "") -> Found:
        """What was chosen from a group of equals."""
        many = len(group.steps)
        if many == 1:
            return Found(step, Grade.EXACT, 1, "content", False, detail)
        doubtful = (by != "lane" or not self._is_sure(step)) and group.answers_differ()
        return Found(step, Grade.EXACT, many, by, doubtful, detail)

    def _is_sure(self, step: Step) -> bool:
        """A lane says who asked; but programs that were started anew count their lanes from the root again."""
        if process_of(step) == self._process:
            return True
        if not self._lanes:
            for other in self._steps:
                self._lanes.setdefault(other.lane, set()).add(process_of(other))
        return len(self._lanes[step.lane]) == 1

    # --------------------------------------------------------------------------------------------- the ladder

    def _take_equal(self, call: Call, lane: Lane | None) -> Found | None:
        self._index(call.kind, call.name)
        group = self._by_digest.get(content_digest(call))
        if group is None:
            return None
        for step, by in self._candidates(group, lane):
            if self._take(step):
                self._agreed.append(step)
                return self._found(group, step, by)
        return None

    def _index(self, kind: Kind, name: str) -> None:
        if (kind, name) in self._indexed:
            return
        self._indexed.add((kind, name))
        for step in self._named(kind, name):
            self._by_digest.setdefault(content_digest(call_of(step)), _Group()).add(step)

    def _named(self, kind: Kind, name: str) -> Iterator[Step]:
        """All steps of a name whose request is whole."""
        group = self._by_name.get((kind, name))
        return (step for step in (() if group is None else group.steps) if "damaged-request" not in step.marks)

    def _take_renamed(self, call: Call, lane: Lane | None) -> Found | None:
        live = neutral(call)
        group = self._of_form(call, live) if live.ids else None
        if group is None:
            return None
        for step in self._agreed:  # their ids are needed only now
            self.identifiers.agree(neutral(call_of(step)))
        self._agreed.clear()
        for step, by in self._candidates(group, lane):
            recorded = self._renamings[step.id]
            if not self.identifiers.fit(recorded, live):
                continue
            others = self._others(group, step, live)
            if self._take(step):
                self.identifiers.bind(recorded, live)
                return self._found(others, step, by, _told(recorded, live))
        return None

    def _others(self, group: _Group, step: Step, live: Renaming) -> _Group:
        """The group, when others of it may have been meant with these ids as well; else the step alone."""
        if all(other is step or not self._may_be(other, live) for other in group.waiting(None, self._gone)):
            group = _Group()
            group.add(step)
        return group

    def _may_be(self, step: Step, live: Renaming) -> bool:
        return self.identifiers.fit(self._renamings[step.id], live)

    def _of_form(self, call: Call, live: Renaming) -> _Group | None:
        """The steps that equal the call but for ids. Renaming keeps the length, so only such are looked at."""
        sizes = self._by_size.get((call.kind, call.name))
        if sizes is None:
            sizes = self._by_size[call.kind, call.name] = {}
            for step in self._named(call.kind, call.name):
                sizes.setdefault(len(step.request.body), []).append(step)
        key = (call.kind, call.name, len(call.request.body))
        forms = self._by_form.get(key)
        if forms is None:
            forms = self._by_form[key] = {}
            for step in sizes.get(len(call.request.body), ()):
                renaming = self._renamings[step.id] = neutral(call_of(step))
                if renaming.ids:
                    forms.setdefault(renaming.form, _Group()).add(step)
        return forms.get(live.form)

    def _take_explained(self, call: Call, lane: Lane | None, sources: Sources) -> Found | None:
        """The next of the lane, or else the most alike, of which every difference flows from the clock or chance."""
        from rashomon.replay.explain import alike_steps
        from rashomon.replay.flow import explained, told

        named = self._by_name.get((call.kind, call.name), _NONE)
        candidates = [(step, by) for step, by in self._candidates(named, lane) if by == "lane"][:1]
        waiting = [step for step in named.waiting(None, self._gone) if "damaged-request" not in step.marks]
        candidates += [(step, "arrival") for step in alike_steps(call, waiting, _TRIED)]
        fitting = _Group()
        reasons: dict[str, str] = {}
        for step, by in candidates:
            flowed = None if step.id in reasons or "damaged-request" in step.marks else explained(step, call, sources)
            if flowed is not None:
                fitting.add(step)
                reasons[step.id] = told(flowed)
                if by == "lane":
                    break
        for step, by in self._candidates(fitting, lane):
            if self._take(step):
                return self._found(fitting, step, by, reasons[step.id])._replace(grade=Grade.EXPLAINED)
        return None


def _told(recorded: Renaming, live: Renaming) -> str:
    renamed = [(a.decode(), b.decode()) for a, b in zip(recorded.ids, live.ids, strict=True) if a != b]
    more = f", and {len(renamed) - 3} more" if len(renamed) > 3 else ""
    return "with generated ids renamed: " + ", ".join(f"{a} → {b}" for a, b in renamed[:3]) + more
