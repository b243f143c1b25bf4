"""Searches mean what Python's `re` means on the texts themselves, however these were spelt on the wire."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rashomon import filter_regex, filters, tapes
from rashomon.commands import grep
from rashomon.filter_terms import quoted
from rashomon.filters import NOTHING
from rashomon.model import Kind, Piece, Step, Tape, Trace
from rashomon.store import TraceStore, ingest
from rashomon.store.filter_steps import StepFilter
from tests.steps import http, said, tool
from tests.support import steps_meant

SEED = 5
PATTERNS = 20
LETTERS = ["K", "k", "W", "w", "Q", "\u00e9", "\u00c9", "\u00df", "\u0130", "\u017f", "\u0663", "\U0001f600"]
"""What the JSON around the texts does not hold, in capital letters or not, but for the last: these begin a match."""

OTHERS = [*LETTERS, " ", "\n", "\t", '"', "'", "\\", "/", "<", "7", "_", "-", ".", "\u2003", "\x1f", "\ue000"]


class Said(NamedTuple):
    """A step, and by side the texts in it, and what stands around these: a match there may be found, and need not."""

    step: Step
    must: dict[str, list[str]]
    may: dict[str, list[str]]


def text_of(chance: random.Random) -> str:
    """What somebody said."""
    return "".join(chance.choices(OTHERS, k=chance.randrange(1, 9)))


def unescaped(value: Any) -> str:
    """A value as JSON with nothing escaped."""
    if isinstance(value, dict):
        return "{" + ", ".join(f'"{key}": {unescaped(one)}' for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(unescaped, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else json.dumps(value)


def called(chance: random.Random) -> Said:
    """A call of a model: a question and an answer, a call of a tool, or a stream."""
    question, answer, ascii_only = text_of(chance), text_of(chance), chance.random() < 0.5
    message = {"role": "user", "content": question}
    body = json.dumps({"model": "gpt-4o", "messages": [message]}, ensure_ascii=ascii_only).encode()
    form = chance.randrange(3)
    if form == 0:
        whole = said(answer)
    elif form == 1:
        whole = said(None, ("c1", "issue", {"note": answer}))
        arguments = whole["choices"][0]["message"]["tool_calls"][0]["function"]
        arguments["arguments"] = json.dumps({"note": answer}, ensure_ascii=ascii_only)
    pieces = [json.dumps(whole, ensure_ascii=ascii_only).encode()] if form < 2 else _streamed(answer, ascii_only)
    headers = [["content-type", "text/event-stream" if form == 2 else "application/json"]]
    step = http(Kind.LLM, body, b"", headers=headers)
    step = step._replace(response=step.response._replace(pieces=tuple(Piece(0, piece) for piece in pieces)))
    around = [unescaped({"note": answer}), *(unescaped(one) for one in ([whole] if form < 2 else []))]
    if form == 2:
        around.append(f'"{answer}"')
        around.append(f'"{answer}", "')
    return Said(
        step, {"request": [question], "response": [answer]}, {"request": [unescaped(message)], "response": around}
    )


def _streamed(answer: str, ascii_only: bool) -> list[bytes]:
    cuts = [answer[at : at + 2] for at in range(0, len(answer), 2)]
    chunks = [{"choices": [{"index": 0, "delta": {"content": cut}}], "model": "m-2"} for cut in cuts]
    return [b"data: " + json.dumps(chunk, ensure_ascii=ascii_only).encode() + b"\n\n" for chunk in chunks]


def used(chance: random.Random) -> Said:
    """A call of a tool, whose arguments and result are encoded values."""
    note, status = text_of(chance), text_of(chance)
    step = tool({"note": note}, {"status": status, "more": [1]})
    around = {"request": [f"note\x1f{note}"], "response": [f"status\x1f{status}\x1fmore"]}
    return Said(step, {"request": [note], "response": [status]}, around)


@pytest.fixture(scope="module")
def recorded() -> list[Said]:
    """Forty steps of each kind."""
    print("seed", SEED)
    chance = random.Random(SEED)
    found = [make(chance) for make in (called, called, used) for _ in range(40)]
    return [one._replace(step=one.step._replace(id=f"0.{at}", index=at)) for at, one in enumerate(found)]


@pytest.fixture(scope="module")
def tape(recorded: list[Said]) -> Tape:
    """A trace of these."""
    return Tape(Trace("t1", "agent", 1, ended_ns=2, outcome="ok"), tuple(one.step for one in recorded))


@pytest.fixture(scope="module")
def store(tape: Tape, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TraceStore]:
    """A store of it."""
    folder = tmp_path_factory.mktemp("agree")
    (folder / "journals").mkdir()
    tapes.write_tape(folder / "journals" / "t1.rsj", tape)
    ingest(folder / "journals", folder / "store.duckdb")
    with TraceStore(folder / "store.duckdb") as opened:
        yield opened


ATOMS = [*"KWkw", "\u00e9", "\u00df", r"\u00e9", ".", r"\s", r"\S", r"\w", r"\W", r"\d", r"\b", r"\n", r"\t", r"\\",
         '"', '["]', r"[\\]", "[Kk\u00e9]", "[^K]", r"[^\W\d]", r"[\s.]", "[\u00df-\u00ff]", "(?:W|\u00e9)", " ", "/",
         "^", "$", r"\.", "'", "<"]  # fmt: skip


def expression(chance: random.Random) -> str | None:
    """A regular expression that has a letter in it which only texts hold; None for one that is refused."""
    atoms = [chance.choice(ATOMS) + chance.choice(["", "", "", "?", "*", "+", "{1,2}"]) for _ in range(3)]
    atoms[chance.randrange(3)] = chance.choice(["K", "W", "\u00e9", "[KW]", "(?:k|\u00df)", "\u00c9", "\U0001f600"])
    pattern = chance.choice(["", "", "(?i)", "(?s)"]) + "".join(atoms[: chance.randrange(1, 4)])
    plain = not any(one in pattern for one in ["K", "W", "\u00e9", "\u00df", "\u00c9", "\U0001f600"])
    return None if plain or filter_regex.trouble(pattern) else pattern


def glob(chance: random.Random) -> str:
    """A pattern with stars and question marks."""
    return "".join(chance.choice(["K", "w", "\u00c9", '"', "?", "\\", " ", "\n"]) for _ in range(2)) + "*k"


def held(recorded: list[Said], side: str, search: re.Pattern[str]) -> tuple[set[int], set[int]]:
    """The steps that must be found, and those that may."""
    sides = ("request", "response") if side == "body" else (side,)
    must = {one.step.index for one in recorded for at in sides if any(map(search.search, one.must[at]))}
    may = {one.step.index for one in recorded for at in sides if any(map(search.search, one.may[at]))}
    known = filter_regex.plain(search.pattern)
    if known is not None and not filter_regex.spelt_one_way(known[0]):  # its escape may be found as it stands
        may = {one.step.index for one in recorded}
    return must, must | may


def found(store: TraceStore, tape: Tape, text: str) -> set[int]:
    """The steps that a filter means, which are the same in the store and in memory."""
    query = filters.parse(text)
    places = {place.position for place in steps_meant(store, query)}
    assert places == {step.index for step in StepFilter(query, tape.trace, tape.steps).chosen()}, text
    return places


def test_expressions_on_bodies_mean_what_python_means_on_the_texts(
    store: TraceStore, tape: Tape, recorded: list[Said]
) -> None:
    """`body~`, `request~`, `response~`, `said~` and `grep` find the texts that `re.search` finds, and no others."""
    chance = random.Random(SEED + 1)
    patterns = [one for _ in range(PATTERNS) if (one := expression(chance)) is not None]
    assert len(patterns) > PATTERNS // 2
    for pattern in patterns:
        search = re.compile(pattern, re.MULTILINE)
        for side in ("body", "request", "response"):
            must, may = held(recorded, side, search)
            places = found(store, tape, f"{side}~{quoted(pattern)}")
            assert must <= places <= may, (pattern, side)
        summed = {one.step.index for one in recorded if _said(one) and re.search(pattern, one.must["response"][0])}
        assert found(store, tape, f"said~{quoted(pattern)}") == summed, pattern
        path = found(store, tape, f"$.request.messages[0].content~{quoted(pattern)} kind:llm")
        asked = [one for one in recorded if one.step.kind == "llm"]
        assert path == {one.step.index for one in asked if re.search(pattern, one.must["request"][0])}, pattern


def _said(one: Said) -> bool:
    return one.step.kind == "llm" and b"tool_calls" not in one.step.response.body


@pytest.mark.parametrize("ignore_case", [False, True])
def test_grep_finds_what_python_finds(store: TraceStore, recorded: list[Said], ignore_case: bool) -> None:
    """Each step with a text that matches has a line; with `-i`, whatever the case."""
    chance = random.Random(SEED + 2)
    for _ in range(PATTERNS // 2):
        pattern = expression(chance)
        if pattern is None:
            continue
        search = re.compile(pattern, re.MULTILINE | (re.IGNORECASE if ignore_case else 0))
        query = grep._query(pattern, NOTHING, ignore_case, False)
        hits = {hit.step.index for hit in grep._hits(store, query, search, once=False)}
        must, _ = held(recorded, "body", search)
        again = {one.step.index for one in recorded if one.step.kind == "llm" and not _found_in_answer(one, search)}
        assert must - again <= hits, pattern
        assert hits <= {place.position for place in steps_meant(store, query)}, pattern


def _found_in_answer(one: Said, search: re.Pattern[str]) -> bool:
    """Not only in a request: of those, `grep` prints a line once."""
    return any(map(search.search, one.must["response"]))


def test_texts_whatever_their_case_and_globs(store: TraceStore, tape: Tape, recorded: list[Said]) -> None:
    """A text beyond ASCII is found whatever its case, and a pattern of stars anywhere, however JSON spelt them."""
    chance = random.Random(SEED + 3)
    for _ in range(PATTERNS // 2):
        text = "".join(chance.choices(["K", "w", "\u00c9", "\u00e9", '"', "\\", "\n"], k=2)) + "\u00c9"
        must, may = held(recorded, "body", re.compile(f"(?:{re.escape(text)})", re.IGNORECASE))
        assert must <= found(store, tape, f"body:{quoted(text)}") <= may, text
        query = grep._query(text, NOTHING, True, True)
        assert must <= {place.position for place in steps_meant(store, query)} <= may, text
        pattern = glob(chance)
        shape = "".join({"*": ".*", "?": "."}.get(one, re.escape(one)) for one in pattern)
        must, may = held(recorded, "body", re.compile(shape, re.IGNORECASE | re.DOTALL))
        term = filters.Term("body", filters.Op.HAS, (filters.Value(filters.Form.GLOB, pattern),))
        places = {place.position for place in steps_meant(store, filters.Query((term,)))}
        assert must <= places <= may, pattern


SENTENCE = 'He said "yes" to the\nrefund\twindow in the caf\u00e9 C:\\temp.'


@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_sentence_is_found_in_all_its_spellings(tmp_path: Path, ascii_only: bool) -> None:
    """Line ends, tabs, quotation marks, backslashes and letters beyond ASCII are what they are, escaped or not."""
    body = json.dumps({"messages": [{"role": "user", "content": SENTENCE}]}, ensure_ascii=ascii_only).encode()
    step = http(Kind.LLM, body, b"{}")
    there = Tape(Trace("t2", "agent", 1, ended_ns=2, outcome="ok"), (step,))
    (tmp_path / "journals").mkdir()
    tapes.write_tape(tmp_path / "journals" / "t2.rsj", there)
    ingest(tmp_path / "journals", tmp_path / "store.duckdb")
    expressions = [
        *(r"the\s+refund", r"refund\s+window", r"refund\twindow", "said .yes", 'said ["]yes', r"C:[\\]temp", "caf. C"),
        *(r"caf\w C", r"\bcaf\u00e9\b", "(?i)CAF\u00c9 C", r"^refund", r"to the$"),
    ]
    terms = [f"request~{quoted(one)}" for one in expressions]
    terms += ["request:CAF\u00c9", 'body:"CAF\u00c9 c"', "body:caf*C", "body:said??yes?"]
    terms.append(r"-body~refund.window.in.the.caf\d")
    with TraceStore(tmp_path / "store.duckdb") as opened:
        assert {term: found(opened, there, term) for term in terms} == {term: {0} for term in terms}
        for pattern, ignore_case, fixed in [(one, False, False) for one in expressions] + [("CAF\u00c9 C", True, True)]:
            query = grep._query(pattern, NOTHING, ignore_case, fixed)
            search = re.compile(pattern, re.MULTILINE | (re.IGNORECASE if ignore_case else 0))
            assert [hit.step.index for hit in grep._hits(opened, query, search, once=True)] == [0], pattern
