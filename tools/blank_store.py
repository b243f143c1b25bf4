"""Write store/blank.bin, an empty store of the newest schema. `--check` only says whether it is up to date."""

from __future__ import annotations

import sys

from rashomon.store import blank, connection


def main() -> int:
    """The exit code."""
    ready = blank.ready(connection.FORM)
    if "--check" in sys.argv[1:]:
        if ready is None:
            print(f"{blank.FILE.name} is not of this schema: run python tools/blank_store.py", file=sys.stderr)
        return ready is None
    if ready is None:
        blank.FILE.write_bytes(blank.pack(connection.migrated(), connection.FORM))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
