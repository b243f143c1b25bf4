"""The recorder: the interceptor that lets every call go live and writes down what happened."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import count
from types import FrameType
from typing import Any

from rashomon import boundary, real, telemetry, values
from rashomon.boundary import GoLive, LateCall, Place, Witness, inside
from rashomon.journal import SUFFIX, Code
from rashomon.model import Call, Divergence, End, Event, Kind, Lane, Match, Request
from rashomon.output_marks import OUTPUT, STDOUT
from rashomon.recorders import lanes, natives, printed, reaching, stdin_streams, unseen
from rashomon.recorders.complaints import complain
from rashomon.recorders.files import Seen
from rashomon.recorders.witness import DeafWitness, Pending, StepWitness
from rashomon.recorders.writer import Writer
from rashomon.redaction import Redactor

_CALL, _READ = int(Code.CALL), int(Code.READ)  # a plain number is packed in half the time
_HTTP = Kind.HTTP
_NUMBERS = (int, float)
_LONG_S = 0.02
"""A sleep that is long enough to write down what was put off before it."""


class ProcessRecorder:
    """This process's journal, and the traces that are written into it."""

    def __init__(self, home: str, redactor: Redactor, process: dict[str, Any], fsync: str = "never") -> None:
        self._home, self._redactor, self._info, self._fsync = home, redactor, process, fsync
        self.steps = count()
        self._traces = count()
        self.active: dict[int, dict[str, Any]] = {}
        self._recorders: dict[int, TraceRecorder] = {}
        self.writer = self._open()

    def _open(self) -> Writer:
        folder = os.path.join(self._home, "journals")
        pid, now = real.getpid(), real.time_ns()
        path = os.path.join(folder, f"{now:016x}-{pid}-{real.urandom(2).hex()}{SUFFIX}")
        clocks = {"started_ns": now, "monotonic_ns": real.monotonic_ns()}
        return Writer(path, {**self._info, "pid": pid, "ppid": os.getppid(), **clocks}, self._redactor, self._fsync)

    def begin(self, info: dict[str, Any]) -> TraceRecorder:
        """Begin a trace, or join one that another process began."""
        number = next(self._traces)
        self.active[number] = info
        self.writer.checked([Code.TRACE, number, info])
        recorder = TraceRecorder(self, number, info["id"])
        if info.get("within") is not None:
            recorder.outer = next((one for one in list(self._recorders.values()) if one.id == info["within"]), None)
        self._recorders[number] = recorder
        return recorder

    def finish(self, number: int, end: dict[str, Any]) -> None:
        """End a trace."""
        self.active.pop(number, None)
        self._recorders.pop(number, None)
        self.writer.checked([Code.TRACE_END, number, self.writer.now_us(), end])

    def after_fork(self, lane: Lane, trace: str | None) -> None:
        """In a forked child: a journal of its own, in which the trace of the fork and those around it go on."""
        self.writer.abandon()
        printed.reset()
        stdin_streams.reset()
        self.steps = count()
        self._info = {**self._info, "lane": list(lane), "forked": True}
        try:
            self.writer = self._open()
            self.active = self._around(trace)
            for number, info in self.active.items():
                self.writer.checked([Code.TRACE, number, {"id": info["id"], "owner": False}])
        except OSError as error:
            complain(f"a forked process is not recorded: {error}. The program goes on.")

    def _around(self, trace: str | None) -> dict[int, dict[str, Any]]:
        """Of the active traces, those that a trace stands in: other threads may be in other traces."""
        found: dict[int, dict[str, Any]] = {}
        by_id = {info["id"]: (number, info) for number, info in self.active.items()}
        while trace in by_id:
            number, info = by_id.pop(trace)
            found[number] = info
            trace = info.get("within")
        return dict(sorted(found.items()))

    def leaving(self) -> None:
        """The process is about to leave: note that it was not killed. What comes all the same is written."""
        self._tell()
        self.writer.clean([Code.CLOSE, self.writer.now_us()])

    def close(self) -> None:
        """The process ends."""
        self._tell()
        self.writer.close()

    def _tell(self) -> None:
        stdin_streams.end()
        printed.tell()
        for number in self.active:
            self._recorders[number].note_unseen()


class TraceRecorder:
    """The interceptor of one trace."""

    isolates = False
    stdin = "recorded"

    def __init__(self, process: ProcessRecorder, number: int, trace_id: str) -> None:
        self.process, self.number, self.id = process, number, trace_id
        self.outer: TraceRecorder | None = None  # the trace of this process within which it was begun
        self.steps = 0
        self.files = Seen()
        self._uncontrolled: set[Any] = set()
        self._sockets = frozenset(unseen.open_sockets())
        natives.tell_all(self)

    def arrive(self, call: Call) -> GoLive:
        """Every call goes live."""
        sender = telemetry.sent_by(call) if telemetry.watching else ""
        return GoLive(self._aside(sender, telemetry.origin(call)) if sender else self.open(call, None))

    def _aside(self, sender: str, to: str) -> telemetry.Aside:
        """Note that telemetry is sent, once for each sender and place."""
        self.uncontrolled(*telemetry.fact(sender, to))
        return telemetry.Aside()

    def put_off(self, call: LateCall) -> Witness:
        """The call has its number, its lane and its time now, and is written when its witness is told more of it."""
        process = self.process
        writer = process.writer
        try:
            if telemetry.watching and (sender := telemetry.sender()):
                described = call.describe()
                if telemetry.sent_by(described):
                    return self._aside(sender, telemetry.origin(described))
            witness = StepWitness(writer, next(process.steps), _HTTP, self.number)
            self.steps += 1
            lane, known = lanes.here()
            witness.pending = (self, call, lane, known, real.perf_counter_ns(), inside.get())
            return witness
        except Exception as error:  # recording must not break the program
            writer.failed(error, True)
            return DeafWitness()

    def write_late(self, witness: StepWitness, pending: Pending) -> None:
        """Write a call that was put off. Raises what interrupts the program."""
        _, late, lane, known, at_ns, enclosing = pending
        within = None if enclosing is None else enclosing.number
        try:
            self._write_call(witness, late.describe(), lane, known, self.process.writer.now_us(at_ns), within)
        except Exception as error:  # recording must not break the program
            self.process.writer.failed(error, True)
        except BaseException:  # Ctrl-C: how much of it is on the disk nobody knows
            self.process.writer.forget()
            raise

    def open(self, call: Call, match: Match | None) -> StepWitness | DeafWitness:
        """Write that a call arrived, and how it was matched. Never raises."""
        process = self.process
        writer = process.writer
        try:
            witness = StepWitness(writer, next(process.steps), call.kind, self.number)
            self.steps += 1
            lane, known = lanes.here()
            enclosing = inside.get()
            within = None if enclosing is None else enclosing.number
            self._write_call(witness, call, lane, known, writer.now_us(), within)
            if match is not None:
                writer.checked([Code.MATCH, witness.number, match.grade.value, match.recorded, match.detail])
            return witness
        except Exception as error:  # recording must not break the program
            writer.failed(error, True)
            return DeafWitness()

    def _write_call(
        self, witness: StepWitness, call: Call, lane: Lane, known: bool, now_us: int, within: int | None
    ) -> None:
        writer, number = self.process.writer, witness.number
        kind, name, (head, body) = call
        elements: list[Any] = [
            _CALL,
            number,
            self.number,
            kind._value_,
            writer.redactor.name(name),
            lane,
            now_us,
            within,
        ]
        writer.call(number, elements, head, body, witness.encoded, lane)
        if not known:
            writer.clean([Code.MARK, number, "no-lane"])

    def note(self, text: str, labels: tuple[str, ...], data: dict[str, Any]) -> None:
        """Write what the program says about itself, as a step that crosses nothing. Never raises.

        It stands in the head as JSON, where SQL finds it, and in the body, by which steps are compared.
        """
        redactor = self.process.writer.redactor
        try:
            said = redactor.encoded(values.encode({"text": text, "labels": list(labels), "data": data}))
            head = {"note": values.to_json(said)}
            self.open(Call(Kind.NOTE, "note", Request(head, said)), None).ended(End.COMPLETE)
        except Exception as error:  # recording must not break the program
            self.process.writer.failed(error, True)

    def connected(self, peer: str, frame: FrameType | None = None) -> None:
        """Note a connection, and whether it belongs to a recorded call. Never raises."""
        enclosing = inside.get()
        if type(enclosing) is StepWitness:
            enclosing.sent()  # connecting takes its time: the call is on the disk before it
        step = None if enclosing is None else enclosing.number
        if step is None and self._is_telemetry(enclosing, peer):
            return
        if peer.startswith("dns:"):  # no connection yet; an answer that may change
            if step is None:
                self.uncontrolled(peer, "the address was looked up outside of any recorded call", frame)
            return
        self._reached(peer, step)
        if step is None:
            self.uncontrolled(peer, "the connection was opened outside of any recorded call", frame)

    def _is_telemetry(self, enclosing: Witness | None, peer: str) -> bool:
        if type(enclosing) is telemetry.Aside:
            return True
        sender = telemetry.sender() if telemetry.watching else ""
        if sender and not peer.startswith("dns:"):
            self._aside(sender, peer)
        return bool(sender)

    def _reached(self, peer: str, step: int | str | None) -> None:
        writer = self.process.writer
        writer.checked([Code.CONNECT, self.number, writer.now_us(), peer, step])
        trace = self.outer
        while trace is not None:  # what slips past a trace has slipped past those around it
            if trace.number in self.process.active:
                writer.checked([Code.CONNECT, trace.number, writer.now_us(), peer, step])
            trace = trace.outer

    def failed(self, error: Exception) -> None:
        """Count what a shim could not record."""
        self.process.writer.failed(error, True)

    def read(self, kind: str, what: str, real: Callable[[], Any], frame: FrameType) -> Any:
        """The real value, noted. Raises only what `real` raises."""
        value = real()
        if not (telemetry.watching and telemetry.waits(kind)):
            self.note_read(kind, what, value, frame)
        return value

    def library_read(self, kind: str, what: str, real: Callable[[], Any]) -> Any:
        """The real value."""
        return real()

    def sleep(self, seconds: float, real: Callable[[], None], frame: FrameType) -> None:
        """Sleep, and note that it was done and when it ended."""
        if telemetry.watching and telemetry.sender():
            real()
            return
        if seconds >= _LONG_S:
            self.process.writer.flush()  # who kills it meanwhile loses nothing
        real()
        self.note_sleep(seconds, lanes.current_line().next_sleep(), frame)

    def note_read(self, kind: str, what: str, value: Any, frame: FrameType) -> None:
        """Write that a value was read. Never raises."""
        writer = self.process.writer
        enclosing = inside.get()
        within = None if enclosing is None else enclosing.number
        try:
            lane = lanes.here()[0]
            if writer.read_again(self.number, what, value, lane, within, frame):
                return
            code = frame.f_code
            with writer.lock:  # another thread's frame with the number of this place must not come before the place
                site = writer.site(code.co_filename, frame.f_lineno, code.co_qualname)
                checked = type(value) not in _NUMBERS or type(site) is not int  # else nothing in it can be a secret
                now = writer.now_us()
                writer.defer([_READ, self.number, kind, what, value, lane, now, within, site], checked)
                if type(site) is int:
                    writer.remember_read(self.number, kind, what, frame, site)
        except Exception as error:  # recording must not break the program
            writer.failed(error, False)

    def note_output(self, lane: Lane, value: list[Any], within: int | str | None) -> None:
        """Write down, as digests, what a line of control has printed. Of several for one lane the last counts."""
        writer = self.process.writer
        writer.checked([_READ, self.number, OUTPUT, STDOUT, value, lane, writer.now_us(), within, None])

    def note_sleep(self, seconds: float, number: int, frame: FrameType) -> None:
        """Write that a blocking sleep ended. Never raises."""
        self.note_read("sleep", "time.sleep", seconds, frame)
        enclosing = inside.get()
        within = None if enclosing is None else enclosing.number
        self.note_point(Event.SLEEP, lanes.here()[0], number, boundary.blocking_place(), within)

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
        """Write when a timer, a wake-up or a sleep was handed out: now, or at a `perf_counter_ns`. Never raises."""
        writer = self.process.writer
        point = [Code.POINT, self.number, event, None, lane, number, *place, writer.now_us(at_ns), within]
        writer.defer([*point, delay_us] if delay_us else point)

    def reaching(self, action: str, target: tuple[str, ...], frame: FrameType | None) -> None:
        """Note a subprocess; files are the program's own business. Never raises."""
        if action != "run":
            return
        writer = self.process.writer
        enclosing = inside.get()
        within = None if enclosing is None else enclosing.number
        try:
            with writer.lock:  # as above
                site = None
                if frame is not None:
                    code = frame.f_code
                    site = writer.site(code.co_filename, frame.f_lineno, code.co_qualname)
                writer.checked([Code.LAUNCHED, self.number, target, lanes.here()[0], within, site])
            unseen_program = reaching.without_recorder(target)
            if unseen_program and within is None:
                self._reached(unseen_program, None)
                self.uncontrolled(unseen_program, reaching.ALONE, frame)
        except Exception as error:  # recording must not break the program
            writer.failed(error, False)

    def uncontrolled(self, what: str, reason: str, frame: FrameType | None = None) -> None:
        """Note a source of nondeterminism that a replay cannot control, once for each place. Never raises."""
        writer = self.process.writer
        site = None if frame is None else (frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname)
        if (what, reason, site) in self._uncontrolled:
            return
        self._uncontrolled.add((what, reason, site))
        writer.checked([Code.UNCONTROLLED, self.number, what, reason, None if site is None else [None, *site]])

    def diverged(self, divergence: Divergence) -> None:
        """Note where a replay left its recording."""
        self.process.writer.checked([Code.DIVERGENCE, self.number, divergence._asdict()])

    def note_unseen(self) -> None:
        """Note the connections that were opened in C since the trace began, and are still open. Never raises."""
        for peer in unseen.unseen(self._sockets):
            self.process.writer.checked([Code.CONNECT, self.number, self.process.writer.now_us(), peer, None])
            self.uncontrolled(peer, unseen.OPENED_IN_C)
        self._sockets = frozenset(unseen.open_sockets())

    def finish(self, outcome: str, **facts: Any) -> None:
        """End the trace."""
        stdin_streams.end(self)
        printed.tell(self)
        self.note_unseen()
        self.process.finish(self.number, {"outcome": outcome, **facts})
