"""What the reading commands print, on a home made of tape files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

OLD = "000100000000000000000000aa"
NEW = "000200000000000000000000bb"
BAD = "000300000000000000000000cc"
Run = Callable[..., Any]


def test_ls_lists_newest_first(rashomon: Run) -> None:
    """`ls` shows one line a trace, newest first, whole ids in a pipe, and what is wrong with each."""
    ran = rashomon("ls")
    lines = ran.out.splitlines()
    assert ran.code == 0, ran.err
    assert lines[0].split()[:3] == ["TRACE", "NAME", "STARTED"]
    assert [line.split()[0] for line in lines[1:]] == [BAD, NEW, OLD]
    assert "INCOMPLETE" in lines[1]
    assert f"replay of {OLD}" in lines[2]
    assert "1,200/34" in lines[3]
    assert "build=412" in lines[3]


def test_ls_as_json(rashomon: Run) -> None:
    """`ls --json` gives one document with counts for each trace."""
    document = rashomon("ls", "--json", "--name", "refund").json()
    assert document["format"] == "rashomon.traces/1"
    assert [trace["id"] for trace in document["traces"]] == [NEW, OLD]
    first = document["traces"][1]
    assert (first["steps"], first["llm_calls"], first["tool_calls"]) == (6, 1, 5)
    assert first["duration_us"] == 1_500_000
    assert first["tags"] == {"build": "412"}
    assert first["started"].endswith("Z")


def test_ls_filters(rashomon: Run) -> None:
    """`--where`, `--limit` and `--since` each narrow the list."""
    where = rashomon("ls", "--json", "--where", "outcome = 'killed'").json()
    limited = rashomon("ls", "--json", "--limit", "1").json()
    recent = rashomon("ls", "--json", "--since", "1s").json()
    assert [trace["id"] for trace in rashomon("ls", "--json", "--since", "99y").json()["traces"]] == [BAD, NEW, OLD]
    assert [trace["id"] for trace in where["traces"]] == [BAD]
    assert [trace["id"] for trace in limited["traces"]] == [BAD]
    assert recent["traces"] == []


def test_show_draws_a_tree(rashomon: Run) -> None:
    """`show TRACE` tells what was run and lists its steps, those inside a tool one level deeper."""
    ran = rashomon("show", OLD[:6])
    assert ran.code == 0, ran.err
    assert "python agent.py --customer 'a b'" in ran.out
    assert "outcome    ok (exit code 0)" in ran.out
    assert "coverage   complete" in ran.out
    assert 'tool  get_order(order_id="A-1042") → {"status": "shipped"}' in ran.out
    assert 'tool    inner_lookup(key="x")' in ran.out
    assert "1,200/34" in ran.out


def test_show_says_loudly_what_is_wrong(rashomon: Run) -> None:
    """A connection that slipped through, a divergence and a step that never ended cannot be missed."""
    out = rashomon("show", BAD).out
    assert "coverage   INCOMPLETE" in out
    assert "WARNING" in out
    assert "203.0.113.5:443" in out
    assert "DIVERGED: The call has no answer on the tape." in out
    assert "RateLimitError" in out
    assert "never ended; no-lane" in out
    assert "missed" in out


def test_foreign_text_cannot_drive_the_terminal(rashomon: Run) -> None:
    """Control characters in recorded text are shown as escapes, and its brackets are not markup."""
    for arguments in (["show", BAD], ["show", BAD, "1"], ["diff", BAD, OLD]):
        ran = rashomon(*arguments)
        assert b"\x1b" not in ran.raw
        assert b"\x07" not in ran.raw
    assert "[bold]markup[/bold]" in rashomon("show", BAD, "1").out


def test_show_a_step_whole(rashomon: Run) -> None:
    """`show TRACE STEP` has request, response, pieces and the facts between, whole."""
    out = rashomon("show", OLD, "4").out
    assert "POST http://127.0.0.1:9/v1/chat/completions" in out
    assert "Please refund order A-1042, it never came." in out
    assert '"content": "I refunded order A-1042."' in out
    assert "model     gpt-4o" in out
    assert "dialect   openai.chat, decoded whole" in out
    assert "tokens    1,200 in, 34 out" in out
    assert "+250.0ms" in out


def test_show_a_failed_step(rashomon: Run) -> None:
    """A step that raised shows the exception with its text."""
    out = rashomon("show", BAD, "0.0").out
    assert "failure\nopenai:RateLimitError\nslow down\nplease" in out
    assert "match     missed from 0.4: no recorded call has this content" in out


def test_show_as_json(rashomon: Run) -> None:
    """`--json` gives a trace with its steps, and a step with its bodies decoded."""
    trace = rashomon("show", OLD, "--json").json()
    step = rashomon("show", OLD, "4", "--json").json()
    assert trace["format"] == "rashomon.trace/1"
    assert trace["trace"]["command"] == ["python", "agent.py", "--customer", "a b"]
    assert [one["kind"] for one in trace["steps"]] == ["tool"] * 4 + ["llm", "tool"]
    assert trace["steps"][5]["within"] == trace["steps"][3]["id"]
    assert step["format"] == "rashomon.step/1"
    assert step["step"]["request"]["messages"][0]["role"] == "user"
    assert step["step"]["response"]["usage"]["total_tokens"] == 1234
    assert step["step"]["pieces"][0][0] == 250_000
    assert step["step"]["said"]["dialect"] == "openai.chat"
    assert step["step"]["said"]["decoded"] == "whole"


def test_show_raw_gives_exact_bytes(rashomon: Run) -> None:
    """`--raw` writes a body's bytes and nothing else."""
    raw = rashomon("show", OLD, "4", "--raw", "response").raw
    assert raw.startswith(b'{"id": "chatcmpl-1"')
    assert raw.endswith(b"}")


def test_diff_of_a_trace_with_itself(rashomon: Run) -> None:
    """Equal traces: exit code 0, every step in one folded line."""
    ran = rashomon("diff", OLD, OLD)
    assert ran.code == 0, ran.err
    assert "6 steps the same" in ran.out
    assert ran.out.splitlines()[-1] == "The same: 6 steps."


def test_diff_shows_what_changed(rashomon: Run) -> None:
    """Different traces: exit code 1, the changed paths under each changed pair, the rest folded."""
    ran = rashomon("diff", OLD, NEW)
    assert ran.code == 1, ran.err
    assert "3 steps the same: 0 to 2" in ran.out
    assert '- get_order(order_id="A-1042") → {"status": "shipped"}' in ran.out
    assert '+ get_order(order_id="A-1042") → {"status": "lost"}' in ran.out
    assert "response.status" in ran.out
    assert "First difference at step 3" in ran.out
    assert "{+" in ran.out or "→" in ran.out


def test_diff_unfolded(rashomon: Run) -> None:
    """`--all` shows the equal steps too."""
    out = rashomon("diff", OLD, NEW, "--all").out
    assert "list_orders" in out
    assert "steps the same" not in out


def test_diff_as_json(rashomon: Run) -> None:
    """`diff --json` gives every pair with its mark and its differences, and the same exit code."""
    ran = rashomon("diff", OLD, NEW, "--json")
    document = ran.json()
    assert ran.code == 1
    assert document["format"] == "rashomon.diff/1"
    assert document["same"] is False
    assert document["first"] == 3
    assert document["pairs"][0]["mark"] == "same"
    paths = [difference["path"] for difference in document["pairs"][3]["differences"]]
    assert paths == ["response.status"]
    assert sum(document["counts"].values()) == len(document["pairs"])


def test_sql_in_each_format(rashomon: Run) -> None:
    """`sql` prints columns, CSV or JSON with the same rows."""
    query = "select id, steps from trace_list where name = 'refund' order by id"
    plain = rashomon("sql", query).out.splitlines()
    rows = list(csv.reader(io.StringIO(rashomon("sql", query, "--format", "csv").out)))
    document = rashomon("sql", query, "--json").json()
    assert plain[0].split() == ["id", "steps"]
    assert plain[1].split() == [OLD, "6"]
    assert rows == [["id", "steps"], [OLD, "6"], [NEW, "6"]]
    assert document["format"] == "rashomon.sql/1"
    assert [column["name"] for column in document["columns"]] == ["id", "steps"]
    assert document["rows"] == [[OLD, 6], [NEW, 6]]


def test_sql_only_reads(rashomon: Run) -> None:
    """A statement that would change the store is refused, and changes nothing."""
    refused = rashomon("sql", "delete from traces")
    assert refused.code == 2
    assert "Traceback" not in refused.err
    assert rashomon("sql", "select count(*) as n from traces", "--json").json()["rows"] == [[3]]


def test_sql_that_is_wrong_is_explained(rashomon: Run) -> None:
    """A mistake in a query gives exit code 2 and what the database says about it."""
    ran = rashomon("sql", "select nonsense from trace_list")
    assert ran.code == 2
    assert "nonsense" in ran.err
    assert "Traceback" not in ran.err


def test_ingest_reports(rashomon: Run) -> None:
    """`ingest` says what it read; a second time there is nothing new."""
    first = rashomon("ingest", "--json").json()
    second = rashomon("ingest", "--json").json()
    assert first["format"] == "rashomon.ingest/1"
    assert (first["journals"], sorted(first["new"]), first["steps"]) == (3, [OLD, NEW, BAD], 14)
    assert (second["journals"], second["new"], second["updated"], second["steps"]) == (0, [], [], 0)


def test_ingest_takes_a_file_from_elsewhere(rashomon: Run, tape_home: Path, tmp_path: Path) -> None:
    """A journal that is named is taken in although it lies outside of the home."""
    journal = tape_home / "journals" / f"{OLD}.rsj"
    elsewhere = tmp_path / "from a colleague.rsj"
    journal.rename(elsewhere)
    assert len(rashomon("ls", "--json").json()["traces"]) == 2
    ran = rashomon("ingest", str(elsewhere))
    assert ran.code == 0, ran.err
    assert len(rashomon("ls", "--json").json()["traces"]) == 3


def test_ingest_names_damage(rashomon: Run, tape_home: Path) -> None:
    """A journal with a flipped byte: exit code 4, the place is named, and the rest is kept."""
    journal = tape_home / "journals" / f"{OLD}.rsj"
    content = bytearray(journal.read_bytes())
    at = content.index(b"get_order")
    content[at] ^= 1
    journal.write_bytes(content)
    ran = rashomon("ingest")
    assert ran.code == 4
    assert journal.name in ran.out + ran.err
    assert len(rashomon("show", OLD, "--json").json()["steps"]) >= 4
    assert "LOST" in rashomon("ls").out
