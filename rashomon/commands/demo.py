"""`rashomon demo`: record a small agent that goes wrong, and find out why. No keys, no network, a few seconds."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rashomon.commands import record, replay
from rashomon.commands.arguments import SHORT_ID, Parser
from rashomon.errors import CannotRun
from rashomon.home import prepare

FOLDER = "rashomon-demo"
AGENT = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "demo", "refund_agent.py")
"""The agent's source: an ordinary program, part of the package's data."""
STUB = 'get_refund_policy={"version": 2, "region": "EU", "window_days": 14, "requires_photo": true}'


def parser() -> Parser:
    """The command's arguments."""
    made = Parser(
        "demo",
        "Record a support agent whose refund goes wrong, replay it exactly, then replay it with one tool stubbed and "
        "see where the two part. Runs against a provider server of its own; needs no key and no network.",
        "[OPTIONS]",
        "rashomon demo --no-tui",
    )
    made.add_argument("--folder", default=FOLDER, help=f"where to put agent and recordings (default: ./{FOLDER})")
    made.add_argument("--no-tui", action="store_true", help="do not open the terminal application at the end")
    return made


def main(argv: list[str]) -> int:
    """Tell the story; returns 0 when each act went as it should."""
    options = parser().parse_args(argv)
    if importlib.util.find_spec("openai") is None:
        raise CannotRun("The demo's agent needs the openai SDK.", "Install it: pip install 'rashomon[demo]'")
    agent, home = _set_up(options.folder)
    original, changed = _acts(agent, home)
    from rashomon.commands.tui import at_terminal

    if at_terminal() and not options.no_tui:
        from pathlib import Path

        from rashomon.tui.app import run

        return run(Path(home), [original, changed])
    return 0


def _set_up(folder: str) -> tuple[str, str]:
    """The agent as a file to look at, and a home beside it."""
    folder = os.path.abspath(folder)
    home = os.path.join(folder, ".rashomon")
    try:
        prepare(home)
        agent = os.path.join(folder, "refund_agent.py")
        shutil.copyfile(AGENT, agent)
    except OSError as error:
        raise CannotRun(
            f"The demo cannot write to {folder}: {error.strerror or error}.", "Name another --folder."
        ) from error
    return agent, home


def _acts(agent: str, home: str) -> tuple[str, str]:
    """Record, replay, replay with the stub, compare. Returns the two traces to look at."""
    from rashomon.testing import ProviderServer

    with ProviderServer(seed=4) as server, _environment(server.environ()):
        _say("1. Record the agent, unchanged. A customer asks for a refund after 21 days:")
        _run(lambda: record.main(["--home", home, "--name", "refund", "--", sys.executable, agent]), 0)
        original = _newest(home)
    _say("   It paid. The tool that it asked for the policy answered from an old cache, and nothing failed.")
    with _environment(server.environ()):
        _say("2. The provider is switched off. Replay the recording exactly, from the tape alone:")
        _run(lambda: replay.main([original, "--home", home]), 0)
    with ProviderServer(seed=4) as server, _environment(server.environ()):
        _say("3. Replay it with today's policy in place of what the tool said; the model may be asked again.")
        _say("   The demo's provider has to run for this, as it does now:")
        print(f"   rashomon replay {original} --stub '{STUB}' --live llm{_home_option(home)}\n")
        _run(lambda: replay.main([original, "--home", home, "--stub", STUB, "--live", "llm", "--quiet"]), 1)
        changed = _newest(home)
    _say("4. Where the two part, and why:")
    _diff(home, original, changed)
    _say(f"Look around: rashomon tui {original[:SHORT_ID]} {changed[:SHORT_ID]}{_home_option(home)}")
    return original, changed


def _home_option(home: str) -> str:
    """What names the demo's home in a command that is typed where the demo was, whatever $RASHOMON_HOME says."""
    shown = os.path.relpath(home)
    return f" --home {shlex.quote(home if shown.startswith(os.pardir) else shown)}"


def _run(act: Callable[[], int], expected: int) -> None:
    sys.stdout.flush()
    code = act()
    if code != expected:
        raise CannotRun(f"The demo expected exit code {expected} here and got {code}.", "Please report this.")
    print()


def _newest(home: str) -> str:
    from pathlib import Path

    from rashomon.store import open_home

    with open_home(Path(home)) as store:
        return store.resolve("@last")


def _diff(home: str, original: str, changed: str) -> None:
    from rashomon.commands.app import run

    sys.stdout.flush()
    run(["diff", original, changed, "--home", home])
    print()


def _say(text: str) -> None:
    print(text, flush=True)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for the children of this block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
