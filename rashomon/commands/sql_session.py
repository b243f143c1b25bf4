"""`rashomon sql` in a terminal: a prompt that takes statements of several lines, with history and completion."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rashomon.commands import options, terminal
from rashomon.commands.sql import once
from rashomon.commands.sql_formats import Format
from rashomon.commands.sql_words import Completer
from rashomon.errors import RashomonError

if TYPE_CHECKING:
    from rashomon.store.asking import Relation

PROMPT, MORE = "rashomon> ", "     ...> "
_KEPT = 2_000
"""Lines of history."""

_HELP = """\
A statement ends with a semicolon and may take several lines. It can only read.
Tab completes names and keywords. Ctrl-C drops what is typed, or stops the query. Ctrl-D ends the session.

.tables         tables and views, and what they are
.schema [NAME]  the columns of one, or of all, and what they are
.help           this
.quit           end the session"""


def session(home: Path | None) -> None:
    """Ask and answer until the user goes. Each question sees what is recorded by then."""
    from rashomon.store.asking import relations, statements
    from rashomon.store.opening import closed

    with options.reading(home) as store:
        known = relations(store.path)
    terminal.print_text(f"{store.path}: .help for help, .quit to leave")
    with _line_editing(Completer(known)) as remember:
        typed = ""
        while True:
            taken = False
            try:
                typed += input(MORE if typed else PROMPT) + "\n"
                taken = True
                if typed.lstrip().startswith("."):
                    remember(typed)
                    if not _command(typed.split(), known):
                        return
                    typed = ""
                    continue
                whole, left = statements(typed)
                typed = left if left.strip() else ""
                for statement in whole:
                    remember(f"{statement};")
                    _answer(statement, home)
                    closed()
            except EOFError:
                terminal.print_text("")
                return
            except KeyboardInterrupt:
                print("Stopped." if taken else "", file=sys.stderr, flush=True)
                typed = ""


def _answer(statement: str, home: Path | None) -> None:
    try:
        once(statement, Format.TABLE, None, home)
    except RashomonError as error:
        _say(str(error))


def _say(text: str) -> None:
    sys.stdout.flush()
    print(terminal.clean(text), file=sys.stderr, flush=True)


# ------------------------------------------------------------------------------------------- commands


def _command(words: list[str], known: list[Relation]) -> bool:
    """Do what a line with a dot says; False when the session is over."""
    name, names = words[0], words[1:]
    if name in (".quit", ".exit", ".q"):
        return False
    if name == ".help":
        terminal.print_text(_HELP)
    elif name == ".tables":
        rows = [(one.name, one.kind, one.about) for one in known]
        terminal.print_text(terminal.columns(rows, ("name", "kind", "is")))
    elif name == ".schema":
        chosen = [one for one in known if not names or one.name in names]
        for one in chosen:
            terminal.print_text(f"{one.kind} {one.name}: {one.about}")
            terminal.print_text(terminal.columns(one.columns, ("column", "type", "is")))
        if not chosen:
            _say(f"There is no table {names[0]!r}. `.tables` lists what there is.")
    else:
        _say(f"There is no command {name!r}. `.help` lists them.")
    return True


# -------------------------------------------------------------------------------------------- history


def history_path() -> Path:
    """Where the session's history is kept: with the user, not with the recordings, which others may read."""
    state = os.environ.get("XDG_STATE_HOME")
    return (Path(state) if state else Path.home() / ".local" / "state") / "rashomon" / "sql_history"


@contextlib.contextmanager
def _line_editing(completer: Completer) -> Iterator[Any]:
    """readline with completion and history, where Python has it; gives a function that remembers a statement."""
    try:
        import readline
    except ModuleNotFoundError:  # Windows, and Pythons that were built without it
        yield lambda statement: None
        return
    readline.parse_and_bind("bind ^I rl_complete" if _is_editline(readline) else "tab: complete")
    readline.set_completer_delims(" \t\n`~!@#$%^&*()-=+[{]}\\|;:'\",<>/?")
    readline.set_completer(lambda text, state: completer.complete(text, state, readline.get_line_buffer()))
    readline.set_auto_history(False)
    path = history_path()
    with contextlib.suppress(OSError):  # no history yet, or none that may be read
        readline.read_history_file(path)

    def remember(statement: str) -> None:
        for line in _lines(statement.strip()):
            readline.add_history(line)

    try:
        yield remember
    finally:
        readline.set_completer(None)
        with contextlib.suppress(OSError):  # a home that cannot be written keeps no history
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(path, os.O_CREAT, 0o600))  # queries may name customers
            readline.set_history_length(_KEPT)
            readline.write_history_file(path)


def _lines(text: str) -> list[str]:
    """A statement as lines of history: one, unless a comment needs its line's end."""
    return text.split("\n") if "--" in text else [" ".join(text.split("\n"))]


def _is_editline(readline: Any) -> bool:
    backend = getattr(readline, "backend", None)  # from Python 3.13 on
    return backend == "editline" if backend else "libedit" in (readline.__doc__ or "")
