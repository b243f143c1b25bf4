"""A list of traces is what the view `trace_list` says, however it is asked for."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from rashomon.filters import parse
from rashomon.store import TraceRow, TraceStore
from rashomon.store.connection import open_reader, open_writer
from rashomon.store.trace_rows import trace_row_from

NEWEST = "ORDER BY started_ns DESC, id DESC"
SHAPES = ["flat", "one level", "deep", "in a circle"]


def row(chance: random.Random, number: int, within: str | None) -> list[Any]:
    """A row of `traces`: id, name, start, end, outcome, within, missed, counts, cost, models, provenance."""
    counts = [chance.randrange(50) for _ in range(7)]
    models = sorted(chance.sample(["é", "gpt-4o", "gpt-4o-mini", "sonnet"], chance.randrange(4)))
    lacks = chance.choice(["{}", '{"imported": {"lacks": []}}', '{"imported": {"lacks": ["time"]}}'])
    start = chance.randrange(40) * 1_000_000_007
    return [
        f"t{number:03}",
        chance.choice(["refund", "triage"]),
        start,
        chance.choice([None, start + chance.randrange(10**10)]),
        chance.choice(["ok", "error", "killed", "open"]),
        within,
        ["peer:1"] * chance.randrange(2),
        *counts,
        chance.choice([None, chance.randrange(40) / 4]),
        models,
        lacks,
    ]


def within_of(chance: random.Random, shape: str, number: int) -> str | None:
    """The trace that encloses this one, which may be one that there is not."""
    if shape == "flat" or chance.random() < 0.5 or not number:
        return None
    if shape == "one level":
        return f"t{chance.randrange(5):03}" if number >= 5 else None
    return f"t{chance.randrange(number if shape == 'deep' else 40):03}"


def filled(path: Path, chance: random.Random, shape: str) -> None:
    """A store of thirty traces, some with divergences and losses."""
    columns = (
        "id, name, started_ns, ended_ns, outcome, within, missed, steps, llm_calls, tool_calls, failures,"
        " input_tokens, output_tokens, unpriced, cost, models, provenance"
    )
    with open_writer(path) as writer:
        for number in range(30):
            values = row(chance, number, within_of(chance, shape, number))
            writer.execute(
                f"INSERT INTO traces ({columns}, tags, swaps, environ, versions, connections, fingerprint)"
                f" VALUES ({', '.join('?' * len(values))}, '{{}}', '[]', '{{}}', '{{}}', 0, '')",
                values,
            )
        for position in range(chance.choice([0, 4])):
            writer.execute(
                "INSERT INTO losses (trace, position, reason, steps) VALUES (?, ?, 'disk full', ?)",
                [f"t{chance.randrange(30):03}", position, chance.randrange(9)],
            )
        for position in range(chance.choice([0, 4])):
            writer.execute(
                "INSERT INTO divergences (trace, position, kind, summary, paths, detail)"
                " VALUES (?, ?, 'x', '', [], [])",
                [f"t{chance.randrange(30):03}", position],
            )


def by_view(path: Path, condition: str = "true", limit: int = 1000) -> list[TraceRow]:
    """What the view says."""
    sql = f"SELECT {', '.join(TraceRow._fields)} FROM trace_list WHERE {condition} {NEWEST} LIMIT {limit}"
    with open_reader(path) as reader:
        return [trace_row_from(one) for one in reader.execute(sql).fetchall()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(4))
def test_a_list_is_what_the_view_says(tmp_path: Path, shape: str, seed: int) -> None:
    """Whatever is within what: pages, whole lists, filters and conditions give the view's own lines."""
    print(f"seed {seed}")
    path, chance = tmp_path / "store.duckdb", random.Random(f"{shape} {seed}")
    filled(path, chance, shape)
    with TraceStore(path) as store:
        assert store.traces() == by_view(path)
        assert store.traces(limit=7) == by_view(path, limit=7)
        assert store.traces(name="refund", limit=5) == by_view(path, "name = 'refund'", 5)
        assert store.traces(where="steps > 20 or len(models) > 2", limit=9) == by_view(
            path, "steps > 20 or len(models) > 2", 9
        )
        for written, condition in {
            "status:err": "outcome IN ('error', 'killed')",
            "in>60 model:GPT*": "input_tokens > 60 AND list_contains(list_transform(models, lambda m: m[:3]), 'gpt')",
            "-model=gpt-4o": "NOT list_contains(models, 'gpt-4o')",
            "cost<3 has:loss": "cost < 3 AND losses > 0",
            "model:é,sonnet": "list_has_any(models, ['é', 'sonnet'])",
        }.items():
            for limit in (3, 100):
                assert store.traces(matching=parse(written), limit=limit) == by_view(path, condition, limit), written
