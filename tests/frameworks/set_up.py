"""Make an environment for each framework: `python tests/frameworks/set_up.py [--root FOLDER] [NAME...]`.

Each gets its own, since frameworks do not agree on which openai and which httpx they want. Rashomon is not
installed in any of them: `rashomon record` brings itself along. An environment that fits its requirements
file is left as it is.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = tuple(sorted(path.stem for path in (HERE / "requirements").glob("*.txt")))
DEFAULT_ROOT = HERE.parents[1] / ".venv" / "frameworks"


def python_of(root: Path, name: str) -> Path:
    """The interpreter of a framework's environment, which may not exist yet."""
    return root / name / "bin" / "python"


def fingerprint(name: str) -> str:
    """Names what an environment is made of: the pinned packages, and the Python."""
    text = (HERE / "requirements" / f"{name}.txt").read_bytes() + sys.version.encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def is_ready(root: Path, name: str) -> bool:
    """Whether the environment exists, whole, and fits its requirements file."""
    stamp = root / name / "made-of"
    return stamp.is_file() and stamp.read_text() == fingerprint(name) and python_of(root, name).exists()


def make(root: Path, name: str) -> None:
    """Make one environment anew. Ends the program with pip's exit code when pip fails."""
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=False, symlinks=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--python",
        str(python_of(root, name)),
        "install",
    ]
    wanted = ["--quiet", "--no-compile", "--no-deps", "--requirement", str(HERE / "requirements" / f"{name}.txt")]
    done = subprocess.run([*pip, *wanted], check=False)
    if done.returncode:
        sys.exit(done.returncode)
    (folder / "made-of").write_text(fingerprint(name))


def main() -> None:
    """Make what is missing."""
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--root", type=Path, default=DEFAULT_ROOT, help="where the environments go")
    options.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)} (default: all)")
    chosen = options.parse_args()
    unknown = sorted(set(chosen.names) - set(NAMES))
    if unknown:
        options.error(f"there is no framework {', '.join(unknown)}; choose from {', '.join(NAMES)}")
    for name in chosen.names or NAMES:
        if not is_ready(chosen.root, name):
            print(f"setting up {name}", flush=True)
            make(chosen.root, name)


if __name__ == "__main__":
    main()
