"""What each field of a filter is in the store: conditions on `steps AS s` and on `trace_list`.

Values are always bound, never written into the SQL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rashomon.filter_fields import BY_NAME, STEP_HAS, TRACE_HAS, moment_ns
from rashomon.filters import Form, Op, Query, Term, Value
from rashomon.store.filter_text import Where, any_of, column

_SIGNS = {Op.GREATER: ">", Op.AT_LEAST: ">=", Op.LESS: "<", Op.AT_MOST: "<="}

ERR = (
    "(s.failure_type IS NOT NULL OR coalesce(s.status >= 400, false) OR s.ended = 'error'"
    " OR s.error_type IS NOT NULL OR s.error_message IS NOT NULL)"
)
"""A step that went wrong. `rashomon.store.filter_steps.went_wrong` says the same of a step in memory."""

_STEP_NUMBERS = {
    "cached": "s.cached_tokens",
    "reasoning": "s.reasoning_tokens",
    "size": "s.request_size + s.response_size",
    "cost": "s.cost",
    "ms": "CASE WHEN s.ended <> 'open' THEN s.duration_us END",
    "tok": "CASE WHEN s.input_tokens IS NOT NULL OR s.output_tokens IS NOT NULL"
    " THEN coalesce(s.input_tokens, 0) + coalesce(s.output_tokens, 0) END",
    "in": "s.input_tokens",
    "out": "s.output_tokens",
}
_STEP_TEXTS = {
    "dialect": ("s.dialect",),
    "finish": ("s.finish",),
    "title": ("s.title",),
    "said": ("s.text",),
    "name": ("s.name",),
    "model": ("s.model",),
    "error": ("s.failure_type", "s.failure_message", "s.error_type", "s.error_message"),
}
_TRACE_NUMBERS = {
    "ms": "trace_list.duration_us",
    "tok": "trace_list.input_tokens + trace_list.output_tokens",
    "in": "trace_list.input_tokens",
    "out": "trace_list.output_tokens",
    "steps": "trace_list.steps",
    "cost": "trace_list.cost",
    "failures": "trace_list.failures",
}
_NOTES = """
    (SELECT trace, step, text, labels FROM annotations
    UNION ALL SELECT trace, id, coalesce(request_head->>'$.note.text', title),
        TRY_CAST(request_head->'$.note.labels' AS VARCHAR[]) FROM steps WHERE kind = 'note')
"""
"""What people wrote and what programs said, as the view `notes` has them: on a step, or on a whole trace."""

_NOTED = {
    "step": f"(s.trace, s.id) IN (SELECT (note.trace, note.step) FROM {_NOTES} AS note{{}}"
    " WHERE note.step IS NOT NULL AND {})",
    "trace": f"trace_list.id IN (SELECT note.trace FROM {_NOTES} AS note{{}} WHERE {{}})",
}
_LABELS = ", unnest(note.labels) AS given(label)"


def _with_notes(whose: str, condition: str) -> str:
    """That a step or trace has a note for which this holds, or a label, where it asks for `given.label`."""
    return _NOTED[whose].format(_LABELS if "given.label" in condition else "", condition)


def _notes(term: Term, whose: str) -> Where:
    """A term on texts or labels of notes."""
    sql, bound = column("note.text" if term.field == "note" else "given.label", term.op, term.values)
    return _with_notes(whose, sql), bound


_STEP_HAS: dict[str, str] = {
    "note": _with_notes("step", "note.text <> ''"),
    "label": _with_notes("step", "len(note.labels) > 0"),
    "error": ERR,
    "div": "(s.trace, s.id) IN (SELECT (one.trace, one.step) FROM divergences AS one WHERE one.step IS NOT NULL)",
    "cost": "s.cost IS NOT NULL",
    "tokens": "(s.input_tokens IS NOT NULL OR s.output_tokens IS NOT NULL)",
    "model": "s.model IS NOT NULL",
    "reasoning": "(s.reasoning IS NOT NULL OR coalesce(s.reasoning_tokens > 0, false))",
    "refusal": "s.refusal IS NOT NULL",
    "calls": "(s.trace, s.position) IN (SELECT (asked.trace, asked.step) FROM tool_requests AS asked)",
    "stream": "len(s.piece_sizes) > 1",
    "marks": "len(s.marks) > 0",
    "parent": "s.within IS NOT NULL",
}
_TRACE_HAS: dict[str, str] = {
    "note": _with_notes("trace", "note.text <> ''"),
    "label": _with_notes("trace", "len(note.labels) > 0"),
    "error": "(trace_list.error IS NOT NULL OR trace_list.outcome IN ('error', 'killed'))",
    "div": "trace_list.divergences > 0",
    "cost": "trace_list.cost IS NOT NULL",
    "tokens": "trace_list.input_tokens + trace_list.output_tokens > 0",
    "model": "len(trace_list.models) > 0",
    "loss": "trace_list.losses > 0",
    "parent": "trace_list.parent IS NOT NULL",
    "swap": "json_array_length(trace_list.swaps) > 0",
    "tag": "len(json_keys(trace_list.tags)) > 0",
}


def about(term: Term, listed: str) -> str:
    """`step` or `trace`: what a term is about in a list of steps or of traces."""
    if term.field in ("text", "$"):
        return "step"
    field = BY_NAME[term.field]
    return term.about or (listed if field.about == "both" else field.about)


def numbers(sql: str, term: Term) -> Where:
    """A number that has one of the values, or compares with the one there is."""
    return any_of(_number(sql, term.op, value) for value in term.values)


def _number(sql: str, op: Op, value: Value) -> Where:
    if op in _SIGNS:
        return f"{sql} {_SIGNS[op]} ?", [value.low]
    if value.form is Form.NUMBER:
        return f"{sql} = ?", [value.low]
    parts, bound = [], list[Any]()
    for sign, end in ((">=", value.low), ("<=", value.high)):
        if end is not None:
            parts.append(f"{sql} {sign} ?")
            bound.append(end)
    return f"({' AND '.join(parts)})", bound


def _texts(columns: tuple[str, ...], term: Term) -> Where:
    return any_of(column(one, term.op, term.values) for one in columns)


def _words(sql: str, term: Term) -> Where:
    return any_of((f"{sql} = ?", [value.text]) for value in term.values)


# ----------------------------------------------------------------------------------------------- steps


def step_condition(term: Term) -> Where:
    """A term on light columns as a condition on `steps AS s`, not negated."""
    name = term.field
    if name in _STEP_NUMBERS:
        return numbers(_STEP_NUMBERS[name], term)
    if name in _STEP_TEXTS:
        return _texts(_STEP_TEXTS[name], term)
    return _STEPS[name](term)


def _tool(term: Term) -> Where:
    sql, bound = column("s.name", term.op, term.values)
    return f"(s.kind IN ('tool', 'mcp') AND {sql})", bound


def _step(term: Term) -> Where:
    return any_of(
        ("s.id = ?", [value.text]) if value.form is Form.WORD else _number("s.position", term.op, value)
        for value in term.values
    )


def lane_text(value: Value) -> Value:
    """A value of `lane`, as the column has it: the root's is empty."""
    return value._replace(text="") if value.form is Form.TEXT and value.text == "root" else value


def _lane(term: Term) -> Where:
    op = Op.EQUAL if term.op is Op.HAS else term.op
    return any_of(
        column("s.lane", term.op if value.form is Form.GLOB else op, [lane_text(value)]) for value in term.values
    )


def _step_status(term: Term) -> Where:
    words = {"err": ERR, "open": "s.ended = 'open'", "ok": f"(s.ended <> 'open' AND NOT {ERR})"}
    return any_of(
        (words[value.text], []) if value.form is Form.WORD else _number("s.status", term.op, value)
        for value in term.values
    )


def _step_has(term: Term) -> Where:
    return any_of((_STEP_HAS[value.text], []) for value in term.values)


def _step_divergences(term: Term) -> Where:
    sql, bound = column("one.kind", term.op, term.values)
    return f"(s.trace, s.id) IN (SELECT (one.trace, one.step) FROM divergences AS one WHERE {sql})", bound


_STEPS: dict[str, Callable[[Term], Where]] = {
    "kind": lambda term: _words("s.kind", term),
    "end": lambda term: _words("s.ended", term),
    "grade": lambda term: _words("s.grade", term),
    "tool": _tool,
    "step": _step,
    "lane": _lane,
    "status": _step_status,
    "has": _step_has,
    "note": lambda term: _notes(term, "step"),
    "label": lambda term: _notes(term, "step"),
    "div": _step_divergences,
}


# ---------------------------------------------------------------------------------------------- traces


def trace_condition(term: Term, now_ns: int) -> Where:
    """A term about traces as a condition on `trace_list`, not negated."""
    name = term.field
    if name in _TRACE_NUMBERS:
        return numbers(_TRACE_NUMBERS[name], term)
    if name in ("since", "until"):
        sign = ">=" if name == "since" else "<"
        return any_of((f"trace_list.started_ns {sign} ?", [moment_ns(value.text, now_ns)]) for value in term.values)
    return _TRACES[name](term)


def own_texts(value: Value) -> Where:
    """What free text is looked for in, of a trace itself."""
    return any_of(column(f"trace_list.{one}", Op.HAS, [value]) for one in ("id", "name", "error"))


def _trace_id(term: Term) -> Where:
    return any_of(
        ("starts_with(trace_list.id, ?)", [value.text])
        if value.form is Form.TEXT and term.op is Op.HAS
        else column("trace_list.id", term.op, [value])
        for value in term.values
    )


def _trace_status(term: Term) -> Where:
    outcomes = {"err": "IN ('error', 'killed')", "open": "= 'open'", "ok": "= 'ok'"}
    return any_of((f"trace_list.outcome {outcomes[value.text]}", []) for value in term.values)


def _trace_model(term: Term) -> Where:
    sql, bound = column("one", term.op, term.values)
    return f"len(list_filter(trace_list.models, lambda one: {sql})) > 0", bound


def _trace_divergences(term: Term) -> Where:
    sql, bound = column("one.kind", term.op, term.values)
    return f"trace_list.id IN (SELECT one.trace FROM divergences AS one WHERE {sql})", bound


def _tag(term: Term) -> Where:
    found = []
    for value in term.values:
        key, equals, wanted = value.text.partition("=")
        sql = "(CAST(trace_list.tags AS MAP(VARCHAR, VARCHAR)))[?]"
        if not equals:
            found.append((f"{sql} IS NOT NULL", [key]))
        elif value.form is Form.GLOB:
            shape, bound = column(sql, Op.HAS, [Value(Form.GLOB, wanted)])
            found.append((shape, [key, *bound]))
        else:
            found.append((f"{sql} = ?", [key, wanted]))
    return any_of(found)


_TRACES: dict[str, Callable[[Term], Where]] = {
    "name": lambda term: column("trace_list.name", term.op, term.values),
    "error": lambda term: column("trace_list.error", term.op, term.values),
    "outcome": lambda term: _words("trace_list.outcome", term),
    "trace": _trace_id,
    "status": _trace_status,
    "model": _trace_model,
    "note": lambda term: _notes(term, "trace"),
    "label": lambda term: _notes(term, "trace"),
    "div": _trace_divergences,
    "has": lambda term: any_of((_TRACE_HAS[value.text], []) for value in term.values),
    "tag": _tag,
}


def check(query: Query, listed: str) -> None:
    """Raise `FilterError` for a term that cannot be asked of what it is about."""
    for term in query.terms:
        whose = about(term, listed)
        numeric = term.op in _SIGNS or any(value.form is not Form.WORD for value in term.values)
        if term.field == "status" and whose == "trace" and numeric:
            written = str(term._replace(about="step", negated=False))
            raise query.error(term, "A trace has no HTTP status, only ok, err or open.", f"Write {written}.")
        if term.field == "has":
            known, other = (STEP_HAS, "trace") if whose == "step" else (TRACE_HAS, "step")
            for value in term.values:
                if value.text not in known:
                    raise query.error(
                        term, f"A {whose} never has a {value.text}; a {other} may.", f"Write {other}.has:{value.text}."
                    )


def is_light(term: Term) -> bool:
    """True for a term that needs no body."""
    return term.field not in ("body", "request", "response", "text", "$")
