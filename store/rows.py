"""Tapes as rows of tables, and rows as tapes: whatever goes in comes out equal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rashomon import views
from rashomon.canonical import content_digest, digest, digest_of, header
from rashomon.model import (
    Call,
    Coverage,
    Divergence,
    End,
    Failure,
    Grade,
    Kind,
    Lane,
    Loss,
    Match,
    Piece,
    Process,
    Request,
    Response,
    Step,
    Tape,
    Trace,
)
from rashomon.store import bodies, points, surroundings
from rashomon.store.bodies import Split
from rashomon.store.exact import Shown, lane_of, restore
from rashomon.views import Summary

Row = tuple[Any, ...]
BY_TRACE = (
    "steps",
    "step_parts",
    "processes",
    "losses",
    "divergences",
    "ambient",
    "uncontrolled",
    "launched",
    "points",
    "tool_requests",
)
"""Tables whose rows belong to the trace named in their column `trace`."""

RESPONSE = -1
"""`step_parts.position` of a response."""


class TraceRow(NamedTuple):
    """One line of a list of traces. Counts and tokens include the traces within it.

    `started_ns` is Unix time in nanoseconds; `duration_us` None while it is open. `divergences`,
    `coverage_missed` (peers) and `losses` are counts; `lost` is the number of steps known to be lost.
    """

    id: str
    name: str
    started_ns: int
    duration_us: int | None
    outcome: str
    exit_code: int | None
    steps: int
    llm_calls: int
    tool_calls: int
    input_tokens: int
    output_tokens: int
    models: list[str]
    parent: str | None
    within: str | None
    divergences: int
    coverage_missed: int
    lost: int
    losses: int
    tags: dict[str, str]
    swaps: list[dict[str, Any]]
    error: str | None


class StepRow(NamedTuple):
    """One line of a list of steps: everything but heads and bodies.

    `id`, `index`, `started_us` and `within` are those of the step in the tape that was asked for;
    `trace` and `position` say where the store has it. Sizes are in bytes; `pieces` is a count.
    """

    id: str
    index: int  # type: ignore[assignment]  # hides tuple.index, which nobody needs here
    trace: str
    position: int
    kind: Kind
    name: str
    lane: Lane
    started_us: int
    duration_us: int
    end: End
    failure_type: str | None
    failure_message: str | None
    grade: Grade | None
    recorded: str | None
    within: str | None
    marks: tuple[str, ...]
    model: str | None
    input_tokens: int | None
    output_tokens: int | None
    status: int | None
    finish: str | None
    title: str
    request_digest: str
    response_digest: str | None
    request_size: int
    response_size: int
    pieces: int


class Rows:
    """The rows of some traces, by table, and the parts that they refer to."""

    def __init__(self, memory: bodies.Memory | None = None) -> None:
        self.memory = memory or bodies.Memory()
        self.tables: dict[str, list[Row]] = {table: [] for table in ("traces", *BY_TRACE)}
        self.parts: dict[str, bytes] = {}

    def add(self, tape: Tape, fingerprint: str) -> None:
        """Add one trace with all its steps."""
        trace = tape.trace
        for process in trace.processes:
            self.tables["processes"].append(_process_row(trace.id, process))
        for position, loss in enumerate(trace.losses):
            shown = Shown()
            row = (trace.id, position, shown.text("reason", loss.reason), shown.integer("steps", loss.steps))
            self.tables["losses"].append((*row, shown.exact()))
        for position, divergence in enumerate(trace.divergences):
            self.tables["divergences"].append(_divergence_row(trace.id, position, divergence))
        sums = _Sums()
        for position, step in enumerate(tape.steps):
            sums.add(step, self._step(trace.id, position, step))
        self.tables["traces"].append((*_trace_row(trace, fingerprint), *sums.row(), _provenance(trace)))
        self._surroundings(tape)

    def _surroundings(self, tape: Tape) -> None:
        trace, tables = tape.trace.id, self.tables
        for at, read in enumerate(tape.reads):
            tables["ambient"].append(surroundings.read_row(trace, at, read))
        for at, source in enumerate(tape.trace.uncontrolled):
            tables["uncontrolled"].append(surroundings.uncontrolled_row(trace, at, source))
        for at, launched in enumerate(tape.trace.launched):
            tables["launched"].append(surroundings.launched_row(trace, at, launched))
        if tape.points:
            tables["points"].append((trace, len(tape.points), points.pack(tape.points)))

    def merge(self, other: Rows) -> None:
        """Add all rows of another."""
        for table, rows in other.tables.items():
            self.tables[table].extend(rows)
        self.parts.update(other.parts)

    def part(self, content: bytes) -> str:
        """Have a part stored; its digest."""
        name = digest(content)
        self.parts.setdefault(name, content)
        return name

    def part_rows(self, known: set[str]) -> list[Row]:
        """The rows of the parts that the store does not have yet."""
        return [_part_row(name, content) for name, content in self.parts.items() if name not in known]

    def _step(self, trace: str, position: int, step: Step) -> Summary:
        split = bodies.split(step.request.body, self.memory)
        body = step.response.body
        response = self.part(body) if step.response.pieces else None
        parts = self.tables["step_parts"]
        parts.append((trace, position, 0, "request", self.part(split.frame)))
        for number, part in enumerate(split.parts, 1):
            path = part.path if part.path.isascii() else part.path.encode("utf-8", "replace").decode()
            self.parts.setdefault(part.digest, part.content)
            parts.append((trace, position, number, f"request.{path}", part.digest))
        if response is not None:
            parts.append((trace, position, RESPONSE, "response", response))
        summary = _summary(step, split)
        row = _step_row(trace, position, step, split, summary, response, len(body))
        self.tables["steps"].append((*row, *_decoded_row(summary)))
        for number, call in enumerate(summary.calls):
            shown = Shown()
            asked = shown.text("", call.id), shown.text("", call.name), shown.json("", call.arguments)
            self.tables["tool_requests"].append((trace, position, number, *asked))
        return summary


def _trace_row(trace: Trace, fingerprint: str) -> Row:
    shown = Shown()
    optional = shown.optional
    return (
        trace.id,
        shown.text("name", trace.name),
        shown.integer("started_ns", trace.started_ns),
        shown.count("ended_ns", trace.ended_ns),
        shown.text("outcome", trace.outcome),
        shown.count("exit_code", trace.exit_code),
        optional("error", trace.error),
        shown.json("tags", trace.tags),
        optional("parent", trace.parent),
        optional("within", trace.within),
        shown.json("swaps", list(trace.swaps)),
        None if trace.command is None else shown.texts("command", trace.command),
        None if trace.entrypoint is None else shown.json("entrypoint", trace.entrypoint),
        optional("cwd", trace.cwd),
        shown.json("environ", trace.environ),
        shown.json("versions", trace.versions),
        shown.integer("connections", trace.coverage.connections),
        shown.texts("missed", trace.coverage.missed),
        shown.blob("result", trace.result),
        fingerprint,
        shown.exact(),
    )


def _process_row(trace: str, process: Process) -> Row:
    shown = Shown()
    return (
        trace,
        process.number,
        shown.integer("pid", process.pid),
        shown.texts("argv", process.argv),
        shown.text("python", process.python),
        process.ended,
        shown.lane("lane", process.lane),
        *_clocks(shown, process),
    )


def _clocks(shown: Shown, process: Process) -> Row:
    """The columns that the second schema put behind the first one's, and the last of those."""
    clocks = shown.integer("epoch_ns", process.epoch_ns), shown.integer("monotonic_ns", process.monotonic_ns)
    return shown.exact(), *clocks


def _divergence_row(trace: str, position: int, divergence: Divergence) -> Row:
    shown = Shown()
    return (
        trace,
        position,
        shown.text("kind", divergence.kind),
        shown.text("summary", divergence.summary),
        shown.optional("step", divergence.step),
        shown.optional("recorded", divergence.recorded),
        shown.texts("paths", divergence.paths),
        shown.texts("detail", divergence.detail),
        shown.exact(),
    )


def _summary(step: Step, split: Split) -> Summary:
    try:
        return views.summary(step, _asked(step, split))
    except Exception:  # a step that cannot be summed up is kept all the same
        return Summary(None, None, None, None, None, "", f"{step.kind} {step.name}")


def _asked(step: Step, split: Split) -> dict[str, Any] | None:
    """What a request says beside its lists, where it is certain that its view would say the same."""
    head, values = step.request.head, split.values
    if values is None or "url" not in head or "$bytes" in split.keys:
        return None
    return None if header(head, "content-encoding") or "event-stream" in header(head, "content-type") else values


def _request_digest(step: Step, split: Split) -> str:
    call = Call(step.kind, step.name, step.request)
    try:
        if split.canonical is None or header(step.request.head, "content-type").startswith("multipart/"):
            return content_digest(call)
        return digest_of(call, split.canonical)
    except Exception:  # a head that is not what it should be: equal bytes are still equal
        return digest(step.request.body)


def _step_row(
    trace: str,
    position: int,
    step: Step,
    split: Split,
    summary: Summary,
    response_part: str | None,
    response_size: int,
) -> Row:
    shown, response, match, failure = Shown(), step.response, step.match, step.response.failure
    return (
        trace,
        position,
        step.id,
        step.kind.value,
        shown.text("name", step.name),
        shown.lane("lane", step.lane),
        len(step.lane),
        shown.integer("started_us", step.started_us),
        shown.integer("duration_us", response.duration_us),
        response.end.value,
        shown.text("failure_type", failure.type) if failure else None,
        shown.optional("failure_message", failure.message if failure else None),
        shown.blob("failure_values", failure.values if failure else None),
        match.grade.value if match else None,
        shown.optional("recorded", match.recorded if match else None),
        shown.optional("match_detail", match.detail if match else None),
        step.within,
        shown.texts("marks", step.marks),
        *_summary_columns(summary),
        _request_digest(step, split),
        response_part,
        shown.json("request_head", step.request.head),
        None if response.head is None else shown.json("response_head", response.head),
        len(step.request.body),
        response_size,
        split.holes,
        shown.integers("piece_offsets_us", [piece.offset_us for piece in response.pieces]),
        [len(piece.data) for piece in response.pieces],
        shown.exact(),
    )


def _summary_columns(summary: Summary) -> Row:
    """The decoded columns. They are made again from the bytes at will, so nothing of them is kept exactly."""
    shown = Shown()
    return (
        shown.optional("", summary.model),
        shown.count("", summary.input_tokens),
        shown.count("", summary.output_tokens),
        shown.count("", summary.status),
        shown.optional("", summary.finish),
        shown.text("", summary.title),
        shown.text("", summary.text) or None,
    )


def _decoded_row(summary: Summary) -> Row:
    """The decoded columns that the third schema added, as far as one step tells them."""
    shown = Shown()
    return (
        summary.dialect,
        summary.decoded,
        shown.texts("", summary.unknown),
        shown.count("", summary.cached_tokens),
        shown.count("", summary.cache_write_tokens),
        shown.count("", summary.reasoning_tokens),
        None,
        shown.text("", summary.reasoning) or None,
        shown.optional("", summary.refusal),
        shown.optional("", summary.error_type),
        shown.optional("", summary.error_message),
        None,
        None,
    )


class _Sums:
    """What a list of traces tells of the steps of one."""

    def __init__(self) -> None:
        self.steps = self.llm_calls = self.tool_calls = self.failures = self.input = self.output = 0
        self.models: set[str] = set()

    def add(self, step: Step, summary: Summary) -> None:
        """Count one step."""
        self.steps += 1
        self.llm_calls += step.kind == Kind.LLM
        self.tool_calls += step.kind in (Kind.TOOL, Kind.MCP)
        self.failures += step.response.failure is not None or (summary.status or 0) >= 400
        self.input += summary.input_tokens or 0
        self.output += summary.output_tokens or 0
        if summary.model:
            self.models.add(summary.model)

    def row(self) -> Row:
        """The columns `steps` to `models` of `traces`."""
        counts = self.steps, self.llm_calls, self.tool_calls, self.failures, self.input, self.output
        return (*counts, None, 0, sorted(self.models))


def _provenance(trace: Trace) -> str:
    return json.dumps(trace.provenance)


def _part_row(name: str, content: bytes) -> Row:
    try:
        return name, len(content), content.decode("utf-8"), None
    except UnicodeDecodeError:
        return name, len(content), None, content


def trace_from(row: dict[str, Any]) -> Trace:
    """A trace from its row of `traces`, without what the other tables say of it."""
    row = restore(row, "tags", "swaps", "entrypoint", "environ", "versions")
    return Trace(
        id=row["id"],
        name=row["name"],
        started_ns=row["started_ns"],
        ended_ns=row["ended_ns"],
        outcome=row["outcome"],
        exit_code=row["exit_code"],
        error=row["error"],
        tags=row["tags"],
        parent=row["parent"],
        within=row["within"],
        swaps=tuple(row["swaps"]),
        command=None if row["command"] is None else tuple(row["command"]),
        entrypoint=row["entrypoint"],
        cwd=row["cwd"],
        environ=row["environ"],
        versions=row["versions"],
        coverage=Coverage(row["connections"], tuple(row["missed"])),
        result=row["result"],
        provenance=json.loads(row["provenance"] or "{}"),
    )


def process_from(row: dict[str, Any]) -> Process:
    """A process from its row."""
    row = restore(row)
    started = row["ended"], lane_of(row["lane"]), row["epoch_ns"], row["monotonic_ns"]
    return Process(row["number"], row["pid"], tuple(row["argv"]), row["python"], *started)


def loss_from(row: dict[str, Any]) -> Loss:
    """A loss from its row."""
    row = restore(row)
    return Loss(row["reason"], row["steps"])


def divergence_from(row: dict[str, Any]) -> Divergence:
    """A divergence from its row."""
    row = restore(row)
    paths, detail = tuple(row["paths"]), tuple(row["detail"])
    return Divergence(row["kind"], row["summary"], row["step"], row["recorded"], paths, detail)


def step_from(row: dict[str, Any], parts: Sequence[tuple[int, str]], contents: Mapping[str, bytes]) -> Step:
    """A step from its row, its `step_parts` as (position, digest), and the contents of parts."""
    row = restore(row, "request_head", "response_head")
    request = [contents[name] for position, name in sorted(parts) if position >= 0]
    body = bodies.join(request[0], row["holes"], request[1:])
    answer = next((contents[name] for position, name in parts if position == RESPONSE), b"")
    failure = None
    if row["failure_type"] is not None:
        failure = Failure(row["failure_type"], row["failure_message"], row["failure_values"])
    response = Response(row["response_head"], _pieces(row, answer), End(row["ended"]), failure, row["duration_us"])
    match = Match(Grade(row["grade"]), row["recorded"], row["match_detail"]) if row["grade"] is not None else None
    return Step(
        row["id"],
        row["position"],
        Kind(row["kind"]),
        row["name"],
        lane_of(row["lane"]),
        row["started_us"],
        Request(row["request_head"], body),
        response,
        match,
        row["within"],
        tuple(row["marks"]),
    )


def _pieces(row: dict[str, Any], answer: bytes) -> tuple[Piece, ...]:
    at, pieces = 0, []
    for offset_us, size in zip(row["piece_offsets_us"], row["piece_sizes"], strict=True):
        pieces.append(Piece(offset_us, answer[at : at + size]))
        at += size
    return tuple(pieces)


STEP_ROW_COLUMNS = (
    "id, position, trace, kind, name, lane, started_us, duration_us, ended, failure_type, failure_message, grade,"
    " recorded, within, marks, model, input_tokens, output_tokens, status, finish, title, request_digest,"
    " response_digest, request_size, response_size, len(piece_sizes) AS pieces, exact"
)


def step_row_from(row: dict[str, Any]) -> StepRow:
    """A line of a list from the columns of `STEP_ROW_COLUMNS`."""
    row = restore(row)
    values = {name: row[name] for name in StepRow._fields if name in row}
    values |= {
        "index": row["position"],
        "kind": Kind(row["kind"]),
        "lane": lane_of(row["lane"]),
        "end": End(row["ended"]),
        "grade": Grade(row["grade"]) if row["grade"] is not None else None,
        "marks": tuple(row["marks"]),
    }
    return StepRow(**values)
