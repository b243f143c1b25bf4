"""What a trace of a command is called: the program's own name, without interpreter and launcher."""

from __future__ import annotations

import os
import re

from rashomon.recorders.reaching import _OPTIONS as PYTHON_OPTIONS
from rashomon.recorders.reaching import PYTHONS

_PYTHON = re.compile(rf"({'|'.join(PYTHONS)})w?[0-9.]*t?(\.exe)?")
_SETTING = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_WITH_VALUE = {
    "env": {"-u", "--unset", "-C", "--chdir"},
    "uv": {
        "-C", "-P", "-f", "-i", "-p", "-w", "--cache-dir", "--color", "--config-file", "--config-setting",
        "--default-index", "--directory", "--env-file", "--exclude-newer", "--extra", "--extra-index-url",
        "--find-links", "--group", "--index", "--index-strategy", "--index-url", "--link-mode", "--no-extra",
        "--no-group", "--only-group", "--package", "--prerelease", "--project", "--python", "--resolution",
        "--upgrade-package", "--with", "--with-editable", "--with-requirements",
    },
    "poetry": {"-C", "-P", "--directory", "--project"},
    "pipenv": {"--python"},
    "pdm": {"-c", "-p", "--config", "--project", "--venv"},
}  # fmt: skip
"""Programs that run another one, each with its options that take the next word."""


def program_name(command: list[str]) -> str:
    """The name of the program that a command runs: of a script without `.py`, of `-m` the module."""
    words = list(command)
    while words:
        own = os.path.basename(words[0])
        launcher = own.removesuffix(".exe")
        if _PYTHON.fullmatch(own):
            return _of_python(own, words[1:])
        if launcher not in _WITH_VALUE:
            break
        module, words = _behind(launcher, words[1:])
        if module:
            return words[0] if words else launcher
        if not words:
            return launcher
    return _of_file(words[0]) if words else "program"


def _of_file(path: str) -> str:
    return os.path.basename(path.rstrip("/")).removesuffix(".py") or "program"


def _of_python(own: str, words: list[str]) -> str:
    """What an interpreter runs, behind its options; its own name where that is a text, or stdin."""
    rest = iter(words)
    for word in rest:
        options = PYTHON_OPTIONS.fullmatch(word)
        if options is None:
            if word == "--check-hash-based-pycs":
                next(rest, "")
            if word.startswith("--"):
                continue
            return own if word == "-" else _of_file(word)
        last, given = options[2], options[3]
        if last == "c":
            break
        value = given or (next(rest, "") if last else "")
        if last == "m":
            return value or own
    return own


def _behind(launcher: str, words: list[str]) -> tuple[bool, list[str]]:
    """The words behind a launcher's options, settings and `run`; and whether the first is a module's name."""
    module = False
    rest = iter(words)
    for word in rest:
        if word in _WITH_VALUE[launcher]:
            next(rest, "")
        elif word.startswith("-"):
            module = module or (launcher == "uv" and word in ("-m", "--module"))
        elif word != "run" and not (launcher == "env" and _SETTING.fullmatch(word)):
            return module, [word, *rest]
    return module, []
