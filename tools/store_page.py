"""Write docs/formats/store.md from the store's schema: its comments, and its types. `--check` only compares."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import duckdb

from rashomon.store import migrate

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "formats" / "store.md"
_HEAD = """# The store, schema {schema}

`store.duckdb` in a home: a DuckDB file that any DuckDB client opens without us (1.3 or later). It is made from the
journals and can be made again from them. Ask it with `rashomon sql`; [twenty questions](../questions.md) show how.
Times are UTC. This page is generated from the schema itself by `python tools/store_page.py`.
"""


class Described(NamedTuple):
    """A table or view: its name, which of the two, what it is, and (name, type, what it is) of its columns."""

    name: str
    kind: str
    text: str
    columns: list[tuple[str, str, str]]


def described() -> list[Described]:
    """The views and tables that the migrations leave, views first, each with its comments ("" where there is none)."""
    with duckdb.connect() as blank:
        migrate.migrate(blank)
        found = blank.execute(
            "SELECT view_name, 'view', coalesce(comment, '') FROM duckdb_views() WHERE NOT internal"
            " UNION ALL SELECT table_name, 'table', coalesce(comment, '') FROM duckdb_tables()"
            " ORDER BY 2 DESC, 1"
        ).fetchall()
        columns = blank.execute(
            "SELECT table_name, column_name, data_type, coalesce(comment, '') FROM duckdb_columns()"
            " WHERE NOT internal ORDER BY table_name, column_index"
        ).fetchall()
    return [
        Described(name, kind, text, [(column[1], column[2], column[3]) for column in columns if column[0] == name])
        for name, kind, text in found
    ]


def page() -> str:
    """The page that the schema makes."""
    everything = described()
    lines = [_HEAD.format(schema=migrate.newest()).rstrip()]
    for kind in ("view", "table"):
        lines.append(f"\n| {kind} | is |\n|---|---|")
        lines += [f"| [`{one.name}`](#{kind}-{one.name}) | {one.text} |" for one in everything if one.kind == kind]
    for one in everything:
        lines.append(f"\n## {one.kind} `{one.name}`\n\n{one.text}\n\n| column | type | is |\n|---|---|---|")
        lines += [f"| `{name}` | {type_} | {_cell(said)} |" for name, type_, said in one.columns]
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main() -> int:
    """Write the page, or compare it."""
    if "--check" in sys.argv:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
