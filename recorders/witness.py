"""Writes the answer to one recorded call, as the program receives it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rashomon import values
from rashomon.boundary import LateCall, Pace, Place, Witness
from rashomon.journal import Code
from rashomon.model import OVERTAKEN, OVERTAKEN_AT_END, End, Event, Head, Kind, Lane
from rashomon.parties import SilentWitness
from rashomon.recorders.writer import Writer
from rashomon.redaction import StreamRedactor

if TYPE_CHECKING:
    from rashomon.recorders.recorder import TraceRecorder

_WHOLE = 1 << 62
"""In the place of the bytes that have not come: all that were promised have."""
_ON_A_WIRE = frozenset((Kind.LLM, Kind.HTTP, Kind.MCP))
_COMPLETE, _PIECE = End.COMPLETE, Event.PIECE  # to look a member of an enumeration up takes a fifth of a microsecond
Pending = tuple["TraceRecorder", LateCall, Lane, bool, int, Witness | None]
"""A call that is not written yet: whose, what, its lane and whether that is known, when it arrived by
`perf_counter_ns`, inside of what."""


class StepWitness:
    """Writes the answer to one call, as the program receives it."""

    __slots__ = (
        "_done",
        "_gap",
        "_held",
        "_left",
        "_passed",
        "_stream",
        "_trace",
        "_writer",
        "encoded",
        "leaf",
        "number",
        "pace",
        "pending",
    )

    def __init__(self, writer: Writer, number: int, kind: Kind, trace: int) -> None:
        self._writer = writer
        self._trace = trace
        self.number: int = number
        self.pace: Pace | None = None
        self.leaf = kind in _ON_A_WIRE
        self.encoded = not self.leaf
        self._stream: StreamRedactor | None = None  # while something is waiting for the next piece
        self._passed = 0  # pieces so far
        self._held = b""
        self._left = 0  # bytes that the head has promised and that have not come; 0 where it says nothing
        self._gap = False  # something of the answer could not be written: then it has no end either
        self._done = False
        self.pending: Pending | None = None

    def sent(self) -> None:
        """The request has gone out: write the call, if that was put off. So it takes none of the time until then."""
        with self._writer.lock:
            pending = self.pending
            if pending is not None:
                pending[0].write_late(self, pending)
                self.pending = None  # not before: who is interrupted while it is written tries again at the end

    def at(self, event: Event, number: int, place: Place) -> None:
        if self.pending is not None:
            self.sent()
        self._writer.point(self._trace, event, self.number, number, place)

    def began(self, head: Head) -> None:
        if self.pending is not None:
            self.sent()
        writer = self._writer
        lost = writer.lost_frames
        if not self.encoded:
            self._held, self._left = writer.head(self.number, head)
        elif head:
            writer.checked([Code.HEAD, self.number, writer.now_us(), head])
        self._gap |= writer.lost_frames != lost

    def piece(self, data: bytes, number: int = 0, place: Place | None = None) -> None:
        try:
            writer = self._writer
            redactor = writer.redactor
            if self.encoded:
                if place is not None:
                    self.at(_PIECE, number, place)
                self._gap |= not writer.piece(self.number, redactor.encoded(data))
                return
            held = self._held
            if held:
                self._held = b""
            left = self._left
            if left:
                left = self._left = left - len(data) or _WHOLE
            stream = self._stream
            # `StreamRedactor.passes`, written out: a chunk costs mostly code that the processor has not at hand
            if stream is None and data and data[-1] not in redactor.open_bytes and redactor.trigger(data) is None:
                self._passed += 1
                point = b"" if place is None else writer.point_frame(self._trace, _PIECE, self.number, number, place)
                if not writer.piece(self.number, data, held, left == _WHOLE, point):
                    self._left, self._gap = 0, True
            else:
                if place is not None:
                    self.at(_PIECE, number, place)
                self._slow_piece(data, held)
        except Exception as error:  # a bug of ours: what cannot be cleaned of secrets is not written
            self._lost(error)

    def _slow_piece(self, data: bytes, held: bytes) -> None:
        """A piece with a secret in it, or with what may be the beginning of one at its end; and those behind it, as
        long as anything of it is waiting."""
        self._left = 0  # the end is written when it comes
        writer = self._writer
        lost = writer.lost_frames
        stream = self._stream
        if stream is None:
            stream = self._stream = StreamRedactor(writer.redactor, self._passed)
        *earlier, (_, safe) = stream.feed(data)
        if not stream.held:
            self._passed, self._stream = stream.count, None
        for number, rest in earlier:
            writer.clean([Code.PIECE, self.number, writer.now_us(), rest, number], held)
            held = b""
        writer.piece(self.number, safe, held)
        self._gap |= writer.lost_frames != lost

    def overtaken(self, at_end: bool = False) -> None:
        if self.pending is not None:
            self.sent()
        self._writer.clean([Code.MARK, self.number, OVERTAKEN_AT_END if at_end else OVERTAKEN])

    def ended(self, end: End, error: BaseException | None = None) -> None:
        if self._done:
            return
        self._done = True
        if self._left == _WHOLE and end is _COMPLETE and self.pace is None:  # written with the last piece
            return
        try:
            if self.pending is not None:
                self.sent()
            self._ended(end, error)
        except Exception as failure:  # as above
            self._lost(failure)

    def _lost(self, error: Exception) -> None:
        self._left, self._gap = 0, True
        self._writer.failed(error, False)

    def _ended(self, end: End, error: BaseException | None) -> None:
        writer = self._writer
        if self._left == _WHOLE and end is _COMPLETE:
            if self.pace is not None:
                self.pace.over()
            return
        now = writer.now_us()
        lost = writer.lost_frames
        for number, rest in self._stream.finish() if self._stream is not None else ():
            writer.clean([Code.PIECE, self.number, now, rest, number])
        if self._gap or writer.lost_frames != lost:
            pass  # nobody must take what is there for the whole answer
        elif error is None:
            writer.clean([Code.END, self.number, now, end, None], self._held)
        else:
            if self._held:
                writer.clean([Code.PIECE, self.number, now, b""], self._held)
            writer.checked([Code.END, self.number, now, end.value, list(values.encode_failure(error))])
        writer.step_ended()
        if self.pace is not None:
            self.pace.over()

    def __del__(self) -> None:
        if not self._done and not sys.is_finalizing():
            self.ended(End.LEAKED)


class DeafWitness(SilentWitness):
    """Stands in where nothing can be written: the program must not notice."""
