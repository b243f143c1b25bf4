"""What a replayed program may do: the rules, without a program."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

import pytest

from rashomon.errors import UsageError
from rashomon.model import Launched, Site, Tape, Trace
from rashomon.replay.policy import Policy, parse_allow, refusal


def tape_of(*commands: tuple[str, ...]) -> Tape:
    """A recording that ran these commands."""
    return Tape(Trace("t", "t", 0, launched=tuple(Launched(argv, ()) for argv in commands)), ())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("connect", "names no host"),
        ("connect=", "names no host"),
        ("connect=https://example.com/v1", "Leave out the scheme"),
        ("connect=example.com:http", "is no HOST"),
        ("connect=example.com:70000", "is no HOST"),
        ("connect=unix:", "names no socket"),
        ("connect=unix:@", "names no socket"),
        ("run=", "names no command"),
        ("run=git 'push", "is no command"),
        ("write=", "names no path"),
        ("read=/etc/passwd", "does not say what to allow"),
        ("/etc/passwd", "does not say what to allow"),
    ],
)
def test_allowances_that_cannot_be_read(text: str, message: str) -> None:
    """What is no allowance is a usage error that shows the forms there are."""
    with pytest.raises(UsageError, match=message):
        parse_allow(text)


def test_paths_are_allowed_from_where_the_user_is(tmp_path: Path) -> None:
    """A relative path means the folder of the user, and stays the same when it is read again elsewhere."""
    told = str(parse_allow("write=out/log", str(tmp_path)))
    assert told == f"write={tmp_path}/out/log"
    assert str(parse_allow(told)) == told


@pytest.mark.parametrize(
    ("allow", "peer", "expected"),
    [
        ((), "127.0.0.1:80", False),
        (("connect=127.0.0.1",), "127.0.0.1:80", True),
        (("connect=127.0.0.1:80",), "127.0.0.1:80", True),
        (("connect=127.0.0.1:81",), "127.0.0.1:80", False),
        (("connect=127.0.0.1",), "127.0.0.11:80", False),
        (("connect=localhost:80",), "127.0.0.1:80", True),
        (("connect=localhost:80",), "::1:80", True),
        (("connect=[::1]:80",), "::1:80", True),
        (("connect=::1",), "::1:80", True),
        (("connect=*:5432",), "198.51.100.7:5432", True),
        (("connect=*:5432",), "198.51.100.7:80", False),
        (("connect=api.example.com",), "dns:api.example.com", True),
        (("connect=api.example.com:443",), "dns:API.example.com", True),
        (("connect=api.example.com",), "dns:example.com", False),
        (("connect=api.example.com:443",), "api.example.com:443", True),
        (("connect=unix:/run/db.sock",), "unix:/run/db.sock", True),
        (("connect=unix:@db",), "unix:@db", True),
        (("connect=unix:@db",), "unix:@other", False),
        (("connect=*",), "unix:/run/db.sock", False),
    ],
)
def test_peers(allow: tuple[str, ...], peer: str, expected: bool) -> None:
    """A host is allowed by name or address, with or without a port; a name may be looked up if it may be reached."""
    assert Policy(tape_of(), allow).may_connect(peer) is expected


def test_a_name_stands_for_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the resolver says of an allowed name may be reached; another address may not."""
    import socket

    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("198.51.100.7", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, port: found if host == "api.example.com" else [])
    policy = Policy(tape_of(), ("connect=api.example.com:443",))
    assert policy.may_connect("198.51.100.7:443")
    assert not policy.may_connect("198.51.100.7:80")
    assert not policy.may_connect("198.51.100.8:443")


def test_recorded_commands_run_as_often_as_they_did() -> None:
    """A command that the recording ran twice may run twice, and not a third time; another never."""
    policy = Policy(tape_of(("git", "status"), ("git", "status")))
    assert [policy.may_run(("git", "status")) for _ in range(3)] == [True, True, False]
    assert not policy.may_run(("git", "push"))


@pytest.mark.parametrize(
    ("recorded", "now", "expected"),
    [
        (("/usr/bin/python3.11", "x.py"), ("/opt/venv/bin/python", "x.py"), True),
        (("/usr/bin/python3.11", "x.py"), ("/opt/venv/bin/python", "y.py"), False),
        (("cc", "/tmp/tmpab12cd_9/a.c"), ("cc", "/tmp/tmpzz_y0k12/a.c"), True),
        (("cc", "/tmp/tmpab12cd_9/a.c"), ("cc", "/tmp/tmpzz_y0k12/b.c"), False),
        (("/usr/bin/git", "status"), ("/opt/git", "status"), False),
    ],
)
def test_what_may_differ_in_a_recorded_command(recorded: tuple[str, ...], now: tuple[str, ...], expected: bool) -> None:
    """Where an interpreter lives and how temporary files are called does not matter; all else does."""
    assert Policy(tape_of(recorded)).may_run(now) is expected


def test_recorded_commands_are_compared_as_they_were_written() -> None:
    """A secret in a command was replaced before it was recorded, and is replaced before it is compared."""
    policy = Policy(tape_of(("login", "<secret:1>")), redact=lambda word: word.replace("hunter2", "<secret:1>"))
    assert policy.may_run(("login", "hunter2"))


@pytest.mark.parametrize(
    ("allow", "argv", "expected"),
    [
        ("run=git", ("git", "push"), True),
        ("run=git", ("/usr/bin/git", "push"), True),
        ("run=git status", ("git", "status", "-s"), True),
        ("run=git status", ("git", "push"), False),
        ("run=/usr/bin/git", ("/usr/bin/git", "push"), True),
        ("run=/usr/bin/git", ("git", "push"), False),
        ("run=git", ("/bin/sh", "-c", "git push --tags"), True),
        ("run=git", ("/bin/sh", "-c", "git status; rm -rf x"), False),
        ("run=git", ("/bin/sh", "-c", "git $(evil)"), False),
        ("run=sh -c 'a; b'", ("/bin/sh", "-c", "a; b"), True),
        ("run=git", ("gitk",), False),
    ],
)
def test_allowed_commands(allow: str, argv: tuple[str, ...], expected: bool) -> None:
    """A command is allowed by its first words, any number of times; a shell's only when it is one plain command."""
    policy = Policy(tape_of(), (allow,))
    assert [policy.may_run(argv), policy.may_run(argv)] == [expected, expected]


def test_where_a_program_may_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the git working tree around it, in temporary folders, on devices, bytecode, and where it was allowed to."""
    temporary, project = tmp_path / "tmp", tmp_path / "project"
    (project / ".git").mkdir(parents=True)
    (project / "src").mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    policy = Policy(tape_of(), (f"write={tmp_path}/allowed",), str(project / "src"), (str(tmp_path / "home"),))
    free = [
        project / "top.txt", project / "src" / "x", temporary / "x", tmp_path / "allowed", tmp_path / "allowed" / "x",
        tmp_path / "home" / "journals" / "x", "/dev/null", "/dev/pts/3", f"/proc/{os.getpid()}/comm",
        "/usr/lib/x/__pycache__", "/usr/lib/x/__pycache__/m.cpython-311.pyc.1402",
    ]  # fmt: skip
    refused = [tmp_path / "x", tmp_path / "project2" / "x", tmp_path / "allowed2", "/etc/passwd", "/usr/lib/x/m.pyc",
               "/dev/sda", "/proc/1/comm", "/usr/lib/x/__pycache__/notes.txt"]  # fmt: skip
    assert [str(path) for path in free if not policy.may_write(str(path))] == []
    assert [str(path) for path in refused if policy.may_write(str(path))] == []


def test_a_worktree_has_its_repository_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What git keeps for a further working tree may be written, as it may where the repository is in the tree."""
    monkeypatch.setenv("TMPDIR", "/nowhere/tmp")
    monkeypatch.setattr(tempfile, "tempdir", None)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path / "main"))
    subprocess.run(["git", "init", "-q", str(tmp_path / "main")], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "first"], check=True)
    subprocess.run([*git, "worktree", "add", "-q", str(tmp_path / "other")], check=True, capture_output=True)
    policy = Policy(tape_of(), (), str(tmp_path / "other"))
    for path, expected in (("other/file", True), ("main/.git/worktrees/other/index", True),
                           ("main/.git/objects/ab", True), ("main/file", False)):  # fmt: skip
        assert policy.may_write(str(tmp_path / path)) is expected, path
    (tmp_path / "odd").mkdir()
    for told in ("gitdir: /etc", "gitdir:", "anything", "gitdir: ../main"):
        (tmp_path / "odd" / ".git").write_text(told)
        policy = Policy(tape_of(), (), str(tmp_path / "odd"))
        written = [policy.may_write(path) for path in (f"{tmp_path}/odd/a", "/etc/passwd", f"{tmp_path}/main/file")]
        assert written == [True, False, False], told


def test_the_root_is_no_working_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that runs in the root of the file system may not write everywhere."""
    monkeypatch.setenv("TMPDIR", "/nowhere/tmp")
    assert not Policy(tape_of(), (), "/").may_write("/etc/passwd")


@pytest.mark.parametrize(
    ("action", "target", "opening"),
    [
        ("run", ("/usr/bin/git", "push", "a b"), "run=git push 'a b'"),
        ("run", ("/bin/sh", "-c", "git push"), "run=git push"),
        ("run", ("/bin/sh", "-c", "a; b"), "run=sh -c 'a; b'"),
        ("write", ("/etc/x y",), "write=/etc/x y"),
        ("connect", ("198.51.100.7:443",), "connect=198.51.100.7:443"),
        ("connect", ("dns:api.example.com",), "connect=api.example.com"),
    ],
)
def test_a_refusal_tells_how_to_allow_it(action: str, target: tuple[str, ...], opening: str) -> None:
    """A refusal names the place in the source and the option that lets it through, and that option does."""
    told = refusal(action, target, Site("agent.py", 34, "deploy"), (0, 2), "7")
    assert told.kind == "escaped"
    assert "agent.py:34 in deploy" in told.summary
    assert "lane 0.2, inside step 7" in told.detail[1]
    allowed = shlex.split(told.detail[-1])[-1]
    assert allowed == opening
    policy = Policy(tape_of(), (allowed,), "/")
    if action == "run":
        assert policy.may_run(target)
    else:
        assert policy.may_write(target[0]) if action == "write" else policy.may_connect(target[0])
