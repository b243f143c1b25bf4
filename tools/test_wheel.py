"""Build the wheel, install it into a fresh environment, and run the tests against it.

Tests and fixtures are copied to a folder outside the checkout, so that nothing can be imported from it:
what passes here is what a user installs. With `--lowest`, the packages that it needs are of the lowest versions that it
says it does with, and the tests' own the newest. Other arguments are handed to pytest.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COPIED = ["tests", "fixtures", "docs", "README.md", "CHANGELOG.md", "pyproject.toml"]
NEEDS_CHECKOUT = ["tests/architecture/test_layers.py", "tests/architecture/test_packaging.py"]
"""They compare the wheel with the folders of the checkout, and have run there."""

TOGETHER = ["--numprocesses", "auto", "--maxprocesses", "4", "--dist", "worksteal"]


def run(*command: str | Path, cwd: Path = ROOT, quiet: bool = False) -> None:
    """Run a command of ours; a failure ends the program with its exit code. `quiet`: output only then."""
    environ = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environ.setdefault("RASHOMON_REAL_DATA", str(ROOT.parent / "shared" / "data"))
    environ.setdefault("RASHOMON_SCHEDULES", "20")  # they are long, and have run against the checkout
    pipe = subprocess.PIPE if quiet else None
    words = [str(part) for part in command]
    done = subprocess.run(words, cwd=cwd, env=environ, check=False, stdout=pipe, stderr=pipe, text=True)
    if done.returncode:
        print(done.stdout or "", done.stderr or "", file=sys.stderr)
        sys.exit(done.returncode)


def build_wheel(into: Path) -> Path:
    """Build the wheel from the sdist, as an installer without a wheel would; returns its path."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", into, ROOT, quiet=True)
    for leftover in ROOT.glob("*.egg-info"):
        shutil.rmtree(leftover)
    (wheel,) = into.glob("*.whl")
    return wheel


def lowest(folder: Path) -> Path:
    """A file of constraints that pins what the wheel needs, extras included, to the lowest versions it allows."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    found = {match[1]: match[2] for one in needs if (match := re.fullmatch(r"([\w-]+)>=([\d.]+)", one))}
    found.pop("openai")  # the demo's alone
    pinned = folder / "lowest.txt"
    pinned.write_text("".join(f"{name}=={version}\n" for name, version in sorted(found.items())))
    print(pinned.read_text())
    return pinned


def install(wheel: Path, into: Path, pinned: Path) -> Path:
    """Install the wheel with its extras and the tests' own needs; returns the environment's python."""
    venv.create(into, with_pip=False, symlinks=os.name != "nt")
    python = into / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        str(python),
        "install",
        "--quiet",
        "--no-compile",  # most of it is never imported
    ]
    constraints = ["--constraint", str(pinned)]
    # setuptools and build: some tests install a package of their own, as a user's project would
    run(
        *pip,
        *constraints,
        "--group",
        f"{ROOT / 'pyproject.toml'}:test",
        f"{wheel}[demo]",
        "pip",
        "setuptools",
    )
    return python


def main() -> None:
    """Build, install, copy, test."""
    with tempfile.TemporaryDirectory(prefix="rashomon-wheel-") as temporary:
        folder = Path(temporary).resolve()
        low = "--lowest" in sys.argv
        pinned = lowest(folder) if low else ROOT / "constraints.txt"
        python = install(build_wheel(folder / "dist"), folder / "venv", pinned)
        outside = folder / "outside"
        outside.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, outside / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, outside / name)
        where = "import rashomon, sys; sys.exit(0 if 'site-packages' in rashomon.__file__ else rashomon.__file__)"
        run(python, "-c", where, cwd=outside)
        ignored = [f"--ignore={name}" for name in NEEDS_CHECKOUT]
        if low:
            ignored.append("--ignore=tests/snapshots")  # pictures are of the pinned versions
        rest = [word for word in sys.argv[1:] if word != "--lowest"]
        print("Testing the wheel, installed, without the checkout:", flush=True)
        run(python, "-m", "pytest", "-p", "no:cacheprovider", *TOGETHER, *ignored, *rest, cwd=outside)


if __name__ == "__main__":
    main()
