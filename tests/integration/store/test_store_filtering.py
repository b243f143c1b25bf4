"""Filters over a store: which steps and which traces they mean, and that memory and store agree."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rashomon import filters, tapes
from rashomon.filter_fields import FIELDS
from rashomon.filter_terms import quoted
from rashomon.filters import FilterError
from rashomon.model import Divergence, End, Failure, Kind, Piece, Step, Tape, Trace
from rashomon.store import TraceStore, filtering, ingest
from rashomon.store.filter_steps import Beside, StepFilter
from rashomon.store.filtering import Place
from tests.steps import http, llm, said, tool, user
from tests.support import steps_meant

SECOND = 10**9
NOW = 100 * 86_400 * SECOND


def _steps() -> dict[str, list[Step]]:
    usage = {"usage": {"prompt_tokens": 9000, "completion_tokens": 600}}
    question = {"model": "gpt-4o", "messages": [user("May I have a refund?\nThe café's window is broken.")]}
    asked = llm(said("The refund window is closed.") | usage, question)
    streamed = b"".join(
        b"data: "
        + json.dumps({"choices": [{"index": 0, "delta": {"content": word}}], "model": "m-2"}).encode()
        + b"\n\n"
        for word in ("Refu", "nd de", "nied")
    )
    stream = llm(streamed, question, headers=[["content-type", "text/event-stream"]])
    stream = stream._replace(
        response=stream.response._replace(
            pieces=(Piece(1, streamed[:9]), Piece(2, streamed[9:])), duration_us=2_500_000
        )
    )
    called = llm(said(None, ("c1", "issue_refund", {"amount": 120, "order": "A-1042"})) | usage)
    ok = tool({"order_id": "A-1042"}, {"status": 'café ‘late’ "quoted" \\ back'})
    bad = tool({"order_id": "B-7"}, name="issue_refund", failure=Failure("builtins:ValueError", "window closed"))
    limited = llm({"error": {"message": "slow down", "type": "rate_limit"}}, question, status=429)
    packed = http(
        Kind.HTTP, b"", gzip.compress(b"<p>zebra crossing</p>"), url="https://shop.test/a",
        headers=[["content-encoding", "gzip"]],
    )  # fmt: skip
    running = tool({"order_id": "C-9"}, name="slow")
    running = running._replace(response=running.response._replace(end=End.OPEN, pieces=()), lane=(0, 2))
    return {
        "aa11": [asked, ok, called, bad],
        "bb22": [stream, limited, packed, ok._replace(lane=(0,), marks=("no-lane",))],
        "cc33": [running],
        "dd44": [],
    }


def _trace(number: int, name: str, **facts: object) -> Trace:
    started = NOW - (4 - number) * 86_400 * SECOND
    return Trace(name=name, started_ns=started, **{"ended_ns": started + 3 * SECOND, "outcome": "ok", **facts})  # type: ignore[arg-type]


TRACES = [
    _trace(0, "checkout", id="aa11", tags={"env": "prod", 'a"b': "x y"}),
    _trace(1, "triage", id="bb22", outcome="error", error="boom", parent="aa11",
           divergences=(Divergence("missed", "asks for another", "0.1"),)),
    _trace(2, "checkout", id="cc33", outcome="open", ended_ns=None),
    _trace(3, "refund-empty", id="dd44", tags={"env": "test"}),
]  # fmt: skip


@pytest.fixture(scope="module")
def tapes_there() -> list[Tape]:
    """Four traces: a recording, a replay that failed, one that is running, and one without steps."""
    steps = _steps()
    return [
        Tape(
            trace, tuple(one._replace(id=f"0.{at}", index=at, started_us=at) for at, one in enumerate(steps[trace.id]))
        )
        for trace in TRACES
    ]


@pytest.fixture(scope="module")
def path(tapes_there: list[Tape], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of these."""
    folder = tmp_path_factory.mktemp("store")
    (folder / "journals").mkdir()
    for one in tapes_there:
        tapes.write_tape(folder / "journals" / f"{one.trace.id}.rsj", one)
    ingest(folder / "journals", folder / "store.duckdb")
    return folder / "store.duckdb"


@pytest.fixture
def store(path: Path) -> Iterator[TraceStore]:
    """That store, open."""
    with TraceStore(path) as opened:
        yield opened


def steps_of(store: TraceStore, text: str) -> list[str]:
    """The steps that a filter means, oldest trace first."""
    found = steps_meant(store, filters.parse(text), now_ns=NOW)
    return sorted(f"{place.trace[:2]}.{place.position}" for place in found)


def traces_of(store: TraceStore, text: str) -> list[str]:
    """The traces that a filter means, oldest first."""
    return sorted(row.id[:2] for row in store.traces(matching=filters.parse(text), now_ns=NOW))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kind:llm", ["aa.0", "aa.2", "bb.0", "bb.1"]),
        ("kind:llm,http -status:err", ["aa.0", "aa.2", "bb.0", "bb.2"]),
        ("tool:*refund*", ["aa.3"]),
        ("tool:refund*", []),
        ("name:refund", ["aa.3"]),
        ("status:err", ["aa.3", "bb.1"]),
        ("status:4xx", ["bb.1"]),
        ("status>=400", ["bb.1"]),
        ("status:open", ["cc.0"]),
        ("status:ok kind:tool", ["aa.1", "bb.3"]),
        ("ms>2s", ["bb.0"]),
        ("ms:2s..3s", ["bb.0"]),
        ("tok>8k", ["aa.0", "aa.2"]),
        ("out:600 in!=9000", []),
        ("lane:0.2", ["cc.0"]),
        ("lane:0*", ["bb.3", "cc.0"]),
        ("lane:root kind:tool", ["aa.1", "aa.3"]),
        ("step:2..", ["aa.2", "aa.3", "bb.2", "bb.3"]),
        ("step:0.1 kind:llm", ["bb.1"]),
        ("model:4O kind:llm -status:err", ["aa.0", "aa.2", "bb.0"]),
        ("has:calls", ["aa.2"]),
        ("has:stream,marks", ["bb.0", "bb.3"]),
        ("div:missed", ["bb.1"]),
        ("error:closed", ["aa.3"]),
        ("end:error,open", ["aa.3", "cc.0"]),
        ("trace.name:triage kind:llm", ["bb.0", "bb.1"]),
        ("outcome:open", ["cc.0"]),
        ("tag:env=prod kind:tool", ["aa.1", "aa.3"]),
        ("since:3d kind:tool", ["bb.3", "cc.0"]),
    ],
)
def test_terms_on_light_columns(store: TraceStore, text: str, found: list[str]) -> None:
    """Each field means what the page of the language says."""
    assert steps_of(store, text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('body~"refund.*window"', ["aa.0"]),
        ('body~"(?s)refund.*window"', ["aa.0", "bb.0", "bb.1"]),
        ("body~Refund", ["bb.0"]),
        (r"body~\brefund\b", ["aa.0", "bb.0", "bb.1"]),
        ("body~^A-1042$", ["aa.1", "aa.2", "bb.3"]),
        (r"body~\bThe", ["aa.0", "bb.0", "bb.1"]),
        (r"-response~^R kind:llm", ["aa.0", "aa.2", "bb.1"]),
        ("body:refund", ["aa.0", "aa.2", "bb.0", "bb.1"]),
        ("response:refund", ["aa.0", "aa.2", "bb.0"]),
        ("request:refund -response:refund", ["bb.1"]),
        ('"refund denied"', ["bb.0"]),
        ('"refund?\nthe café"', ["aa.0", "bb.0", "bb.1"]),
        ("body:café", ["aa.0", "aa.1", "bb.0", "bb.1", "bb.3"]),
        ('body:"‘late’ \\"quoted\\" \\\\ back"', ["aa.1", "bb.3"]),
        ("body:A-1042", ["aa.1", "aa.2", "bb.3"]),
        ("body:zebra", ["bb.2"]),
        ("body:zebra kind:llm", []),
        ("issue_refund", ["aa.2", "aa.3"]),
        ("-body:refund -body:café", ["aa.3", "bb.2", "cc.0"]),
        ('body:"window closed"', ["aa.3"]),
        ("body:o?der*A-1042", ["aa.1", "aa.2", "bb.3"]),
        ("body=refund", ["aa.0", "aa.2", "bb.0", "bb.1"]),
        ("$.response.usage.completion_tokens>500", ["aa.0", "aa.2"]),
        ("$.request.order_id=A-1042", ["aa.1", "bb.3"]),
        ("$.request.messages[*].content~café", ["aa.0", "bb.0", "bb.1"]),
        ("$.request.messages[-1].role:user status:ok", ["aa.0", "bb.0"]),
        ("$.response.choices[0].message.content:null", ["aa.2"]),
        ("-$.request.order_id kind:tool,http", ["bb.2"]),
    ],
)
def test_terms_on_bodies(store: TraceStore, text: str, found: list[str]) -> None:
    """Text is found in requests, answers, streams, tools' values, compressed bodies; paths in the decoded content."""
    assert steps_of(store, text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ["aa", "bb", "cc", "dd"]),
        ("name:checkout", ["aa", "cc"]),
        ("status:err", ["bb"]),
        ("status:open", ["cc"]),
        ("step.status:429", ["bb"]),
        ("kind:tool", ["aa", "bb", "cc"]),
        ("-kind:tool", ["dd"]),
        ("kind:llm -step.status:err", ["aa", "bb"]),
        ("kind:tool step.status:err", ["aa"]),
        ("kind:http step.status:err", []),
        ("tag:env", ["aa", "dd"]),
        ("tag:env=prod,env=te*", ["aa", "dd"]),
        ('tag:"a\\"b=x y"', ["aa"]),
        ("since:3d", ["bb", "cc", "dd"]),
        ("since:3d until:2d", ["bb"]),
        ("tok>15k", ["aa"]),
        ("steps>=4 failures:1", ["aa", "bb"]),
        ("model:m-2,gpt-4o", ["aa", "bb"]),
        ("has:parent,tag", ["aa", "bb", "dd"]),
        ("trace:aa1,b", ["aa", "bb"]),
        ("div:missed outcome:error", ["bb"]),
        ("refund", ["aa", "bb", "dd"]),
        ("-refund", ["cc"]),
        ("refund kind:tool", ["aa"]),
        ("body:zebra", ["bb"]),
        ("-body:café", ["cc", "dd"]),
        ("$.response.usage.completion_tokens>500", ["aa"]),
        ("-$.response.usage.completion_tokens>500 tag:env", ["dd"]),
        ("ms>1s", ["aa", "bb", "dd"]),
        ("error:boom", ["bb"]),
    ],
)
def test_traces(store: TraceStore, text: str, found: list[str]) -> None:
    """A trace matches by its own terms and by one step for all step terms; negated ones alone mean no step."""
    assert traces_of(store, text) == found


@pytest.mark.parametrize(
    "text",
    ["'; DROP TABLE steps; --", "name:\"'; DROP TABLE steps; --\"", "body~\"'; DROP\"", "tag:\"'=1' OR '1\"",
     '$.response["\'"]:"\'"', "label:\"'\" note:\"'\"", "lane:\"'\"", "div:\"'\"", "name:%_\\*", "trace:\"'\""],
)  # fmt: skip
def test_values_are_bound_and_never_written_into_the_sql(store: TraceStore, text: str) -> None:
    """Quotes, wildcards and SQL in values are values: nothing matches, nothing breaks, everything is still there."""
    query = filters.parse(text)
    assert store.traces(matching=query) == []
    assert steps_meant(store, query) == []
    assert len(store.traces()) == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [("status:404", "no HTTP status"), ("has:stream", "never has a stream"), (r"body~\pX", "regular expression")],
)
def test_what_a_trace_cannot_be_asked_is_refused(store: TraceStore, text: str, problem: str) -> None:
    """A term that makes no sense for a trace is an error, and never an empty list."""
    with pytest.raises(FilterError, match=problem):
        store.traces(matching=filters.parse(text))


def test_no_temporary_tables_are_left(path: Path) -> None:
    """A search drops what it put aside."""
    with TraceStore(path) as store:
        steps_meant(store, filters.parse("refund kind:llm"))
        store.traces(matching=filters.parse("refund -café"))
        assert store.query("select count(*) from duckdb_tables() where temporary").rows == [(0,)]


# ---------------------------------------------------------------------------- memory and store agree

WORDS = st.sampled_from(
    ["refund", "Refund", "window", "café", "A-1042", "slow", "gpt", "o", "zebra", '"', "\\", "120", "‘", ""]
)
_REGEXES = st.sampled_from(
    ["refund.*window", "^.{3}", "[Rr]efu", r"\d{4}", "caf.", "(?i)DENIED", "a|b", r"\bslow\b", "$"]
)


@st.composite
def some_terms(draw: st.DrawFn) -> str:
    """A term of any field, with values that sometimes match."""
    field = draw(st.sampled_from([one for one in FIELDS if one.name not in ("note", "label", "cost")]))
    match field.sort:
        case "word":
            choices = [word for word in field.words if word not in ("note", "label", "cost", "loss", "swap", "tag")]
            told = f":{','.join(draw(st.lists(st.sampled_from(choices), min_size=1, max_size=2)))}"
        case "text":
            told = draw(
                st.one_of(
                    WORDS.map(lambda word: ":" + quoted(word)),
                    WORDS.map(lambda word: "=" + quoted(word)),
                    _REGEXES.map(lambda word: "~" + quoted(word)),
                    st.sampled_from([":*refund*", ":re?und*", ":0*", ":root", ":get_*", ":*"]),
                )
            )
        case "status":
            told = draw(st.sampled_from([":err", ":ok", ":open", ">=400", ":2xx", ":200..299,err"]))
        case "step":
            told = draw(st.sampled_from([":1", ":1..2", ">2", ":0.1", ":..1", "<=1"]))
        case "moment":
            told = draw(st.sampled_from([":3d", ":1.5d", ":1970-03-01"]))
        case "tag":
            told = draw(st.sampled_from([":env", ":env=prod", ":env=*t*", ":no"]))
        case _:
            told = draw(
                st.sampled_from([">0", ">2s" if field.sort == "duration" else ">100", ":0", "<10k", ":0..9000"])
            )
            told = told.replace("10k", "10" if field.sort == "duration" else "10k")
    lead = draw(st.sampled_from(["", "", "-"]))
    about = draw(st.sampled_from(["", "", "step.", "trace."])) if field.about == "both" else ""
    return f"{lead}{about}{field.name}{told}"


FREE = st.tuples(st.sampled_from(["", "-"]), WORDS.map(quoted)).map("".join)
PATHS = st.sampled_from(
    [
        "$.request.model",
        "-$.request.order_id:a",
        "$.response.usage.prompt_tokens>=9000",
        '$.request~"A-1"',
        "$.response:refund",
    ]
)


@settings(max_examples=50)
@given(text=st.lists(st.one_of(some_terms(), some_terms(), FREE, PATHS), min_size=1, max_size=3).map(" ".join))
def test_memory_and_store_agree(path: Path, tapes_there: list[Tape], text: str) -> None:
    """The same filter chooses the same steps in SQL and among steps in memory; what one refuses, both refuse."""
    query = filters.parse(text)
    expected: object
    try:
        expected = sorted(
            Place(tape.trace.id, step.index)
            for tape in tapes_there
            for step in StepFilter(query, tape.trace, tape.steps, Beside(), NOW).chosen()
        )
    except FilterError as error:
        expected = str(error)
    with TraceStore(path) as store:
        found: object
        try:
            found = sorted(steps_meant(store, query, now_ns=NOW))
        except FilterError as error:
            found = str(error)
    assert found == expected, text


def test_every_field_can_be_asked(path: Path) -> None:
    """The example that the table of fields gives runs, and what it finds is what its negation does not find."""
    with TraceStore(path) as store:
        steps, traces = set(steps_meant(store, filters.parse(""))), {row.id for row in store.traces()}
        for field in FIELDS:
            query, others = (filters.parse(f"{sign}{field.example}") for sign in ("", "-"))
            found, left = set(steps_meant(store, query)), set(steps_meant(store, others))
            assert (found | left, found & left) == (steps, set()), field.example
            of, without = ({row.id for row in store.traces(matching=one)} for one in (query, others))
            assert of | without == traces, field.example


def test_few_steps_are_searched_alone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where light terms leave few steps, the answer is the same as where bodies are searched all over."""
    with TraceStore(path) as store:
        places = []
        for share in (0.0, 1.0):
            monkeypatch.setattr(filtering, "FEW", share)
            places.append(steps_of(store, "body:refund step:0"))
        assert places == [["aa.0", "bb.0"], ["aa.0", "bb.0"]]
