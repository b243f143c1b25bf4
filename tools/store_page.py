"""Write docs/formats/store.md from the comments in the store's schema. `--check` only compares."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "formats" / "store.md"
_STATEMENT = re.compile(r"COMMENT ON (TABLE|VIEW|COLUMN) ([\w.]+) IS '((?:[^']|'')*)'|DROP (?:TABLE|VIEW) (\w+);", re.S)
_HEAD = """# The store, schema {schema}

`store.duckdb` in a home: a DuckDB file that any DuckDB client opens without us (1.3 or later). It is made from the
journals and can be made again from them. This page is generated from the schema's own comments by
`python tools/store_page.py`.
"""


class Described(NamedTuple):
    """A table or view: which of the two, what it is, and what its columns are."""

    kind: str
    text: str
    columns: dict[str, str]


def described(texts: Iterable[str]) -> dict[str, Described]:
    """The tables and views that migrations, one after the other, leave, by name."""
    found: dict[str, Described] = {}
    for text in texts:
        for kind, name, quoted, dropped in _STATEMENT.findall(text):
            said = re.sub(r"\s+", " ", quoted.replace("''", "'"))
            table, _, column = name.partition(".")
            if dropped:
                found.pop(dropped, None)
            elif kind == "COLUMN":
                found[table].columns[column] = said
            else:
                found[name] = Described(kind.lower(), said, {})
    return found


def page() -> str:
    """The page that the schema's comments make."""
    files = sorted((ROOT / "store").glob("[0-9]*.sql"))
    lines = [_HEAD.format(schema=len(files))]
    everything = described(file.read_text(encoding="utf-8") for file in files)
    for name, one in sorted(everything.items(), key=lambda item: item[1].kind):  # views behind tables
        lines.append(f"\n## {one.kind} `{name}`\n\n{one.text}")
        if one.columns:
            lines.append("\n| column | is |\n|---|---|")
        lines += [f"| `{column}` | {said.replace('|', chr(92) + '|')} |" for column, said in one.columns.items()]
    return "\n".join(lines).rstrip() + "\n"


def main() -> int:
    """Write the page, or compare it."""
    if "--check" in sys.argv:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
