"""The questions of `docs/questions.md`, asked of recordings in which the answers are known."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Any

import pytest

import rashomon
from rashomon import session
from rashomon.store import TraceStore, open_home
from tests.integration.store import shop
from tests.support import ROOT, code_blocks

PAGE = ROOT / "docs" / "questions.md"
MON, TUE, WED, THU, FRI = (datetime.date(2026, 8, 31) + datetime.timedelta(days=day) for day in range(5))
CAREFUL, GENEROUS = shop.CAREFUL[-30:], shop.GENEROUS[-30:]


def questions() -> dict[str, str]:
    """The SQL of each question, by its title."""
    found = re.findall(r"^## (\d+\. .*?)\n\n```sql\n(.*?)^```\n\n\S", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    return dict(found)


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceStore]:
    """The shop's week, recorded, and its store open."""
    folder = tmp_path_factory.mktemp("week")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RASHOMON_HOME", str(folder / "scratch"))
        session.close_journal()
        rashomon.install()
        shop.record(folder / "home", folder / "scratch")
        session.close_journal()
    with open_home(folder / "home") as store:
        yield store


ANSWERS: dict[int, list[tuple[Any, ...]]] = {
    1: [
        (MON, CAREFUL, 3, 1), (TUE, CAREFUL, 3, 1), (WED, CAREFUL, 3, 0),
        (THU, GENEROUS, 3, 3), (FRI, GENEROUS, 3, 0),
    ],
    2: [("tue-2", "0.2", "issue_refund", '{"order_id":"A-7","amount":"12.50 EUR"}', ["amount is a text, not number"])],
    3: [("fri-2", "0.0", "call_warehouse", '{"number":"7"}', True)],
    4: [
        (MON, "shop-large", 2, 900, 900), (MON, "shop-small", 5, 100, 200), (TUE, "mystery", 1, 100, 100),
        (TUE, "shop-small", 5, 100, 100), (WED, "shop-large", 1, 300, 300), (WED, "shop-small", 5, 100, 100),
        (THU, "shop-small", 9, 100, 9000), (FRI, "shop-small", 11, 100, 100),
    ],
    5: [("shop-small", 4500, 0.5), ("shop-large", 450, 0.5), ("mystery", 50, 0.5)],
    # a call of shop-small is 600 + 400 cached + 20 tokens: 0.001 dollars; one of shop-large 1000 + 20: 0.012
    6: [("acme", 11, 0.055, 1), ("globex", 5, 0.016, 0)],
    7: [("shop-large", 3, 0.036, 0), ("shop-small", 37, 0.035, 0), ("mystery", 1, None, 1)],
    8: [("shop-small", 35000, 0.4), ("shop-large", 3000, 0.0), ("mystery", 50, 0.0)],
    9: [("issue_refund", THU, ["thu-1", "thu-2", "thu-3"])],
    10: [("replay-left", "mon-2", "0.0", "missed", 2, 1, "[]")],
    11: [("wed-2", "0.0", "shop-small", "content_filter", "I would rather not.")],
    12: [("get_order", 8, 1, "no order A-404"), ("issue_refund", 5, 1, "amount must be a number")],
    13: [("mon-1", "0.0", "shop-small", 3, ["429"])],
    14: [("wed-1", "shop-small", 3, 0.002)],
    15: [("fri-1", "search_orders", '{"text":"parcel"}', 7)],
    16: [
        ("fri-1", 8, 1000, 8000, 0.008, "stop"), ("mon-1", 5, 1000, 3000, 0.003, "stop"),
        ("replay-held", 5, 1000, 3000, None, "stop"),
    ],
    17: [("wed-3", "0.0", "shop-small", "length", "complete", 20, "ce upon a time there")],
    18: [
        ("status", "llm", "requests", 4, 2, "mon-1"),  # the replay got its 429 from the recording
        ("ended badly", "trace", "Missed", 1, 1, "replay-left"),
        ("ended badly", "trace", "ZeroDivisionError", 1, 1, "fri-3"),
        ("missed", "llm", "rashomon.errors:Missed", 1, 1, "replay-left"),
        ("raised", "tool", "builtins:LookupError", 1, 1, "tue-1"),
        ("raised", "tool", "builtins:TypeError", 1, 1, "tue-2"),
        ("refused", "llm", "content_filter", 1, 1, "wed-2"),
    ],
    19: [("fri-2", "support", 1, 0, 0, None)],
    20: [("thu-1", "nobody asked why", "ann", "support", GENEROUS)],
}  # fmt: skip


@pytest.mark.parametrize("title", questions())
def test_a_question_finds_what_was_planted(week: TraceStore, title: str) -> None:
    """Each question of the page gives exactly what happened in that week."""
    result = week.query(questions()[title])
    assert result.rows == ANSWERS[int(title.split(".")[0])]


def test_there_are_twenty_questions() -> None:
    """Each has a number, its SQL, and a word on how to read it."""
    assert [int(title.split(".")[0]) for title in questions()] == list(range(1, 21))
    assert len(code_blocks(PAGE, "sql")) == 20
