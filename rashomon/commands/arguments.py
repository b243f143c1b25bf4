"""Arguments of the commands that must start fast: argparse, made to look and fail like the other commands."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any, NoReturn

from rashomon.errors import UsageError
from rashomon.home import home_name, refuse_own
from rashomon.recorders.complaints import complain


def report_file(path: str) -> str:
    """`--report FILE`, made absolute. Raises `UsageError` where no file can be: a program must not have run for it."""
    whole = os.path.abspath(path)
    if os.path.isdir(whole) or not os.path.isdir(os.path.dirname(whole)):
        why = "It is a folder" if os.path.isdir(whole) else f"There is no folder {os.path.dirname(whole)}"
        raise UsageError(f"--report {path!r} cannot be written.", f"{why}; name a file in one that exists.")
    refuse_own(whole, home_name())
    return whole


def write_report(path: str | None, text: str) -> None:
    """Write a report to the file, or to stderr. One that cannot be written changes no exit code, and is told."""
    if path is None:
        sys.stderr.write(text + "\n")
        return
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        complain(f"WARNING: the report {path} could not be written: {error.strerror or error}.")


SHORT_ID = 16
"""So many digits of a trace's id are printed in a command: the millisecond, and chance among 65,536."""


def see(command: str, *traces: str, home: str | None) -> str:
    """A command that shows traces, as it can be typed where this one was: with its `--home` where that was given."""
    words = ["rashomon", command, *(one[:SHORT_ID] for one in traces)]
    if home:
        import shlex  # what is recorded starts without it

        words += ["--home", shlex.quote(home)]
    return f"See it: {' '.join(words)}"


class _Help(argparse.RawDescriptionHelpFormatter):
    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        super().add_usage(usage, actions, groups, "Usage: " if prefix is None else prefix)

    def start_section(self, heading: str | None) -> None:
        names = {"positional arguments": "Arguments", "options": "Options"}
        super().start_section(names.get(heading or "", heading))


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose help reads like the rest, and whose errors are `UsageError`s.

    `example` is one whole command line, shown last.
    """

    def __init__(self, command: str, description: str, usage: str, example: str) -> None:
        super().__init__(
            f"rashomon {command}",
            usage=f"rashomon {command} {usage}",
            description=description,
            epilog=f"Example: {example}",
            formatter_class=_Help,
            allow_abbrev=False,  # a new option must not change what an old script means
        )

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the arguments as a `UsageError`."""
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"See {self.prog} --help.")
