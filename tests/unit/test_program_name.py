"""What a trace is called where nobody named it."""

from __future__ import annotations

import shlex

import pytest

from rashomon.commands.program_name import program_name


@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("python w.py", "w"),
        ("/usr/bin/python3.11 folder/w.py --customer 7", "w"),
        ("pypy3 w.py", "w"),
        ("python -X dev w.py", "w"),
        ("python -Xdev w.py", "w"),
        ("python -W error w.py", "w"),
        ("python -uW error w.py", "w"),
        ("python -BI w.py", "w"),
        ("python --check-hash-based-pycs always w.py", "w"),
        ("python environment.py 7", "environment"),
        ("python python_agent.py foo", "python_agent"),
        ("python run 7", "run"),
        ("python -m pkg.mod --name x", "pkg.mod"),
        ("python -um pkg.mod", "pkg.mod"),
        ("python -mpkg.mod", "pkg.mod"),
        ("python -c 'import a.b; print(1)' x", "python"),
        ("python -", "python"),
        ("python3", "python3"),
        ("python3 -u", "python3"),
        ("python pkg/", "pkg"),
        ("env FOO=1 python w.py", "w"),
        ("/usr/bin/env -u BAR FOO=1 LONG_NAME=a=b python3 -X dev w.py", "w"),
        ("env FOO=1 ./agent --fast", "agent"),
        ("env", "env"),
        ("uv run x.py", "x"),
        ("uv run --with rich --no-sync x.py y.py", "x"),
        ("uv --directory elsewhere run python -W error x.py", "x"),
        ("uv run -m pkg.mod", "pkg.mod"),
        ("uv run agent", "agent"),
        ("poetry run python w.py", "w"),
        ("poetry run agent --x", "agent"),
        ("env FOO=1 uv run python w.py", "w"),
        ("./agent.py", "agent"),
        ("pythonic run w.py", "pythonic"),
        ("uvicorn app:main", "uvicorn"),
        ("environment.py 7", "environment"),
        ("/", "program"),
    ],
)
def test_a_trace_is_called_what_its_program_is(command: str, name: str) -> None:
    """Interpreters and launchers, their options and what these take are not the program."""
    assert program_name(shlex.split(command)) == name


def test_no_command_has_a_name_too() -> None:
    """What comes from nowhere does not fail here."""
    assert program_name([]) == "program"
