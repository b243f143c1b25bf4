"""What a replayed program may do to the outside: connect, run, write. Refused unless something here allows it.

A seat belt, not a sandbox: `docs/isolation.md` says what it cannot stop.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import NamedTuple

from rashomon.errors import UsageError
from rashomon.model import Divergence, Lane, Site, Tape

ACTIONS = ("connect", "run", "write")
_HINT = "Write --allow connect=HOST[:PORT], --allow run=COMMAND or --allow write=PATH."
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/stdin", "/dev/stdout", "/dev/stderr",
            "nul", "conin$", "conout$")  # fmt: skip
_DEVICE_FOLDERS = ("/dev/pts", "/dev/fd", "/dev/shm", "/proc/self")
_TEMPORARY_NAME = re.compile(r"tmp[a-z0-9_]{8}")
_PYTHON = re.compile(r"(python|pypy)[0-9.]*[a-z]?(\.exe)?", re.IGNORECASE)
_SHELLS = ("sh", "bash", "dash", "zsh")
_SHELL_SIGNS = frozenset(";&|<>$`()\n")


class Allowance(NamedTuple):
    """One opening in the isolation: `connect` to `host:port` or `host`, `run` a command, `write` a path."""

    action: str
    target: str

    def __str__(self) -> str:
        return f"{self.action}={self.target}"


def parse_allow(text: str, folder: str | None = None) -> Allowance:
    """Read `connect=HOST[:PORT]`, `run=COMMAND` or `write=PATH`. Raises `UsageError`.

    A path is made absolute from `folder` (default: the current one), so that it can be handed to another process;
    that of a Unix socket too, unless it is `@name`, which is no file.
    """
    action, equals, target = text.partition("=")
    action, target = action.strip(), target.strip()
    if action not in ACTIONS:
        raise UsageError(f"--allow {text!r} does not say what to allow.", _HINT)
    if not equals or not target:
        raise UsageError(f"--allow {text!r} names no {_WANTED[action]}.", _HINT)
    if action == "write":
        target = _absolute(target, folder)
    elif action == "run":
        _checked_command(text, target)
    elif target.startswith(_UNIX):
        target = _UNIX + _checked_socket(text, target.removeprefix(_UNIX), folder)
    else:
        _checked_host(text, target)
    return Allowance(action, target)


_UNIX = "unix:"


def _absolute(path: str, folder: str | None) -> str:
    return os.path.abspath(os.path.join(folder or os.getcwd(), os.path.expanduser(path)))


def _checked_socket(text: str, path: str, folder: str | None) -> str:
    if path in ("", "@"):
        raise UsageError(f"--allow {text!r} names no socket.", "Write unix: and the socket's path.")
    return path if path.startswith("@") else _absolute(path, folder)


_WANTED = {"connect": "host", "run": "command", "write": "path"}


def _checked_command(text: str, command: str) -> None:
    try:
        shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--allow {text!r} is no command: {error}.", "Close what you quoted.") from error


def _checked_host(text: str, target: str) -> None:
    if "/" in target:
        raise UsageError(f"--allow {text!r} is no HOST[:PORT].", "Leave out the scheme and the path: api.example.com.")
    host, port = _host_and_port(target)
    if not host or (port is not None and not (port.isdigit() and 0 < int(port) < 65_536)):
        raise UsageError(f"--allow {text!r} is no HOST[:PORT].", "Write a name or an address, and a port below 65536.")


def _host_and_port(target: str) -> tuple[str, str | None]:
    """`name`, `name:80`, `127.0.0.1:80`, `::1`, `[::1]:80`; the port is None where there is none."""
    if target.startswith("["):
        host, _, rest = target[1:].partition("]")
        return host.lower(), rest[1:] if rest.startswith(":") else None
    if target.count(":") == 1:
        host, _, port = target.partition(":")
        return host.lower(), port
    return target.lower(), None


class Policy:
    """Decides for one replayed process. Thread-safe.

    `tape` tells which commands the recording ran: each may be run as often as it was. `allow` are the texts of
    `--allow`. `folder` is where the program runs; it may write in the git working tree that holds it, and in that one's
    repository, or in itself if there is none. `extra_writable` are paths of ours: the home, the tape. `redact` is what
    the recording did to a command's words before they were written.
    """

    def __init__(
        self,
        tape: Tape,
        allow: Sequence[str] = (),
        folder: str | None = None,
        extra_writable: Iterable[str] = (),
        redact: Callable[[str], str] = str,
    ) -> None:
        self.allow = tuple(allow)
        self.folder = working_copy(folder or os.getcwd())
        self._redact = redact
        self._lock = Lock()
        allowances = [parse_allow(text, folder) for text in allow]
        self._commands = [shlex.split(one.target) for one in allowances if one.action == "run"]
        self._hosts = _Hosts([one.target for one in allowances if one.action == "connect"])
        given = [one.target for one in allowances if one.action == "write"]
        own = [] if self.folder is None else [self.folder, *_repository(self.folder)]
        places = [*own, *temporary_folders(), *extra_writable, *given]
        self._writable = tuple({os.path.normcase(os.path.realpath(place)) for place in places})
        self._recorded: dict[tuple[str, ...], int] = {}
        for launched in tape.trace.launched:
            key = _comparable(launched.argv)
            self._recorded[key] = self._recorded.get(key, 0) + 1

    def after_fork(self) -> None:
        """In a forked child: a lock that nobody holds."""
        self._lock = Lock()

    def may_connect(self, peer: str) -> bool:
        """True if `host:port`, `unix:path` or `dns:name` was allowed."""
        return self._hosts.allow(peer)

    @property
    def may_reach_all(self) -> bool:
        """True if any host was allowed, at any port."""
        return self._hosts.are_all

    def may_look_up(self) -> bool:
        """True if a host was allowed by its name: then somebody has to find its address."""
        return self._hosts.have_names

    @property
    def allows_commands(self) -> bool:
        """True if a command was allowed by its words, which then may do all that it does."""
        return bool(self._commands)

    @property
    def writable(self) -> tuple[str, ...]:
        """The files and folders that may be changed, with all below them."""
        return self._writable

    def is_allowed(self, argv: Sequence[str]) -> bool:
        """True if the command was allowed by its words."""
        return any(_is_allowed(argv, words) for words in self._commands)

    def may_run(self, argv: Sequence[str]) -> bool:
        """True if the command was allowed, or the recording ran it and it has not been run as often yet."""
        if self.is_allowed(argv):
            return True
        key = _comparable([self._redact(word) for word in argv])
        with self._lock:
            left = self._recorded.get(key, 0)
            self._recorded[key] = left - 1
        return left > 0

    def may_write(self, path: str) -> bool:
        """True if a file may be changed. `path` is absolute; its folder has no symbolic links left in it."""
        path = os.path.normcase(path)
        if is_device(path):
            return True
        if any(_is_within(path, place) for place in self._writable):
            return True
        temporary = getattr(
            sys.modules.get("tempfile"), "tempdir", None
        )  # the program may have chosen another in the meantime
        if isinstance(temporary, str) and _is_within(path, os.path.normcase(os.path.realpath(temporary))):
            return True
        return _is_bytecode(path)


def working_copy(folder: str) -> str | None:
    """The git working tree around a folder, or the folder; None for the root of the file system: that is no copy."""
    start = found = os.path.realpath(folder)
    while True:
        if os.path.exists(os.path.join(found, ".git")):
            break
        parent = os.path.dirname(found)
        if parent == found:
            found = start
            break
        found = parent
    return None if os.path.dirname(found) == found else found


def _repository(folder: str) -> list[str]:
    """Where git keeps what belongs to a working tree, if that is elsewhere: `git worktree`, a submodule
    (https://git-scm.com/docs/gitrepository-layout)."""

    def text_of(*names: str) -> str:
        try:
            with open(os.path.join(*names), encoding="utf-8", errors="surrogateescape") as file:
                return file.read(4096).strip()
        except OSError:
            return ""

    told = text_of(folder, ".git")
    own = os.path.join(folder, told.removeprefix("gitdir:").strip())
    if not told.startswith("gitdir:") or not text_of(own, "HEAD"):
        return []
    return [own, os.path.join(own, text_of(own, "commondir"))]


def temporary_folders(environ: Mapping[str, str] = os.environ) -> list[str]:
    """Where programs put what they do not keep: what the environment names, else the system's."""
    named = [environ[name] for name in ("TMPDIR", "TEMP", "TMP") if environ.get(name)]
    return named or ["/tmp", "/var/tmp", "/usr/tmp"]


def is_device(path: str) -> bool:
    """True for what has no content to be changed: the null device, terminals, this process's own descriptors."""
    return path.lower() in _DEVICES or any(_is_within(path, folder) for folder in (*_DEVICE_FOLDERS, _own_process()))


def _own_process() -> str:
    return f"/proc/{os.getpid()}"


def _is_bytecode(path: str) -> bool:
    """What the interpreter writes beside modules, under its final or its temporary name, and the folder for it."""
    folder, name = os.path.split(path)
    prefix = sys.pycache_prefix
    if prefix is not None and _is_within(path, os.path.realpath(prefix)):
        return True
    if name == "__pycache__":
        return True
    return os.path.basename(folder) == "__pycache__" and ".pyc" in name


def _is_within(path: str, place: str) -> bool:
    return path == place or path.startswith(place if place.endswith(os.sep) else place + os.sep)


def _comparable(argv: Sequence[str]) -> tuple[str, ...]:
    """A command without what differs from run to run: where its interpreter lives, names of temporary files."""
    words = [_TEMPORARY_NAME.sub("tmp*", word) for word in argv]
    if words and _PYTHON.fullmatch(os.path.basename(words[0])):
        words[0] = "python"
    return tuple(words)


def _is_allowed(argv: Sequence[str], words: Sequence[str]) -> bool:
    """True if a command begins with these words; by its name, when the allowance has no folder in it."""
    inner = _shell_command(argv)
    return _begins(argv, words) or (inner is not None and _begins(inner, words))


def _shell_command(argv: Sequence[str]) -> list[str] | None:
    """The words of the one plain command that a shell is told to run; None for anything else."""
    if len(argv) != 3 or argv[1] != "-c" or os.path.basename(argv[0]) not in _SHELLS or _SHELL_SIGNS & set(argv[2]):
        return None
    try:
        return shlex.split(argv[2])
    except ValueError:
        return None


def _begins(argv: Sequence[str], words: Sequence[str]) -> bool:
    if not words or len(argv) < len(words):
        return False
    program = argv[0] if os.path.dirname(words[0]) else os.path.basename(argv[0])
    return [program, *argv[1 : len(words)]] == list(words)


class _Hosts:
    """The peers that may be reached. A name stands for all addresses that it resolves to."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._sockets = {_socket(target) for target in targets if target.startswith(_UNIX)}
        self._named = {_host_and_port(target) for target in targets if not target.startswith(_UNIX)}
        self._known = {("localhost", address) for address in ("127.0.0.1", "::1")}
        self.are_all = ("*", None) in self._named
        self.have_names = any(_is_name(host) for host, _ in self._named)

    def allow(self, peer: str) -> bool:
        if not self._named and not self._sockets:
            return False
        if peer.startswith(_UNIX):
            return bool(self._sockets) and _socket(peer) in self._sockets
        if peer.startswith("dns:"):
            return any(host in ("*", peer[4:].lower().rstrip(".")) for host, _ in self._named)
        address, _, port = peer.rpartition(":")
        address = address.lower().strip("[]")
        fitting = [host for host, wanted in self._named if wanted in (None, port)]
        if any(host in ("*", address) for host in fitting):
            return True
        return any(self._resolves(host, address) for host in fitting)

    def _resolves(self, host: str, address: str) -> bool:
        """Whether a host's name stands for this address. Asks the resolver: for an allowed name, it may be asked."""
        if (host, address) in self._known:
            return True
        if not _is_name(host):
            return False
        import socket

        try:
            found = {str(entry[4][0]).lower() for entry in socket.getaddrinfo(host, None)}
        except OSError:
            return False
        self._known |= {(host, one) for one in found}
        return address in found


def _socket(target: str) -> str:
    """What a Unix socket is called whichever way leads to it: `/var/run` is a link to `/run`."""
    path = target.removeprefix(_UNIX)
    return path if path.startswith("@") else os.path.realpath(path)


def _is_name(host: str) -> bool:
    """Whether a resolver is to be asked for a host."""
    return host != "localhost" and ":" not in host and not host.replace(".", "").isdigit()


_VERBS = {"connect": "reach", "run": "run", "write": "write"}
_REASONS = {
    "connect": "Nothing leaves the process during a replay.",
    "run": "The recording did not run this command, or not so often.",
    "write": "A replay writes in the working copy and in temporary folders only.",
}


def refusal(
    action: str,
    target: Sequence[str],
    site: Site | None = None,
    lane: Lane = (),
    step: str | None = None,
) -> Divergence:
    """The divergence of what was refused: what the program tried, from where, and how to allow it.

    `action` and `target` as in `Interceptor.reaching`, or `connect` and the peer. `step` is the enclosing step.
    """
    what = shlex.join(target) if action == "run" else target[0] if target else "?"
    verb = _VERBS[action]
    if action == "connect" and what.startswith("dns:"):
        verb, what = "resolve", what[4:]
    what = what if len(what) <= 200 else what[:199] + "…"
    where = "" if site is None else f" at {site.file}:{site.line} in {site.function}"
    line = "the main line" if not lane else "lane " + ".".join(map(str, lane))
    inside = "" if step is None else f", inside step {step}"
    return Divergence(
        "escaped",
        f"The program tried to {verb} {what}{where}.",
        step=step,
        detail=(
            _REASONS[action],
            f"Tried by {line}{inside}.",
            f"To allow it: --allow {shlex.quote(_opening(action, target))}",
        ),
    )


def slipped(peer: str) -> Divergence:
    """The divergence of a connection that could not be refused, and was found when the program had ended."""
    return Divergence(
        "escaped",
        f"The program reached {peer} by a library's own sockets, which cannot be refused from within the process.",
        detail=("Replay it where there is no network, or stub the tool that does it.",
                f"To allow it: --allow connect={peer}"),
    )  # fmt: skip


_ALL_OF_IT = ("To allow all that a command does: --allow run=COMMAND",)
UNREAD = "an address that could not be read"
"""In place of a peer, of a process that may not be looked at."""


def kept_in(peer: str, program: str) -> Divergence:
    """The divergence of what the kernel refused (`replay.wall.Refused`): no place in the program is known for it."""
    who, by = (program, "") if program else ("The program", " by a library's own sockets")
    target = peer.removeprefix("dns:")
    what = f"look up a name at the name server {target}" if peer.startswith("dns:") else f"reach {target}"
    remedy = f"connect={target}"
    if peer.startswith("dns:"):
        remedy = "connect=HOST, by its name"
    elif peer == UNREAD:
        remedy = "'connect=*', and with it all others"
    return Divergence(
        "escaped",
        f"{who} tried to {what}{by}; that was refused.",
        detail=(_REASONS["connect"], *(_ALL_OF_IT if program else ()), f"To allow it: --allow {remedy}"),
    )


def _opening(action: str, target: Sequence[str]) -> str:
    """The `--allow` that would let this through."""
    if action == "run":
        inner = _shell_command(target)
        words = inner if inner is not None else [os.path.basename(target[0]), *target[1:]]
        return f"run={shlex.join(words)}"
    what = target[0] if target else ""
    return f"{action}={what.removeprefix('dns:')}"
