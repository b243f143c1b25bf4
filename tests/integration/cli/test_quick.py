"""Arguments that are read without the command framework mean what the framework makes of them."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Any

import pytest
import typer

from rashomon.store.connection import open_writer
from tests.support import environment, rashomon

WORDS = ("@last", "3", "0.3", "kind:llm", "-kind:llm", "status:err", "a b", "", "é", "-1", "7", "2w", "request", "json",
         "x.parquet", "-", "select 1", "--", "response")  # fmt: skip

PROGRAM = """
import json, sys
from importlib import import_module
from pathlib import Path
from rashomon.commands import quick
for name, *words in json.loads(sys.argv[1]):
    values = quick.read(getattr(import_module(f"rashomon.commands.{name}"), name), words)
    shown = None if values is None else {key: repr(value) for key, value in values.items()}
    print(json.dumps(shown))
assert "typer" not in sys.modules
"""


def quickly(lines: list[list[str]]) -> list[dict[str, str] | None]:
    """What the quick reader makes of each line, in a process without the framework."""
    command = [sys.executable, "-c", PROGRAM, json.dumps(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def by_typer(line: list[str]) -> dict[str, str] | None:
    """The values that typer hands to the command, without those that are its defaults; None for an error."""
    from rashomon.commands.app import app

    registered = next(one for one in app.registered_commands if one.name == line[0])
    command, found = registered.callback, []
    assert command is not None

    def caught(**values: Any) -> None:
        found.append(values)

    caught.__signature__ = inspect.signature(command)  # type: ignore[attr-defined]
    caught.__annotations__ = command.__annotations__
    own = typer.Typer(add_completion=False)
    own.command(line[0], cls=registered.cls, context_settings=registered.context_settings)(caught)
    try:
        own(line[1:], standalone_mode=False)
    except Exception:
        return None
    if not found:
        return None
    defaults = defaults_of(command)
    return {name: repr(value) for name, value in found[0].items() if name not in defaults or value != defaults[name]}


def defaults_of(command: Callable[..., Any]) -> dict[str, Any]:
    """The defaults of a command's parameters."""
    found = inspect.signature(command).parameters
    return {name: one.default for name, one in found.items() if one.default is not inspect.Parameter.empty}


def options_of(name: str) -> list[str]:
    """The names of a command's options."""
    from rashomon.commands.app import app

    made = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    return [option for one in made.params for option in one.opts if option.startswith("-")]


@pytest.mark.parametrize("name", ["ls", "show", "grep", "sql"])
def test_what_is_read_quickly_is_what_typer_reads(name: str) -> None:
    """Of lines made up by chance: wherever the quick reader takes one, typer hands over the same values."""
    chance = Random(name)
    options = options_of(name)
    lines = []
    for _ in range(150):
        words = chance.choices((*WORDS, *options, *(f"{one}=5" for one in options)), k=chance.randrange(5))
        lines.append([name, *words])
    taken = 0
    for line, values in zip(lines, quickly(lines), strict=True):
        if values is None:
            continue
        taken += 1
        wanted = by_typer(line)
        defaults = defaults_of(getattr(import_module(f"rashomon.commands.{name}"), name))
        told = {key: value for key, value in values.items() if key not in defaults or value != repr(defaults[key])}
        assert told == wanted, line
    assert taken > 10


NOT_FOR_A_LIST = {
    *("typer", "rich", "pydantic", "duckdb", "tempfile", "msgpack"),
    *("rashomon.dialects", "rashomon.model", "rashomon.session", "rashomon.filters"),
}


def test_a_list_loads_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    """`rashomon ls` in a pipe waits for no framework, no pretty printer, and for nothing that records or decodes."""
    assert ran("import rashomon\nwith rashomon.trace('t'): pass", tmp_path).returncode == 0
    rashomon("ls", home=tmp_path)
    done = ran(
        "import sys; from rashomon.cli import main; code = main(['ls', '--limit', '3'])\n"
        f"print(code, *sorted({NOT_FOR_A_LIST} & set(sys.modules)))",
        tmp_path,
    )
    assert done.stdout.splitlines()[-1:] == ["0"], done.stdout + done.stderr


@pytest.mark.parametrize("words", [["--help"], ["--limit", "0"], ["--limit", "many"], ["--nothing"], ["--where"]])
def test_what_is_not_plain_is_left_to_typer(tmp_path: Path, words: list[str]) -> None:
    """Help and mistakes are told as ever."""
    done = rashomon("ls", *words, home=tmp_path)
    assert done.returncode == (0 if words == ["--help"] else 2)
    assert ("Usage: rashomon ls" in done.stdout) if words == ["--help"] else ("See rashomon" in done.stderr)


def ran(program: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A program of Python's, with a home."""
    return subprocess.run(
        [sys.executable, "-c", program], env=environment(home), capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("words", [["ls", "nofield:x"], ["ls"], ["grep", "("], ["show", "@last"], ["sql", "select"]])
def test_no_command_leaves_its_store_open(tmp_path: Path, words: list[str]) -> None:
    """However a command ends, the file that was opened while it was loaded is let go of."""
    rashomon("ls", home=tmp_path)
    open_writer(tmp_path / "store.duckdb").close()
    program = (
        f"from rashomon.cli import main; main({words!r})\n"
        "from pathlib import Path; from rashomon.store.connection import open_writer\n"
        f"open_writer(Path({str(tmp_path)!r}, 'store.duckdb'), wait_s=0).close(); print('free')"
    )
    done = ran(program, tmp_path)
    assert done.stdout.endswith("free\n"), done.stdout + done.stderr


def test_what_waits_for_the_end_of_the_process_is_done(tmp_path: Path) -> None:
    """A command ends its process at once only where nobody has asked for more."""
    program = (
        "import atexit, sys; atexit.register(print, 'at the end'); sys.argv = ['rashomon', 'sql', 'select 42 as n']\n"
        "from rashomon.cli import main; sys.exit(main())"
    )
    done = ran(program, tmp_path)
    assert (done.returncode, done.stdout) == (0, " n\n42\nat the end\n"), done.stderr


def test_all_is_printed_before_the_process_ends(tmp_path: Path) -> None:
    """A long answer comes whole through a pipe, and the exit code is the command's."""
    done = rashomon("sql", "select range as n from range(200000)", "--format", "csv", home=tmp_path)
    assert (done.returncode, done.stdout.count("\n"), done.stdout[-7:]) == (0, 200_001, "199999\n")
    assert rashomon("sql", "select 1 + ", home=tmp_path).returncode == 2
