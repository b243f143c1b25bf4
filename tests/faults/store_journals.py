"""Journals made by hand, for tests of what the store does with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from rashomon import journal
from rashomon.journal import Code
from rashomon.store import TraceStore
from rashomon.store.ledger import unpack_member


def frames(trace: str, steps: int, process: int = 0, size: int = 40) -> list[list[Any]]:
    """What a process writes that makes some LLM calls, with texts of `size` characters, and ends."""
    started = 10**18 + process * 10**6
    out: list[list[Any]] = [
        [Code.PROCESS, {"started_ns": started, "pid": 100 + process, "argv": ["a.py"]}],
        [Code.TRACE, 0, {"id": trace, "name": f"name of {trace}", "started_ns": 10**18}],
    ]
    for step in range(steps):
        text = f"{trace} {process} {step} ".ljust(size, "x")
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()
        head = {"method": "POST", "url": "https://api.example.com/v1/chat/completions", "headers": []}
        out.append([Code.CALL, step, 0, "llm", "api.example.com", [], 100 * step, None, head, body])
        out.append([Code.HEAD, step, 100 * step + 10, {"status": 200, "headers": []}])
        out.append([Code.PIECE, step, 100 * step + 20, text.encode()])
        out.append([Code.END, step, 100 * step + 30, "complete", None])
    return [*out, [Code.TRACE_END, 0, 10**6, {"outcome": "ok"}], [Code.CLOSE, 10**6]]


def packed(content: list[list[Any]]) -> list[bytes]:
    """The frames as bytes."""
    return [journal.frame(journal.pack(item)) for item in content]


def write(path: Path, data: bytes) -> None:
    """Write a journal file whose last change is long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, ns=(10**18, 10**18 + len(data)))


def write_frames(path: Path, content: list[list[Any]]) -> None:
    """Write a whole journal."""
    write(path, journal.header_bytes() + b"".join(packed(content)))


def _however_read(told: bytes) -> Any:
    """What a journal told of a trace, whether it was read in one go or not."""
    member = unpack_member(told)
    return repr(member._replace(mark=member.whole_mark, late=0))


def content(store: Path) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables, but for how often and when the store was written, and the numbers that parts got."""
    numbers = {
        "parts": "id",
        "steps": "request_parts, frame_part, lead_part, other_parts, parts_from, parts_to, response_part, prompt_part",
    }
    with TraceStore(store) as traces:
        tables = [row[0] for row in traces.query("select table_name from duckdb_tables()").rows]
        found = {}
        for table in [*tables, "step_parts"]:
            left_out = f"exclude ({numbers[table]})" if table in numbers else ""
            found[table] = traces.query(f"select * {left_out} from {table} order by all").rows
    found["members"] = [(trace, journal, _however_read(told)) for trace, journal, told in found["members"]]
    found["meta"] = [row for row in found["meta"] if row[0] not in ("generation", "compacted", "unmerged")]
    return found
