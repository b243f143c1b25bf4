"""What README and help say exists: each command and each option that the documents show."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
COMMANDS = [
    "record",
    "replay",
    "doctor",
    "ls",
    "grep",
    "show",
    "diff",
    "tui",
    "sql",
    "ingest",
    "demo",
    "note",
    "export",
    "import",
    "lake",
    "gc",
    "forget",
    "verify",
    "salvage",
]


def help_of(*command: str) -> str:
    """What `--help` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "rashomon.cli", *command, "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def shown_commands() -> list[str]:
    """Each command line of ours in a code block of the README."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.S | re.M)
    lines = "\n".join(blocks).splitlines()
    return [line.strip() for line in lines if line.strip().startswith("rashomon ")]


def test_readme_shows_the_main_commands() -> None:
    """The README has an example of each command that a newcomer needs."""
    shown = {shlex.split(line)[1] for line in shown_commands()}
    assert {"record", "replay", "ls", "show", "diff", "tui", "sql", "demo"} <= shown


@pytest.mark.parametrize("line", sorted(set(shown_commands())))
def test_readme_commands_exist(line: str) -> None:
    """Each command of the README exists, with each option that it shows."""
    words = shlex.split(line)
    if "--" in words:
        words = words[: words.index("--")]
    if words[1].startswith("--"):
        assert words[1] in help_of()
        return
    assert words[1] in COMMANDS
    text = help_of(words[1])
    for option in [word.split("=")[0] for word in words[2:] if word.startswith("--")]:
        assert option in text, f"{line}: no option {option}"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command_has_an_example(command: str) -> None:
    """`rashomon COMMAND --help` shows usage and an example that begins with the command."""
    text = help_of(command)
    assert f"rashomon {command}" in text.split("\n")[0]
    assert re.search(rf"[Ee]xamples?:\s+rashomon {command}\b", text), text


def test_help_lists_every_command() -> None:
    """`rashomon --help` names each command once."""
    listed = re.findall(r"^  (\w+)  ", help_of().split("Commands:")[1], re.M)
    assert sorted(listed) == sorted(COMMANDS)


def test_every_json_document_is_described() -> None:
    """`docs/formats/json.md` has a section for each format that a command prints."""
    described = set(re.findall(r"rashomon\.\w+/\d+", (ROOT / "docs" / "formats" / "json.md").read_text()))
    import rashomon.commands

    folder = Path(rashomon.commands.__file__).parent
    printed = {name for path in folder.glob("*.py") for name in re.findall(r'"(rashomon\.\w+/\d+)"', path.read_text())}
    assert printed <= described


def test_version() -> None:
    """`--version` says which version this is."""
    import rashomon

    done = subprocess.run(
        [sys.executable, "-m", "rashomon.cli", "--version"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == f"rashomon {rashomon.__version__}"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str) -> None:
    """`--show-completion` prints a script for each shell."""
    environ = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    command = [sys.executable, "-m", "rashomon.cli", "--show-completion", shell]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr
    assert "_RASHOMON_COMPLETE" in done.stdout


def test_completion_of_commands() -> None:
    """A shell that asks what follows `rashomon re` is told."""
    environ = {
        **os.environ,
        "_RASHOMON_COMPLETE": "complete_bash",
        "COMP_WORDS": "rashomon re",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "rashomon.cli"], capture_output=True, text=True, env=environ, check=False
    )
    assert done.stdout.split() == ["record", "replay"]
