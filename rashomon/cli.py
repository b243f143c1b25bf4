"""The command line: `rashomon COMMAND`. Finds the command, and turns failures into exit codes.

`record`, `replay`, `doctor` and `demo` read their own arguments and are reached without the command framework:
it would add some 50 ms to the start of every recorded program. The README has the exit codes; `record` ends as the
program did.
"""

from __future__ import annotations

import atexit
import errno
import gc
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

from rashomon.errors import RashomonError

_Handler = Callable[[int, FrameType | None], Any]

DIRECT = ("record", "replay", "doctor", "demo")
"""Commands with a `main(argv) -> int` of their own."""

_READING = ("grep", "ls", "show", "sql")
"""Commands that make many values and keep them until they are printed."""

_RARELY = 1_000_000
"""So many new values later, cycles among them are looked for: every 700, as is usual, takes as long as the values."""

_DEBUG = "RASHOMON_DEBUG"
_NO_ROOM = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


def _say_failures(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """An uncaught exception as Python tells it; Ctrl-C before the command has begun, or when it is over, is none."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)


if __name__ == "__main__" or os.path.basename(sys.argv[0]) == "rashomon":  # this process is the command's
    sys.excepthook = _say_failures


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code.

    Without `argv` it is the command that this process was started for, which ends with it.
    """
    if argv is not None:
        code = _exit_code(argv)
        _let_go()
        return code
    if hasattr(signal, "SIGPIPE") and not (sys.argv[1:] and sys.argv[1] in (*DIRECT, "tui")):
        # `rashomon ls | head` ends as quietly as any other tool does; who calls this with words keeps what it had
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    reading = sys.argv[1:2] and sys.argv[1] in _READING
    if reading:
        gc.set_threshold(_RARELY)
    code = _exit_code(sys.argv[1:])
    if not reading or not _nothing_waits():
        _let_go()
    else:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError, AttributeError):  # closed, full, or none at all: Python says it in its own way
            return code
        os._exit(code)  # to take apart what was loaded would take as long as many a command
    return code


def _let_go() -> None:
    """Wait until the store is closed, which another thread may be about."""
    opening = sys.modules.get("rashomon.store.opening")
    if opening is not None:
        opening.closed()


def _nothing_waits() -> bool:
    """True when nothing is to be done at the end of this process: no function, thread, debugger or profiler waits."""
    waiting: Callable[[], int] | None = getattr(atexit, "_ncallbacks", None)
    database = getattr(sys.modules.get("rashomon.store.engine"), "AT_EXIT", 0)
    if waiting is None or waiting() != database or sys.flags.dev_mode or sys.flags.inspect:
        return False
    threads = sys.modules.get("threading")
    if threads is not None and threads.active_count() > 1:
        return False
    monitoring = getattr(sys, "monitoring", None)
    watched = monitoring is not None and any(monitoring.get_tool(number) for number in range(6))
    return not watched and sys.gettrace() is None and sys.getprofile() is None


def _exit_code(arguments: list[str]) -> int:
    """Run one command, and turn what it raises into an exit code."""
    pressed: list[bool] = []
    before = None if arguments[:1] and arguments[0] in DIRECT else _notice_interrupts(pressed)
    try:
        _stand_in()
        code = _run(arguments)
        if arguments[:1] and arguments[0] not in DIRECT and sys.stdout is not None:
            sys.stdout.flush()
        return 130 if pressed and code else code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop_output()
        return 141
    except Exception as error:
        if pressed:  # whatever was under way says in its own way that it was stopped; DuckDB, as a failure
            return 130
        return _told(error)
    finally:
        options = sys.modules.get("rashomon.commands.options")
        if options is not None:
            options.end()
        if before is not None:
            signal.signal(signal.SIGINT, before)


def _stand_in() -> None:
    """Have something in place of a stdout or stderr that whoever started this has closed.

    What is opened next would else be written to by all that prints.
    """
    for name, number in (("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            try:
                os.fstat(number)
            except OSError:
                os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, "w", encoding="utf-8", closefd=False))  # noqa: SIM115  # for all that prints


def _drop_output() -> None:
    """Let what is still buffered go where nobody reads it: without this, Python complains when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _notice_interrupts(pressed: list[bool]) -> _Handler | None:
    """Have Ctrl-C noted, and raised as usual. The handler before; None where it stays, as where Ctrl-C is ignored."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        return None

    def interrupted(number: int, frame: FrameType | None) -> None:
        pressed.append(True)
        signal.default_int_handler(number, frame)

    try:
        signal.signal(signal.SIGINT, interrupted)
    except ValueError:  # not the main thread: no signal comes here
        return None
    return before


def _told(error: Exception) -> int:
    """Say what went wrong; the exit code."""
    if isinstance(error, RashomonError):
        _complain(str(error))
        return error.exit_code
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        where = f"{error.filename}: " if error.filename else ""
        problem = f"There is no room for what is to be written: {where}{error.strerror}."
        _complain(f"{problem} Make room, or write elsewhere.")
        if error.filename is None:
            _drop_output()
        return 2
    if os.environ.get(_DEBUG):
        raise error
    damaged = _damaged_store(error)
    if damaged is not None:
        _complain(str(damaged))
        return damaged.exit_code
    text = str(error).split("\n")[0]
    _complain(f"a bug of ours: {type(error).__name__}: {text}")
    _complain(f"{_DEBUG}=1 shows where; please report it with that.")
    return 70


def _complain(sentence: str) -> None:
    """Say something on stderr. Names of traces, files and what is in them are foreign text there, too."""
    from rashomon.commands import terminal

    print(f"rashomon: {terminal.clean(sentence)}", file=sys.stderr)


def _run(arguments: list[str]) -> int:
    if arguments and arguments[0] in DIRECT and not _completing():
        from importlib import import_module

        code: int = import_module(f"rashomon.commands.{arguments[0]}").main(arguments[1:])
        return code
    if arguments[:1] == ["--version"]:
        from rashomon.version import __version__

        print(f"rashomon {__version__}")
        return 0
    if not _completing():
        from rashomon.commands import quick

        done = quick.run(arguments)
        if done is not None:
            return done
    try:
        from rashomon.commands.app import run
    except ModuleNotFoundError as error:
        _explain_missing(error)
        raise
    return run(arguments)


def _damaged_store(error: Exception) -> RashomonError | None:
    """What an error of the database means when its file is damaged, which may show in the middle of any query."""
    if "duckdb" not in type(error).__module__:
        return None
    from rashomon.store.damage import of_store

    return of_store(error)


def _completing() -> bool:
    """True when a shell asks for completions: then every command goes through the framework."""
    return "_RASHOMON_COMPLETE" in os.environ


def _explain_missing(error: ModuleNotFoundError) -> None:
    """Raise a helpful error if a part is missing that only the reading commands need."""
    if error.name is None or error.name.startswith("rashomon"):
        return
    raise RashomonError(
        f"This command needs {error.name}, which is not installed.", "Install it: pip install 'rashomon[all]'"
    ) from error


if __name__ == "__main__":
    sys.exit(main())
