"""What the panes show, as lines: JSON with its parts told apart, and what differs in a pair of steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from rashomon import dialects, views
from rashomon.measures import shown_duration
from rashomon.model import Json, Kind, Step
from rashomon.replay.alignment import Alignment, Mark, Pair
from rashomon.replay.differences import Difference, step_differences, word_diff
from rashomon.tui.glyphs import Glyphs
from rashomon.tui.spans import MAX_LINE, Line, Ready, Span, cleaned, crop
from rashomon.tui.steps import trouble

MAX_LINES = 20_000
"""A document is cut to so many lines; the command line prints the rest."""

MAX_CHARACTERS = 1_000_000
"""A document is cut after so many characters: to wrap more of them takes longer than a reader waits for a key."""

_PRINTED = "rashomon show TRACE STEP prints all"

_SAME_SHOWN = 120
_INDENT = "  "


def json_lines(value: Json) -> list[Line]:
    """JSON over several lines, indented by two; a string with line breaks stands below its key as text."""
    lines: list[Line] = []
    for line in _value(value, "", (), ""):
        if len(lines) >= MAX_LINES:
            lines.append((Span(f"cut after {MAX_LINES:,} lines: {_PRINTED}", "warn"),))
            break
        lines.append(line)
    return lines


def bounded(lines: Iterable[Line], most: int = MAX_LINES) -> Ready:
    """At most so many lines, and `MAX_CHARACTERS`, ready to be shown; where something is left out, it is said."""
    shown, room = Ready(), MAX_CHARACTERS * most // MAX_LINES
    for line in lines:
        if len(shown) >= most or room <= 0:
            after = f"{most:,} lines" if room > 0 else f"{MAX_CHARACTERS * most // MAX_LINES:,} characters"
            shown.append((Span(f"cut after {after}: {_PRINTED}", "warn"),))
            break
        size = sum(len(span.text) for span in line)
        if size > MAX_LINE:
            cut = Span(f" … {size - MAX_LINE:,} more characters: {_PRINTED}", "warn")
            shown.append((*cleaned(crop(line, 0, MAX_LINE)), cut))
        else:
            shown.append(cleaned(line))
        room -= min(size, MAX_LINE)
    return shown


def _value(value: Json, indent: str, lead: tuple[Span, ...], tail: str) -> Iterator[Line]:
    if isinstance(value, dict) and value:
        inner: Iterable[tuple[tuple[Span, ...], Json]] = [
            ((Span(f"{json.dumps(key, ensure_ascii=False)}: ", "key"),), item) for key, item in value.items()
        ]
        yield from _several("{", inner, "}", len(value), indent, lead, tail)
    elif isinstance(value, (list, tuple)) and value:
        yield from _several("[", [((), item) for item in value], "]", len(value), indent, lead, tail)
    elif isinstance(value, str) and "\n" in value.rstrip("\n"):
        yield (Span(indent), *lead, Span("|", "dim"))
        for text in value.split("\n"):
            yield (Span(f"{indent}{_INDENT}{text}", "string"),)
    else:
        yield (Span(indent), *lead, Span(_scalar(value), _scalar_style(value)), Span(tail, "dim"))


def _several(
    start: str,
    inner: Iterable[tuple[tuple[Span, ...], Json]],
    end: str,
    count: int,
    indent: str,
    lead: tuple[Span, ...],
    tail: str,
) -> Iterator[Line]:
    yield (Span(indent), *lead, Span(start, "dim"))
    if len(indent) > 200:
        yield (Span(f"{indent}{_INDENT}…", "dim"),)
    else:
        for number, (key, item) in enumerate(inner, 1):
            yield from _value(item, indent + _INDENT, key, "," if number < count else "")
    yield (Span(f"{indent}{end}{tail}", "dim"),)


def _scalar(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)


def _scalar_style(value: Json) -> str:
    if isinstance(value, str):
        return "string"
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else "literal"


def facts_line(step: Step, glyphs: Glyphs) -> Line:
    """A step in a line: kind, name, lane, when, how long, how it ended, how it was matched."""
    told = [f"lane {'.'.join(map(str, step.lane)) or 'main'}", f"at {shown_duration(step.started_us)}"]
    told.append(f"took {shown_duration(step.response.duration_us)}")
    line = [
        Span(f"{step.index} {glyphs.kinds.get(step.kind, '?')} {step.kind.value} {step.name}", "strong"),
        Span(f"  {f' {glyphs.dot} '.join(told)}", "dim"),
    ]
    if trouble(step):
        line.append(Span(f"  {glyphs.error} {trouble(step)}", "bad"))
    if step.match is not None:
        line.append(Span(f"  {step.match.grade.value}", "yours" if step.match.recorded is None else "dim"))
    return tuple(line)


def match_lines(step: Step, divergences: Sequence[str], glyphs: Glyphs) -> list[Line]:
    """What a replay has to say about a step: where it left the recording, and how it was answered."""
    lines: list[Line] = [(Span(f"{glyphs.action} ", "action"), Span(text)) for text in divergences]
    if step.match is not None and step.match.detail:
        lines.append((Span(f"{step.match.grade.value}: ", "dim"), Span(step.match.detail)))
    if step.marks:
        lines.append((Span(f"marks: {', '.join(step.marks)}", "warn"),))
    return lines


def request_lines(step: Step) -> Ready:
    """What went out."""
    return bounded(json_lines(views.request_view(step)))


def response_lines(step: Step, glyphs: Glyphs) -> Ready:
    """What came back; of a model's answer first what it said and the tools it called, then the whole."""
    view = views.response_view(step)
    lines = bounded(json_lines(view))
    if step.kind != Kind.LLM:
        return lines
    reading = dialects.read_answer(view)
    said: list[Line] = [(Span(text, "said"),) for text in reading.text.split("\n")] if reading.text else []
    for call in reading.tool_calls:
        arguments = views.text_of(call.arguments, 400)
        said.append((Span(f"{glyphs.kinds[Kind.TOOL]} ", "tool"), Span(call.name, "strong"), Span(f" {arguments}")))
    return Ready([*bounded(said, MAX_LINES // 2), (), *lines]) if said else lines


# --------------------------------------------------------------------------------------- differences


def pair_lines(pair: Pair, alignment: Alignment, glyphs: Glyphs, asked_for: bool = False) -> Ready:
    """What there is to see in a pair: its differences, or the step that only one side has.

    `asked_for`: the change comes from what the user changed, so a missing step is no divergence.
    """
    return bounded(_pair_lines(pair, alignment, glyphs, asked_for))


def _pair_lines(pair: Pair, alignment: Alignment, glyphs: Glyphs, asked_for: bool) -> list[Line]:
    step = pair.right or pair.left
    if step is None:
        return []
    if pair.left is None or pair.right is None:
        return _single(pair, step, alignment, glyphs, asked_for)
    lines = [_verdict(pair, alignment, glyphs)]
    found = step_differences(pair.left, pair.right) if pair.mark is not Mark.SAME else []
    for difference in sorted(found, key=lambda one: one.path.startswith("request")):
        lines.append(())
        lines += difference_lines(difference, glyphs)
    if not found:
        lines += [(), *json_lines(dict(views.step_view(step)))]
    return lines


def _single(pair: Pair, step: Step, alignment: Alignment, glyphs: Glyphs, asked_for: bool) -> list[Line]:
    where = "replay" if alignment.right.parent == alignment.left.id else "right trace"
    only = f"only in the {where}" if pair.left is None else f"not in the {where}"
    sign, style = (glyphs.right, "added") if pair.left is None else (glyphs.left, "removed")
    why = (Span("  the tool that made this call was changed by you", "dim"),) if asked_for else ()
    lines: list[Line] = [(Span(f"{sign} ", style), Span(only, "strong"), *(why or _follows(pair, alignment)))]
    return [*lines, (), *json_lines(dict(views.step_view(step)))]


def _verdict(pair: Pair, alignment: Alignment, glyphs: Glyphs) -> Line:
    if pair.yours:
        return (Span(f"{glyphs.yours} ", "yours"), Span("changed by you", "strong"))
    if pair.mark is Mark.SAME:
        return (Span(f"{glyphs.same} ", "dim"), Span("identical", "strong"))
    words = {Mark.BOTH: "input and output changed"}.get(pair.mark, pair.mark.value)
    return (Span(words, "strong"), *_follows(pair, alignment))


def _follows(pair: Pair, alignment: Alignment) -> Line:
    if pair.cause is None:
        return ()
    cause = alignment.pairs[pair.cause]
    step = cause.right or cause.left
    return () if step is None else (Span(f"  follows from step {step.index}", "dim"),)


def difference_lines(difference: Difference, glyphs: Glyphs) -> list[Line]:
    """A difference: its path, what stood there, what stands there now."""
    path, op, left, right = difference
    sign = {"added": glyphs.right, "removed": glyphs.left}.get(op, glyphs.content)
    lines: list[Line] = [(Span(f"{sign} ", "content"), Span(path, "key"))]
    if op == "text" and isinstance(left, str) and isinstance(right, str):
        return lines + _text_lines(left, right, glyphs)
    if op != "added":
        lines += _side(left, glyphs.left, "removed")
    if op != "removed":
        lines += _side(right, glyphs.right, "added")
    return lines


def _side(value: Json, sign: str, style: str) -> Iterator[Line]:
    for line in json_lines(value):
        yield (Span(f"  {sign} ", style), *(Span(span.text, style) for span in line))


def _text_lines(left: str, right: str, glyphs: Glyphs) -> list[Line]:
    """Both texts, what differs set off by weight and underline as well as by colour."""
    parts = word_diff(left, right)
    return [
        *_marked(parts, "removed", f"  {glyphs.left} "),
        *_marked(parts, "added", f"  {glyphs.right} "),
    ]


def _marked(parts: Sequence[tuple[str, str]], side: str, gutter: str) -> list[Line]:
    lines: list[list[Span]] = [[Span(gutter, side)]]
    last = len(parts) - 1
    for number, (kind, text) in enumerate(parts):
        if kind not in ("same", side):
            continue
        shown = _elided(text, number == 0, number == last) if kind == "same" else text
        for at, piece in enumerate(shown.split("\n")):
            if at:
                lines.append([Span(gutter, side)])
            lines[-1].append(Span(piece, f"{side}-word" if kind == side else ""))
    return [tuple(line) for line in lines]


def _elided(text: str, first: bool, last: bool) -> str:
    """Equal text between changes, its middle left out when it is long."""
    if len(text) <= 2 * _SAME_SHOWN + 3:
        return text
    head = "" if first else text[:_SAME_SHOWN]
    return f"{head} … {'' if last else text[-_SAME_SHOWN:]}"
