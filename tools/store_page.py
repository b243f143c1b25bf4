"""Write docs/formats/store.md from the comments in the store's schema. `--check` only compares."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "formats" / "store.md"
_COMMENT = re.compile(r"COMMENT ON (TABLE|VIEW|COLUMN) ([\w.]+) IS '((?:[^']|'')*)'", re.S)
_HEAD = """# The store, schema {schema}

`store.duckdb` in a home: a DuckDB file that any DuckDB client opens without us (1.3 or later). It is made from the
journals and can be made again from them. This page is generated from the schema's own comments by
`python tools/store_page.py`.
"""


def page() -> str:
    """The page that the schema's comments make."""
    files = sorted((ROOT / "store").glob("[0-9]*.sql"))
    lines = [_HEAD.format(schema=len(files))]
    for file in files:
        for kind, name, text in _COMMENT.findall(file.read_text(encoding="utf-8")):
            said = re.sub(r"\s+", " ", text.replace("''", "'"))
            if kind == "COLUMN":
                lines.append(f"| `{name.partition('.')[2]}` | {said.replace('|', chr(92) + '|')} |")
            else:
                columns = "\n| column | is |\n|---|---|" if kind == "TABLE" else ""
                lines.append(f"\n## {kind.lower()} `{name}`\n\n{said}\n{columns}".rstrip())
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the page, or compare it."""
    if "--check" in sys.argv:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
