"""The rows of the steps of a portion: each step as it is by then."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from rashomon.journal import Damage
from rashomon.journal_parts import OpenStep, step_of
from rashomon.model import End, Kind, Request, Step
from rashomon.store import step_rows
from rashomon.store.portions import Head
from rashomon.store.step_rows import Asked, Row

if TYPE_CHECKING:
    from rashomon.store.arrival import Arrival

_new = tuple.__new__
"""Makes a named tuple in a third of the time that its class takes."""

_LLM, _OPEN = Kind.LLM, End.OPEN  # an enumeration looks them up for longer than a call takes
_VALUED = frozenset((Kind.TOOL, Kind.MCP, Kind.NOTE))
"""Steps whose values are columns of `step_values`."""


class ArrivingStep(OpenStep):
    """A step whose request was taken apart, with the JSON texts of its heads where they are known.

    `content` is the encoding and the type of its answer's content, in lower case, where they are known.
    """

    __slots__ = ("asked", "asked_text", "content", "head_text")

    def __init__(
        self, call: list[Any], request: Request, marks: tuple[str, ...], base: tuple[int, int] | None = None
    ) -> None:
        super().__init__(call, request, marks, base)
        self.asked: Asked
        self.asked_text: str | None = None
        self.head_text: str | None = None
        self.content: tuple[str, str] | None = None


class Steps:
    """The rows of the steps of a portion."""

    def __init__(self, arrival: Arrival) -> None:
        self.arrival = arrival
        self.heads: list[Head] = []
        self.rows: list[Row] = []
        self.parts: array[int] = array("i")
        self.lengths: list[int] = []
        self.tool_requests: list[tuple[int, Row]] = []
        self.step_values: list[tuple[int, Row]] = []
        self.foreign: dict[str, dict[str, None]] = {}

    def add(self, number: int, open_step: ArrivingStep) -> None:
        """Add a step as it is by now."""
        arrival, asked = self.arrival, open_step.asked
        trace = arrival.trace(open_step.call[2])
        if trace is None:
            return
        foreign: list[str] = []
        try:
            step = step_of(open_step)
            within = step.within
            if within is not None:
                within = arrival.inside(within, foreign)
            row, response = self.row(step, open_step)
        except (TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
            reason = f"step {number} cannot be understood: {type(error).__name__}: {error}"
            arrival.damage.append(Damage(0, 0, reason.encode("utf-8", "replace").decode()[:300]))
            return
        if foreign:
            self.foreign.setdefault(trace, {}).update(dict.fromkeys(foreign))
        given = arrival.ids.get(str(number)) if arrival.ids else None
        again = number in arrival.emitted
        self.heads.append(
            _new(Head, (trace, number, given, step.started_us, within, again, response, asked.prompt_part))
        )
        self.rows.append(row)
        self.parts.append(asked.frame)
        self.parts += asked.parts
        self.lengths.append(1 + len(asked.parts))

    def row(self, step: Step, open_step: ArrivingStep) -> tuple[Row, int | None]:
        """The row of a step, and the number of its answer as a part."""
        arrival, asked, place = self.arrival, open_step.asked, len(self.rows)
        kind, pieces = step.kind, open_step.pieces
        answer = pieces[0].data if len(pieces) == 1 else None
        if answer.__class__ is not bytes:
            answer = b"".join([piece.data for piece in pieces])
        valued = step_rows.valued(step) if kind in _VALUED else None
        if valued is not None:
            said = step_rows.summary(step, valued.request, valued.response, answer)
        else:
            said = step_rows.summary(step, asked.values, None, answer, open_step.content)
        cost = None
        if kind is _LLM and arrival.price is not None:
            cost = arrival.price(step, said, int(arrival.process.get("started_ns", 0)) + step.started_us * 1000)
        part, named = None, None
        if pieces:
            keep = arrival.parts.add if open_step.end is _OPEN else arrival.parts.named
            part, named = keep(answer)
        texts = open_step.asked_text, open_step.head_text
        row = step_rows.step_row(step, asked, said, named, len(answer), cost, texts)
        if said.calls:
            self.tool_requests += [(place, one) for one in step_rows.tool_request_rows(said)]
        if valued is not None:
            self.step_values.append((place, valued.row))
        return row, part
