"""Sees what Python reaches beyond the process, through the interpreter's audit events: connections, subprocesses,
and the files that it changes.

While recording, a connection is noted with the call it belongs to, so that a trace can say what slipped past the
shims, and a subprocess with the place that started it. While replaying, the interceptor decides. An audit hook cannot
be removed; without an active trace ours costs one look into a table for each event. What the events do not show is
looked for by `rashomon.recorders.unseen` and `rashomon.recorders.natives`.
The events are those of https://docs.python.org/3/library/audit_events.html.
"""

from __future__ import annotations

import os
import sys
from _weakrefset import WeakSet  # as `threading` does: `weakref` itself would cost an import
from collections.abc import Callable
from types import FrameType
from typing import Any

from rashomon import boundary, telemetry
from rashomon.recorders import files, reaching, standard_input

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_MAX_ANNOUNCED = 10_000
_installed = False
_datagrams: set[tuple[int, int | None, str]] = set()
announced: dict[int, None] = {}
"""The sockets that an event has told of, by inode, oldest first. `rashomon.recorders.unseen` looks for the others."""

pythons: WeakSet[Any] = WeakSet()
"""The socket objects that there are: what a server accepts is told by no other event."""
claimed: set[str] = set()
"""The ports that were told of before anything connects to them: the sockets to them, opened in C, are known."""


def install() -> None:
    """Begin to watch, once for each process."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)
        from rashomon.recorders import natives

        natives.install()


def _hook(event: str, args: tuple[Any, ...]) -> None:
    watch = _WATCHED.get(event)
    if watch is not None:
        try:
            watch(event, args)
        except telemetry.NotSent:
            raise
        except Exception as error:  # an event of another form than ours: a recording goes on, a replay refuses
            guard = boundary.current()
            if guard is not None:
                guard.failed(error)


def announce(socket: Any) -> None:
    """Remember a socket, or the number of its descriptor, as one that was seen. Never raises."""
    try:
        announced[os.fstat(socket if isinstance(socket, int) else socket.fileno()).st_ino] = None
        if len(announced) > _MAX_ANNOUNCED:
            del announced[next(iter(announced))]
    except Exception:  # a socket that is closed already: nobody will look for it
        pass


def reached(peer: str) -> None:
    """Tell the active interceptor that `peer` is being reached from here, by other means than Python's sockets.

    Raises `errors.Escaped` to refuse it.
    """
    guard = boundary.current()
    if guard is not None:
        guard.connected(peer, user_frame())


def launched(argv: tuple[str, ...]) -> None:
    """Tell the active interceptor that a subprocess is about to be started. Raises `errors.Escaped` to refuse it."""
    guard = boundary.current()
    if guard is not None:
        guard.reaching("run", argv, user_frame())


def _on_socket(event: str, args: tuple[Any, ...]) -> None:
    socket, address = args[0], args[1]
    if event == "socket.connect":
        announce(socket)
    guard = boundary.current()
    if guard is None or address is None:  # None: a connected socket
        return
    peer = peer_text(address)
    if _is_own(peer) or (event != "socket.connect" and _told_already(guard, peer)):
        return
    guard.connected(peer, user_frame())


def _told_already(guard: Any, peer: str) -> bool:
    """True for a further datagram to a peer that this trace has been told of: one fact, however many are sent."""
    if _isolates(guard):
        return False
    enclosing = boundary.inside.get()
    fact = (id(guard), None if enclosing is None else enclosing.number, peer)
    if fact in _datagrams:
        return True
    if len(_datagrams) >= _MAX_ANNOUNCED:
        _datagrams.clear()
    _datagrams.add(fact)
    return False


def _on_new(event: str, args: tuple[Any, ...]) -> None:
    try:
        pythons.add(args[0])
    except TypeError:  # the bare kind of `_socket`, of which nobody can take note
        pass


def _on_name(event: str, args: tuple[Any, ...]) -> None:
    if boundary.current() is None:
        return
    host = args[0]
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii", "replace")
    looked_up("" if host is None else str(host))


def looked_up(name: str) -> None:
    """Tell the active interceptor that a host's address is asked for. Raises `errors.Escaped` to refuse it."""
    guard = boundary.current()
    if guard is None or name in ("", "localhost") or name.replace(".", "").isdigit() or ":" in name:
        return  # no name to resolve: nothing leaves the machine
    guard.connected(f"dns:{name}", user_frame())


def _on_open(event: str, args: tuple[Any, ...]) -> None:
    path, flags = args[0], args[2]
    if type(path) in (int, str) and path in (0, "/dev/stdin"):
        standard_input.tell_of_past("the program opens it again", user_frame())
    guard = boundary.current()
    if guard is None:
        return
    if flags & _WRITING and _isolates(guard):
        _tell_write(reaching.written_by_open(path))
    files.opened(guard, path, flags, user_frame)


def _on_write(event: str, args: tuple[Any, ...]) -> None:
    if _isolates(boundary.current()):
        _tell_write(reaching.written(event, args))


def _on_database(event: str, args: tuple[Any, ...]) -> None:
    _on_write(event, args)
    guard = boundary.current()
    if guard is not None:
        for path in reaching.database(args[0]):
            files.opened(guard, path, os.O_RDWR | os.O_CREAT, user_frame)


def _on_run(event: str, args: tuple[Any, ...]) -> None:
    guard = boundary.current()
    if guard is None:
        return
    argv = None if reaching.is_enquiry(sys._getframe(1)) else reaching.command(event, args)
    if argv is not None:
        guard.reaching("run", argv, user_frame())


def is_replay() -> bool:
    """Whether what happens here is part of a replay."""
    return _isolates(boundary.current())


def _isolates(guard: Any) -> bool:
    """True in a replay: only there does it matter which files are changed."""
    return guard is not None and getattr(guard, "isolates", False)


def _tell_write(paths: list[str]) -> None:
    guard = boundary.current()
    if guard is not None:
        for path in paths:
            guard.reaching("write", (path,), user_frame())


def peer_text(address: Any) -> str:
    """A socket's address as `host:port` or `unix:path`."""
    if isinstance(address, tuple) and len(address) >= 2:
        return f"{address[0]}:{address[1]}"
    if isinstance(address, (bytes, bytearray)):
        return "unix:" + os.fsdecode(bytes(address)).replace("\0", "@")
    return f"unix:{address.replace(chr(0), '@')}" if isinstance(address, str) else str(address)


def _is_own(peer: str) -> bool:
    """True for what connects a program with itself, `multiprocessing`'s sockets and `socket.socketpair` on Windows; and
    with its launcher."""
    if peer.startswith("unix:"):
        processes = sys.modules.get("multiprocessing.process")
        config = getattr(getattr(processes, "_current_process", None), "_config", None) or {}
        folder = config.get("tempdir")
        return peer.startswith(("unix:@listener-", "unix:@rashomon-")) or bool(
            folder and peer.startswith(f"unix:{folder}{os.sep}")
        )
    frame = sys._getframe(3)
    return frame.f_code.co_name.endswith("socketpair") and frame.f_globals.get("__name__") == "socket"


_SOCKET = ("socket.connect", "socket.sendto", "socket.sendmsg")
_NAME = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
_RUN = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.startfile", "pty.spawn")
_WRITE = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.truncate", "os.link", "os.symlink", "os.chmod",
          "os.chown", "os.chflags", "os.utime", "os.setxattr", "os.removexattr", "shutil.rmtree")  # fmt: skip
_WATCHED: dict[str, Callable[[str, tuple[Any, ...]], None]] = {
    **dict.fromkeys(_SOCKET, _on_socket),
    **dict.fromkeys(_NAME, _on_name),
    **dict.fromkeys(_RUN, _on_run),
    **dict.fromkeys(_WRITE, _on_write),
    "open": _on_open,
    "sqlite3.connect": _on_database,
    "socket.__new__": _on_new,
}


# ------------------------------------------------------------------------------------------------- whose code it was

_of_user: dict[str, bool] = {}


def user_frame() -> FrameType | None:
    """The innermost frame of the program's own code: not the standard library's, an installed package's, or ours."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        known = _of_user.get(file)
        if known is None:
            known = _of_user[file] = _is_user_file(file)
        if known:
            return frame
        frame = frame.f_back
    return None


def _is_user_file(file: str) -> bool:
    from rashomon.recorders import lanes
    from rashomon.recorders.ambient import sites

    return file != lanes.__file__ and sites.of_file(file) == sites.USER
