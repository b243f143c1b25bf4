"""A trace beside its steps, as rows of tables."""

from __future__ import annotations

from typing import Any

from rashomon.model import Divergence, Process, Trace
from rashomon.store import surroundings
from rashomon.store.exact import Shown, shown_json

Row = tuple[Any, ...]
BY_TRACE = (
    "steps",
    "processes",
    "losses",
    "divergences",
    "ambient",
    "uncontrolled",
    "launched",
    "points",
    "tool_requests",
    "step_values",
)
"""Tables whose rows belong to the trace named in their column `trace`."""

NO_SUMS: Row = (0, 0, 0, 0, 0, 0, None, 0, [])
"""The columns `steps` to `models` of a trace without steps."""


SUMMED = (
    "kind",
    "name",
    "failure_type",
    "status",
    "error_type",
    "error_message",
    "input_tokens",
    "output_tokens",
    "cost",
    "model",
)
"""The columns of a step that the sums are made of."""


class Rows:
    """The rows of some traces, by table."""

    def __init__(self) -> None:
        self.tables: dict[str, list[Row]] = {
            table: [] for table in ("traces", "processes", "losses", "divergences", "uncontrolled")
        }

    def add(self, trace: Trace, fingerprint: str, sums: Row) -> None:
        """Add one trace; `sums` are its columns `steps` to `models`."""
        for process in trace.processes:
            self.tables["processes"].append(_process_row(trace.id, process))
        for position, loss in enumerate(trace.losses):
            shown = Shown()
            row = (trace.id, position, shown.text("reason", loss.reason), shown.integer("steps", loss.steps))
            self.tables["losses"].append((*row, shown.exact()))
        for position, divergence in enumerate(trace.divergences):
            self.tables["divergences"].append(_divergence_row(trace.id, position, divergence))
        for position, source in enumerate(trace.uncontrolled):
            self.tables["uncontrolled"].append(surroundings.uncontrolled_row(trace.id, position, source))
        provenance = shown_json(trace.provenance)
        self.tables["traces"].append((*_trace_row(trace, fingerprint), *sums, provenance))


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
