"""The steps of a trace as rows: lanes, kind, what was said, how it was matched. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from functools import lru_cache

from rashomon import views
from rashomon.measures import shown_duration
from rashomon.model import End, Grade, Json, Kind, Step, Tape, Trace
from rashomon.tui.glyphs import Glyphs
from rashomon.tui.spans import Column, Line, Span, count_of, fit, heading, layout

MAX_LANES = 8
"""So many lanes are drawn; further ones share the last column."""

_LEFT_THE_RECORDING = (Grade.DRIFTED, Grade.MISSED)


def trouble(step: Step) -> str:
    """What went wrong in a step: `failed`, an HTTP status from 400, an end that is not complete, or nothing.

    Reads heads only, so that a list of many steps needs no body.
    """
    if step.response.failure is not None:
        return "failed"
    status = (step.response.head or {}).get("status")
    if isinstance(status, int) and status >= 400:
        return str(status)
    return "" if step.response.end == End.COMPLETE else str(step.response.end)


def depths(steps: Iterable[Step]) -> dict[str, int]:
    """How deep each step stands below the tools that it was made in."""
    found: dict[str, int] = {}
    for step in steps:
        found[step.id] = found.get(step.within, -1) + 1 if step.within is not None else 0
    return found


def lane_graph(steps: Sequence[Step], glyph: str) -> list[str]:
    """For each step the lanes that are open beside it, `*` where its own is; at most `MAX_LANES` wide.

    A lane is open from its first step to its last. A column is used again when its lane has ended.
    """
    last = {step.lane: number for number, step in enumerate(steps)}
    column: dict[tuple[int, ...], int] = {}
    ends: list[int] = []
    graph = []
    for number, step in enumerate(steps):
        if step.lane not in column:
            free = next((at for at, end in enumerate(ends) if end < number), len(ends))
            free = min(free, MAX_LANES - 1)
            ends[free : free + 1] = [last[step.lane]]
            column[step.lane] = free
        cells = [glyph if end >= number else " " for end in ends]
        cells[column[step.lane]] = "*"
        graph.append("".join(cells).rstrip())
    return graph


class StepRows:
    """The steps of a trace in their order: lanes, kind, what was said, time, tokens, how it was matched.

    `noted` are the ids of those that people wrote a note on, `failing` of those whose answer says that it is an error,
    whatever its status.
    """

    def __init__(self, tape: Tape, glyphs: Glyphs, noted: Collection[str] = (), failing: Collection[str] = ()) -> None:
        self.trace, self.steps = tape.trace, tape.steps
        self._trouble = [trouble(step) or ("error" if step.id in failing else "") for step in tape.steps]
        self._glyphs, self._noted = glyphs, noted
        self._depths = depths(tape.steps)
        self._graph = lane_graph(tape.steps, glyphs.lane)
        lanes = max(map(len, self._graph), default=1)
        troubled = max(map(len, self._trouble), default=0)
        replay = any(step.match is not None for step in tape.steps)
        self._columns = _step_columns(len(tape.steps), lanes, troubled, replay)
        if noted:
            self._columns.insert(-2 if replay else len(self._columns), Column("note", "", 1, keep=4))
        named = {divergence.step for divergence in tape.trace.divergences}
        left = [
            number
            for number, step in enumerate(tape.steps)
            if step.id in named or (step.match is not None and step.match.grade in _LEFT_THE_RECORDING)
        ]
        self.first: int | None = left[0] if left else None
        """The first step that left the recording, or None."""
        self._left = frozenset(left)
        self.stops: Sequence[int] = [
            number for number, wrong in enumerate(self._trouble) if number in self._left or wrong
        ]
        self._summary = lru_cache(maxsize=2048)(lambda index: views.summary(tape.steps[index]))

    def __len__(self) -> int:
        return len(self.steps)

    def head(self, width: int) -> Line:
        """The names of the columns."""
        return heading(layout(self._columns, width))

    def summary(self, index: int) -> views.Summary:
        """What a step said, in short; kept, since decoding a body costs."""
        return self._summary(index)

    def line(self, index: int, width: int) -> Line:
        """A step as a line."""
        line: list[Span] = []
        for column in layout(self._columns, width):
            if column.name == "lanes":
                line.extend(self._lanes(index, column.width))
            else:
                text, style = self._cell(column.name, index)
                line.append(Span(fit(text, column.width, column.right, column.name == "title"), style))
            line.append(Span(" "))
        return tuple(line[:-1])

    def _lanes(self, index: int, width: int) -> list[Span]:
        before, _, after = self._graph[index].partition("*")
        step = self.steps[index]
        sign = self._glyphs.kinds.get(step.kind, "?")
        rest = after.ljust(width - len(before) - 1)
        return [Span(before, "dim"), Span(sign, kind_style(step)), Span(rest, "dim")]

    def _cell(self, name: str, index: int) -> tuple[str, str]:
        step, glyphs = self.steps[index], self._glyphs
        match name:
            case "number":
                return str(step.index), "dim"
            case "title":
                return f"{'  ' * self._depths[step.id]}{self.summary(index).title}", ""
            case "trouble":
                wrong = self._trouble[index]
                return (f"{glyphs.error} {wrong}" if wrong else ""), "bad"
            case "duration":
                return shown_duration(step.response.duration_us), "dim"
            case "tokens":
                return tokens_of(self.summary(index)), "dim"
            case "note":
                return (glyphs.kinds[Kind.NOTE] if step.id in self._noted else ""), "yours"
            case "sign":
                left = glyphs.action if index in self._left else ""
                return grade_sign(step, glyphs) or left, grade_style(step)
            case _:
                return (step.match.grade.value if step.match else ""), grade_style(step)


def _step_columns(count: int, lanes: int, troubled: int, replay: bool) -> list[Column]:
    found = [
        Column("number", "#", max(2, len(str(count))), right=True),
        Column("lanes", "", lanes),
        Column("title", "step", 0),
        Column("duration", "time", 6, keep=5, right=True),
        Column("tokens", "tokens", 9, keep=2, right=True),
    ]
    if troubled:
        found.insert(3, Column("trouble", "", troubled + 2, keep=6))
    if replay:
        found += [Column("sign", "", 1), Column("grade", "match", 9, keep=3)]
    return found


def tokens_of(said: views.Summary) -> str:
    """`9.0k/212`: tokens in and out; empty when the provider told none."""
    if said.input_tokens is None and said.output_tokens is None:
        return ""
    return f"{count_of(said.input_tokens or 0)}/{count_of(said.output_tokens or 0)}"


def kind_style(step: Step) -> str:
    """The style of a step's sign."""
    return step.kind.value if step.kind.value in ("llm", "tool", "http", "mcp") else "dim"


def grade_sign(step: Step, glyphs: Glyphs) -> str:
    """The sign of how a step of a replay was answered; empty for a recorded one."""
    return "" if step.match is None else glyphs.grades.get(step.match.grade, "")


def grade_style(step: Step) -> str:
    """The style of that sign."""
    if step.match is None:
        return "action"
    if step.match.grade in (Grade.STUBBED, Grade.LIVE):
        return "yours"
    return "action" if step.match.grade in _LEFT_THE_RECORDING else "dim"


def step_json(trace: Trace, step: Step) -> str:
    """A step whole, as JSON for the clipboard: what it was, what went out, what came back."""
    document: dict[str, Json] = {
        "trace": trace.id,
        "step": step.index,
        "id": step.id,
        "kind": step.kind.value,
        "name": step.name,
        "lane": list(step.lane),
        "started_us": step.started_us,
        "duration_us": step.response.duration_us,
        "match": {"grade": step.match.grade.value, "recorded": step.match.recorded} if step.match else None,
        **views.step_view(step),
    }
    return json.dumps(document, ensure_ascii=False, indent=2, default=str)
