"""What a program finds on the disk: its files are no part of a recording, and a replay meets those of today.

So a trace lists the files that its program opened, as it met each of them first: by size and a short digest, or as not
there. Where two executions met different files, that is told beside what differed (`docs/decisions/021-files.md`).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from rashomon.model import Site, Uncontrolled

_PREFIX = "file "
ABSENT = "it was not there"
MOST = 200
"""So many files are listed of one process and trace."""
MORE = Uncontrolled("files", f"more than {MOST} were opened: the others are not listed")


class Apart(NamedTuple):
    """A file that two executions did not meet alike: its path, what the first and the second met, and where the second
    opened it. `before` is empty where the first one did not."""

    path: str
    before: str
    after: str
    site: Site | None

    def told(self, first: str, second: str) -> str:
        """What is to be said of it; the executions by their names."""
        where = f"; {self.site.file}:{self.site.line} in {self.site.function}" if self.site else ""
        if not self.before:
            return f"{self.path} was opened in {second} only{where}"
        met = [f"was not there in {name}" if met == ABSENT else f"had {met} in {name}"
               for met, name in ((self.before, first), (self.after, second))]  # fmt: skip
        return f"{self.path} {' and '.join(met)}{where}"


def fact(path: str, met: str) -> tuple[str, str]:
    """What a trace lists of a file: `what` and `reason`. `met`: `ABSENT`, or what `content` says."""
    return _PREFIX + path, met


def content(size: int, digest: str) -> str:
    """How a file is told whose content was met. The digest is short: whether a file has changed can be told by it, what
    is in it cannot be guessed."""
    return f"{size:,} byte{'s' * (size != 1)}, {digest}"


def is_one(one: Uncontrolled) -> bool:
    """Whether a trace lists a file here, or that there were more."""
    return one.what.startswith(_PREFIX) or one == MORE


def told(uncontrolled: Iterable[Uncontrolled]) -> list[tuple[str, str, Site | None]]:
    """The files in such a list: path, what was met, and where in the program."""
    return [
        (one.what.removeprefix(_PREFIX), one.reason, one.site) for one in uncontrolled if one.what.startswith(_PREFIX)
    ]


def apart(recorded: Iterable[Uncontrolled], replayed: Iterable[Uncontrolled]) -> list[Apart]:
    """By what two traces list, the files that were met otherwise: first those that both met, then those whose content
    only the second one did."""
    before, after = _by_path(told(recorded)), _by_path(told(replayed))
    changed = [
        Apart(path, before[path][0][0], *mets[0])
        for path, mets in after.items()
        if path in before and {met for met, _ in mets} != {met for met, _ in before[path]}
    ]
    new = [
        Apart(path, "", mets[0][0], mets[0][1])
        for path, mets in after.items()
        if path not in before and mets[0][0] != ABSENT
    ]
    return changed + new


def _by_path(files: Iterable[tuple[str, str, Site | None]]) -> dict[str, list[tuple[str, Site | None]]]:
    found: dict[str, list[tuple[str, Site | None]]] = {}
    for path, met, site in files:
        found.setdefault(path, []).append((met, site))
    return found
