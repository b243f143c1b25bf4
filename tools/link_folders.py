"""Show the four root folders inside rashomon/, for tools that read files instead of importing.

Python itself never needs these links: pyproject.toml maps the folders. mypy, pyright and
import-linter do, because they look for rashomon/store and not for the mapping. Git ignores them.
"""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def package_folders() -> dict[str, str]:
    """The import name of each package and its folder, as pyproject.toml maps them."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        folders: dict[str, str] = tomllib.load(file)["tool"]["setuptools"]["package-dir"]
    return folders


def main() -> None:
    """Make each missing link; what is there already stays as it is."""
    for package, folder in package_folders().items():
        link, target = ROOT.joinpath(*package.split(".")), ROOT / folder
        if link.exists() or link == target:
            continue
        if link.is_symlink():  # it points to where the checkout used to be
            link.unlink()
        if sys.platform == "win32":
            import _winapi

            _winapi.CreateJunction(str(target), str(link))
        else:
            link.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)


if __name__ == "__main__":
    main()
