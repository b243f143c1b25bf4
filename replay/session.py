"""The replay session: the interceptor that answers from a tape and lets nothing else out."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock
from types import FrameType
from typing import Any, NamedTuple, Protocol

from rashomon import disk, interruptions, telemetry
from rashomon.boundary import GoLive, Place, Play, Witness, inside
from rashomon.canonical import header
from rashomon.errors import Escaped, Missed, UsageError
from rashomon.model import (
    STDIN,
    Call,
    Divergence,
    End,
    Event,
    Grade,
    Kind,
    Lane,
    Match,
    Request,
    Response,
    Site,
    Step,
    Tape,
)
from rashomon.redaction import Redactor, lone_placeholders
from rashomon.replay import stubs as stubbing
from rashomon.replay.ambient import Ambient
from rashomon.replay.claims import Claims
from rashomon.replay.clock import VirtualClock, span
from rashomon.replay.conductor import Conductor
from rashomon.replay.flow import UNKNOWN, Reading, Sources, Substitution
from rashomon.replay.live import LiveWitness, let_through
from rashomon.replay.matching import Found, Matcher, job_steps, of_process, process_of
from rashomon.replay.pace import StepPace
from rashomon.replay.policy import Policy, refusal
from rashomon.replay.served import ServedWitness
from rashomon.replay.stubs import Stub

_READINGS = 1000
_TIMERS = frozenset({"time.monotonic", "time.monotonic_ns", "time.perf_counter", "time.perf_counter_ns"})
"""Nobody writes these into a request."""


class Scribe(Protocol):
    """Writes the new trace: a `TraceRecorder`, or nobody. Frames are those of the program's code that did it."""

    def open(self, call: Call, match: Match | None) -> Witness:
        """A step begins, answered as `match` says; the witness is told what comes of it."""

    def connected(self, peer: str, frame: FrameType | None = None) -> None:
        """A connection to `peer` (`host:port`) was made outside of every call."""

    def diverged(self, divergence: Divergence) -> None:
        """The run has left the recording."""

    def reaching(self, action: str, target: tuple[str, ...], frame: FrameType | None) -> None:
        """The program reaches out of the process: it runs a command, or changes a file."""

    def note_read(self, kind: str, what: str, value: Any, frame: FrameType) -> None:
        """The program has read a clock, chance or its surroundings, and got `value`."""

    def note_sleep(self, seconds: float, number: int, frame: FrameType) -> None:
        """The `number`-th blocking sleep of this line of control ended."""

    def note_point(
        self,
        event: Event,
        lane: Lane,
        number: int,
        place: Place,
        within: int | None = None,
        delay_us: int = 0,
        at_ns: int | None = None,
    ) -> None:
        """Something was handed out to a line of control: what, the `number`-th of it in this lane, and in which turn of
        the event loop (`place`), as part of the step `within`; now, or at a `perf_counter_ns`. Single values and not
        one of their own: there may be several in each turn of a loop."""

    def uncontrolled(self, what: str, reason: str, frame: FrameType | None = None) -> None:
        """The program has used what no replay can control."""


class Line(Protocol):
    """One line of control: a `recorders.lanes.Line`."""

    lane: Lane

    def next_sleep(self) -> int: ...


class Plan(NamedTuple):
    """How a tape is to be replayed: what is changed, what may go out, and by which of its processes.

    `live` names kinds of calls that may be made when the tape has no answer. `on_drift`: `serve` answers a call that
    merely stands where a recorded one stood with that one's answer; `stop` refuses it. `process` is the number of the
    recorded process that this one stands for; `claims` is given where several processes replay one tape.
    """

    stubs: tuple[Stub, ...] = ()
    live: tuple[str, ...] = ()
    policy: Policy | None = None
    on_drift: str = "stop"
    process: int | None = None
    claims: Claims | None = None


PLAN = Plan()


class _State:
    """What all lines of one replay share."""

    def __init__(self, tape: Tape, redactor: Redactor, plan: Plan) -> None:
        self.tape = tape = tape._replace(steps=tuple(step for step in tape.steps if step.kind is not Kind.NOTE))
        self.redactor, self.plan = redactor, plan
        if tape.trace.provenance.get("imported"):
            redactor.adopt(lone_placeholders(step.request.body for step in tape.steps))
        self.tape_path: str | None = None
        several = len(tape.trace.processes) > 1
        own = tape.steps if plan.claims is not None or not several else of_process(tape, plan.process).steps
        claim = None if plan.claims is None else plan.claims.take
        self.matcher = Matcher(own, plan.process, claim, jobs=job_steps(tape))
        self.stubs = {stub.tool: stub for stub in plan.stubs}
        self.live = frozenset(plan.live)
        self.policy = plan.policy if plan.policy is not None else Policy(tape)
        self.divergences: list[Divergence] = []
        self.lock = RLock()
        known = next((one for one in tape.trace.processes if one.number == plan.process), None)
        self.clock = VirtualClock(tape.trace, known)
        self.ambient = Ambient(tape, self.clock, plan.process if several else None)
        self.readings: list[Reading] = []
        self.substitutions: list[Substitution] = []
        self._span = span(tape)
        self._addresses: set[str] | None = None

    def sources(self) -> Sources:
        """Where a difference may come from."""
        return Sources(self.readings, self.substitutions, self.tape.reads, self._span, self.tape.trace.uncontrolled)

    def has_asked(self, call: Call) -> bool:
        """Whether the recording has steps of this address: one in which telemetry is steps is replayed as it was."""
        if self._addresses is None:
            self._addresses = {_address(step.request) for step in self.tape.steps if step.kind is Kind.HTTP}
        return _address(call.request) in self._addresses

    def note_reading(self, reading: Reading) -> None:
        """A value that may differ from the recording's; only the last ones count."""
        readings = self.readings
        readings.append(reading)
        if len(readings) > 2 * _READINGS:
            del readings[:_READINGS]


class ReplaySession:
    """Answers calls from a tape, into the trace of `scribe`. `line` tells the line of the running code."""

    isolates = True
    """`rashomon.recorders.coverage` tells of files that are about to be written only where this is set."""

    def __init__(
        self, tape: Tape, redactor: Redactor, scribe: Scribe, line: Callable[[], Line], plan: Plan = PLAN
    ) -> None:
        self._state = _State(tape, redactor, plan)
        self._scribe = scribe
        self._line = line
        self.conductor = Conductor(self._state.tape, plan.process, self._state.clock, self._order_left)

    def after_fork(self, lane: Lane) -> None:
        """In a forked child: from here on, answer from what the child that was forked there had recorded."""
        state = self._state
        tape = state.tape
        number = next((process.number for process in tape.trace.processes if process.lane == lane), None)
        if state.plan.claims is None:
            state.matcher = Matcher(of_process(tape, number).steps)
        else:
            state.matcher.narrow(number)
        state.lock = RLock()
        state.policy.after_fork()
        state.ambient.after_fork(number)
        self.conductor.after_fork(tape, number)

    def _order_left(self, why: str) -> None:
        self._scribe.uncontrolled("order", why)

    def into(self, scribe: Scribe) -> ReplaySession:
        """The same replay, written into another trace: one that the program began within this one."""
        other = object.__new__(ReplaySession)
        other._state, other._scribe, other._line = self._state, scribe, self._line
        other.conductor = self.conductor
        return other

    @property
    def scribe(self) -> Scribe:
        """Where this replay is written."""
        return self._scribe

    @property
    def stdin(self) -> str | None:
        """What the recorded program read from; None in a recording that has kept nothing of it."""
        return self._state.tape.trace.environ.get(STDIN)

    @property
    def unused_stubs(self) -> tuple[str, ...]:
        """The tools whose stubs have answered nothing so far."""
        state = self._state
        answered = {one.call.name for one in state.substitutions if one.how == "stubbed"}
        return tuple(stub.tool for stub in state.plan.stubs if stub.tool not in answered)

    @property
    def divergences(self) -> tuple[Divergence, ...]:
        """Where this replay has left its recording so far."""
        return tuple(self._state.divergences)

    def arrive(self, call: Call) -> GoLive | Play:
        """Answer a call from the tape, or from its stub; let it out if that was asked for; else refuse it."""
        try:
            return self._answer(call)
        except Exception as error:  # a bug of ours: the call must not be made, and nobody must take it for an answer
            self.failed(error)
            raise

    def _answer(self, call: Call) -> GoLive | Play:
        state = self._state
        sender = telemetry.sent_by(call) if telemetry.watching else ""
        if sender and not state.has_asked(call):
            self._scribe.uncontrolled(*telemetry.fact(sender, telemetry.origin(call)))
            return Play(telemetry.accepted(call), telemetry.Aside())
        stub = state.stubs.get(call.name) if call.kind is Kind.TOOL else None
        with state.lock:
            safe = self._redacted(call)
            lane = self._line().lane
            if stub is not None:
                recorded = state.matcher.take_in_order(safe, lane)
            else:
                found = state.matcher.take(safe, lane, state.sources())
        if stub is not None:
            return self._stubbed(stub, call, recorded)
        if found is not None:
            return self._play(call, found)
        if call.kind.value in state.live:
            return self._go_live(call, safe)
        divergence = self._explained(safe)
        with state.lock:
            drifted = state.matcher.take_drifted(safe, lane) if state.plan.on_drift == "serve" else None
        if drifted is not None:
            return self._drifted(call, safe, drifted, divergence)
        raise self._missed(call, divergence)

    def _redacted(self, call: Call) -> Call:
        """The call as it would have been recorded: what the tape holds has no secrets in it."""
        redactor, (head, body) = self._state.redactor, call.request
        if call.kind is Kind.TOOL:
            return call._replace(request=Request(head, redactor.encoded(body)))
        place = "server" if "server" in head else "url"
        head = {**head, place: redactor.url(head.get(place, ""))}
        return call._replace(request=Request(head, redactor.content(body)))

    def _play(self, call: Call, found: Found) -> Play:
        if found.ambiguous:
            summary = f"{call.name} found {found.note}."
            self.diverge(Divergence("ambiguous", summary, recorded=found.step.id))
        if self._state.tape.trace.losses and _lacks(found.step):
            summary = f"The recording has lost a part of the answer of step {found.step.id}, {call.name}."
            self.diverge(Divergence("unplayable", summary, recorded=found.step.id))
            raise Missed(summary)
        return self._served(call, found.step, Match(found.grade, found.step.id, found.note))

    def _served(self, call: Call, step: Step, match: Match, response: Response | None = None) -> Play:
        witness = self._scribe.open(call, match)
        if response is None:
            witness = ServedWitness(witness, step, self.diverge, self.conductor)
        witness.pace = StepPace(self.conductor, step, witness)
        self.conductor.served(step.id)
        lane = self._line().lane
        if step.lane != lane and process_of(step) == (self._state.plan.process or 0):
            self.conductor.stands_for(lane, step.lane)
        return Play(step.response if response is None else response, witness)

    def _stubbed(self, stub: Stub, call: Call, recorded: Step | None) -> Play:
        match = Match(Grade.STUBBED, None if recorded is None else recorded.id, stub.source[:200])
        try:
            response = stubbing.answer(stub, call, recorded)
        except UsageError as error:
            raise self._not_stubbed(call, match, error) from None
        self._state.substitutions.append(Substitution("stubbed", call, response, recorded))
        if recorded is not None:
            return self._served(call, recorded, match, response)
        return Play(response, self._scribe.open(call, match))

    def _not_stubbed(self, call: Call, match: Match, error: UsageError) -> Missed:
        """A stub that cannot answer is no failure of the tool: the program must not go on with one."""
        missed = Missed(str(error))
        self._scribe.open(call, match).ended(End.ERROR, missed)
        self.diverge(Divergence("unplayable", str(error), recorded=match.recorded))
        return missed

    def _drifted(self, call: Call, safe: Call, step: Step, divergence: Divergence) -> Play:
        """Another call's answer, because it was asked for: a divergence."""
        given = f"It got the answer of step {step.id}, which stands in its place."
        detail = (given, *divergence.detail)
        self.diverge(divergence._replace(kind="drifted", recorded=step.id, detail=detail))
        self._state.substitutions.append(Substitution("drifted", safe, step.response, step))
        return self._served(call, step, Match(Grade.DRIFTED, step.id, divergence.summary))

    def _go_live(self, call: Call, safe: Call) -> GoLive:
        """The tape cannot answer, and this kind of call may go out: a divergence all the same."""
        divergence = self._explained(safe)
        witness = self._scribe.open(call, Match(Grade.LIVE, None, divergence.summary))
        self.diverge(divergence._replace(kind="live"))
        return GoLive(LiveWitness(witness, self, safe))

    def _missed(self, call: Call, divergence: Divergence) -> Missed:
        witness = self._scribe.open(call, Match(Grade.MISSED, divergence.recorded, divergence.summary))
        missed = Missed("\n".join((divergence.summary, *(f"  {line}" for line in divergence.detail))))
        witness.ended(End.ERROR, missed)
        self.diverge(divergence)
        return missed

    def _explained(self, safe: Call) -> Divergence:
        """Why no recorded step answers a call."""
        from rashomon.replay.explain import explain_miss

        matcher = self._state.matcher
        return explain_miss(safe, matcher.waiting(), matcher.served(), self._state.sources())

    def substituted(self, substitution: Substitution) -> None:
        """A call got another answer than the recorded one: what follows from it can be told."""
        self._state.substitutions.append(substitution)

    def diverge(self, divergence: Divergence) -> None:
        """Note where the replay left the recording."""
        self._state.divergences.append(divergence)
        self._scribe.diverged(divergence)

    def connected(self, peer: str, frame: FrameType | None = None) -> None:
        """Refuse a connection, unless it belongs to a call that may go live, or the policy allows it."""
        if isinstance(inside.get(), LiveWitness):
            let_through(peer)
            self._scribe.connected(peer)
        elif self._state.policy.may_connect(peer):
            let_through(peer)
            self._scribe.connected(peer, frame)
        elif telemetry.watching and (sender := telemetry.sender()):
            self._scribe.uncontrolled(*telemetry.fact(sender, peer))
            raise telemetry.NotSent
        else:
            self._refuse("connect", (peer,), frame)

    def reaching(self, action: str, target: tuple[str, ...], frame: FrameType | None) -> None:
        """Refuse a subprocess or a file, unless the policy allows it, or it belongs to a call that may go live."""
        policy = self._state.policy
        if isinstance(inside.get(), LiveWitness):
            allowed = True
        else:
            allowed = policy.may_run(target) if action == "run" else policy.may_write(target[0])
        if not allowed:
            self._refuse(action, target, frame)
        self._scribe.reaching(action, target, frame)

    def _refuse(self, action: str, target: tuple[str, ...], frame: FrameType | None) -> None:
        enclosing = inside.get()
        step = None if enclosing is None or enclosing.number is None else str(enclosing.number)
        divergence = refusal(action, target, _site(frame), self._line().lane, step)
        self.diverge(divergence)
        raise Escaped("\n".join((divergence.summary, *(f"  {line}" for line in divergence.detail))))

    def read(self, kind: str, what: str, real: Callable[[], Any], frame: FrameType) -> Any:
        """What the recording read there; a virtual value where it read nothing."""
        if telemetry.watching and telemetry.waits(kind):
            return real()
        state = self._state
        site = _site(frame) or Site("?", 0, "?")
        before = state.ambient.misses
        value = state.ambient.read(self._line().lane, kind, what, real, site)
        if state.ambient.misses != before:
            state.note_reading(Reading(kind, what, value, UNKNOWN, site, "the recording has no more reads here"))
        self._scribe.note_read(kind, what, value, frame)
        return value

    def library_read(self, kind: str, what: str, real: Callable[[], Any]) -> Any:
        """A virtual value: of the virtual clock, or of a stream of chance that is the same in every replay."""
        state = self._state
        value = state.ambient.library_read(self._line().lane, kind, what, real)
        if what not in _TIMERS:
            state.note_reading(Reading(kind, what, value, UNKNOWN, None, "a library's own reads are not recorded"))
        return value

    def sleep(self, seconds: float, real: Callable[[], None], frame: FrameType) -> None:
        """Wake up in the recorded order, without waiting."""
        if telemetry.watching and telemetry.sender():
            real()
            return
        line = self._line()
        lane, number = line.lane, line.next_sleep()
        self.conductor.sleep((Event.SLEEP, lane, number), seconds, lambda: None)
        self._scribe.note_sleep(seconds, number, frame)

    def failed(self, error: Exception) -> None:
        """A call that cannot be described cannot be matched: it must not be made either."""
        interruptions.pass_on(error)
        summary = f"A call could not be read by its shim: {type(error).__name__}: {error}."
        self.diverge(Divergence("missed", summary))
        raise Missed(summary)

    def files_apart(self) -> list[disk.Apart]:
        """The files that this process has met otherwise than the recorded program."""
        seen = getattr(self._scribe, "files", None)
        return [] if seen is None else disk.apart(self._state.tape.trace.uncontrolled, seen.listed)

    def finish(self) -> tuple[Divergence, ...]:
        """At the end: what the recording has and the replay did not ask for is a divergence too."""
        claims = self._state.plan.claims
        left = list(self._state.matcher.unserved(None if claims is None else claims.taken))
        if left:
            names = ", ".join(f"{step.id} {step.name}" for step in left[:5]) + (" …" if len(left) > 5 else "")
            noun = "step was" if len(left) == 1 else "steps were"
            summary = f"{len(left)} recorded {noun} not asked for: {names}."
            self.diverge(Divergence("unserved", summary, recorded=left[0].id))
        return self.divergences


def _lacks(step: Step) -> bool:
    """True where an answer over HTTP ended well in the recording, and is shorter than its own head says."""
    answer, length = step.response, header(step.response.head, "content-length")
    bodiless = step.request.head.get("method") == "HEAD" or (answer.head or {}).get("status") in (204, 304)
    if bodiless or answer.end is not End.COMPLETE or not length.isdigit():
        return False
    return sum(len(piece.data) for piece in answer.pieces) < int(length)


def _address(request: Request) -> str:
    return str(request.head.get("url", "")).partition("?")[0]


def _site(frame: FrameType | None) -> Site | None:
    return None if frame is None else Site(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
