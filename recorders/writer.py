"""Writes one process's journal. Never raises into the program, whatever the disk does.

Every frame is one `write(2)`: what was written survives `kill -9`, because the kernel has it. Frames
that cannot be written are counted in the file's header, in place, which needs no space on a full disk.
A journal that was deleted under the program is written anew from the still open file.
"""

from __future__ import annotations

import os
import struct
from collections import deque
from threading import RLock
from typing import Any
from zlib import crc32

import msgpack

from rashomon import journal as format
from rashomon import real
from rashomon.journal import BASE_WINDOW, DELTA_MIN, Code
from rashomon.recorders.complaints import complain
from rashomon.redaction import Redactor

_FRAME = struct.Struct("<II")
_PIECE = struct.Struct(">BBBIBQBI")
"""A PIECE payload up to its bytes, in msgpack: array of 4, code 4, uint32 step, uint64 t_us, bin32 length."""
_POINT = struct.Struct(">BIBBIBiBqBqBQB")
"""A POINT payload behind its event, in msgpack: uint32 step, empty array, uint32 number, int32 loop, int64 epoch and
tick, uint64 t_us, nil."""
_POINT_HEAD = struct.Struct(">BBBIB")
"""The same up to the text of its event: array of 11, code 13, uint32 trace, and the short text's length."""
_END = struct.Struct(">BBBIBQ")
"""An END payload up to its state, in msgpack: array of 5, code 5, uint32 step, uint64 t_us."""
_COMPLETE = b"\xa8complete\xc0"
"""The rest of it for an answer that is whole: its state, and nil for the failure."""
_BASE_BYTES = 64 << 20
_NEAR = 512
"""How far into the unchanged parts of a body a changed stretch is searched for secrets that begin or end there."""
_MAX_INTERNED = 8192
_MAX_DEFERRED = 64
_MAX_VALUES = 32
"""So many values of one header are remembered; it is one that varies."""
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
        self._lock = RLock()  # re-entrant: a signal handler may record a call while we write one
        self._packer = msgpack.Packer(use_bin_type=True, unicode_errors="surrogatepass")
        self._interned: dict[tuple[Any, Any], int] = {}
        self._header_values: dict[Any, int] = {}
        self._looked_ns = 0
        self._bases: dict[int, bytes] = {}
        self._numbered: deque[int] = deque(maxlen=BASE_WINDOW)
        self._by_key: dict[Any, int] = {}
        self._deferred: list[bytes] = []
        self._point_heads: dict[tuple[int, str], bytes] = {}
        self._sites: dict[tuple[str, int, str], int] = {}
        self._process = process
        self._base_ns = real.perf_counter_ns()
        self._reported = False
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        os.write(self._fd, format.header_bytes())
        self.checked([Code.PROCESS, process])

    def now_us(self, at_ns: int | None = None) -> int:
        """Microseconds since this process's journal began, now or at a `perf_counter_ns`."""
        return ((real.perf_counter_ns() if at_ns is None else at_ns) - self._base_ns) // 1000

    def checked(self, elements: list[Any], step: bool = False) -> None:
        """Append a frame whose strings may hold secrets."""
        try:
            payload = self._pack(elements)
            if self.redactor.suspicious_encoding(payload):
                payload = self._pack([elements[0], *self.redactor.deep(elements[1:])])
            self._append(payload, step)
        except Exception as error:  # a bug of ours must not become the program's
            self.lose(f"{type(error).__name__}: {error}", step)

    def clean(self, elements: list[Any], before: bytes = b"") -> None:
        """Append a frame that holds nothing unredacted, behind a frame that was held."""
        try:
            self._emit(elements, False, before)
        except Exception as error:  # as above
            self.lose(f"{type(error).__name__}: {error}", False)

    def point(self, trace: int, event: str, step: int, number: int, place: tuple[int, int, int]) -> None:
        """Defer a POINT frame of a step: there is one for each chunk of a stream, so it is packed by hand."""
        try:
            head = self._point_heads.get((trace, event))
            if head is None:
                text = event.encode()
                head = _POINT_HEAD.pack(0x9B, 13, 0xCE, trace, 0xA0 | len(text)) + text
                if len(self._point_heads) < _MAX_INTERNED:
                    self._point_heads[trace, event] = head
            now = (real.perf_counter_ns() - self._base_ns) // 1000
            loop, epoch, tick = place
            payload = head + _POINT.pack(
                0xCE, step, 0x90, 0xCE, number, 0xD2, loop, 0xD3, epoch, 0xD3, tick, 0xCF, now, 0xC0
            )
            with self._lock:
                self._deferred.append(_FRAME.pack(len(payload), crc32(payload)) + payload)
                if len(self._deferred) >= _MAX_DEFERRED:
                    self.flush()
        except Exception as error:  # as above
            self.lose(f"{type(error).__name__}: {error}", False)

    def defer(self, elements: list[Any], checked: bool = False) -> None:
        """A frame that is written together with the next one: of no worth by itself if the process is killed first."""
        try:
            payload = self._pack(elements)
            if checked and self.redactor.suspicious_encoding(payload):
                payload = self._pack([elements[0], *self.redactor.deep(elements[1:])])
            with self._lock:
                self._deferred.append(format.frame(payload))
                if len(self._deferred) >= _MAX_DEFERRED:
                    self.flush()
        except Exception as error:  # as above
            self.lose(f"{type(error).__name__}: {error}", False)

    def flush(self) -> None:
        """Write the deferred frames now."""
        with self._lock:
            if self._deferred:
                self._write(b"", False)

    def site(self, file: str, line: int, function: str) -> Any:
        """A place in the source as it is written: its number, with its definition the first time."""
        with self._lock:
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
            with self._lock:
                elements.append(self._head(head))
                if encoded or len(body) >= DELTA_MIN:
                    elements.append(self._body(number, lane, body, encoded))
                else:
                    elements.append(body if self.redactor.trigger(body) is None else self.redactor.content(body))
                self._emit(elements, True)
        except Exception as error:  # as above
            self.lose(f"{type(error).__name__}: {error}", True)

    def head(self, number: int, head: dict[str, Any], hold: bool) -> bytes:
        """Append a HEAD frame, or return it, to be written with what follows at once."""
        try:
            with self._lock:
                elements = [Code.HEAD, number, (real.perf_counter_ns() - self._base_ns) // 1000, self._head(head)]
                if not hold:
                    self._emit(elements, False)
                    return b""
                payload = self._pack(elements)
                return _FRAME.pack(len(payload), crc32(payload)) + payload
        except Exception as error:  # as above
            self.lose(f"{type(error).__name__}: {error}", False)
        return b""

    def piece(self, number: int, data: bytes, before: bytes = b"", last: bool = False) -> bool:
        """Append a PIECE frame, behind a frame that was held: the one frame a stream writes hundreds of.

        With the last piece of an answer goes the END frame of a complete one. False when it could not be written.
        """
        try:
            now = (real.perf_counter_ns() - self._base_ns) // 1000
            head = _PIECE.pack(0x94, 4, 0xCE, number, 0xCF, now, 0xC6, len(data))
            frame = before + _FRAME.pack(len(head) + len(data), crc32(data, crc32(head))) + head + data
            if last:
                end = _END.pack(0x95, 5, 0xCE, number, 0xCF, now) + _COMPLETE
                frame += _FRAME.pack(len(end), crc32(end)) + end
            with self._lock:
                if self._deferred:
                    deferred, self._deferred = self._deferred, []
                    frame = b"".join(deferred) + frame
                written = os.write(self._fd, frame)
                if written != len(frame):
                    return self._finish(frame, written, False)
            return True
        except OSError as error:
            self.lose(error.strerror or str(error), False)
        except Exception as error:  # a bug of ours must not become the program's
            self.lose(f"{type(error).__name__}: {error}", False)
        return False

    def _emit(self, elements: list[Any], step: bool, before: bytes = b"") -> None:
        """Pack and append a frame, all in one: most of what a call costs is code that the processor has not at hand."""
        with self._lock:
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
                self.lose(error.strerror or str(error), step)
                return
            if written != len(data):
                self._finish(data, written, step)

    def _pack(self, elements: list[Any]) -> bytes:
        with self._lock:
            try:
                payload: bytes = self._packer.pack(elements)
                return payload
            except BaseException:
                self._packer.reset()  # what a failed pack left in its buffer
                raise

    def _append(self, payload: bytes, step: bool, before: bytes = b"") -> None:
        self._write(before + format.frame(payload), step)

    def _write(self, data: bytes, step: bool) -> None:
        with self._lock:
            if self._deferred:
                deferred, self._deferred = self._deferred, []
                data = b"".join(deferred) + data
            try:
                written = os.write(self._fd, data)
            except OSError as error:
                self.lose(error.strerror or str(error), step)
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
            self.lose(error.strerror or str(error), step)
            return False
        return True

    def lose(self, reason: str, step: bool) -> None:
        """Count something that was not written; tell the user once, and the file each time."""
        if self._fd < 0:  # an answer that was dropped is collected when the journal has been closed
            return
        # what later frames would refer to may not be on the disk: they define it again
        self._interned.clear()
        self._sites.clear()
        self._bases.clear()
        self._by_key.clear()
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

    def step_ended(self) -> None:
        """A step is whole: make it durable as configured, and see now and then that the file has a name."""
        try:
            now = real.perf_counter_ns()
            if now - self._looked_ns > _LOOK_NS:
                self._looked_ns = now
                if os.fstat(self._fd).st_nlink == 0:
                    self._rescue()
            if self._fsync == "step":
                os.fsync(self._fd)
        except OSError as error:
            self.lose(error.strerror or str(error), False)

    def _rescue(self) -> None:
        """The journal was deleted: write what the open file still holds under its old name."""
        with self._lock:
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
        """A head as it is written: headers that the journal has defined are their numbers."""
        headers = head.get("headers")
        if "url" in head:
            head = {**head, "url": self.redactor.url(head["url"])}
        if headers is None:
            return head
        if headers and type(headers[0]) is not tuple:
            headers = [(pair[0], pair[1]) for pair in headers]
        out = list(map(self._interned.get, headers))
        if None in out:
            new = [place for place, known in enumerate(out) if known is None]
            for place in new:
                out[place] = headers[place]
            self._define(out, new)
        return {**head, "headers": out}

    def _define(self, out: list[Any], new: list[int]) -> None:
        """Put definitions in the places of headers that the journal has not seen yet."""
        redactor, interned, seen = self.redactor, self._interned, self._header_values
        raw = type(out[new[0]][0]) is bytes
        secret = redactor.is_secret
        plain = [out[place][1] for place in new if raw and not secret(out[place][0])]
        clean = raw and not redactor.suspicious(b"\n".join(plain))
        for place in new:
            key = out[place]
            name, value = key
            hidden = secret(name)
            count = seen.get(name, 0)
            number = None
            if count < _MAX_VALUES and len(interned) < _MAX_INTERNED:  # request ids and dates never come again
                seen[name] = count + 1
                number = interned[key] = len(interned)
            if raw:
                name, value = name.decode("latin-1"), value.decode("latin-1")
            if hidden or not clean:
                value = redactor.header(name, value)
            out[place] = (number, name, value)

    def _body(self, number: int, lane: Any, body: bytes, encoded: bool) -> Any:
        """The body to write: whole, or as a delta against a recent one, secrets replaced either way."""
        redactor = self.redactor
        if encoded:
            return self._remember(number, None, redactor.encoded(body))
        keys = (("lane", lane), body[:64], body[:DELTA_MIN])
        best = self._best_base(keys, body)
        if best is None:
            return self._remember(number, keys, redactor.content(body))
        base_number, base, prefix = best
        suffix = format.common_suffix(base, body, min(len(base), len(body)) - prefix)
        changed = body[max(0, prefix - _NEAR) : len(body) - suffix + _NEAR]
        if redactor.suspicious(changed) and redactor.content(changed) != changed:
            body = redactor.content(body)
            prefix = format.common_prefix(base, body)
            suffix = format.common_suffix(base, body, min(len(base), len(body)) - prefix)
        self._remember(number, keys, body)
        if prefix + suffix < len(body) // 4:
            return body
        return [base_number, prefix, suffix, body[prefix : len(body) - suffix]]

    def _best_base(self, keys: tuple[Any, ...], body: bytes) -> tuple[int, bytes, int] | None:
        best: tuple[int, bytes, int] | None = None
        seen = set()
        for key in keys:
            number = self._by_key.get(key)
            base = None if number is None else self._bases.get(number)
            if number is None or base is None or number in seen:
                continue
            seen.add(number)
            prefix = format.common_prefix(base, body)
            if best is None or prefix > best[2]:
                best = (number, base, prefix)
            if prefix > len(base) // 2:
                break
        return best

    def _remember(self, number: int, keys: tuple[Any, ...] | None, body: bytes) -> bytes:
        """Keep a body as a base for later ones, as long as the reader does; only the last of each conversation."""
        if len(body) < DELTA_MIN:
            return body
        self._numbered.append(number)
        if keys is None:
            return body
        for key in keys:
            self._by_key[key] = number
        bases = self._bases
        bases[number] = body
        oldest = self._numbered[0]
        wanted = set(self._by_key.values())
        for known in [known for known in bases if known not in wanted or known < oldest]:
            del bases[known]
        if len(self._by_key) > 4 * BASE_WINDOW or sum(map(len, bases.values())) > _BASE_BYTES:
            self._by_key = {key: known for key, known in self._by_key.items() if known == number}
        return body
