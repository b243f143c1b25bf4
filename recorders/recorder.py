"""The recorder: the interceptor that lets every call go live and writes down what happened."""

from __future__ import annotations

import os
import sys
import time
from itertools import count
from typing import Any

from rashomon import values
from rashomon.boundary import GoLive, inside
from rashomon.journal import SUFFIX, Code
from rashomon.model import Call, Divergence, End, Head, Kind, Match
from rashomon.recorders import lanes
from rashomon.recorders.complaints import complain
from rashomon.recorders.writer import Writer
from rashomon.redaction import Redactor, StreamRedactor

_CONTENT_TYPE = (b"content-type", b"Content-Type", "content-type", "Content-Type")
_EVENT_STREAM = (b"text/event-stream", "text/event-stream")
_LLM_KINDS = (Kind.LLM, Kind.HTTP, Kind.MCP)


class StepWitness:
    """Writes the answer to one call, as the program receives it."""

    __slots__ = ("_done", "_held", "_stream", "_writer", "encoded", "leaf", "number")

    def __init__(self, process: ProcessRecorder, number: int, kind: Kind) -> None:
        self._writer = process.writer
        self.number: int = number
        self.encoded = kind not in _LLM_KINDS
        self.leaf = not self.encoded
        self._stream: StreamRedactor | None = None
        self._held = b""
        self._done = False

    def began(self, head: Head) -> None:
        writer = self._writer
        if not self.encoded:
            self._held = writer.head(self.number, head, not _is_stream(head))
        elif head:
            writer.checked([Code.HEAD, self.number, writer.now_us(), head])

    def piece(self, data: bytes) -> None:
        stream = self._stream
        if stream is None:
            if self.encoded:
                self._writer.piece(self.number, self._writer.redactor.encoded(data))
                return
            stream = self._stream = StreamRedactor(self._writer.redactor)
        held = self._held
        if held:
            self._held = b""
        # `StreamRedactor.passes`, written out: most of what a chunk costs is code that the processor has not at hand
        if not data or stream.held or data[-1] in stream.open_bytes or stream.trigger(data) is not None:
            self._slow_piece(stream, data, held)
        else:
            stream.count += 1
            self._writer.piece(self.number, data, held)

    def _slow_piece(self, stream: StreamRedactor, data: bytes, held: bytes) -> None:
        """A piece with a secret in it, or with what may be the beginning of one at its end."""
        writer = self._writer
        *earlier, (_, safe) = stream.feed(data)
        for number, rest in earlier:
            writer.clean([Code.PIECE, self.number, writer.now_us(), rest, number], held)
            held = b""
        writer.piece(self.number, safe, held)

    def ended(self, end: End, error: BaseException | None = None) -> None:
        if self._done:
            return
        self._done = True
        writer = self._writer
        now = writer.now_us()
        for number, rest in self._stream.finish() if self._stream is not None else ():
            writer.clean([Code.PIECE, self.number, now, rest, number])
        if error is None:
            writer.clean([Code.END, self.number, now, end, None], self._held)
        else:
            if self._held:
                writer.clean([Code.PIECE, self.number, now, b""], self._held)
            writer.checked([Code.END, self.number, now, end.value, list(values.encode_failure(error))])
        writer.step_ended()

    def __del__(self) -> None:
        if not self._done and not sys.is_finalizing():
            self.ended(End.LEAKED)


def _is_stream(head: Head) -> bool:
    """True for an answer whose head the program may see long before its first piece."""
    for name, value in head["headers"]:
        if name in _CONTENT_TYPE:
            return value[:17] in _EVENT_STREAM
    return False


class DeafWitness:
    """Stands in where nothing can be written: the program must not notice."""

    leaf = True
    number: int | None = None

    def began(self, head: Head) -> None: ...

    def piece(self, data: bytes) -> None: ...

    def ended(self, end: End, error: BaseException | None = None) -> None: ...


class ProcessRecorder:
    """This process's journal, and the traces that are written into it."""

    def __init__(self, home: str, redactor: Redactor, process: dict[str, Any], fsync: str = "never") -> None:
        self._home, self._redactor, self._info, self._fsync = home, redactor, process, fsync
        self._steps = count()
        self._traces = count()
        self.active: dict[int, dict[str, Any]] = {}
        self.writer = self._open()

    def _open(self) -> Writer:
        folder = os.path.join(self._home, "journals")
        pid, now = os.getpid(), time.time_ns()
        path = os.path.join(folder, f"{now:016x}-{pid}-{os.urandom(2).hex()}{SUFFIX}")
        return Writer(
            path, {**self._info, "pid": pid, "ppid": os.getppid(), "started_ns": now}, self._redactor, self._fsync
        )

    def begin(self, info: dict[str, Any]) -> TraceRecorder:
        """Begin a trace, or join one that another process began."""
        number = next(self._traces)
        self.active[number] = info
        self.writer.checked([Code.TRACE, number, info])
        return TraceRecorder(self, number, info["id"])

    def finish(self, number: int, end: dict[str, Any]) -> None:
        """End a trace."""
        self.active.pop(number, None)
        self.writer.checked([Code.TRACE_END, number, self.writer.now_us(), end])

    def next_step(self) -> int:
        """The number of the next step in this journal."""
        return next(self._steps)

    def after_fork(self, lane: tuple[int, ...]) -> None:
        """In a forked child: a journal of its own, in which the traces of the parent go on."""
        self.writer.abandon()
        self._steps = count()
        self._info = {**self._info, "lane": list(lane), "forked": True}
        try:
            self.writer = self._open()
            for number, info in self.active.items():
                self.writer.checked([Code.TRACE, number, {"id": info["id"], "owner": False}])
        except OSError as error:
            complain(f"a forked process is not recorded: {error}. The program goes on.")

    def close(self) -> None:
        """The process ends."""
        self.writer.close()


class TraceRecorder:
    """The interceptor of one trace."""

    def __init__(self, process: ProcessRecorder, number: int, trace_id: str) -> None:
        self.process, self.number, self.id = process, number, trace_id
        self.steps = 0

    def arrive(self, call: Call) -> GoLive:
        """Every call goes live."""
        return GoLive(self.open(call, None))

    def open(self, call: Call, match: Match | None) -> StepWitness | DeafWitness:
        """Write that a call arrived, and how it was matched. Never raises."""
        try:
            return self._open(call, match)
        except Exception as error:  # recording must not break the program
            self.process.writer.lose(f"{type(error).__name__}: {error}", True)
            return DeafWitness()

    def _open(self, call: Call, match: Match | None) -> StepWitness:
        process = self.process
        writer = process.writer
        number = process.next_step()
        self.steps += 1
        lane, known = lanes.here()
        enclosing = inside.get()
        within = None if enclosing is None else enclosing.number
        kind, name, request = call
        witness = StepWitness(process, number, kind)
        elements: list[Any] = [
            Code.CALL,
            number,
            self.number,
            kind,
            writer.redactor.name(name),
            lane,
            writer.now_us(),
            within,
        ]
        encoded = witness.encoded
        writer.call(number, elements, request.head, request.body, encoded, lane)
        if not known:
            writer.clean([Code.MARK, number, "no-lane"])
        if match is not None:
            writer.checked([Code.MATCH, number, match.grade.value, match.recorded, match.detail])
        return witness

    def connected(self, peer: str) -> None:
        """Note a connection, and whether it belongs to a recorded call. Never raises."""
        enclosing = inside.get()
        step = None if enclosing is None else enclosing.number
        writer = self.process.writer
        writer.checked([Code.CONNECT, self.number, writer.now_us(), peer, step])

    def failed(self, error: Exception) -> None:
        """Count what a shim could not record."""
        self.process.writer.lose(f"{type(error).__name__}: {error}", True)

    def diverged(self, divergence: Divergence) -> None:
        """Note where a replay left its recording."""
        self.process.writer.checked([Code.DIVERGENCE, self.number, divergence._asdict()])

    def finish(self, outcome: str, **facts: Any) -> None:
        """End the trace."""
        self.process.finish(self.number, {"outcome": outcome, **facts})
