"""What README and help say exists: each command and each option that the documents show."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rashomon.store import open_home
from tests.integration.cli.conftest import NEW, OLD, Ran, refund, trouble, write_journal
from tests.support import ROOT, code_blocks

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
    lines = "\n".join(code_blocks(ROOT / "README.md")).splitlines()
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


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
READING = ("ls", "grep", "show", "diff", "sql", "verify")
"""Commands that only read, so that what a page shows of them can be run as it stands."""


def statements() -> dict[str, str]:
    """Each statement of SQL in a fence of a page, by its page and beginning."""
    blocks = [(page, block) for page in PAGES for block in code_blocks(page, "sql")]
    split = [(page, one.strip()) for page, block in blocks for one in re.split(r";\n", block) if one.strip()]
    return {f"{page.stem}: {' '.join(one.split())[:60]}": one for page, one in split}


def reading_lines() -> list[str]:
    """Each command line of a page that only reads and names no TRACE or FILE, in a fence or between backticks."""
    found = []
    for page in PAGES:
        lines = "\n".join(code_blocks(page)).splitlines()
        lines += re.findall(r"`(rashomon (?:sql|grep) '[^`]*')`", page.read_text(encoding="utf-8"))
        found += [line.strip() for line in lines if line.strip().startswith("rashomon ")]
    words = {line: shlex.split(line, comments=True) for line in found}
    return sorted(
        line
        for line, said in words.items()
        if said[1] in READING and not any(re.fullmatch(r"[A-Z]+(\.\.\.)?", word) for word in said)
    )


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a trace, one that went wrong, and a replay of the first; taken in."""
    home = tmp_path_factory.mktemp("filled") / "home"
    (home / "journals").mkdir(parents=True)
    again = refund("000400000000000000000000dd", "lost", "I cannot refund order A-1042.", parent=OLD)
    for tape in (refund(OLD), refund(NEW), trouble(), again):
        write_journal(home / "journals" / f"{tape.trace.id}.rsj", tape)
    open_home(home).close()
    return home


@pytest.mark.parametrize("title", statements())
def test_sql_of_the_pages_runs(filled: Path, title: str) -> None:
    """Each statement that a page shows is understood, and names what there is."""
    with open_home(filled) as store:
        assert store.query(statements()[title]).columns


def test_pages_show_sql_and_commands() -> None:
    """What the tests run is found: none of them is empty."""
    assert len(statements()) > 20
    assert {shlex.split(line)[1] for line in reading_lines()} >= {"ls", "grep", "show", "sql"}


@pytest.mark.parametrize("line", reading_lines())
def test_reading_lines_of_the_pages_run(filled: Path, rashomon: Callable[..., Ran], line: str) -> None:
    """Each command line of a page that only reads does so; to find nothing, or a difference, is no failure."""
    ran = rashomon(*shlex.split(line, comments=True)[1:], env={"RASHOMON_HOME": str(filled)})
    assert ran.code == 0 or (ran.code == 1 and line.split()[1] in ("grep", "diff")), ran.err
    assert ran.err == ""


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


def test_help_has_the_exit_codes_of_the_readme() -> None:
    """Each exit code in the table of the README is in `rashomon --help`, and no other one."""
    table = (ROOT / "README.md").read_text().partition("| exit code |")[2].partition("\n\n")[0]
    told = help_of().partition("Exit codes:")[2]
    assert re.findall(r"^\| (\d+) ", table, re.M) == re.findall(r"\b\d+\b", told)


def test_every_json_document_is_described() -> None:
    """`docs/formats/json.md` has a section for each format that a command prints."""
    described = set(re.findall(r"rashomon\.\w+/\d+", (ROOT / "docs" / "formats" / "json.md").read_text()))
    import rashomon.commands

    folder = Path(rashomon.commands.__file__).parent
    printed = {name for path in folder.glob("*.py") for name in re.findall(r'"(rashomon\.\w+/\d+)"', path.read_text())}
    assert printed <= described


def documented(what: str) -> set[str]:
    """The keys in the table of `docs/formats/json.md` that follows what a thing is called, in bold."""
    text = (ROOT / "docs" / "formats" / "json.md").read_text(encoding="utf-8")
    table = text[text.index(f"A **{what}**") :].split("|---|---|\n")[1].split("\n\n")[0]
    return {key for line in table.splitlines() for key in re.findall(r"`(\w+)`", line.split("|")[1])}


def test_the_keys_of_a_list_are_documented(rashomon: Callable[..., Ran]) -> None:
    """`ls --json` prints the keys that the page has for a row, no more and no less."""
    rows = rashomon("ls", "--json").json()["traces"]
    assert [set(row) for row in rows] == [documented("row")] * 3


def test_the_keys_of_a_trace_and_its_steps_are_documented(rashomon: Callable[..., Ran]) -> None:
    """`show --json` prints the keys that the page has for a trace and for a step, no more and no less."""
    shown = rashomon("show", "@last", "--json").json()
    assert set(shown["trace"]) == documented("trace")
    assert [set(step) for step in shown["steps"]] == [documented("step")] * 2


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
