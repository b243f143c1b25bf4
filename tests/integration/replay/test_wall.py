"""The kernel's part of a replay's isolation: what C code connects, and what programs do that are no Python."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from rashomon.model import Tape, Trace
from rashomon.replay import seccomp
from rashomon.replay.policy import UNREAD, Policy, kept_in
from rashomon.replay.wall import Wall
from rashomon.testing import ProviderServer
from tests.support import environment, tapes_of
from tests.support import rashomon as command_line

pytestmark = pytest.mark.skipif(seccomp.numbers() is None, reason="this kernel offers no seccomp user notification")

IN_C = """
import ctypes, errno, os, socket, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
port = int(sys.argv[1])
def inet(port, host="127.0.0.1"):
    return struct.pack("<H", socket.AF_INET) + struct.pack(">H", port) + socket.inet_aton(host) + bytes(8)
def inet6(port, host):
    return struct.pack("<H", socket.AF_INET6) + struct.pack(">HI", port, 0) + socket.inet_pton(10, host) + bytes(4)
def unix(path):
    return struct.pack("<H", socket.AF_UNIX) + path.encode() + b"\\0"
def told(result):
    return "sent" if result >= 0 else errno.errorcode[ctypes.get_errno()]
def connect(family, kind, address):
    made = socket.socket(family, kind)
    return told(libc.connect(made.fileno(), address, len(address)))
def message_to(address):
    data = ctypes.create_string_buffer(b"hello", 5)
    name = ctypes.create_string_buffer(address, len(address))
    vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(data), 5))
    header = struct.pack("QIIQQQQiI", ctypes.addressof(name), len(address), 0, ctypes.addressof(vector), 1, 0, 0, 0, 0)
    return header, (data, name, vector)
STREAM, DATAGRAM = socket.SOCK_STREAM, socket.SOCK_DGRAM
plain, socket_of_c = socket.socket(2, DATAGRAM), socket.socket()
"""


class Outside:
    """Servers that are no part of a replay, and what has come to them."""

    def __init__(self) -> None:
        self.stream = socket.create_server(("127.0.0.1", 0))
        self.port = self.stream.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        self.stream.settimeout(0.05)
        self.datagrams.settimeout(0.05)

    def came(self) -> list[str]:
        """What has come since the last time, each kind once: `stream`, `datagram`."""
        found = set()
        while True:
            try:
                self.stream.accept()[0].close()
                found.add("stream")
            except TimeoutError:
                break
        while True:
            try:
                self.datagrams.recv(100)
                found.add("datagram")
            except TimeoutError:
                return sorted(found)


@pytest.fixture
def outside() -> Iterator[Outside]:
    """Servers on this machine, outside of every replay."""
    made = Outside()
    yield made
    made.stream.close()
    made.datagrams.close()


def record(home: Path, folder: Path, source: str, *arguments: object, prelude: str = IN_C) -> str:
    """Record a program; returns what it has printed."""
    (folder / "agent.py").write_text(prelude + source)
    done = command_line("record", "--", sys.executable, "agent.py", *map(str, arguments), home=home, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def replay(home: Path, folder: Path, *options: str) -> tuple[str, dict[str, Any]]:
    """Replay what was recorded last; returns what it has printed and the report."""
    recorded = next(tape for tape in reversed(tapes_of(home)) if tape.trace.parent is None)
    report = folder / "report.json"
    done = command_line("replay", recorded.trace.id, "--report", report, *options, home=home, cwd=folder)
    found = json.loads(report.read_text())
    assert done.returncode == (0 if found["held"] else 1), done.stderr
    assert found["kernel_isolated"] is True
    return done.stdout, found


def escapes(report: dict[str, Any]) -> list[str]:
    """What a replay tells of what was refused."""
    return [one["summary"] for one in report["divergences"] if one["kind"] == "escaped"]


WAYS = """
def stream(): return connect(2, STREAM, inet(port))
def stream_by_a_mapped_address(): return connect(10, STREAM, inet6(port, "::ffff:127.0.0.1"))
def stream_to_no_address(): return connect(2, STREAM, inet(port, "0.0.0.0"))
def stream_by_the_call_itself():
    number = 42 if os.uname().machine == "x86_64" else 203
    return told(libc.syscall(number, socket_of_c.fileno(), inet(port), 16))
def stream_of_a_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(stream()))
    thread.start(); thread.join()
    return results[0]
def stream_of_a_forked_child():
    ours, theirs = os.pipe()
    if os.fork() == 0:
        os.write(theirs, stream().encode()); os._exit(0)
    os.wait()
    return os.read(ours, 100).decode()
def datagram(): return told(libc.sendto(plain.fileno(), b"hello", 5, 0, inet(port), 16))
def message():
    header, kept = message_to(inet(port))
    return told(libc.sendmsg(plain.fileno(), header, 0))
def messages():
    header, kept = message_to(inet(port))
    return told(libc.sendmmsg(plain.fileno(), (header + bytes(8)) * 3, 3, 0))
def many_messages():
    header, kept = message_to(inet(port))
    return told(libc.sendmmsg(plain.fileno(), (header + bytes(8)) * 200, 200, 0))
for way in (stream, stream_by_a_mapped_address, stream_to_no_address, stream_by_the_call_itself, stream_of_a_thread,
            stream_of_a_forked_child, datagram, message, messages, many_messages):
    print(way.__name__, way())
"""


def test_what_c_code_sends_is_refused(outside: Outside, home: Path, tmp_path: Path) -> None:
    """No way out of C code works in a replay; it is told, and can be opened."""
    printed = record(home, tmp_path, WAYS, outside.port)
    ways = [line.split()[0] for line in printed.splitlines()]
    assert len(ways) == 10
    assert printed == "".join(f"{way} sent\n" for way in ways)
    assert outside.came() == ["datagram", "stream"]
    printed, report = replay(home, tmp_path)
    assert printed == "".join(f"{way} EACCES\n" for way in ways)
    assert outside.came() == []
    peer, name = f"127.0.0.1:{outside.port}", Path(sys.executable).name
    assert sorted(escapes(report)) == [
        f"The program tried to reach {peer} by a library's own sockets; that was refused.",
        f"{name} tried to reach {peer}; that was refused.",
    ]
    printed, report = replay(home, tmp_path, "--allow", f"connect={peer}")
    assert printed == "".join(f"{way} sent\n" for way in ways)
    assert outside.came() == ["datagram", "stream"]


def test_other_programs_do_not_get_out(outside: Outside, home: Path, tmp_path: Path) -> None:
    """A command that the recording ran runs again, without the network; the ones that it starts, too. Where it was
    allowed to run, they may."""
    worker = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print('sent', flush=True)"
    (tmp_path / "push.py").write_text(worker)
    (tmp_path / "pushctl").write_text(f'#!/bin/sh\n"{sys.executable}" -I push.py "$1" 2>&1 | tail -1\n')
    (tmp_path / "pushctl").chmod(0o755)
    source = "import subprocess, sys\nsubprocess.run(['./pushctl', sys.argv[1]])\n"
    assert record(home, tmp_path, source, outside.port, prelude="") == "sent\n"
    assert outside.came() == ["stream"]
    printed, report = replay(home, tmp_path)
    assert (printed, outside.came()) == ("PermissionError: [Errno 13] Permission denied\n", [])
    name = Path(sys.executable).name
    assert escapes(report) == [f"{name} tried to reach 127.0.0.1:{outside.port}; that was refused."]
    printed, report = replay(home, tmp_path, "--allow", "run=pushctl")
    assert (printed, report["held"], outside.came()) == ("sent\n", True, ["stream"])


def test_what_the_replay_has_begun_itself_is_its_own(home: Path, tmp_path: Path) -> None:
    """Servers of the program and of what it has started are reached by C code, on ports and on paths."""
    server = ("import socket; one = socket.socket(); one.bind(('127.0.0.1', 0)); one.listen()\n"
              "print(one.getsockname()[1], flush=True); one.accept()\n")  # fmt: skip
    source = f"""
import subprocess
own = socket.create_server(("127.0.0.1", 0))
print(connect(2, STREAM, inet(own.getsockname()[1])))
late = socket.socket(); late.listen()
print(connect(2, STREAM, inet(late.getsockname()[1])))
later = socket.socket(); later.bind(("127.0.0.1", 0))
print(connect(2, STREAM, inet(later.getsockname()[1])))
later.listen()
print(connect(2, STREAM, inet(later.getsockname()[1])))
bound = socket.socket(2, DATAGRAM); bound.bind(("127.0.0.1", 0))
print(connect(2, DATAGRAM, inet(bound.getsockname()[1])))
path = socket.socket(1); path.bind("own.sock"); path.listen()
print(connect(1, STREAM, unix("own.sock")), connect(1, STREAM, unix(os.path.abspath("own.sock"))))
os.remove("own.sock")
name = socket.socket(1); name.bind("\\0own-" + str(os.getppid())); name.listen()
print(connect(1, STREAM, struct.pack("<H", 1) + b"\\0own-" + str(os.getppid()).encode()))
child = subprocess.Popen([sys.executable, "-I", "-c", {server!r}], stdout=subprocess.PIPE)
print(connect(2, STREAM, inet(int(child.stdout.readline()))), child.wait())
"""
    expected = "sent\nsent\nECONNREFUSED\nsent\nsent\nsent sent\nsent\nsent 0\n"
    assert record(home, tmp_path, source, 0) == expected
    printed, report = replay(home, tmp_path)
    assert (printed, escapes(report)) == (expected, [])


def test_a_port_that_others_listen_on_at_another_address(outside: Outside, home: Path, tmp_path: Path) -> None:
    """That the replay listens on a port makes nobody else's of the same number its own; a server of its own answers
    datagrams of its own, whose sockets were never bound."""
    source = """
own = socket.create_server(("127.0.0.2", port))
print(connect(2, STREAM, inet(port, "127.0.0.2")), connect(2, STREAM, inet(port)))
bound = socket.socket(2, DATAGRAM); bound.bind(("127.0.0.1", 0)); server = bound.getsockname()[1]
libc.sendto(plain.fileno(), b"asked", 5, 0, inet(server), 16)
bound.settimeout(5); question, asker = bound.recvfrom(9)
print(told(libc.sendto(bound.fileno(), b"answered", 8, 0, inet(asker[1]), 16)), plain.recv(9))
"""
    assert record(home, tmp_path, source, outside.port) == "sent sent\nsent b'answered'\n"
    assert outside.came() == ["stream"]
    printed, report = replay(home, tmp_path)
    assert (printed, outside.came()) == ("sent EACCES\nsent b'answered'\n", [])
    assert len(escapes(report)) == 1


def test_unix_sockets_of_others(home: Path, tmp_path: Path) -> None:
    """A socket of another program's on a path is outside; daemons that libraries ask by themselves are not there, and
    that is not told."""
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(tmp_path / "docker.sock"))
        other.listen()
        source = "print(connect(1, STREAM, unix('docker.sock')), connect(1, STREAM, unix('/run/systemd/x')))"
        assert record(home, tmp_path, source, 0) == "sent ENOENT\n"
        printed, report = replay(home, tmp_path)
        assert printed == "EACCES ENOENT\n"
        assert escapes(report) == [
            f"The program tried to reach unix:{tmp_path}/docker.sock by a library's own sockets; that was refused."
        ]
        (tmp_path / "run").symlink_to(tmp_path)
        for path in (f"{tmp_path}/docker.sock", f"{tmp_path}/run/docker.sock", "docker.sock"):
            printed, report = replay(home, tmp_path, "--allow", f"connect=unix:{path}")
            assert (printed, report["held"]) == ("sent ENOENT\n", True), path


def test_names_and_what_is_no_connection(home: Path, tmp_path: Path) -> None:
    """A name server is asked where a host was allowed by its name; by `io_uring` nobody gets past; a socket that is let
    go of, and the order of `localhost`'s addresses, are no way out."""
    source = """
print(connect(2, DATAGRAM, inet(53, "192.0.2.1")))
ring = ctypes.create_string_buffer(200)
made = libc.syscall(425, 4, ring)
print("ring" if made >= 0 else told(made))
print(connect(2, DATAGRAM, bytes(16)))
print(len(socket.getaddrinfo("localhost", port, type=STREAM)) > 0)
"""
    first = record(home, tmp_path, source, 80).split()
    assert (first[0], first[2:]) == ("sent", ["sent", "True"])
    printed, report = replay(home, tmp_path)
    assert printed.split() == ["ECONNREFUSED", "ENOSYS", "sent", "True"]
    assert escapes(report) == [
        "The program tried to look up a name at the name server 192.0.2.1 by a library's own sockets; that was refused."
    ]
    printed, report = replay(home, tmp_path, "--allow", "connect=db.example.com:5432")
    assert printed.split()[0] == "sent"
    assert escapes(report) == []


def test_many_at_once(outside: Outside, home: Path, tmp_path: Path) -> None:
    """Hundreds of connections of threads and processes, outside and among themselves: each is decided, none waits."""
    source = """
own = socket.create_server(("127.0.0.1", 0), backlog=4096)
def work(counts):
    for _ in range(25):
        counts[connect(2, STREAM, inet(port))] += 1
        counts[connect(2, STREAM, inet(own.getsockname()[1]))] += 1
import collections
for _ in range(3):
    if os.fork() == 0:
        counts = collections.Counter()
        threads = [threading.Thread(target=work, args=(counts,)) for _ in range(8)]
        [thread.start() for thread in threads]; [thread.join() for thread in threads]
        os.write(1, (str(sorted(counts.items())) + "\\n").encode())
        os._exit(0)
for _ in range(3):
    os.wait()
"""
    drained = threading.Thread(target=_accept_all, args=(outside.stream,), daemon=True)
    drained.start()
    assert record(home, tmp_path, source, outside.port) == "[('sent', 400)]\n" * 3
    printed, report = replay(home, tmp_path)
    assert printed == "[('EACCES', 200), ('sent', 200)]\n" * 3
    assert len(escapes(report)) == 1, "the same thing is told once"


def _accept_all(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except TimeoutError:
            continue
        except OSError:
            return


def test_nobody_gets_out_when_the_launcher_is_gone(outside: Outside, home: Path, tmp_path: Path) -> None:
    """Killed, the launcher decides nothing any more, and what it has left running stays inside."""
    source = """
import time
open("begun", "w").close()
while os.path.exists("wait"):
    time.sleep(0.01)
open("said", "w").write(connect(2, STREAM, inet(port)))
"""
    record(home, tmp_path, source, outside.port)
    assert outside.came() == ["stream"]
    for name in ("begun", "said"):
        (tmp_path / name).unlink()
    (tmp_path / "wait").touch()
    command = [sys.executable, "-m", "rashomon.cli", "replay", "@last"]
    launcher = subprocess.Popen(command, env=environment(home), cwd=tmp_path, start_new_session=True)
    try:
        _until(tmp_path / "begun")
        os.kill(launcher.pid, signal.SIGKILL)
        launcher.wait()
        (tmp_path / "wait").unlink()
        _until(tmp_path / "said")
        assert (tmp_path / "said").read_text() == "ENOSYS"
        assert outside.came() == []
    finally:
        (tmp_path / "wait").unlink(missing_ok=True)


def _until(path: Path) -> None:
    deadline = time.monotonic() + 30
    while not (path.exists() and (path.name == "begun" or path.read_text())):
        assert time.monotonic() < deadline, f"{path.name} did not come"
        time.sleep(0.01)


def test_live_calls_go_out_past_it(outside: Outside, server: ProviderServer, home: Path, tmp_path: Path) -> None:
    """A call that goes live reaches its peer, by its address and by a name; what C code tries beside it does not. A
    tool that goes live may do all that it does."""
    source = """
import urllib.request, rashomon
@rashomon.tool
def work(text): return connect(2, STREAM, inet(port))
changed = sys.argv[4] if len(sys.argv) > 4 else "same"
for host in ("127.0.0.1", "localhost"):
    url = f"http://{host}:{sys.argv[2]}/v1/chat/completions"
    body = ('{"model": "m", "messages": [{"role": "user", "content": "%s"}]}' % changed).encode()
    head = {"content-type": "application/json", "authorization": "Bearer test"}
    print(urllib.request.urlopen(urllib.request.Request(url, body, head)).status)
print(connect(2, STREAM, inet(port)), work(changed if sys.argv[3] == "tool" else "same"))
"""
    port = server.url.rpartition(":")[2]
    for kind, expected, came in (("llm", "EACCES sent", []), ("tool", "sent sent", ["stream"])):
        printed = record(home, tmp_path, source, outside.port, port, kind)
        assert (printed, outside.came()) == ("200\n200\nsent sent\n", ["stream"])
        options = ["--live", "llm", "--live", kind, "--report", str(tmp_path / "report.json")]
        given = [sys.executable, "agent.py", outside.port, port, kind, "changed"]
        done = command_line("replay", "@last", *options, "--", *map(str, given), home=home, cwd=tmp_path)
        assert (done.stdout, outside.came()) == (f"200\n200\n{expected}\n", came), done.stderr
        report = json.loads((tmp_path / "report.json").read_text())
        assert report["kernel_isolated"] is (kind == "llm")
        assert report["grades"]["live"] >= 2


class Asking:
    """A listener by which one call is asked about, of a process that is gone or may not be looked at."""

    def __init__(self, waiting: bool) -> None:
        self._waiting = waiting

    def is_waiting(self, one: seccomp.Notification) -> bool:
        """Whether somebody waits for the answer."""
        return self._waiting


@pytest.mark.parametrize("waiting", [True, False])
@pytest.mark.parametrize("call", ["connect", "sendto", "sendmsg", "sendmmsg", "bind", "listen"])
def test_a_process_that_cannot_be_looked_at(call: str, waiting: bool) -> None:
    """Who runs with other privileges is not let out, and that is told; who is gone needs no answer; and nobody is kept
    from having a server."""
    wall = Wall(Policy(Tape(Trace("t", "t", 0), ())), seccomp.numbers() or pytest.fail("checked above"))
    nobody = seccomp.Notification(1, 2**22 + 1, call, (3, 4096, 16, 0, 4096, 16))
    error = wall._error(cast(seccomp.Listener, Asking(waiting)), nobody)
    if call in ("bind", "listen"):
        assert (error, list(wall.refused)) == (0, [])
    else:
        assert error == errno.EACCES
        assert list(wall.refused) == ([(UNREAD, "")] if waiting else [])
        assert kept_in(UNREAD, "").detail[-1].startswith("To allow it: --allow 'connect=*'")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/var/lib/sss/pipes/nss", 0),
        ("/run/systemd/userdb/io.systemd.DynamicUser", 0),
        ("/run/nscd/socket", errno.ENOENT),
        ("/run/systemd/resolve/io.systemd.Resolve", errno.ENOENT),
    ],
)
def test_daemons_that_libraries_ask(path: str, error: int) -> None:
    """A program is told who it runs as; what would look up names for it is not there. Neither is told."""
    wall = Wall(Policy(Tape(Trace("t", "t", 0), ())), seccomp.numbers() or pytest.fail("checked above"))
    assert wall._judge_unix(seccomp.Notification(1, os.getpid(), "connect", (3, 0, 0, 0, 0, 0)), path) == error
    assert list(wall.refused) == []


def test_where_the_kernel_will_not_have_it(home: Path, tmp_path: Path) -> None:
    """A replay within a replay has no filter of its own: it says so, holds, and the one around it goes on to decide."""
    record(home, tmp_path, "print('inner')", 0)
    source = f"""
import json, os, subprocess, sys
command = [sys.executable, "-m", "rashomon.cli", "replay", {tapes_of(home)[0].trace.id!r}, "--report", "inner.json"]
subprocess.run(command, cwd={str(tmp_path)!r}, check=True)
report = json.load(open("inner.json"))
print(report["held"])
"""
    (tmp_path / "outer.py").write_text(source)
    done = command_line("record", "--name", "outer", "--", sys.executable, "outer.py", home=home, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "inner\nTrue\n"), done.stderr
    assert json.loads((tmp_path / "inner.json").read_text())["kernel_isolated"] is True
    done = command_line("replay", "outer", "--report", "outer.json", home=home, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "inner\nTrue\n"), done.stderr
    isolated = [json.loads((tmp_path / f"{name}.json").read_text())["kernel_isolated"] for name in ("outer", "inner")]
    assert isolated == [True, False]
