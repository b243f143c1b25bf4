"""What a user installs is what the folders hold, and nothing generic lands at top level."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINKED = {"recorders", "replay", "store", "tui"}


def settings() -> dict[str, Any]:
    """pyproject.toml, parsed."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)


def folders() -> dict[str, str]:
    """Every folder on disk that holds Python files of ours: import name to folder."""
    found: dict[str, str] = {}
    for top in ["rashomon", *sorted(LINKED)]:
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.parent.relative_to(ROOT).parts
            linked = parts[0] == "rashomon" and len(parts) > 1 and parts[1] in LINKED
            if "__pycache__" not in parts and not linked:
                found[".".join(parts if parts[0] == "rashomon" else ("rashomon", *parts))] = "/".join(parts)
    return found


def package_folders() -> dict[str, str]:
    """The folders that are packages; a folder without `__init__.py` holds files that only travel along."""
    return {name: folder for name, folder in folders().items() if (ROOT / folder / "__init__.py").exists()}


def modules() -> set[str]:
    """Every Python file as the wheel must name it."""
    return {
        f"{name.replace('.', '/')}/{path.name}"
        for name, folder in folders().items()
        for path in (ROOT / folder).glob("*.py")
    }


@pytest.fixture(scope="module")
def wheel_names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names of the files in a wheel that is built from this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    copied = folder / "source"
    copied.mkdir()
    for name in ["pyproject.toml", "README.md", "LICENSE", "rashomon", *sorted(LINKED)]:
        # a copy, links and all: build/ stays out of the checkout
        subprocess.run(["cp", "-R", "-P", str(ROOT / name), str(copied / name)], check=True)
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(copied)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_every_folder_is_a_listed_package() -> None:
    """A package folder that pyproject.toml does not list would be missing from the wheel."""
    listed = settings()["tool"]["setuptools"]
    assert set(listed["packages"]) == set(package_folders())
    assert listed["package-dir"] == package_folders()


def test_every_package_says_what_it_is() -> None:
    """Each package has an `__init__.py`, and it begins with a docstring."""
    for folder in package_folders().values():
        text = (ROOT / folder / "__init__.py").read_text()
        assert text.startswith('"""'), f"{folder}/__init__.py has no docstring"


def test_wheel_holds_every_module(wheel_names: list[str]) -> None:
    """Every module on disk is in the wheel, under its import name."""
    assert modules() - set(wheel_names) == set()


def test_wheel_holds_data_files(wheel_names: list[str]) -> None:
    """Type marker, SQL and styles travel with the code that reads them."""
    data = {"rashomon/py.typed"}
    for folder, pattern in [("store", "*.sql"), ("tui", "*.tcss")]:
        data |= {f"rashomon/{folder}/{path.name}" for path in (ROOT / folder).glob(pattern)}
    assert data - set(wheel_names) == set()


def test_wheel_installs_one_top_level_name(wheel_names: list[str]) -> None:
    """A user's own store.py or replay/ can never collide with ours."""
    tops = {name.split("/")[0] for name in wheel_names}
    assert tops == {"rashomon", f"rashomon-{settings()['project']['version']}.dist-info"}


def test_version_is_said_once() -> None:
    """pyproject.toml and `rashomon.__version__` agree."""
    import rashomon

    assert rashomon.__version__ == settings()["project"]["version"]


def test_production_needs_little() -> None:
    """A recorded process installs msgpack and nothing else."""
    names = [requirement.split(">")[0] for requirement in settings()["project"]["dependencies"]]
    assert names == ["msgpack"]


def test_constraints_name_versions_only() -> None:
    """The pinned set holds no addresses, so that it works with whatever index a machine uses."""
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or line.count("==") == 1, line
        assert "://" not in line, line
