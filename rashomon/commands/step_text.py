"""One step as text: what went out, what came back, in which pieces, and what failed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rashomon import views
from rashomon.commands import terminal
from rashomon.measures import shown_duration
from rashomon.model import Head, Json, Step, Trace

if TYPE_CHECKING:
    from rashomon.store.restored import Named

_PIECES_SHOWN = 12


def sections(trace: Trace | Named, step: Step) -> list[tuple[str, str]]:
    """The step in sections: a heading, and text below it (empty: the heading says all)."""
    found = [(heading(step), facts(trace, step))]
    found.append(("request", _head(step.request.head)))
    found.append(("request body", _content(views.request_view(step))))
    if step.response.head:
        found.append(("response", _head(step.response.head)))
    if step.response.head or step.response.pieces:
        found.append(("response body", _content(views.response_view(step))))
    if step.response.pieces:
        found.append(("pieces", pieces(step)))
    failure = step.response.failure
    if failure is not None:
        found.append(("failure", f"{failure.type}\n{failure.message}".rstrip()))
    return found


def heading(step: Step) -> str:
    """`step 3  tool  get_order(...)`."""
    return f"step {step.index}  {step.kind.value}  {views.summary(step).title}"


def facts(trace: Trace | Named, step: Step) -> str:
    """The step's facts, one a line."""
    said, response = views.summary(step), step.response
    lines = [f"trace     {trace.id}  {trace.name}", f"id        {step.id}"]
    if step.within:
        lines.append(f"within    {step.within}")
    if step.lane:
        lines.append(f"lane      {'.'.join(map(str, step.lane))}")
    lines.append(f"started   +{shown_duration(step.started_us)}, took {shown_duration(response.duration_us)}")
    lines.append(f"end       {response.end.value}")
    lines.extend(_model_facts(said))
    if step.match is not None:
        source = f" from {step.match.recorded}" if step.match.recorded else ""
        detail = f": {step.match.detail}" if step.match.detail else ""
        lines.append(f"match     {step.match.grade.value}{source}{detail}")
    if step.marks:
        lines.append(f"marks     {', '.join(step.marks)}")
    return "\n".join(lines)


def _model_facts(said: views.Summary) -> list[str]:
    """What an LLM call says beside its text."""
    lines = []
    if said.model:
        answered = f", answered by {said.answered}" if said.answered and said.answered != said.model else ""
        lines.append(f"model     {said.model}{answered}")
    if said.dialect and said.decoded:
        unknown = f", unknown: {', '.join(said.unknown)}" if said.unknown else ""
        lines.append(f"dialect   {said.dialect}, decoded {said.decoded}{unknown}")
    if said.input_tokens is not None or said.output_tokens is not None:
        parts = (said.cached_tokens, "cached"), (said.cache_write_tokens, "written to the cache")
        before = "".join([f" ({count:,} {word})" for count, word in parts if count])
        after = f" ({said.reasoning_tokens:,} reasoning)" if said.reasoning_tokens else ""
        lines.append(f"tokens    {said.input_tokens or 0:,} in{before}, {said.output_tokens or 0:,} out{after}")
    if said.finish:
        lines.append(f"finish    {said.finish}")
    if said.refusal:
        lines.append(f"refusal   {views.one_line(said.refusal, 120)}")
    if said.error_type or said.error_message:
        error = ": ".join(filter(None, (said.error_type, said.error_message)))
        lines.append(f"error     {views.one_line(error, 120)}")
    return lines


def pieces(step: Step) -> str:
    """When each piece came and how large it was; a long list shows its beginning and its end."""
    found = [f"+{piece.offset_us / 1000:.1f}ms  {len(piece.data):,} bytes" for piece in step.response.pieces]
    if len(found) > _PIECES_SHOWN:
        half = _PIECES_SHOWN // 2
        found = [*found[:half], f"... {len(found) - 2 * half} more ...", *found[-half:]]
    return "\n".join(found)


def _head(head: Head) -> str:
    lines = []
    first = " ".join(str(head[key]) for key in ("http_version", "method", "url", "status", "reason") if head.get(key))
    if first:
        lines.append(first)
    lines.extend(f"{name}: {value}" for name, value in head.get("headers", ()))
    shown = {"http_version", "method", "url", "status", "reason", "headers"}
    lines.extend(f"{key}: {value}" for key, value in head.items() if key not in shown)
    return "\n".join(lines)


def _content(value: Json) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def print_step(trace: Trace | Named, step: Step) -> None:
    """Print a step for whoever reads stdout."""
    found = sections(trace, step)
    if not terminal.in_terminal():
        terminal.print_text("\n\n".join(f"{title}\n{text}".rstrip() for title, text in found))
        return
    out = terminal.console()
    for title, text in found:
        out.print(terminal.styled(title, "bold red" if title == "failure" else "bold"), soft_wrap=True)
        if title.endswith("body"):
            _print_json(text)
        elif text:
            out.print(terminal.styled(text), soft_wrap=True)
        out.print()


def _print_json(text: str) -> None:
    from rich.highlighter import JSONHighlighter

    out = terminal.console()
    body = terminal.styled(text)
    if text[:1] in ("{", "["):
        JSONHighlighter().highlight(body)
    out.print(body, soft_wrap=True)
