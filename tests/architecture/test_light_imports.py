"""What a recorded program pays: nothing heavy is loaded that it does not load itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rashomon.session import Order

CLIENTS = {"aiohttp", "anthropic", "httpx", "httpx2", "openai", "requests", "urllib3", "vcr"}
HEAVY = CLIENTS | {"asyncio", "duckdb", "pydantic", "rich", "textual", "typer"}
SLOW = {
    *("_hashlib", "concurrent", "ctypes", "dataclasses", "email", "hashlib", "http", "inspect", "logging", "queue"),
    *("multiprocessing", "random", "selectors", "shutil", "socket", "ssl", "subprocess", "tempfile", "uuid"),
}
"""Of the standard library: what a program may use or not, and takes a millisecond or more."""
RECORDING = {"datetime", "json", "msgpack", "struct", "zlib"}
"""What the journal needs: loaded when the first trace begins, and not before."""


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


def test_installing_loads_nothing_that_recording_alone_needs(tmp_path: Path) -> None:
    """A program that is installed into, and has no trace, pays for no part of the standard library that is slow."""
    loaded = {name.split(".")[0] for name in loaded_by("import rashomon; rashomon.install()", tmp_path)}
    assert loaded & (SLOW | RECORDING) == set()


def test_recording_modules_stay_light(tmp_path: Path) -> None:
    """Opening a trace, which opens the journal, loads nothing heavy either."""
    code = "import os; os.environ['RASHOMON_HOME'] = '.'\nimport rashomon\nwith rashomon.trace('t'): pass"
    loaded = {name.split(".")[0] for name in loaded_by(code, tmp_path)}
    assert loaded & (HEAVY | SLOW) == set()
    assert list((tmp_path / "journals").glob("*.rsj"))


def test_a_launched_process_stays_light(tmp_path: Path) -> None:
    """A process under `rashomon record` loads, before its program runs, no more than a trace needs."""
    order = Order("record", str(tmp_path), {"id": "5eed" * 6 + "ab", "name": "t", "started_ns": 1, "tags": {}})
    code = f"""
import os
os.environ["RASHOMON_SESSION"] = {json.dumps(order._asdict())!r}
from rashomon.children import start_from_environ
start_from_environ()
"""
    loaded = {name.split(".")[0] for name in loaded_by(code, tmp_path)}
    assert loaded & (HEAVY | SLOW) == set()
    assert list((tmp_path / "journals").glob("*.rsj"))
