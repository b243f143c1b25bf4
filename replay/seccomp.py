"""Lets another process of Linux decide about system calls of this one: seccomp's user notification.

A filter is put on before a program begins and holds for all that it starts. A call that it names waits in the kernel
until whoever holds the filter's listener has said that it may go on, or which error it has. The structures and numbers
are those of `linux/seccomp.h`, `linux/filter.h` and https://man7.org/linux/man-pages/man2/seccomp_unotify.2.html.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import socket
import struct
import sys
from typing import NamedTuple


class Numbers(NamedTuple):
    """System calls of one architecture, and its name for the kernel."""

    arch: int
    seccomp: int
    connect: int
    bind: int
    listen: int
    sendto: int
    sendmsg: int
    sendmmsg: int


_ARCHITECTURES = {
    "x86_64": Numbers(0xC000003E, 317, 42, 49, 50, 44, 46, 307),
    "aarch64": Numbers(0xC00000B7, 277, 203, 200, 201, 206, 211, 269),
}
_IO_URING_SETUP = 425
_X32 = 0x40000000

_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_SPEC_ALLOW, _NEW_LISTENER, _WAIT_KILLABLE = 1 << 2, 1 << 3, 1 << 5
_ALLOW, _ERRNO, _USER_NOTIF = 0x7FFF0000, 0x00050000, 0x7FC00000
_PR_SET_NO_NEW_PRIVS = 38
_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_CONTINUE = 1

_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NR, _ARCH, _ARGUMENTS = 0, 4, 16

HANDING_OVER = socket.MSG_DONTROUTE | getattr(socket, "MSG_CONFIRM", 0x800) | getattr(socket, "MSG_NOSIGNAL", 0x4000)
"""The flags of the one `sendmsg` that the filter lets pass: the listener itself is handed over by it."""


class Notification(NamedTuple):
    """A system call that waits: by which thread, which one, and its arguments."""

    number: int
    thread: int
    call: str
    arguments: tuple[int, ...]


def numbers() -> Numbers | None:
    """The numbers of this machine's system calls; None where there is no filter for it, or the kernel offers none."""
    if not sys.platform.startswith("linux") or sys.byteorder != "little" or struct.calcsize("P") != 8:
        return None
    found = _ARCHITECTURES.get(platform.machine())
    if found is None or _traces_nobody():
        return None
    action = ctypes.c_uint32(_USER_NOTIF)
    offered = _libc().syscall(found.seccomp, _GET_ACTION_AVAIL, 0, ctypes.byref(action)) == 0
    return found if offered else None


def _traces_nobody() -> bool:
    """Whether Yama keeps this process from the memory of its own children (`kernel/yama/ptrace_scope`)."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope", encoding="ascii") as file:
            return int(file.read()) > (2 if os.geteuid() == 0 else 1)
    except (OSError, ValueError):
        return False


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


class Filter:
    """What is to be asked about: connections, datagrams with an address, and what is listened to.

    `install` is called in the process that it is for, between its fork and its program.
    """

    def __init__(self, known: Numbers) -> None:
        self._libc = _libc()
        self._seccomp = known.seccomp
        code = _program(known)
        self._code = ctypes.create_string_buffer(code, len(code))
        self._program = ctypes.create_string_buffer(
            struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(self._code))
        )

    def install(self) -> int:
        """Put the filter on. Returns the descriptor of its listener, or -1 where the kernel will not have it."""
        listener = self._set()
        if listener < 0 and ctypes.get_errno() == errno.EACCES:  # nobody privileged
            self._libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            listener = self._set()
        return listener

    def _set(self) -> int:
        always = _NEW_LISTENER | _SPEC_ALLOW  # the program's speed stays as it is: this is no sandbox
        for flags in (always | _WAIT_KILLABLE, always):
            listener = int(self._libc.syscall(self._seccomp, _SET_MODE_FILTER, flags, self._program))
            if listener >= 0:
                return listener
        return -1


def _program(known: Numbers) -> bytes:
    """The filter's instructions. Programs of another architecture (of 32 bits) are not asked about."""
    asked = (known.connect, known.bind, known.listen, known.sendmmsg)
    lines: list[tuple[int, str, str, int]] = [
        (_LOAD, "", "", _ARCH),
        (_JUMP_EQUAL, "", "allow", known.arch),
        (_LOAD, "", "", _NR),
        (_JUMP_AT_LEAST, "missing", "", _X32),
        (_JUMP_EQUAL, "missing", "", _IO_URING_SETUP),  # its connections would pass beside the filter
        *((_JUMP_EQUAL, "ask", "", number) for number in asked),
        (_JUMP_EQUAL, "message", "", known.sendmsg),
        (_JUMP_EQUAL, "", "allow", known.sendto),
        (_LOAD, "", "", _ARGUMENTS + 8 * 4),  # the address, its lower half and its upper
        (_JUMP_EQUAL, "", "ask", 0),
        (_LOAD, "", "", _ARGUMENTS + 8 * 4 + 4),
        (_JUMP_EQUAL, "allow", "ask", 0),
    ]
    labels = {"message": len(lines), "ask": len(lines) + 2, "missing": len(lines) + 3, "allow": len(lines) + 4}
    lines += [
        (_LOAD, "", "", _ARGUMENTS + 8 * 2),
        (_JUMP_EQUAL, "allow", "ask", HANDING_OVER),
        (_RETURN, "", "", _USER_NOTIF),
        (_RETURN, "", "", _ERRNO | errno.ENOSYS),
        (_RETURN, "", "", _ALLOW),
    ]

    def jump(at: int, label: str) -> int:
        return labels[label] - at - 1 if label else 0

    return b"".join(
        struct.pack("HBBI", code, jump(at, true), jump(at, false), value)
        for at, (code, true, false, value) in enumerate(lines)
    )


class Listener:
    """The other end of a filter. Closed, it lets every call that is asked about fail (`ENOSYS`)."""

    def __init__(self, descriptor: int, known: Numbers) -> None:
        self._descriptor = descriptor
        self._names = {getattr(known, name): name for name in known._fields if name not in ("arch", "seccomp")}

    def fileno(self) -> int:
        """The descriptor, to wait for."""
        return self._descriptor

    def receive(self) -> Notification:
        """The next call that waits. Raises `OSError` where its thread has been killed meanwhile."""
        buffer = bytearray(80)
        fcntl.ioctl(self._descriptor, _RECEIVE, buffer)
        number, thread, _flags, call, _arch, _place, *arguments = struct.unpack("QIIiIQ6Q", buffer)
        return Notification(number, thread, self._names.get(call, ""), tuple(arguments))

    def is_waiting(self, one: Notification) -> bool:
        """Whether the call waits still, so that what was read of its process was its own."""
        try:
            fcntl.ioctl(self._descriptor, _IS_VALID, struct.pack("Q", one.number))
        except OSError:
            return False
        return True

    def answer(self, one: Notification, error: int) -> None:
        """Let the call go on, or fail with this `errno`."""
        response = struct.pack("QqiI", one.number, 0, -error, 0 if error else _CONTINUE)
        try:
            fcntl.ioctl(self._descriptor, _SEND, response)
        except OSError:  # it was killed meanwhile
            pass

    def close(self) -> None:
        """Answer no more."""
        os.close(self._descriptor)
