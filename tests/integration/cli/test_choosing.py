"""The filter language and `grep` on the command line: what is chosen, what is printed, and how it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rashomon.tapes import write_tape
from tests.steps import asked, llm, said, tape, tool, user
from tests.support import rashomon as command

OLD = "000100000000000000000000aa"
NEW = "000200000000000000000000bb"
BAD = "000300000000000000000000cc"
Run = Callable[..., Any]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["status:err"], [BAD]),
        (["name:refund", "-has:parent"], [OLD]),
        (["kind:tool step.end:open"], [BAD]),
        (["-tool:get_order"], [BAD]),
        (["tag:build=412", "I cannot refund"], [NEW]),
        (["body~cannot refund", "tok>1k"], [NEW]),
        (["--where", "steps > 2", "refund", "--name", "refund", "--limit", "1"], [NEW]),
        (["name:nobody"], []),
        (["-refused"], [BAD, NEW, OLD]),
        (["-refund"], [BAD]),
        (['-"cannot refund"'], [BAD, OLD]),
        (["-cannot refund"], [BAD, OLD]),
        (["-caf\u00e9", "name:refund", "-has:parent"], [OLD]),
        (["--since", "1970-01-01T00:00:00Z", "name:refund", "-has:parent"], [OLD]),
        (["since:1970-01-01T00:00:00+00:00", "until:2001-01-01T00:00:00Z"], []),
    ],
)
def test_ls_takes_a_filter(rashomon: Run, words: list[str], found: list[str]) -> None:
    """Terms are arguments, alone or together, beside the options; a negated one is no option."""
    ran = rashomon("ls", "--json", *words)
    assert ran.code == 0, ran.err
    assert [trace["id"] for trace in ran.json()["traces"]] == found


def test_a_minus_is_an_option_where_one_is_due(rashomon: Run) -> None:
    """Options and what they take stay; the pattern of `grep` is no term, and what follows it may be negated."""
    assert rashomon("ls", "-x").code == 2
    assert rashomon("ls", "--name", "-refund x", "--json").json()["traces"] == []
    assert rashomon("grep", "-wrong").code == 2
    there = rashomon("grep", "-ic", "CANNOT REFUND", "-caf\u00e9")
    assert there.out.splitlines() == [f"{NEW} 1"], there.err
    assert rashomon("grep", "cannot refund", "-has:model").out == ""


def test_a_set_that_a_later_python_may_read_otherwise_is_searched_for_quietly(rashomon: Run) -> None:
    """No warning of Python's is printed."""
    ran = rashomon("grep", "[A&&B]-1042 was delivered")
    assert ran.code in (0, 1)
    assert ran.err == ""


def test_a_wrong_filter_is_pointed_at(rashomon: Run) -> None:
    """The error names the column, what was expected, and what was probably meant, with carets under the place."""
    ran = rashomon("ls", "name:refund", "knid:llm")
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.splitlines() == [
        "rashomon: Column 13: There is no field 'knid'. Did you mean kind?",
        "  name:refund knid:llm",
        "              ^^^^",
    ]


@pytest.mark.parametrize("kind", ["clock", "random", "sleep"])
def test_what_is_no_step_is_no_kind(rashomon: Run, kind: str) -> None:
    """Reads of clock and chance are not among the steps: a filter that could never match is refused."""
    ran = rashomon("ls", f"kind:{kind}")
    assert (ran.code, ran.out) == (2, "")
    assert "kind must be one of llm tool http mcp note" in ran.err


def test_grep_prints_where_it_was_said_and_by_whom(rashomon: Run) -> None:
    """A line has trace@step, the path, the role, and the line; what a trace says again is printed once."""
    ran = rashomon("grep", "refund(ed)? order")
    assert ran.code == 0, ran.err
    assert [line.split(" Details")[0] for line in ran.out.splitlines()] == [
        f"{NEW}@4 request.messages[0].content (user): Please refund order A-1042, it never came.",
        f"{NEW}@4 response.choices[0].message.content (model): I cannot refund order A-1042.",
        f"{OLD}@4 request.messages[0].content (user): Please refund order A-1042, it never came.",
        f"{OLD}@4 response.choices[0].message.content (model): I refunded order A-1042.",
    ]


def test_grep_finds_arguments_and_results_of_tools(rashomon: Run) -> None:
    """What a tool was given and what it gave back is searched, and a filter chooses steps."""
    assert rashomon("grep", "^A-1042$", "trace:0001", "kind:tool").out.splitlines() == [
        f"{OLD}@0 response[0] (result): A-1042",
        f"{OLD}@3 request.order_id (arguments): A-1042",
    ]
    assert rashomon("grep", "A-1042", "tool:get_order", "trace:0001").out.splitlines() == [
        f"{OLD}@3 request.order_id (arguments): A-1042",
    ]


def test_grep_names_every_step_that_got_or_gave_the_same(home: Path) -> None:
    """A line that several tools give is found in each; only what requests send again is left out."""
    looks = [tool({"id": number}, {"status": "late"}) for number in range(2)]
    asks = [llm(said("late, both"), asked(user("late?"))) for _ in range(2)]
    (home / "journals").mkdir(parents=True)
    write_tape(home / "journals" / "0.rsj", tape([*looks, *asks]))
    done = command("grep", "late", home=home)
    assert done.returncode == 0, done.stderr
    assert [line.partition(" ")[0].partition("@")[2] for line in done.stdout.splitlines()] == ["0", "1", "2", "2", "3"]


def test_grep_options(rashomon: Run) -> None:
    """-i ignores case, -F takes the pattern as it is, -c counts, -l lists traces, --limit stops."""
    assert rashomon("grep", "PLEASE REFUND").code == 1
    assert len(rashomon("grep", "-i", "PLEASE REFUND").out.splitlines()) == 2
    assert rashomon("grep", "-F", "A.1042").code == 1
    assert rashomon("grep", "-iFl", "a-1042").out.splitlines() == [NEW, OLD]
    assert rashomon("grep", "-c", "A-1042", "kind:llm").out.splitlines() == [f"{NEW} 2", f"{OLD} 2"]
    assert rashomon("grep", "-l", "--limit", "1", "A-1042").out.splitlines() == [NEW]
    assert len(rashomon("grep", "--limit", "3", "A-1042").out.splitlines()) == 3


def test_grep_as_json(rashomon: Run) -> None:
    """One document, with the place of the match in each line."""
    document = rashomon("grep", "--json", "I refunded").json()
    assert document["format"] == "rashomon.grep/1"
    (match,) = document["matches"]
    assert (match["trace"], match["step"], match["role"]) == (OLD, 4, "model")
    assert match["line"][match["start"] : match["end"]] == "I refunded"


def test_grep_ends_with_one_where_nothing_was_found_and_two_for_a_wrong_pattern(rashomon: Run) -> None:
    """The exit codes of grep: 0 found, 1 not, 2 cannot be run."""
    assert rashomon("grep", "refund").code == 0
    assert (rashomon("grep", "no such thing").code, rashomon("grep", "no such thing").out) == (1, "")
    assert rashomon("grep", "--json", "no such thing").code == 1
    ran = rashomon("grep", "re(fund")
    assert ran.code == 2
    assert ran.err.splitlines()[1:] == ["  re(fund", "    ^"]
    assert rashomon("grep", "refund", "status:many").code == 2


def test_show_narrows_the_tree(rashomon: Run) -> None:
    """`show TRACE FILTER` has the header, what was filtered, and the steps that match with their numbers."""
    ran = rashomon("show", OLD, "kind:tool", "-tool:get_*")
    assert ran.code == 0, ran.err
    assert "filter     kind:tool -tool:get_* (2 of 6 steps)" in ran.out
    steps = ran.out.partition("STEP")[2].splitlines()[1:]
    assert [line.split()[0] for line in steps] == ["0", "5"]
    document = rashomon("show", OLD, "tok>1k", "--json").json()
    assert [step["index"] for step in document["steps"]] == [4]


def test_show_without_a_match_says_how_many_there_are(rashomon: Run) -> None:
    """A filter that nothing matches is no error."""
    ran = rashomon("show", OLD, "kind:mcp")
    assert ran.code == 0
    assert "filter     kind:mcp (0 of 6 steps)" in ran.out


def test_notes_and_labels_are_chosen_by(rashomon: Run) -> None:
    """A note on a step is found among steps, and its trace among traces, by label, by text, and by being there."""
    assert rashomon("note", f"{NEW}@3", "stale policy", "--label", "root-cause").code == 0
    for words in (["label:root-cause"], ["note:STALE"], ["has:note,label"]):
        assert [trace["id"] for trace in rashomon("ls", "--json", *words).json()["traces"]] == [NEW]
        steps = rashomon("show", NEW, "--json", *words).json()["steps"]
        assert [step["index"] for step in steps] == [3]
    assert rashomon("grep", "-l", "order_id|A-1042", "label:root-cause").out.splitlines() == [NEW]
