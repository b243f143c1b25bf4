"""Laws of the filter language: what is written is read as the same, and nothing but its own error comes out."""

from __future__ import annotations

import re

import duckdb
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rashomon import filter_regex, filter_terms, filters
from rashomon.filter_fields import BY_NAME, FIELDS, Field, Sort, markdown, moment_ns
from rashomon.filters import FilterError, Query
from tests.support import ROOT

PIECES = st.sampled_from(
    [*BY_NAME, "step.", "trace.", ":", "~", "=", "!=", ">", ">=", "<", "..", ",", " ", "-", "!", '"', "\\", "*", "?",
     "$.", "$.request", "[0]", "[*]", "2s", "8k", "$0.01", "7d", "2026-02-31", "4xx", "err", "llm", "env=prod", "(",
     "a+", "[", "]", "{1,3}", "é", "\x00", "\ud800", "\n", "0.3", "1e9", "(?i)", "\\d"]
)  # fmt: skip
DATABASE = duckdb.connect()
MESS = st.one_of(st.text(max_size=60), st.lists(PIECES, max_size=14).map("".join))
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


def value_of(field: Field) -> st.SearchStrategy[str]:
    """Texts that are values of a field."""
    quoted = WORDS.map(filter_terms.quoted)
    number = st.integers(0, 10**9).map(str) | st.floats(0, 10**6).map(lambda value: f"{value:.3f}")
    match field.sort:
        case Sort.WORD:
            return st.sampled_from(field.words)
        case Sort.STATUS:
            return st.sampled_from([*field.words, "404", "4xx", "400..499", "500.."])
        case Sort.STEP:
            return st.sampled_from(["3", "0.3", "30..60", "..7", "7.."])
        case Sort.DURATION:
            return st.tuples(number, st.sampled_from(["", "us", "ms", "s", "m", "h"])).map("".join)
        case Sort.MONEY:
            return st.tuples(st.sampled_from(["", "$"]), number).map("".join)
        case Sort.COUNT | Sort.SIZE:
            return st.tuples(number, st.sampled_from(["", "k", "M"])).map("".join)
        case Sort.MOMENT:
            return st.sampled_from(["7d", "1.5h", "2026-11-20", "2026-11-20T10:22", "2026-11-20T10:22:31"])
        case Sort.TAG:
            return st.sampled_from(["env", "env=prod", "env=p*", '"a b=c d"'])
        case _:
            return quoted | st.sampled_from(["refund", "refund*", "a?b", "m-2"])


@st.composite
def terms(draw: st.DrawFn) -> str:
    """One term that is right."""
    field = draw(st.sampled_from(FIELDS))
    about = draw(st.sampled_from(["", "step.", "trace."])) if field.about == "both" else ""
    values = draw(st.lists(value_of(field), min_size=1, max_size=3))
    lead = draw(st.sampled_from(["", "-", "!"]))
    return f"{lead}{about}{field.name}{draw(st.sampled_from([':', '=', '!=']))}{','.join(values)}"


PATHS = st.sampled_from(
    [
        "$.request.model",
        "$.response.usage.output_tokens>500",
        '$.request["a b"][*].role=tool,"7",7,null',
        "-$.response[-1]~x",
    ]
)
FILTERS = st.lists(st.one_of(terms(), PATHS, WORDS.map(filter_terms.quoted)), max_size=5).map(" ".join)


@given(MESS)
@example('body~"')
@example("a" * 20_000)
@example("body~" + "(" * 5000)
@example("name:\\")
def test_a_filter_is_read_or_refused_with_its_own_error(text: str) -> None:
    """Whatever is typed: a query, or an error with a place inside the text; a query is written as it is read."""
    refused = None
    try:
        query = filters.parse(text)
    except FilterError as error:
        query, refused = filters.NOTHING, error
    if refused is not None:
        assert 0 <= refused.column <= len(text)
        assert refused.problem
        assert refused.remedy
        assert "\n" not in "".join(refused.pointed())
    assert all(0 <= start < end <= len(text) for start, end in query.spans)
    assert repr(filters.parse(str(query)).terms) == repr(query.terms)


@given(FILTERS)
def test_what_is_written_of_a_filter_is_read_as_the_same(text: str) -> None:
    """Printing a query and reading that gives the query, and prints the same again."""
    query = filters.parse(text)
    written = str(query)
    assert repr(filters.parse(written).terms) == repr(query.terms)
    assert str(filters.parse(written)) == written


@given(st.text(st.sampled_from("ab.*+?()[]{}|\\^$dw1-,"), max_size=10))
def test_a_regular_expression_that_is_taken_is_one(pattern: str) -> None:
    """What `~` takes, Python can run, and the database."""
    try:
        query = filters.parse("body~" + filter_terms.quoted(pattern))
    except FilterError:
        return
    taken = query.terms[0].values[0].text
    assert isinstance(re.compile(taken), re.Pattern)
    assert DATABASE.execute("SELECT regexp_matches('', ?)", [filter_regex.exact(taken)[0]]).fetchall()


@pytest.mark.parametrize(
    ("text", "column", "problem", "remedy"),
    [
        ("kind:lm", 5, "kind must be one of llm tool", "Did you mean llm?"),
        ("kind:llm nmae:x", 9, "no field 'nmae'", "Did you mean name?"),
        ("body~re(fund", 7, "regular expression", "plain text"),
        ('body~"re(fund"', 8, "regular expression", "plain text"),
        ("cost>cheap", 5, "no value of cost", "US dollars"),
        ("kind>llm", 5, "cannot be compared", "kind:llm"),
        ("name:", 5, "has no value", "name:refund*"),
        ("a -", 2, "negates nothing", "behind it"),
        ('"abc', 0, "never closed", "Close it"),
        ("step.tag:x", 0, "is about a trace", "tag alone"),
        ("since:yesterday", 6, "no time", "7d"),
        ("$.usage>1", 0, "$.request or $.response", "$.response"),
        (r"said~(a)\1", 8, "refers back", "Mend it"),
        ("body~a{,3}", 6, "has {,3}, which not everybody reads alike: write {0,3}", "Mend it"),
        ("body~a{1001}", 6, "more than 1,000 times", "Mend it"),
        (r"body~\ud83d", 5, "half a character", "Mend it"),
        (r"body~(a)\Bb", 8, "between two characters", "Mend it"),
        (r"body~a$\b", 7, "behind an end", "Mend it"),
        ("ms:2s..1s", 3, "'2s..1s' ends before it begins", "1s..2s"),
        ("$.request.n\u00e4me", 11, "cannot be part of a path", '["n\u00e4me"]'),
        ("$.request.\u00e4[0]", 9, "cannot be part of a path", '["\u00e4"]'),
        ("since:2026-11-22T25:19Z", 6, "no time", "7d"),
        ("ms~2", 2, "no text", "ms>2s"),
    ],
)
def test_an_error_points_at_what_is_wrong(text: str, column: int, problem: str, remedy: str) -> None:
    """Each mistake is told with its column, what was expected, and what was probably meant."""
    with pytest.raises(FilterError) as caught:
        filters.parse(text)
    assert caught.value.column == column
    assert f"Column {column + 1}: " in caught.value.problem
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
    assert str(caught.value).split("\n")[1:] == [f"  {text}", "  " + " " * column + "^" * caught.value.length]


@pytest.mark.parametrize(
    ("arguments", "same"),
    [
        (["kind:llm", "status:err"], "kind:llm status:err"),
        (["kind:llm status:err"], "kind:llm status:err"),
        (["refund window"], '"refund window"'),
        (["body~refund window"], 'body~"refund window"'),
        (['body~"refund window"'], 'body~"refund window"'),
        (["!tag:team=a b", "x"], '-tag:"team=a b" x'),
        (["refund status:err"], "refund status:err"),
    ],
)
def test_arguments_of_a_shell_are_read_as_they_were_typed(arguments: list[str], same: str) -> None:
    """A shell takes quotation marks away; a value or phrase with spaces in one argument stays one."""
    query: Query = filters.from_arguments(arguments)
    assert query.terms == filters.parse(same).terms


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02T00:00:00Z", 86_400),
        ("1970-01-02T01:30+01:30", 86_400),
        ("1970-01-01 22:00:00-0200", 86_400),
        ("1970-01-02T00:00:00.5Z", 86_400.5),
    ],
)
def test_a_date_may_have_an_offset(text: str, seconds: float) -> None:
    """Times as documents print them are times of a filter."""
    assert moment_ns(text, 0) == seconds * 1_000_000_000
    assert filters.parse(f'since:"{text}"').terms[0].values[0].text == text


def test_the_page_of_the_language_lists_every_field() -> None:
    """docs/filter.md has the tables that the fields themselves give; its example is a filter."""
    page = (ROOT / "docs" / "filter.md").read_text()
    assert page.partition("<!-- fields -->\n")[2].partition("\n<!-- /fields -->")[0] == markdown()
    block = page.partition("## Terms\n\n```\n")[2].partition("\n```")[0]
    assert len(filters.parse(block).terms) == 14
