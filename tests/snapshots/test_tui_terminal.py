"""The terminal application in a real terminal: how it ends, and what it leaves behind."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import environment

BUSY = (
    "import sys, threading; from pathlib import Path; from rashomon.tui import app, source\n"
    "source.StoreSource.traces = lambda self: threading.Event().wait()\n"
    "sys.exit(app.run(Path(sys.argv[1])))"
)
"""The application over a home that is read for ever."""

TERMINAL_BACK = (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1003l")
"""The first screen again, the cursor, and a mouse that is not reported."""


class Terminal:
    """A program in a terminal of its own."""

    def __init__(self, home: Path, *args: str) -> None:
        self.shown = b""
        self._fd, theirs = pty.openpty()
        env = environment(home, TERM="xterm-256color", LINES="30", COLUMNS="100")
        self._program = subprocess.Popen(
            [sys.executable, *args], stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True
        )
        os.close(theirs)

    def tell(self, told: signal.Signals) -> None:
        """Send a signal."""
        self._program.send_signal(told)

    def until(self, wanted: bytes) -> None:
        """Wait until the terminal was sent these bytes."""
        while wanted not in self.shown:
            assert select.select([self._fd], [], [], 60)[0], self.shown
            self.shown += os.read(self._fd, 65536)

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._fd, keys)

    def end(self) -> int:
        """Wait for the end; the exit code."""
        while select.select([self._fd], [], [], 60)[0]:
            try:
                self.shown += os.read(self._fd, 65536)
            except OSError:  # what a terminal without a program says, on Linux
                break
        os.close(self._fd)
        return self._program.wait(60)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGHUP])
def test_told_to_end_it_gives_the_terminal_back(told: signal.Signals, tmp_path: Path) -> None:
    """A signal ends it as a key would, with the exit code that shells give for it."""
    terminal = Terminal(tmp_path, "-m", "rashomon.cli", "tui")
    terminal.until(b"No traces in")
    terminal.tell(told)
    assert terminal.end() == 128 + told
    after = terminal.shown[terminal.shown.rindex(b"No traces in") :]
    assert all(sequence in after for sequence in TERMINAL_BACK)
    assert b"Traceback" not in terminal.shown


def test_quitting_does_not_wait_for_work_in_the_background(tmp_path: Path) -> None:
    """While a home is still being read, one key ends the application at once, without a complaint."""
    terminal = Terminal(tmp_path, "-c", BUSY, str(tmp_path))
    terminal.until(b"Loading traces")
    terminal.press(b"\x11")
    assert terminal.end() == 0
    after = terminal.shown[terminal.shown.rindex(b"Loading traces") :]
    assert all(sequence in after for sequence in TERMINAL_BACK)
    assert b"Traceback" not in terminal.shown
