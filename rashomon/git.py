"""Which state of a working copy a program ran from: commit, branch, and what was not committed.

Asks git itself, all questions at once, for a bounded time and with a bounded answer. Without git, outside a working
copy, or when it takes too long, there is nothing to tell; nothing here ever raises.
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time
from typing import Any

LIMIT_S = 0.5
"""How long the program may have to wait for it; much more than git takes in any but the largest repositories."""
MAX_DIFF = 64 * 1024
"""Bytes of the difference that are kept."""
_MAX_NAMES = 100

_GIT = ("git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
_QUESTIONS = {
    "commit": ("rev-parse", "--verify", "--quiet", "HEAD"),
    "branch": ("symbolic-ref", "--short", "--quiet", "HEAD"),
    "status": ("status", "--porcelain", "-z", "--untracked-files=normal"),
    "diff": ("diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv", "--submodule=short"),
}
_MOST = {"commit": 200, "branch": 1000, "status": 256 * 1024, "diff": MAX_DIFF}
_NAME = r"(?:KEY|SECRET|TOKEN|PASSW(?:OR)?D|CREDENTIAL)"
_ASSIGNED = re.compile(
    # a settings file's or a program's constant: NAME=value, NAME = "value"
    rf"""(?m)(\b[A-Z0-9_]*{_NAME}[A-Z0-9_]*(?:=|\s*=\s*(?=["'])))(["']?)([^\s"']{{8,}})"""
    # a line of YAML
    r"""|^([+\- ]\s*[\w-]*(?:api_?key|secret|passw(?:or)?d)[\w-]*:\s+)(["']?)([^\s"',;()]{8,})(?=["']?\s*$)""",
)
_BEGUN_KEY = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?![\s\S]*-----END )[\s\S]*")


def provenance(folder: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
    """What git says of the working copy around a folder: `commit`, `branch`, `dirty`, `diff`, `untracked`.

    `branch` is None on a detached head, `commit` before the first one. `diff` is against the commit, `cut` says that
    there was more of it, `untracked` names files that git does not know. `missing` lists what git did not answer in
    time. Empty outside a working copy. What is assigned to names that tell of secrets is gone from `diff`; others are
    the redactor's, through which all goes that is written, so a difference is cut where no secret is cut in two.
    """
    try:
        answers, late = _ask(folder, limit_s)
        return _facts(answers, late)
    except Exception:  # whatever is wrong with git, the program is recorded
        return {}


def _ask(folder: str, limit_s: float) -> tuple[dict[str, bytes], list[str]]:
    """The answers to all questions that were given in time, and the questions that were not."""
    deadline = time.monotonic() + limit_s
    environ = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    started: dict[str, subprocess.Popen[bytes]] = {}
    answers: dict[str, bytes] = {}
    try:
        for name, words in _QUESTIONS.items():
            started[name] = subprocess.Popen(
                [*_GIT, *words], cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        with selectors.DefaultSelector() as selector:
            for name, process in started.items():
                assert process.stdout is not None
                selector.register(process.stdout, selectors.EVENT_READ, name)
                answers[name] = b""
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    break
                for key, _ in ready:
                    data = os.read(key.fd, 65536)
                    answers[key.data] += data
                    if not data or len(answers[key.data]) > _MOST[key.data]:
                        selector.unregister(key.fileobj)
            late = [key.data for key in selector.get_map().values()]
    finally:
        for process in started.values():
            _end(process)
    failed = [
        name for name, process in started.items() if name not in late and not answers[name] and process.returncode
    ]
    return {name: answer for name, answer in answers.items() if name not in failed}, late


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdout is not None
    process.stdout.close()
    try:
        process.wait(0.01)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _facts(answers: dict[str, bytes], late: list[str]) -> dict[str, Any]:
    if "status" not in answers:  # no working copy
        return {}
    found: dict[str, Any] = {
        "commit": _text(answers.get("commit", b"")).strip() or None,
        "branch": _text(answers.get("branch", b"")).strip() or None,
    }
    changed, untracked = _names(answers["status"])
    if "status" not in late:
        found["dirty"] = bool(changed or untracked)
    if untracked:
        found["untracked"] = untracked[:_MAX_NAMES]
    diff = answers.get("diff", b"") if "diff" not in late else b""
    if diff:
        text = _ASSIGNED.sub(_unassigned, _text(diff[:MAX_DIFF]))
        if len(diff) > MAX_DIFF:
            text, found["cut"] = _BEGUN_KEY.sub("", text.rpartition("\n")[0] + "\n"), True
        found["diff"] = text
    if late:
        found["missing"] = late
    return found


def _names(status: bytes) -> tuple[list[str], list[str]]:
    """Changed and untracked files. A renamed one is followed by its old name, which is no entry of its own."""
    changed: list[str] = []
    untracked: list[str] = []
    entries = iter(_text(status).split("\0"))
    for entry in entries:
        if len(entry) > 3:
            (untracked if entry.startswith("??") else changed).append(entry[3:])
            if "R" in entry[:2] or "C" in entry[:2]:
                next(entries, None)
    return changed, untracked


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _unassigned(found: re.Match[str]) -> str:
    """`NAME=<secret>`. A difference may show settings files."""
    name, quote = (found[1], found[2]) if found[1] is not None else (found[4], found[5])
    return f"{name}{quote}<secret>"
