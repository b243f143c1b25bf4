"""Lists of chat messages, as benchmarks and fine-tuning files have them, as traces.

Each turn of the assistant is one call of a model, whose request has all messages before it; each result of a tool is
the call of that tool. Calls and results may be blocks of contents, as Anthropic's messages have them. Nothing else is
known: no times, no tokens, often not even the model. `lacks` says so.

A file is one list of messages, a list of such lists, an object around one (`messages`, `traj`, `history`,
`conversation`), a list of such objects, or one of these a line. Objects around a list give the tags and the outcome:
`task_id`, `trial`, `reward` as tau-bench has them; `mistake_agent`, `mistake_step` and `mistake_reason` as Who&When.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from rashomon.canonical import digest
from rashomon.interchange import chat, exchanges, nested
from rashomon.interchange.documents import Documents
from rashomon.interchange.exchanges import Choice, Exchange, Times
from rashomon.interchange.nested import plain, text
from rashomon.model import Json, Step, Tape, Trace

FORMAT = "messages"
LISTS = ("messages", "traj", "trajectory", "history", "conversation", "conversations")
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_SHAREGPT = {"human": "user", "gpt": "assistant", "system": "system"}
_TAG_WIDTH = 200
_NO_TAGS = (*LISTS, "tools", "functions", "model", "system", "mistake_reason")


class _Dialogue(NamedTuple):
    """One list of messages, and what stands around it."""

    messages: list[dict[str, Any]]
    around: dict[str, Any]


def read_all(found: Documents, file: str, changed_ns: int) -> list[Tape]:
    """The traces of such a file; none when it is no such file. `changed_ns` stands for the times that nobody knows."""
    dialogues = [one for value in found.values for one in _dialogues(value, 0)]
    return [_tape(one, number, len(dialogues), file, changed_ns, len(found.unread))
            for number, one in enumerate(dialogues)]  # fmt: skip


def _dialogues(value: Any, depth: int) -> Iterator[_Dialogue]:
    if depth > 2:
        return
    if isinstance(value, dict):
        for name in LISTS:
            listed = _messages(value.get(name))
            if listed:
                yield _Dialogue(listed, value)
                return
        return
    listed = _messages(value)
    if listed:
        yield _Dialogue(listed, {})
    elif isinstance(value, list):
        for one in value:
            yield from _dialogues(one, depth + 1)


def _messages(value: Any) -> list[dict[str, Any]]:
    """A list of messages; none when one of its members is no message."""
    value = plain(value)
    if not isinstance(value, list) or not value:
        return []
    if all(isinstance(one, dict) and one.get("from") in _SHAREGPT and "value" in one for one in value):
        return [{"role": _SHAREGPT[one["from"]], "content": one["value"]} for one in value]
    whole = all(isinstance(one, dict) and one.get("role") in _ROLES for one in value)
    return value if whole and any("content" in one or "tool_calls" in one for one in value) else []


# ------------------------------------------------------------------------------------------------ one trace


def _tape(dialogue: _Dialogue, number: int, of: int, file: str, changed_ns: int, unread: int) -> Tape:
    around = dialogue.around
    turns = _Turns(dialogue)
    for at, message in enumerate(dialogue.messages):
        for one in turns.in_chat_form(message):
            turns.take(at, one)
    steps = [*turns.steps]
    for said in _told(around, turns.by_message):
        steps.append(exchanges.note_step(len(steps), said, len(steps)))
    name = file.removesuffix(".gz").rpartition(".")[0] or file
    imported: dict[str, Any] = {"format": FORMAT, "file": file, "lacks": _lacks(dialogue)}
    if of > 1:
        imported["number"] = number
    if unread:
        imported["unread_lines"] = unread
    content = json.dumps([file, number, around or dialogue.messages], sort_keys=True)
    trace = Trace(
        id=digest(content.encode("ascii"))[3:29],
        name=_name(around, name, number, of),
        started_ns=changed_ns,
        ended_ns=changed_ns + 1000 * max(0, len(steps) - 1),
        outcome=_outcome(around),
        tags=_tags(around),
        provenance={"imported": imported},
    )
    return Tape(trace, exchanges.numbered(steps))


class _Turns:
    """The steps of one dialogue. The clock ticks once for each: only their order is known."""

    def __init__(self, dialogue: _Dialogue) -> None:
        around = dialogue.around
        self.before: list[dict[str, Any]] = _system(around)
        """What has been said so far, as chat has it."""
        self.failed: set[str] = set()
        """Calls of tools whose results say that they failed."""
        self.tools = tuple(chat.chat_tools(around.get("tools") or around.get("functions") or []))
        self.model = text(around.get("model"))
        prompts = around.get("system_prompt")
        self.prompts = prompts if isinstance(prompts, dict) else {}
        self.asked: dict[str, tuple[str, Json]] = {}
        self.steps: list[Step] = []
        self.by_message: dict[int, str] = {}
        """Ids of the steps that messages became."""

    def in_chat_form(self, message: dict[str, Any]) -> list[dict[str, Any]]:
        """A message without calls or results of tools in its content: those are beside it, or messages of their own."""
        found = chat.without_blocks(message)
        if found:
            blocks = nested.items(message["content"])
            self.failed |= {text(block.get("tool_use_id")) for block in blocks if block.get("is_error") is True}
        return found or [message]

    def take(self, at: int, message: dict[str, Any]) -> None:
        """Add the step that a message is the answer of, if it is of one."""
        self._take(at, message)
        self.before.append(message)

    def _take(self, at: int, message: dict[str, Any]) -> None:
        if message["role"] in ("tool", "function"):
            self._tool(message)
        elif message["role"] == "assistant" or text(message.get("name")) in self.prompts:
            self._turn(message)
        else:
            return
        self.by_message[at] = self.steps[-1].id

    def _turn(self, message: dict[str, Any]) -> None:
        """What a model said: asked with all messages before it, and with the prompt of who speaks."""
        listed = message.get("tool_calls")
        calls = [call for call in listed if isinstance(call, dict)] if isinstance(listed, list) else []
        for call in calls:
            inner = call.get("function")
            function = inner if isinstance(inner, dict) else call
            self.asked[text(call.get("id"))] = text(function.get("name")), plain(function.get("arguments"))
        old = message.get("function_call")
        if isinstance(old, dict):
            self.asked[""] = text(old.get("name")), plain(old.get("arguments"))
        prompt = text(self.prompts.get(text(message.get("name"))))
        system = [{"role": "system", "content": prompt}] if prompt else []
        exchange = Exchange(
            model=text(message.get("model")) or self.model,
            messages=(*system, *self.before),
            tools=self.tools,
            choices=(Choice({**message, "role": "assistant"}, "tool_calls" if calls or old else None),),
        )
        number = len(self.steps)
        self.steps.append(exchanges.llm_step(number, exchange, Times(number, 0), None))

    def _tool(self, message: dict[str, Any]) -> None:
        call = text(message.get("tool_call_id"))
        name, arguments = self.asked.get(call, (text(message.get("name")), None))
        number, result = len(self.steps), plain(message.get("content"))
        failure = exchanges.failure_of("", chat.as_text(message.get("content"))) if call in self.failed else None
        step = exchanges.tool_step(number, name or "tool", arguments, result, Times(number, 0), failure, call=call)
        self.steps.append(step)


def _system(around: dict[str, Any]) -> list[dict[str, Any]]:
    """The system prompt that stands beside the messages, as Anthropic's requests have it."""
    told = around.get("system")
    return [chat.loose_message({"role": "system", "content": told})] if isinstance(told, (str, list)) and told else []


def _told(around: dict[str, Any], by_message: dict[int, str]) -> Iterator[dict[str, Json]]:
    """What is told of a whole dialogue, as notes: the message that decided its failure, its reward."""
    mistake = str(around.get("mistake_step"))
    if mistake.isdecimal():
        data = {"agent": around.get("mistake_agent"), "message": int(mistake), "step": by_message.get(int(mistake))}
        yield {"text": text(around.get("mistake_reason")), "labels": ["root-cause"], "data": data}
    reward = around.get("reward")
    if isinstance(reward, (int, float)) and not isinstance(reward, bool):
        yield {"text": "reward", "labels": ["outcome"], "data": {"score": reward}}


def _lacks(dialogue: _Dialogue) -> list[str]:
    around = dialogue.around
    lacks = [*exchanges.LACKS, exchanges.TIMES, exchanges.USAGE, exchanges.SETTINGS]
    if not around.get("tools") and not around.get("functions"):
        lacks.append(exchanges.TOOLS)
    if not around.get("model") and not any(text(message.get("model")) for message in dialogue.messages):
        lacks.append(exchanges.MODEL)
    return lacks


def _name(around: dict[str, Any], file: str, number: int, of: int) -> str:
    for key in ("task_id", "question_ID", "id", "conversation_id"):
        if isinstance(around.get(key), (str, int)):
            return f"{file}:{around[key]}"
    return f"{file}:{number}" if of > 1 else file


def _outcome(around: dict[str, Any]) -> str:
    """`error` where the task is told to have failed. That the program ended is all that is known otherwise."""
    reward, correct = around.get("reward"), around.get("is_correct")
    failed = correct is False or (isinstance(reward, (int, float)) and not isinstance(reward, bool) and reward <= 0)
    return "error" if failed else "ok"


def _tags(around: dict[str, Any]) -> dict[str, str]:
    """The short values that stand around the messages."""
    tags = {}
    for name, value in around.items():
        if name in _NO_TAGS or isinstance(value, (list, dict)) or value is None:
            continue
        shown = value if isinstance(value, str) else json.dumps(value)
        tags[str(name)] = shown if len(shown) <= _TAG_WIDTH else shown[: _TAG_WIDTH - 1] + "…"
    return tags
