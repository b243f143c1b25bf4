"""Who may import whom: DESIGN's layers, as import-linter reads them in pyproject.toml."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_import_contracts_are_kept() -> None:
    """Every import points down the layers, and production modules load nothing heavy."""
    subprocess.run([sys.executable, "tools/link_folders.py"], cwd=ROOT, check=True)
    lint = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))"
    done = subprocess.run([sys.executable, "-c", lint], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_page_has_the_layers_of_the_contract() -> None:
    """docs/architecture.md lists the layers that import-linter holds, without those that may be absent and are."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    layers = [line.split(" | ") for line in contract["layers"]]
    there = [[name.strip("()") for name in line if name[0] != "(" or _is_there(name.strip("()"))] for line in layers]
    page = (ROOT / "docs" / "architecture.md").read_text()
    (listed,) = re.findall(r"^## Who may import whom\n.*?```\n(.*?)```", page, re.S | re.M)
    assert listed.splitlines() == [" | ".join(line) for line in there]


def _is_there(module: str) -> bool:
    return (ROOT / "rashomon" / f"{module}.py").exists()
