"""What `--json` prints: one document for each question, described in `docs/formats/json.md`.

Each has `format`, `rashomon.<thing>/<version>`; a version grows when a key changes its meaning or goes.
Times: `started` is RFC 3339 in UTC, `*_us` are microseconds, `*_ns` Unix nanoseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rashomon.beside import uncovered
from rashomon.commands import json_text
from rashomon.commands.told import duration_us, told
from rashomon.model import Json, Kind, Site, Step, Tape, Trace, Uncontrolled

if TYPE_CHECKING:
    from rashomon.replay.alignment import Alignment, Pair
    from rashomon.store import Outline, StepRow
    from rashomon.store.lists import Columns, StepLine
    from rashomon.store.restored import Named


def rfc3339(ns: int) -> str:
    """A point in time, UTC, to the microsecond."""
    return datetime.fromtimestamp(ns // 1_000_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%S") + (
        f".{ns % 1_000_000_000 // 1000:06d}Z"
    )


def trace_facts(trace: Trace) -> dict[str, Json]:
    """A trace without its steps."""
    entry, result = trace.entrypoint, None
    if trace.result is not None:
        from rashomon import values  # few traces have a result

        result = values.to_json(trace.result)
    return {
        "id": trace.id,
        "name": trace.name,
        "started": rfc3339(trace.started_ns),
        "started_ns": trace.started_ns,
        "duration_us": duration_us(trace),
        "outcome": trace.outcome,
        "exit_code": trace.exit_code,
        "error": trace.error,
        "tags": dict(trace.tags),
        "parent": trace.parent,
        "within": trace.within,
        "swaps": [_plain(swap) for swap in trace.swaps],
        "command": list(trace.command) if trace.command else None,
        "entrypoint": entry.get("ref") if entry else None,
        "cwd": trace.cwd,
        "versions": dict(trace.versions),
        "provenance": _plain(trace.provenance),
        "processes": [
            process._asdict() | {"argv": list(process.argv), "lane": list(process.lane)} for process in trace.processes
        ],
        "coverage": {
            "complete": None if trace.imported else trace.coverage.complete and not trace.losses,
            "connections": trace.coverage.connections,
            "missed": list(trace.coverage.missed),
            "unseen": len(uncovered(trace)),
        },
        "uncontrolled": [uncontrolled_facts(one) for one in trace.uncontrolled],
        "launched": launched_facts(trace),
        "losses": [loss._asdict() for loss in trace.losses],
        "divergences": [
            one._asdict() | {"paths": list(one.paths), "detail": list(one.detail)} for one in trace.divergences
        ],
        "result": result,
    }


def uncontrolled_facts(one: Uncontrolled) -> dict[str, Json]:
    """A source of nondeterminism that a replay cannot control; also where a missed peer was reached."""
    return {"what": one.what, "reason": one.reason, "site": site_facts(one.site)}


def launched_facts(trace: Trace) -> list[Json]:
    """The subprocesses that the program started; `covered` where it is known what they reached."""
    unknown = set(map(id, uncovered(trace)))
    return [
        {"argv": list(one.argv), "lane": list(one.lane), "within": one.within, "site": site_facts(one.site),
         "covered": id(one) not in unknown}
        for one in trace.launched
    ]  # fmt: skip


def site_facts(site: Site | None) -> Json:
    """A place in the program's source."""
    return None if site is None else {"file": site.file, "line": site.line, "function": site.function}


def step_facts(step: Step | StepRow | StepLine) -> dict[str, Json]:
    """A step without what it carried."""
    said = told(step)
    failure, grade = said.failure_type, said.grade
    return {
        "id": step.id,
        "index": step.index,
        "kind": step.kind.value,
        "name": step.name,
        "title": said.title,
        "lane": list(step.lane),
        "within": step.within,
        "started_us": step.started_us,
        "duration_us": said.duration_us,
        "end": said.end.value,
        "status": said.status,
        "model": said.model,
        "input_tokens": said.input_tokens,
        "output_tokens": said.output_tokens,
        "finish": said.finish,
        "failure": {"type": failure, "message": said.failure_message} if failure is not None else None,
        "match": {"grade": grade.value, "recorded": said.recorded, "detail": said.match_detail} if grade else None,
        "marks": list(step.marks),
    }


def trace_document(tape: Tape | Outline) -> dict[str, Any]:
    """`rashomon.trace/1`: a trace and the facts of each of its steps, as a list or as `json_text.Rows`."""
    from rashomon.store.lists import Columns

    steps = tape.steps
    listed = _facts_of(steps) if isinstance(steps, Columns) else [step_facts(step) for step in steps]
    return {"format": "rashomon.trace/1", "trace": trace_facts(tape.trace), "steps": listed}


def _facts_of(steps: Columns[StepLine]) -> json_text.Rows:
    """The `step_facts` of steps by their columns: there may be thousands."""
    column = steps.column
    types, grades = column("failure_type"), column("grade")
    failures = zip(types, column("failure_message"), strict=True)
    matches = zip(grades, column("recorded"), column("match_detail"), strict=True)
    as_it_is = ("started_us", "duration_us", "end", "status", "model", "input_tokens", "output_tokens", "finish")
    return json_text.Rows(
        {name: column(name) for name in ("id", "index", "kind", "name", "title")}
        | {"lane": steps.lanes(), "within": column("within")}
        | {name: column(name) for name in as_it_is}
        | {
            "failure": [None if kind is None else {"type": kind, "message": said} for kind, said in failures],
            "match": [
                {"grade": grade, "recorded": recorded, "detail": detail or ""} if grade else None
                for grade, recorded, detail in matches
            ],
            "marks": [list(marks) if marks else [] for marks in column("marks")],
        }
    )


def step_document(trace: Trace | Named, step: Step) -> dict[str, Json]:
    """`rashomon.step/1`: a step whole. Bodies are decoded; `--raw` has the bytes."""
    from rashomon import views  # with all that decodes: a list needs nothing of it

    carried = {
        "request_head": _head(step.request.head),
        "request": views.request_view(step),
        "response_head": _head(step.response.head),
        "response": views.response_view(step),
        "pieces": [[piece.offset_us, len(piece.data)] for piece in step.response.pieces],
        "said": _said(step) if step.kind == Kind.LLM else None,
    }
    return {"format": "rashomon.step/1", "trace": trace.id, "step": step_facts(step) | carried}


def _said(step: Step) -> dict[str, Json]:
    """What is read of a model's answer, whatever the provider."""
    from rashomon import views

    said = views.summary(step)
    names = ("dialect", "decoded", "answered", "tier", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
    error: Json = None
    if said.error_type or said.error_message:
        error = {"type": said.error_type, "message": said.error_message}
    return {
        **{name: getattr(said, name) for name in names},
        "unknown": list(said.unknown),
        "text": said.text,
        "reasoning": said.reasoning,
        "refusal": said.refusal,
        "error": error,
        "calls": [call._asdict() for call in said.calls],
    }


def diff_document(alignment: Alignment) -> dict[str, Json]:
    """`rashomon.diff/1`: two traces, pair by pair."""
    counts: dict[str, Json] = {}
    for pair in alignment.pairs:
        counts[pair.mark.value] = int(counts.get(pair.mark.value) or 0) + 1  # type: ignore[arg-type]
    return {
        "format": "rashomon.diff/1",
        "left": trace_facts(alignment.left),
        "right": trace_facts(alignment.right),
        "same": alignment.same,
        "first": alignment.first,
        "ends": [_plain(end._asdict()) for end in alignment.ends],
        "counts": counts,
        "pairs": [pair_facts(pair) for pair in alignment.pairs],
    }


def pair_facts(pair: Pair) -> dict[str, Json]:
    """One pair of an alignment, with what differs in it."""
    from rashomon.replay.differences import step_differences

    left, right = pair.left, pair.right
    changes = step_differences(left, right) if left and right and pair.mark.value != "same" else []
    return {
        "mark": pair.mark.value,
        "left": step_facts(left) if left else None,
        "right": step_facts(right) if right else None,
        "yours": pair.yours,
        "cause": pair.cause,
        "differences": [
            {"path": change.path, "op": change.op, "left": change.left, "right": change.right} for change in changes
        ],
    }


def chunks(document: Any) -> Iterator[bytes]:
    """A document as UTF-8: indented, non-ASCII as it is, lone surrogates escaped."""
    pieces = json_text.pieces(document, _plain)
    for start in range(0, len(pieces), _AT_ONCE):
        yield "".join(pieces[start : start + _AT_ONCE]).encode("utf-8", "backslashreplace")


_AT_ONCE = 200
"""Pieces that are encoded at once: one after the other takes longer, all of them take megabytes."""


def _head(head: dict[str, Any] | None) -> Json:
    return None if head is None else _plain(head)


def _plain(value: Any) -> Json:
    """Values of heads and swaps, which may hold bytes, as JSON."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
