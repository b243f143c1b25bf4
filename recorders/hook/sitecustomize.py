# Runs at the start of every Python process under `rashomon record` and `rashomon replay`: the launcher
# puts this folder first on PYTHONPATH. It starts the recorder, hides itself from sys.path, and gives way
# to the program's own sitecustomize. Kept in the syntax of old Pythons, so that one can say no politely.
import os
import sys


def _hide(folder):
    folder = os.path.realpath(folder)
    sys.path[:] = [entry for entry in sys.path if not entry or os.path.realpath(entry) != folder]


class _Finder(object):
    """Finds the launcher's rashomon, and nothing else, in an environment that has none of its own."""

    def __init__(self, roots):
        self.roots = roots

    def find_spec(self, name, path=None, target=None):
        folder = self.roots.get(name)
        if folder is None:
            return None
        from importlib.util import spec_from_file_location

        init = os.path.join(folder, "__init__.py")
        return spec_from_file_location(name, init, submodule_search_locations=[folder])


def _start():
    if sys.version_info < (3, 11):
        lane = os.environ.get("RASHOMON_LANE", "").partition("@")[0]
        if os.environ.get("RASHOMON_DIRECT") and not lane:  # replayed, and no wrapper around the program
            sys.stderr.write(
                "rashomon: this program runs on Python %d.%d, where a replay cannot answer it: it was stopped "
                "before it began. 3.11 or newer is needed.\n" % sys.version_info[:2]
            )
            sys.stderr.flush()
            os._exit(3)
        sys.stderr.write(
            "rashomon: this program runs on Python %d.%d and is not recorded; 3.11 or newer is needed.\n"
            % sys.version_info[:2]
        )
        return
    import json

    roots = json.loads(os.environ.get("RASHOMON_ROOTS", "{}"))
    sys.meta_path.append(_Finder(roots))
    from rashomon.children import start_from_environ

    start_from_environ()


def _chain():
    """Run the sitecustomize that would have run without us."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec("sitecustomize")
    if spec is None or spec.loader is None:
        return
    from importlib.util import module_from_spec

    module = module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


_hide(os.path.dirname(os.path.abspath(__file__)))
if os.environ.get("RASHOMON_SESSION") and not os.environ.get("RASHOMON_OFF"):
    try:
        _start()
    except Exception as error:
        sys.stderr.write("rashomon: not recorded: %s: %s. The program goes on.\n" % (type(error).__name__, error))
        if '"mode": "replay"' in os.environ["RASHOMON_SESSION"]:
            sys.stderr.flush()
            os._exit(3)  # a replay that is not under our control must not run
_chain()
