"""What a recorded program pays: nothing heavy is loaded that it does not load itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CLIENTS = {"aiohttp", "anthropic", "httpx", "httpx2", "openai", "requests", "urllib3", "vcr"}
HEAVY = CLIENTS | {"asyncio", "duckdb", "pydantic", "rich", "textual", "typer"}


def loaded_by(code: str, folder: Path) -> list[str]:
    """The names of the modules that a fresh interpreter loads for `code`, beyond those it starts with."""
    script = f"import sys; before = set(sys.modules)\n{code}\nprint(' '.join(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    "code",
    [
        "import rashomon",
        "import rashomon; rashomon.install()",
        "import rashomon.cli",
    ],
)
def test_nothing_heavy_is_loaded(code: str, tmp_path: Path) -> None:
    """`import rashomon` and `install()` load no database, terminal library, client or event loop."""
    loaded = {name.split(".")[0] for name in loaded_by(code, tmp_path)}
    assert loaded & HEAVY == set()


def test_recording_modules_stay_light(tmp_path: Path) -> None:
    """Opening a trace, which opens the journal, loads nothing heavy either."""
    code = "import os; os.environ['RASHOMON_HOME'] = '.'\nimport rashomon\nwith rashomon.trace('t'): pass"
    loaded = {name.split(".")[0] for name in loaded_by(code, tmp_path)}
    assert loaded & HEAVY == set()
    assert list((tmp_path / "journals").glob("*.rsj"))
