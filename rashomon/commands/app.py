"""The commands as one application: names, help, completion. Each command lives in a file of its own."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated

import typer

from rashomon.commands import (
    diff,
    export,
    forget,
    gc,
    grep,
    import_,
    ingest,
    lake,
    ls,
    note,
    salvage,
    show,
    sql,
    tui,
    verify,
)
from rashomon.commands.declared import for_typer
from rashomon.commands.filter_command import FilterCommand
from rashomon.errors import UsageError
from rashomon.version import __version__

_ABOUT = """Record an LLM agent's execution, replay it exactly, and see where a changed run leaves it.

A TRACE is an id, a unique prefix of one, a name, @last, @prev or @last~2. Recordings live in
$RASHOMON_HOME, else in the nearest .rashomon folder upwards, else in ./.rashomon.
"""
_EXIT_CODES = (
    "Exit codes: 0 done, or the replay held; 1 it diverged, the traces differ, or grep found nothing; 2 bad usage or "
    "input; 3 the program could not be run; 4 damaged data; 70 a bug of ours; 130 interrupted; 141 the reader of a "
    "pipe went away. record ends as the program did."
)

app = typer.Typer(
    name="rashomon",
    help=_ABOUT,
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode=None,  # plain: it reads the same in a pipe and beside `record --help`
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"rashomon {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Hold the options of `rashomon` itself; the text of its help is `_ABOUT`."""


def _pass_through(name: str, about: str) -> Callable[[typer.Context], None]:
    """A command that reads its own arguments. Reached here for the list of commands and for completion."""

    def command(context: typer.Context) -> None:
        raise typer.Exit(import_module(f"rashomon.commands.{name}").main(list(context.args)))

    command.__doc__ = about
    return command


_OWN_ARGUMENTS = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
for _name, _about in (
    ("record", "Run a command under the recorder, unchanged."),
    ("replay", "Run a recorded program again, answered from its recording."),
    ("doctor", "Run a program twice, and list what makes its runs differ."),
):
    app.command(_name, context_settings=_OWN_ARGUMENTS)(_pass_through(_name, _about))
app.command("ls", epilog=ls.EXAMPLE, cls=FilterCommand)(ls.ls)
app.command("grep", epilog=grep.EXAMPLE, cls=FilterCommand)(grep.grep)
app.command("note", epilog=note.EXAMPLE)(note.note)
app.command("show", epilog=show.EXAMPLE, cls=FilterCommand)(show.show)
app.command("diff", epilog=diff.EXAMPLE)(diff.diff)
app.command("tui", epilog=tui.EXAMPLE)(tui.tui)
app.command("sql", epilog=sql.EXAMPLE)(sql.sql)
app.command("ingest", epilog=ingest.EXAMPLE)(ingest.ingest)
app.command("export", epilog=export.EXAMPLE)(export.export)
app.command("import", epilog=import_.EXAMPLE)(import_.import_)
app.command("lake", epilog=lake.EXAMPLE)(lake.lake)
app.command("gc", epilog=gc.EXAMPLE)(gc.gc)
app.command("forget", epilog=forget.EXAMPLE)(forget.forget)
app.command("verify", epilog=verify.EXAMPLE)(verify.verify)
app.command("salvage", epilog=salvage.EXAMPLE)(salvage.salvage)
app.command("demo", context_settings=_OWN_ARGUMENTS)(
    _pass_through("demo", "Record a small agent that goes wrong, and find out why.")
)

for _registered in app.registered_commands:
    if _registered.callback is not None:
        _registered.callback = for_typer(_registered.callback)


def run(arguments: list[str]) -> int:
    """Run a command; returns its exit code. Raises `RashomonError` for what the user can mend."""
    try:
        code = app(arguments, prog_name="rashomon", standalone_mode=False)
    except (typer.Abort, typer.TyperException) as error:
        return ended(error, arguments)
    return code if isinstance(code, int) else 0


def ended(error: Exception, arguments: list[str]) -> int:
    """The exit code of a command that typer's own exceptions ended; others are raised on."""
    if isinstance(error, typer.Abort):
        return 130
    if isinstance(error, typer.Exit):
        return int(error.exit_code)
    if isinstance(error, typer.TyperException):
        return _explain(error, arguments)
    raise error


def _explain(error: typer.TyperException, arguments: list[str]) -> int:
    """Say what is wrong with the arguments, in the words of all our errors."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        print(context.get_help(), file=sys.stdout if not arguments else sys.stderr)
        return 0 if not arguments else 2
    path = context.command_path if context is not None else "rashomon"
    problem = error.format_message().replace(": Value error, ", ": ").rstrip(".") or "The arguments cannot be used"
    raise UsageError(f"{problem}.", f"See {path} --help.") from (error if os.environ.get("RASHOMON_DEBUG") else None)
