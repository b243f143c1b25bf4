"""What several tests need: running the command line as a user does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from rashomon import tapes, values
from rashomon.canonical import content_digest, digest
from rashomon.model import Call, Tape

if TYPE_CHECKING:
    from rashomon.filters import Query
    from rashomon.store import TraceStore
    from rashomon.store.filtering import Place

ROOT = Path(__file__).resolve().parents[1]
APART = Path(sys.prefix) / "apart"
"""What programs find that a test starts with it, and the tests' own process does not (docs/decisions/001)."""
AGENTS = ROOT / "fixtures" / "agents"
DEMO_AGENT = Path(values.__file__).parent / "demo" / "refund_agent.py"
"""The demo's agent, in the package that is tested: the checkout's or an installed wheel's."""


def environment(home: Path, **more: str) -> dict[str, str]:
    """This environment with a home, and without what a recorder of this process would hand on."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RASHOMON_")}
    return {**kept, "RASHOMON_HOME": str(home), **more}


def rashomon(*args: str | Path, home: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `rashomon ARGS` and return what it did."""
    env = {**environment(home), **options.pop("env", {})}
    command = [sys.executable, "-m", "rashomon.cli", *map(str, args)]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, **options)


def needs_apart(package: str) -> pytest.MarkDecorator:
    """Skips a test where a package is not among those that are installed apart."""
    return pytest.mark.skipif(not (APART / package).is_dir(), reason=f"{package} is not installed apart")


def with_apart() -> dict[str, str]:
    """An environment's variable with which a program finds them."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(APART)]))}


def tapes_of(home: Path) -> list[Tape]:
    """All traces of a home's journals, oldest first."""
    return tapes.assemble([tapes.read_part(path) for path in sorted((home / "journals").glob("*.rsj"))])


def code_blocks(page: Path, language: str = r"\w*") -> list[str]:
    """What a document shows in fences: all of it, or what is in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def steps_meant(store: TraceStore, query: Query, now_ns: int | None = None) -> list[Place]:
    """The steps that a filter means, newest trace first."""
    with store._search(query, "step", now_ns) as search:
        return search.steps()


def contents(tape: Tape) -> dict[str, object]:
    """What must be read out of a tape, whatever reads it."""
    steps = [
        {
            "id": step.id,
            "kind": step.kind,
            "name": step.name,
            "lane": list(step.lane),
            "request": content_digest(Call(step.kind, step.name, step.request)),
            "body": digest(step.request.body),
            "response": digest(step.response.body),
            "pieces": len(step.response.pieces),
            "end": step.response.end,
        }
        for step in tape.steps
    ]
    return {"id": tape.trace.id, "name": tape.trace.name, "steps": steps}
