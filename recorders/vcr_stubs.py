"""Loads the modules of vcrpy's stubs without vcrpy: `import vcr` imports every HTTP library that is installed.

A replay must not load what its program does not. Libraries look whether another one is loaded (openai looks for
`httpx`), and where a thread looks while a second one plays its first answer, it would meet half of that library.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from types import ModuleType

_ROOT = "vcr"
_loading = threading.Lock()


def load(name: str) -> ModuleType:
    """A module below `vcr`, by its full name. Raises ImportError if vcrpy is not installed.

    Where the program has not imported vcrpy, the module is loaded below a bare package of that name, and both are taken
    out of `sys.modules` again: should the program import vcrpy later, it gets all of it.
    """
    with _loading:
        if sys.modules.get(_ROOT) is not None:
            return importlib.import_module(name)
        spec = importlib.util.find_spec(_ROOT)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {_ROOT!r}", name=_ROOT)
        bare = importlib.util.module_from_spec(spec)
        sys.modules[_ROOT] = bare
        try:
            return importlib.import_module(name)
        finally:
            for loaded in [one for one in list(sys.modules) if one == _ROOT or one.startswith(f"{_ROOT}.")]:
                del sys.modules[loaded]
