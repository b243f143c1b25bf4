"""A trace while it is recorded by another process: its journals, read as they grow.

Only what is new in a file is read, no lock is taken and no database opened: the recorder does not notice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from rashomon import home as homes
from rashomon import tapes
from rashomon.errors import DamagedData
from rashomon.journal import SUFFIX, Journal, Scan
from rashomon.journal_parts import ProcessPart, Reader, part_of
from rashomon.model import Tape
from rashomon.nesting import together

_SLACK_NS = 2_000_000_000
"""Clocks of files and of processes may differ by so much."""


class Tail:
    """One journal, read up to its last whole frame each time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = Reader()
        self._end = self._size = 0

    def grow(self) -> bool:
        """Read what was written since; whether there was something. Raises as `journal.read` does."""
        size = os.stat(self.path).st_size
        if size == self._size:
            return False
        self._size = size
        with open(self.path, "rb") as file:
            scan = Scan(file, os.fspath(self.path), self._end)
            before = self._end
            self.reader.scan = scan
            for elements in scan:
                self.reader.take(elements)
            self.reader.scan = None
            self._end = scan.end
        return self._end > before

    @property
    def traces(self) -> dict[str, str | None]:
        """The traces that this process took part in, and which other each is within."""
        return {info["id"]: info.get("within") for info in self.reader.traces.values() if "id" in info}

    def part(self) -> ProcessPart:
        """What the journal says so far."""
        return part_of(self.reader, Journal(str(self.path), (), tuple(self.reader.damage), None, self._end, 0))


class Following:
    """A trace of a home, and those within it. `look` reads what is new; `tape` has all of it."""

    def __init__(self, home: Path | str, trace_id: str, since_ns: int = 0) -> None:
        self.trace_id = trace_id
        self.tape: Tape | None = None
        self._folder = Path(homes.journals(home))
        self._since_ns = since_ns - _SLACK_NS
        self._tails: dict[str, Tail] = {}
        self._passed: set[str] = set()

    def look(self) -> bool:
        """Read what was written since the last time; whether the trace may have changed."""
        grown = [tail for tail in self._found() if self._grow(tail)]
        if not grown:
            return False
        own = self._family()
        parts = [tail.part() for tail in self._tails.values() if own & tail.traces.keys()]
        if not any(own & tail.traces.keys() for tail in grown) or not parts:
            return False
        whole = [tape for tape in tapes.assemble(parts) if tape.trace.id in own]
        whole.sort(key=lambda tape: (tape.trace.id != self.trace_id, tape.trace.started_ns, tape.trace.id))
        if whole and whole[0].trace.id == self.trace_id:
            self.tape = together(whole)
        return True

    def writers(self) -> list[tuple[Path, dict[str, Any], bool]]:
        """The journals of the trace: path, what the process says of itself, and whether it closed the journal."""
        own = self._family()
        found = [tail for tail in self._tails.values() if own & tail.traces.keys()]
        return [(tail.path, tail.reader.process, tail.reader.closed) for tail in found]

    def _found(self) -> list[Tail]:
        """The journals that may tell of the trace: those that changed since it began."""
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    name = entry.name
                    if name in self._tails or name in self._passed or not name.endswith(SUFFIX):
                        continue
                    if entry.stat().st_mtime_ns >= self._since_ns:
                        self._tails[name] = Tail(Path(entry.path))
                    else:
                        self._passed.add(name)
        except OSError:  # the folder is gone: what was read is still there
            pass
        return list(self._tails.values())

    def _grow(self, tail: Tail) -> bool:
        try:
            grown = tail.grow()
        except (OSError, DamagedData):  # gone, or no journal of ours: nothing to follow in it
            self._drop(tail)
            return False
        if tail.reader.closed and not self._family() & tail.traces.keys():
            self._drop(tail)
        return grown

    def _drop(self, tail: Tail) -> None:
        self._tails.pop(tail.path.name, None)
        self._passed.add(tail.path.name)

    def _family(self) -> set[str]:
        """The ids of the trace and of those within it."""
        within = [pair for tail in self._tails.values() for pair in tail.traces.items()]
        family, before = {self.trace_id}, 0
        while len(family) > before:
            before = len(family)
            family |= {one for one, outer in within if outer in family}
        return family
