"""Writes one process's journal. Never raises into the program, whatever the disk does.

Every frame is one `write(2)`: what was written survives `kill -9`, because the kernel has it. Frames
that cannot be written are counted in the file's header, in place, which needs no space on a full disk.
A journal that was deleted under the program is written anew from the still open file.
"""

from __future__ import annotations

import os
import struct
from threading import RLock
from types import CodeType, FrameType
from typing import Any
from zlib import crc32

import msgpack

from rashomon import interruptions, real
from rashomon import journal as format
from rashomon.journal import DELTA_MIN, Code
from rashomon.model import Lane
from rashomon.recorders.bodies import Bodies
from rashomon.recorders.complaints import complain
from rashomon.recorders.headers import Defined, Headers
from rashomon.redaction import Redactor

_FRAME = struct.Struct("<II")
_PIECE = struct.Struct(">BBBIBQBI")
"""A PIECE payload up to its bytes, in msgpack: array of 4, code 4, uint32 step, uint64 t_us, bin32 length."""
_POINT = struct.Struct(">BIBBIBiBqBqBQB")
"""A POINT payload behind its event, in msgpack: uint32 step, empty array, uint32 number, int32 loop, int64 epoch and
tick, uint64 t_us, nil."""
_POINT_HEAD = struct.Struct(">BBBIB")
"""The same up to the text of its event: array of 11, code 13, uint32 trace, and the short text's length."""
_COMPLETE = struct.Struct(">BBBIBQ10s")
"""The END payload of an answer that is whole, in msgpack: array of 5, code 5, uint32 step, uint64 t_us, `_WHOLE`."""
_WHOLE = b"\xa8complete\xc0"
"""Its state, and nil for the failure."""
_clock = real.perf_counter_ns
_FLOAT, _LONG = struct.Struct(">Bd"), struct.Struct(">BQ")
"""A number in msgpack: a double, and an integer of 64 bits."""
_HEAD, _READ = int(Code.HEAD), int(Code.READ)
_MAX_INTERNED = 8192
_MAX_DEFERRED = 64
_LOOK_NS = 20_000_000
"""How often the journal looks whether it has been deleted."""


class Writer:
    """One journal file, from its first frame on. All methods may be called from any thread.

    `fsync`: `never` (survives the process), `step` (survives the machine, a step at a time), `end`.
    """

    def __init__(self, path: str, process: dict[str, Any], redactor: Redactor, fsync: str = "never") -> None:
        self.path = path
        self.redactor = redactor
        self.lost_steps = self.lost_frames = 0
        self.loss_reason = ""
        self._fsync = fsync
        self.lock = RLock()  # re-entrant: a signal handler may record a call while we write one
        self._packer = msgpack.Packer(use_bin_type=True, unicode_errors="surrogatepass")
        self._headers = Headers(redactor)
        self._held: dict[bytes, Defined] = {}  # what frames define that are to be written with the next
        self._looked_ns = 0
        self._bodies = Bodies(redactor)
        self._deferred: list[bytes] = []
        self._point_heads: dict[tuple[int, str], bytes] = {}
        self._sites: dict[tuple[str, int, str], int] = {}
        self._reads: dict[tuple[int, str, int, int], tuple[CodeType, bytes, bytes]] = {}
        self._lanes: dict[Lane, bytes] = {}
        self._process = process
        self._base_ns = _clock()
        self._reported = False
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        os.write(self._fd, format.header_bytes())
        self.checked([Code.PROCESS, process])

    def now_us(self, at_ns: int | None = None) -> int:
        """Microseconds since this process's journal began, now or at a `perf_counter_ns`."""
        return ((_clock() if at_ns is None else at_ns) - self._base_ns) // 1000

    def checked(self, elements: list[Any], step: bool = False) -> None:
        """Append a frame whose strings may hold secrets."""
        try:
            payload = self._pack(elements)
            if self.redactor.suspicious_encoding(payload):
                payload = self._pack([elements[0], *self.redactor.deep(elements[1:])])
            self._write(format.frame(payload), step)
        except Exception as error:  # a bug of ours must not become the program's
            self.failed(error, step)

    def clean(self, elements: list[Any], before: bytes = b"") -> None:
        """Append a frame that holds nothing unredacted, behind a frame that was held."""
        try:
            self._emit(elements, False, before)
        except Exception as error:  # as above
            self.failed(error, False)

    def point(self, trace: int, event: str, step: int, number: int, place: tuple[int, int, int]) -> None:
        """Defer a POINT frame of a step."""
        try:
            frame = self.point_frame(trace, event, step, number, place)
            with self.lock:
                self._deferred.append(frame)
                if len(self._deferred) >= _MAX_DEFERRED:
                    self.flush()
        except Exception as error:  # as above
            self.failed(error, False)

    def point_frame(self, trace: int, event: str, step: int, number: int, place: tuple[int, int, int]) -> bytes:
        """A POINT frame of a step: there is one for each chunk of a stream, so it is packed by hand."""
        head = self._point_heads.get((trace, event))
        if head is None:
            text = event.encode()
            head = _POINT_HEAD.pack(0x9B, 13, 0xCE, trace, 0xA0 | len(text)) + text
            if len(self._point_heads) < _MAX_INTERNED:
                self._point_heads[trace, event] = head
        now = (_clock() - self._base_ns) // 1000
        loop, epoch, tick = place
        payload = head + _POINT.pack(
            0xCE, step, 0x90, 0xCE, number, 0xD2, loop, 0xD3, epoch, 0xD3, tick, 0xCF, now, 0xC0
        )
        return _FRAME.pack(len(payload), crc32(payload)) + payload

    def defer(self, elements: list[Any], checked: bool = False) -> None:
        """A frame that is written together with the next one: of no worth by itself if the process is killed first."""
        try:
            payload = self._pack(elements)
            if checked and self.redactor.suspicious_encoding(payload):
                payload = self._pack([elements[0], *self.redactor.deep(elements[1:])])
            with self.lock:
                self._deferred.append(format.frame(payload))
                if len(self._deferred) >= _MAX_DEFERRED:
                    self.flush()
        except Exception as error:  # as above
            self.failed(error, False)

    def remember_read(self, trace: int, kind: str, what: str, frame: FrameType, site: int) -> None:
        """Keep what the READ frames of one place in the program begin and end with, for `read_again`."""
        if len(self._reads) < _MAX_INTERNED:
            begins, ends = self._pack([_READ, trace, kind, what]), self._pack([site])
            # an array of 9 in place of one of 4; the code itself is kept, so that its id is not given to another
            self._reads[trace, what, id(frame.f_code), frame.f_lasti] = (frame.f_code, b"\x99" + begins[1:], ends[1:])

    def read_again(
        self, trace: int, what: str, value: Any, lane: Lane, within: int | str | None, frame: FrameType
    ) -> bool:
        """Defer a READ frame, where that place has read before and nothing of the value can be a secret; else False. A
        program may look at the clock very often."""
        with self.lock:  # whole: what is known now must still hold where it is written
            known = self._reads.get((trace, what, id(frame.f_code), frame.f_lasti))
            if known is None:
                return False
            if type(value) is float:
                number = _FLOAT.pack(0xCB, value)
            elif type(value) is int and 0 <= value < 1 << 64:
                number = _LONG.pack(0xCF, value)
            else:
                number = self._pack([value])[1:]
                if self.redactor.suspicious_encoding(number):
                    return False
            asker = self._lanes.get(lane)
            if asker is None:
                asker = self._pack([lane])[1:]
                if len(self._lanes) < _MAX_INTERNED:
                    self._lanes[lane] = asker
            now = _LONG.pack(0xCF, (_clock() - self._base_ns) // 1000)
            step = b"\xc0" if within is None else self._pack([within])[1:]  # of another process it is a text
            payload = known[1] + number + asker + now + step + known[2]
            self._deferred.append(_FRAME.pack(len(payload), crc32(payload)) + payload)
            if len(self._deferred) >= _MAX_DEFERRED:
                self.flush()
        return True

    def flush(self) -> None:
        """Write the deferred frames now."""
        with self.lock:
            if self._deferred:
                self._write(b"", False)

    def site(self, file: str, line: int, function: str) -> Any:
        """A place in the source as it is written: its number, with its definition the first time.

        Whoever writes it down keeps the lock from here on until then.
        """
        with self.lock:
            key = (file, line, function)
            known = self._sites.get(key)
            if known is not None:
                return known
            number = self._sites[key] = len(self._sites)
            return [number, file, line, function]

    def call(
        self, number: int, elements: list[Any], head: dict[str, Any], body: bytes, encoded: bool, lane: Any
    ) -> None:
        """Append a CALL frame: `elements` up to the head, then head and body, redacted and as a delta."""
        try:
            with self.lock:
                elements.append(self._head(head))
                if encoded or len(body) >= DELTA_MIN:
                    elements.append(self._bodies.written(number, lane, body, encoded))
                else:
                    elements.append(body if self.redactor.trigger(body) is None else self.redactor.content(body))
                self._emit(elements, True)
        except Exception as error:  # as above
            self.failed(error, True)

    def head(self, number: int, head: dict[str, Any]) -> tuple[bytes, int]:
        """A HEAD frame, to be written with what follows at once, and how many bytes the body will have; 0: not known.

        Where the program may see the head long before the first piece, it is written now, and there is no frame.
        """
        try:
            with self.lock:
                now = (_clock() - self._base_ns) // 1000
                defined: Defined = []
                headers, size = self._headers.answered(head["headers"], defined)
                try:
                    payload = self._packer.pack([_HEAD, number, now, {**head, "headers": headers}])
                except BaseException:
                    self._packer.reset()  # as below
                    raise
                frame = _FRAME.pack(len(payload), crc32(payload)) + payload
                if size < 0:
                    self._headers.define(defined)
                    self._write(frame, False)
                    return b"", 0
                if defined:
                    self._held[frame] = defined
            return frame, size
        except Exception as error:  # as above
            self.failed(error, False)
        return b"", 0

    def piece(self, number: int, data: bytes, before: bytes = b"", last: bool = False, point: bytes = b"") -> bool:
        """Append a PIECE frame, behind a frame that was held and its POINT: the one frame a stream writes hundreds of.

        With the last piece of an answer goes the END frame of a complete one. False when it could not be written.
        """
        try:
            now_ns = _clock()
            now = (now_ns - self._base_ns) // 1000
            head = _PIECE.pack(0x94, 4, 0xCE, number, 0xCF, now, 0xC6, len(data))
            frame = before + point + _FRAME.pack(len(head) + len(data), crc32(data, crc32(head))) + head + data
            if last:
                end = _COMPLETE.pack(0x95, 5, 0xCE, number, 0xCF, now, _WHOLE)
                frame += _FRAME.pack(_COMPLETE.size, crc32(end)) + end
            with self.lock:
                if self._deferred:
                    deferred, self._deferred = self._deferred, []
                    frame = b"".join(deferred) + frame
                written = os.write(self._fd, frame)
                if written != len(frame) and not self._finish(frame, written, False):
                    return False
                if self._held:
                    self._headers.define(self._held.pop(before, []))
            if last and (self._fsync == "step" or now_ns - self._looked_ns > _LOOK_NS):
                self.step_ended()
            return True
        except OSError as error:
            self.failed(error, False)
        except Exception as error:  # a bug of ours must not become the program's
            self.failed(error, False)
        return False

    def _emit(self, elements: list[Any], step: bool, before: bytes = b"") -> None:
        """Pack and append a frame, all in one: most of what a call costs is code that the processor has not at hand."""
        with self.lock:
            try:
                payload = self._packer.pack(elements)
            except BaseException:
                self._packer.reset()  # what a failed pack left in its buffer
                raise
            data = before + _FRAME.pack(len(payload), crc32(payload)) + payload
            if self._deferred:
                deferred, self._deferred = self._deferred, []
                data = b"".join(deferred) + data
            try:
                written = os.write(self._fd, data)
            except OSError as error:
                self.failed(error, step)
                return
            if written != len(data) and not self._finish(data, written, step):
                return
            if self._held:
                self._headers.define(self._held.pop(before, []))

    def _pack(self, elements: list[Any]) -> bytes:
        with self.lock:
            try:
                payload: bytes = self._packer.pack(elements)
                return payload
            except BaseException:
                self._packer.reset()  # what a failed pack left in its buffer
                raise

    def _write(self, data: bytes, step: bool) -> None:
        """Write frames behind those that were deferred. None of them was held: those go through `piece` and `_emit`,
        which do the same and then define what the held frame defines. They do it themselves: to call this costs each
        of them 3 to 5 % more, and there are hundreds of pieces in a stream."""
        with self.lock:
            if self._deferred:
                deferred, self._deferred = self._deferred, []
                data = b"".join(deferred) + data
            try:
                written = os.write(self._fd, data)
            except OSError as error:
                self.failed(error, step)
                return
            if written != len(data):
                self._finish(data, written, step)

    def _finish(self, data: bytes, written: int, step: bool) -> bool:
        """The disk took a part of a frame: write the rest, or take the part back."""
        try:
            os.write(self._fd, data[written:])
        except OSError as error:
            end = os.lseek(self._fd, 0, os.SEEK_CUR) - written
            os.ftruncate(self._fd, end)
            os.lseek(self._fd, end, os.SEEK_SET)
            self.failed(error, step)
            return False
        return True

    def failed(self, error: Exception, step: bool) -> None:
        """Count what was not written for an error in our code. Raises that again where it is the program's: a limit
        of its own that ran out in here."""
        reason = error.strerror or str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
        if interruptions.is_one(error):
            self.lose(f"the program was interrupted by its own {type(error).__name__} in the middle of it", step)
            raise error
        self.lose(reason, step)

    def lose(self, reason: str, step: bool) -> None:
        """Count something that was not written; tell the user once, and the file each time."""
        if self._fd < 0:  # an answer that was dropped is collected when the journal has been closed
            return
        self.forget()
        self.lost_frames += 1
        self.lost_steps += step
        self.loss_reason = self.loss_reason or reason
        try:
            os.pwrite(
                self._fd, format.loss_bytes(self.lost_steps, self.lost_frames, self.loss_reason), format.LOSS_OFFSET
            )
        except OSError:
            pass  # the file is gone altogether; stderr is what is left
        if not self._reported:
            self._reported = True
            complain(
                f"recording is incomplete: {reason} ({self.path}). The program goes on; "
                "free space or set RASHOMON_HOME."
            )

    def forget(self) -> None:
        """What later frames would refer to may not be on the disk: they define it again."""
        self._headers.forget()
        self._held.clear()
        self._sites.clear()
        self._reads.clear()
        self._bodies.forget()

    def step_ended(self) -> None:
        """A step is whole: make it durable as configured, and see now and then that the file has a name."""
        try:
            now = _clock()
            if now - self._looked_ns > _LOOK_NS:
                self._looked_ns = now
                if os.fstat(self._fd).st_nlink == 0:
                    self._rescue()
            if self._fsync == "step":
                os.fsync(self._fd)
        except OSError as error:
            self.failed(error, False)

    def _rescue(self) -> None:
        """The journal was deleted: write what the open file still holds under its old name."""
        with self.lock:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
            offset = 0
            while chunk := os.pread(self._fd, 1 << 20, offset):
                os.write(fd, chunk)
                offset += len(chunk)
            os.close(self._fd)
            self._fd = fd
        if not self._reported and self._process.get("role") != "launcher":  # the program's own has said it
            self._reported = True
            complain(f"{self.path} was deleted while it was written; it has been written again.")

    def close(self) -> None:
        """The process ends in an orderly way."""
        self.clean([Code.CLOSE, self.now_us()])
        self._looked_ns = 0
        try:
            self.step_ended()
            if self._fsync == "end":
                os.fsync(self._fd)
        except OSError:
            pass  # nothing more can be done at the end of a process
        self.abandon()

    def abandon(self) -> None:
        """After a fork, in the child: the file belongs to the parent.

        What was under way there may still tell this writer its end. The number of the closed file will be another
        file's soon, so nothing takes its place that could be written to.
        """
        try:
            nothing = os.open(os.devnull, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
            os.dup2(nothing, self._fd, inheritable=False)
            os.close(nothing)
        except OSError:
            pass  # already closed by the program itself

    def _head(self, head: dict[str, Any]) -> dict[str, Any]:
        """The head of a request as it is written."""
        if "url" in head:
            head = {**head, "url": self.redactor.url(head["url"])}
        elif "server" in head:
            head = {**head, "server": self.redactor.url(head["server"])}
        headers = head.get("headers")
        if headers is None:
            return head
        defined: Defined = []
        head = {**head, "headers": self._headers.written(headers, defined)}
        self._headers.define(defined)
        return head
