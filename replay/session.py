"""The replay session: the interceptor that answers from a tape and lets nothing else out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from threading import RLock
from types import FrameType
from typing import Any, Protocol

from rashomon.boundary import GoLive, Pace, Place, Play, Witness, inside
from rashomon.errors import Escaped, Missed
from rashomon.model import Call, Divergence, End, Event, Grade, Kind, Lane, Match, Request, Step, Tape
from rashomon.redaction import Redactor
from rashomon.replay import stubs as stubbing
from rashomon.replay.clock import VirtualClock
from rashomon.replay.conductor import Conductor, StepPace
from rashomon.replay.matching import Found, Matcher, of_process
from rashomon.replay.stubs import Stub


class Scribe(Protocol):
    """Writes the new trace: a `TraceRecorder`, or nobody."""

    def open(self, call: Call, match: Match | None) -> Witness: ...

    def connected(self, peer: str) -> None: ...

    def diverged(self, divergence: Divergence) -> None: ...

    def reaching(self, action: str, target: tuple[str, ...], frame: FrameType | None) -> None: ...

    def note_read(self, kind: str, what: str, value: Any, frame: FrameType) -> None: ...

    def note_sleep(self, seconds: float, number: int, frame: FrameType) -> None: ...

    def note_point(self, event: Event, lane: Lane, number: int, place: Place, within: int | None = None) -> None: ...

    def uncontrolled(self, what: str, reason: str, frame: FrameType | None = None) -> None: ...


class Line(Protocol):
    """One line of control: a `recorders.lanes.Line`."""

    lane: Lane

    def next_sleep(self) -> int: ...


class _State:
    """What all lines of one replay share."""

    def __init__(self, tape: Tape, redactor: Redactor, stubs: Iterable[Stub], live: Iterable[str]) -> None:
        self.tape = tape
        self.redactor = redactor
        self.matcher = Matcher(tape.steps)
        self.stubs = {stub.tool: stub for stub in stubs}
        self.live = frozenset(live)
        self.divergences: list[Divergence] = []
        self.lock = RLock()


class ReplaySession:
    """Answers calls from a tape, into the trace of `scribe`. `line` tells the line of the running code."""

    def __init__(
        self,
        tape: Tape,
        redactor: Redactor,
        scribe: Scribe,
        line: Callable[[], Line],
        stubs: Iterable[Stub] = (),
        live: Iterable[str] = (),
        steps: Sequence[Step] | None = None,
        process: int | None = None,
    ) -> None:
        self._state = _State(tape, redactor, stubs, live)
        if steps is not None:  # only these are this process's
            self._state.matcher = Matcher(steps)
        self._scribe = scribe
        self._line = line
        known = next((one for one in tape.trace.processes if one.number == process), None)
        self.clock = VirtualClock(tape.trace, known)
        self.conductor = Conductor(tape, process, self.clock, self._order_left)

    def after_fork(self, lane: Lane) -> None:
        """In a forked child: from here on, answer from what the child that was forked there had recorded."""
        tape = self._state.tape
        number = next((process.number for process in tape.trace.processes if process.lane == lane), None)
        self._state.matcher = Matcher(of_process(tape, number).steps)
        self._state.lock = RLock()
        self.conductor.after_fork(tape, number)

    def _order_left(self, why: str) -> None:
        self._scribe.uncontrolled("order", why)

    def into(self, scribe: Scribe) -> ReplaySession:
        """The same replay, written into another trace: one that the program began within this one."""
        other = object.__new__(ReplaySession)
        other._state, other._scribe, other._line = self._state, scribe, self._line
        other.clock, other.conductor = self.clock, self.conductor
        return other

    @property
    def scribe(self) -> Scribe:
        """Where this replay is written."""
        return self._scribe

    @property
    def divergences(self) -> tuple[Divergence, ...]:
        """Where this replay has left its recording so far."""
        return tuple(self._state.divergences)

    def arrive(self, call: Call) -> GoLive | Play:
        """Answer a call from the tape, or from its stub; let it out if that was asked for; else refuse it."""
        state = self._state
        with state.lock:
            safe = self._redacted(call)
            lane = self._line().lane
            stub = state.stubs.get(call.name) if call.kind is Kind.TOOL else None
            if stub is not None:
                recorded = state.matcher.take_in_order(safe, lane)
            else:
                found = state.matcher.take(safe, lane)
        if stub is not None:
            return self._stubbed(stub, call, recorded)
        if found is not None:
            return self._play(call, found)
        if call.kind.value in state.live:
            return self._go_live(call, safe)
        raise self._missed(call, safe)

    def _redacted(self, call: Call) -> Call:
        """The call as it would have been recorded: what the tape holds has no secrets in it."""
        redactor, (head, body) = self._state.redactor, call.request
        if call.kind is Kind.TOOL:
            return call._replace(request=Request(head, redactor.encoded(body)))
        return call._replace(
            request=Request({**head, "url": redactor.url(head.get("url", ""))}, redactor.content(body))
        )

    def _play(self, call: Call, found: Found) -> Play:
        detail = (
            "" if found.of == 1 else f"one of {found.of} equal requests, by {'lane' if found.same_lane else 'arrival'}"
        )
        witness = self._scribe.open(call, Match(Grade.EXACT, found.step.id, detail))
        witness.pace = StepPace(self.conductor, found.step, witness)
        self.conductor.served(found.step.id)
        return Play(found.step.response, witness)

    def _stubbed(self, stub: Stub, call: Call, recorded: Step | None) -> Play:
        match = Match(Grade.STUBBED, None if recorded is None else recorded.id, stub.source[:200])
        witness = self._scribe.open(call, match)
        if recorded is not None:
            witness.pace = StepPace(self.conductor, recorded, witness)
            self.conductor.served(recorded.id)
        return Play(stubbing.answer(stub, call, recorded), witness)

    def _go_live(self, call: Call, safe: Call) -> GoLive:
        """The tape cannot answer, and this kind of call may go out: a divergence all the same."""
        from rashomon.replay.explain import explain_miss

        matcher = self._state.matcher
        divergence = explain_miss(safe, matcher.waiting(), matcher.served())
        witness = self._scribe.open(call, Match(Grade.LIVE, None, divergence.summary))
        self.diverge(divergence._replace(kind="live"))
        return GoLive(_LiveWitness(witness, self.conductor))

    def _missed(self, call: Call, safe: Call) -> Missed:
        from rashomon.replay.explain import explain_miss

        matcher = self._state.matcher
        divergence = explain_miss(safe, matcher.waiting(), matcher.served())
        witness = self._scribe.open(call, Match(Grade.MISSED, divergence.recorded, divergence.summary))
        missed = Missed("\n".join((divergence.summary, *(f"  {line}" for line in divergence.detail))))
        witness.ended(End.ERROR, missed)
        self.diverge(divergence)
        return missed

    def diverge(self, divergence: Divergence) -> None:
        """Note where the replay left the recording."""
        self._state.divergences.append(divergence)
        self._scribe.diverged(divergence)

    def connected(self, peer: str) -> None:
        """Refuse a connection, unless it belongs to a call that may go live."""
        if isinstance(inside.get(), _LiveWitness):
            self._scribe.connected(peer)
            return
        verb = f"resolve {peer[4:]}" if peer.startswith("dns:") else f"reach {peer}"
        summary = f"The program tried to {verb}, and no recorded call did."
        self.diverge(Divergence("escaped", summary, detail=("Nothing leaves the process during a replay.",)))
        raise Escaped(summary + " Nothing leaves the process during a replay.")

    def read(self, kind: str, what: str, real: Callable[[], Any], frame: FrameType) -> Any:
        """What the recording read there."""
        return real()

    def library_read(self, kind: str, what: str, real: Callable[[], Any]) -> Any:
        """A virtual value."""
        return real()

    def sleep(self, seconds: float, real: Callable[[], None], frame: FrameType) -> None:
        """Wake up in the recorded order, without waiting."""
        line = self._line()
        lane, number = line.lane, line.next_sleep()
        self.conductor.sleep((Event.SLEEP, lane, number), seconds, lambda: None)
        self._scribe.note_sleep(seconds, number, frame)

    def reaching(self, action: str, target: tuple[str, ...], frame: FrameType | None) -> None:
        """Refuse a subprocess or a file, unless the policy allows it."""

    def failed(self, error: Exception) -> None:
        """A call that cannot be described cannot be matched: it must not be made either."""
        summary = f"A call could not be read by its shim: {type(error).__name__}: {error}."
        self.diverge(Divergence("missed", summary))
        raise Missed(summary)

    def finish(self) -> tuple[Divergence, ...]:
        """At the end: what the recording has and the replay did not ask for is a divergence too."""
        left = list(self._state.matcher.unserved())
        if left:
            names = ", ".join(f"{step.id} {step.name}" for step in left[:5]) + (" …" if len(left) > 5 else "")
            noun = "step was" if len(left) == 1 else "steps were"
            summary = f"{len(left)} recorded {noun} not asked for: {names}."
            self.diverge(Divergence("unserved", summary, recorded=left[0].id))
        return self.divergences


class _LiveWitness:
    """Marks a call that went live during a replay, so that its connections are let through."""

    __slots__ = ("_conductor", "_inner", "leaf", "number", "pace")

    def __init__(self, inner: Witness, conductor: Conductor) -> None:
        self._inner = inner
        self._conductor: Conductor | None = conductor
        conductor.live += 1
        self.leaf = inner.leaf
        self.number = inner.number
        self.pace: Pace | None = None

    def at(self, event: Event, number: int, place: Place) -> None:
        self._inner.at(event, number, place)

    def began(self, head: dict[str, object]) -> None:
        self._inner.began(head)

    def piece(self, data: bytes) -> None:
        self._inner.piece(data)

    def ended(self, end: End, error: BaseException | None = None) -> None:
        self._inner.ended(end, error)
        if self._conductor is not None:
            self._conductor.live -= 1
            self._conductor = None


class Nobody:
    """A scribe that writes nothing: for a replay whose trace is not kept."""

    def open(self, call: Call, match: Match | None) -> Witness:
        return _Silent()

    def connected(self, peer: str) -> None: ...

    def diverged(self, divergence: Divergence) -> None: ...

    def reaching(self, action: str, target: tuple[str, ...], frame: FrameType | None) -> None: ...

    def note_read(self, kind: str, what: str, value: Any, frame: FrameType) -> None: ...

    def note_sleep(self, seconds: float, number: int, frame: FrameType) -> None: ...

    def note_point(self, event: Event, lane: Lane, number: int, place: Place, within: int | None = None) -> None: ...

    def uncontrolled(self, what: str, reason: str, frame: FrameType | None = None) -> None: ...


class _Silent:
    leaf = False
    number = None
    pace: Pace | None = None

    def at(self, event: Event, number: int, place: Place) -> None: ...

    def began(self, head: dict[str, object]) -> None: ...

    def piece(self, data: bytes) -> None: ...

    def ended(self, end: End, error: BaseException | None = None) -> None: ...
