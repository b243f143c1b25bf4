"""Arguments of the commands that must start fast: argparse, made to look and fail like the other commands."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn

from rashomon.errors import UsageError


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
