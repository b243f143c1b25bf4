"""Holds a replayed program to its policy by the kernel: what C code connects, too, and programs that are no Python.

The launcher decides. Each connection, and each datagram with an address, that the program or anything it has started
is about to make waits for it (`rashomon.replay.seccomp`); what the policy does not allow fails with "permission
denied" and is noted. Connections among the processes of the replay are their own: who listens is noted, too. It is
there where Linux offers it to this process, and `Wall.stands` tells; otherwise the audit events stand alone.
"""

from __future__ import annotations

import array
import errno
import os
import select
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from rashomon.replay import seccomp
from rashomon.replay.live import ANNOUNCED
from rashomon.replay.policy import UNREAD, Policy

_MAX_NOTED = 100
_NAME_SERVICE = 53
_PATIENCE = 2.0
"""Seconds for an answer that is being found when the program has ended: a resolver may be slow."""
_MESSAGES = 1024
"""Of one `sendmmsg` the kernel sends no more (`UIO_MAXIOV`)."""
_MESSAGE_HEADER, _MESSAGE_STEP = struct.Struct("QI"), 64
_LISTENING = "0A"
_ABSENT = ("/run/nscd/", "/run/systemd/", "/run/dbus/", "/run/nvidia-persistenced/", "/dev/log")
"""Daemons of the machine that libraries ask by themselves, and do without: for a replay they are not there."""
_ACCOUNTS = ("/run/systemd/userdb/", "/lib/sss/pipes/", "/run/nslcd/", "/run/samba/winbindd/", "/run/winbindd/")
"""Those that know the machine's users, without which a program does not know its own."""


class Refused(NamedTuple):
    """What was not let through: the peer as `host:port`, `unix:path` or `dns:server`; the command's name, empty for the
    replayed program itself."""

    peer: str
    program: str


class _Whose(Enum):
    """Whose socket it is that takes what comes to a port."""

    REPLAYS, OTHERS, NOBODYS = range(3)


class Wall:
    """Stands around one launched program. `prepare` runs in the child, all else in the launcher."""

    def __init__(self, policy: Policy, known: seccomp.Numbers) -> None:
        self._policy, self._known = policy, known
        self._filter = seccomp.Filter(known)
        self._thread: threading.Thread | None = None
        self._listener: seccomp.Listener | None = None
        self._root = 0
        self._bound: set[str] = set()
        self._sockets: set[str] = set()
        """Those that were bound or listened to, as `socket:[inode]`."""
        self._live: set[str] = set()
        self.refused: dict[Refused, None] = {}

    @property
    def stands(self) -> bool:
        """Whether the program runs behind it."""
        return self._listener is not None

    def open(self) -> None:
        """Before the fork: make what its two sides speak by."""
        self._ours, self._theirs = socket.socketpair()
        self._wake, self._woken = os.pipe()

    def prepare(self) -> None:
        """In the child, between fork and exec: put the filter on and hand its listener to the launcher."""
        listener = self._filter.install()
        given = [] if listener < 0 else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))]
        self._theirs.sendmsg([b"."], given, seccomp.HANDING_OVER)

    def serve(self, child: int) -> None:
        """Begin to decide, in a thread of its own, for the child of this number."""
        self._root = child
        self._ours.setblocking(False)
        try:
            _, given, _, _ = self._ours.recvmsg(1, socket.CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:  # it did not come so far
            return
        for _, _, data in given:
            self._listener = seccomp.Listener(int.from_bytes(data[:4], "little"), self._known)
            self._thread = threading.Thread(target=self._decide, name="rashomon wall", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Let nothing through any more: what the program has left running stays inside."""
        os.close(self._woken)
        if self._thread is not None:
            self._thread.join(_PATIENCE)
        os.close(self._wake)
        self._ours.close()
        self._theirs.close()

    def _decide(self) -> None:
        listener = self._listener
        assert listener is not None
        waiting = select.poll()
        waiting.register(listener, select.POLLIN)
        waiting.register(self._wake, select.POLLIN)
        try:
            while True:
                events = dict(waiting.poll())
                if self._wake in events or not events[listener.fileno()] & select.POLLIN:
                    return  # nobody is behind it any more
                try:
                    one = listener.receive()
                except OSError:
                    continue
                listener.answer(one, self._error(listener, one))
        finally:
            listener.close()

    def _error(self, listener: seccomp.Listener, one: seccomp.Notification) -> int:
        """The `errno` of a call that waits; 0: it may go on."""
        taken = one.call in ("bind", "listen")
        try:
            addresses = _addresses(one)
            if not listener.is_waiting(one):
                return 0
            if taken:
                self._take(one, addresses)
                return 0
            return next((error for address in addresses if (error := self._judge(one, address))), 0)
        except Exception:  # gone meanwhile; or a process that may not be looked at, and so not be let out
            if not taken and listener.is_waiting(one):
                self._note(UNREAD, "")
            return 0 if taken else errno.EACCES

    def _take(self, one: seccomp.Notification, addresses: list[bytes]) -> None:
        """A socket becomes one of the replay's own."""
        self._sockets.add(os.readlink(_descriptor(one)))
        self._bound.update(_unix_path(one, address) for address in addresses if address[:2] == _UNIX)

    def _judge(self, one: seccomp.Notification, address: bytes) -> int:
        if address[:2] == _UNIX:
            return self._judge_unix(one, _unix_path(one, address))
        peer = _internet(address)
        if peer is None:
            return 0
        host, port = peer
        local = host == "::1" or host.startswith("127.")
        if port == _NAME_SERVICE:
            if self._live or self._policy.may_look_up():
                return 0
            return self._refuse(one, f"dns:{host}", errno.ECONNREFUSED)
        if f"{host}:{port}" in self._live or self._policy.may_connect(f"{host}:{port}"):
            return 0
        if local:
            protocol = os.getxattr(_descriptor(one), "system.sockprotoname").decode("ascii", "replace")[:3].lower()
            if protocol == "udp":  # answered without ever having been bound
                self._take(one, [])
            whose = self._whose(one, protocol, host, port)
            if whose is _Whose.REPLAYS:
                return 0
            if whose is _Whose.NOBODYS:  # as the kernel would say; who connects before a server is there tries again
                return errno.ECONNREFUSED
            if protocol == "udp" and one.call == "connect":
                return errno.EACCES  # by this a look-up puts `localhost`'s addresses in order, and sends nothing
        return self._refuse(one, f"{host}:{port}", errno.EACCES)

    def _judge_unix(self, one: seccomp.Notification, path: str) -> int:
        if path.startswith(ANNOUNCED):
            self._live.update(_resolved(path.removeprefix(ANNOUNCED)))
            return errno.ECONNREFUSED
        if not path or path in self._bound or self._policy.may_connect(f"unix:{path}"):
            return 0
        place = path.removeprefix("/var")
        if place.startswith((*_ACCOUNTS, *_ABSENT)):
            return 0 if place.startswith(_ACCOUNTS) else errno.ENOENT
        return self._refuse(one, f"unix:{path}", errno.EACCES)

    def _whose(self, one: seccomp.Notification, protocol: str, host: str, port: int) -> _Whose:
        """Who takes what comes to a port of this machine: the sockets of that address, else those of all addresses."""
        found = list(_listeners(one.thread, protocol, port))
        taking = [inode for place, inode in found if place == host] or [
            inode for place, inode in found if place in _ANYWHERE
        ]
        if not taking:
            return _Whose.NOBODYS
        ours = all(f"socket:[{inode}]" in self._sockets for inode in taking)
        return _Whose.REPLAYS if ours else _Whose.OTHERS

    def _refuse(self, one: seccomp.Notification, peer: str, error: int) -> int:
        """Note it, and the error; 0 where the command that tried, or one it was started by, was allowed to run."""
        process, program = _process(one.thread), ""
        while process not in (0, 1, self._root):
            words = _words(process)
            if self._policy.is_allowed(words) or self._policy.is_allowed(words[1:]):  # `/bin/sh ./it`: a script's
                return 0
            program = program or os.path.basename(words[0] if words else "a subprocess")
            process = _parent(process)
        self._note(peer, program)
        return error

    def _note(self, peer: str, program: str) -> None:
        if len(self.refused) < _MAX_NOTED:
            self.refused[Refused(peer, program)] = None


def wall_for(policy: Policy) -> Wall | None:
    """A wall for a program that this policy is for; None where there can be none, or it would keep nothing out."""
    if policy.may_reach_all:
        return None
    known = seccomp.numbers()
    return None if known is None else Wall(policy, known)


_UNIX = struct.pack("H", socket.AF_UNIX)
_INET, _INET6, _VSOCK = socket.AF_INET, socket.AF_INET6, 40
_MAPPED = b"\0" * 10 + b"\xff\xff"
_LEAST = {_INET: 16, _INET6: 24, _VSOCK: 16}


def _internet(address: bytes) -> tuple[str, int] | None:
    """Host and port of a `sockaddr`; None where it leads nowhere outside: another kind, or none (a socket let go)."""
    family = int.from_bytes(address[:2], "little")
    if len(address) < _LEAST.get(family, 0):  # which the kernel refuses by itself
        return None
    port = int.from_bytes(address[2:4], "big")
    if family in (_INET, _INET6):
        return _reachable(_named(address[4:8] if family == _INET else address[8:24])), port
    if family == _VSOCK:
        return f"vsock {int.from_bytes(address[8:12], 'little')}", int.from_bytes(address[4:8], "little")
    return None


def _resolved(peer: str) -> list[str]:
    """A peer that a live call goes to, and `host:port` of each address where it is a name."""
    host, _, port = peer.rpartition(":")
    if host == "dns":
        return [peer]
    try:
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
    except (OSError, ValueError):
        return [peer]
    return [peer, *(f"{entry[4][0]}:{port}" for entry in found)]


def _reachable(host: str) -> str:
    """No address at all is this machine's."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _addresses(one: seccomp.Notification) -> list[bytes]:
    """The addresses that a call names, as the kernel would read them. Raises `OSError`."""
    with open(f"/proc/{one.thread}/mem", "rb", buffering=0) as memory:

        def read(place: int, length: int) -> bytes:
            return os.pread(memory.fileno(), length, place)

        if one.call == "listen":
            return []
        if one.call in ("connect", "bind", "sendto"):
            at = 4 if one.call == "sendto" else 1
            return [read(one.arguments[at], min(one.arguments[at + 1] & 0xFFFFFFFF, 128))]
        count = 1 if one.call == "sendmsg" else one.arguments[2] & 0xFFFFFFFF
        found = []
        for number in range(min(count, _MESSAGES)):
            header = read(one.arguments[1] + _MESSAGE_STEP * number, _MESSAGE_HEADER.size)
            place, length = _MESSAGE_HEADER.unpack(header)
            if place:
                found.append(read(place, min(length, 128)))
        return found


def _unix_path(one: seccomp.Notification, address: bytes) -> str:
    """The path of a Unix socket, absolute; `@name` where it is none of a file, empty for one without a name."""
    name = address[2:]
    if name.startswith(b"\0"):
        return "@" + os.fsdecode(name[1:])
    path = os.fsdecode(name.partition(b"\0")[0])
    return os.path.realpath(os.path.join(os.readlink(f"/proc/{one.thread}/cwd"), path)) if path else ""


def _descriptor(one: seccomp.Notification) -> str:
    """The file that stands for the socket of a call."""
    return f"/proc/{one.thread}/fd/{one.arguments[0] & 0x7FFFFFFF}"


_ANYWHERE = ("0.0.0.0", "::")


def _listeners(thread: int, protocol: str, port: int) -> Iterator[tuple[str, str]]:
    """The sockets that take what comes to a port, in the thread's own network (`proc_pid_net(5)`): their address and
    inode."""
    ending = f":{port:04X}"
    for table in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/{thread}/net/{table}", encoding="ascii") as file:
                next(file, None)
                for line in file:
                    _, local, _, state, *more = line.split()
                    if state != _LISTENING and protocol == "tcp":  # thousands of others may follow: those come first
                        break
                    if local.endswith(ending):
                        yield _host(local.removesuffix(ending)), more[5]
        except FileNotFoundError:  # a machine without IPv6, or another protocol
            continue


def _host(digits: str) -> str:
    """An address as the kernel's tables write it: words of 32 bits in the machine's own order."""
    words = (int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8))
    return _named(b"".join(words))


def _named(address: bytes) -> str:
    """The 4 or 16 bytes of an address as text; one of IPv4 that IPv6 maps is one of IPv4 (RFC 4291, 2.5.5.2)."""
    if len(address) == 16 and not address.startswith(_MAPPED):
        return socket.inet_ntop(_INET6, address)
    return socket.inet_ntop(_INET, address[-4:])


def _process(thread: int) -> int:
    with open(f"/proc/{thread}/status", encoding="ascii", errors="replace") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Tgid:"))


def _parent(process: int) -> int:
    try:
        with open(f"/proc/{process}/stat", encoding="ascii", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _words(process: int) -> list[str]:
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return []
