"""Journals as a fleet of agents would leave them, made up by chance and fast: for measuring the store at any scale.

Each journal is one process with one trace, some with a trace within it. Conversations grow and are written as deltas,
as the recorder does; they begin anew when they are long. Tools answer out of documents that come up again and again.
Some calls fail, some answers are streamed, some traces replay an earlier one, one trace is long.
"""

from __future__ import annotations

import json
import os
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from rashomon import journal, values
from rashomon.journal import Code

STEPS = 50
"""Steps of a trace, on average."""

LONG = 5000
"""Steps of the one long trace, whose name is `LONG_NAME`."""

LONG_NAME = "night-shift"
NEEDLE = "quixotic-marmalade"
"""A word that stands in the answer of one tool in one trace, and nowhere else."""

RARE = "chargeback-dispute"
"""A word that stands in about every thousandth answer of a tool."""

_FULL = 48_000
"""A conversation of so many bytes begins anew."""

_FIRST_NS, _SPACING_NS = 1_760_000_000_000_000_000, 260_000_000_000
_MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "claude-sonnet-4-5", "claude-haiku-4-5", "an-unknown-model")
_SHARES = tuple(accumulate((30, 25, 15, 20, 8, 2)))
_AGENTS = ("support", "refunds", "research", "triage", "billing", "onboarding", "shipping", "fraud", "sales", "ops")
_TOOLS = ("get_order", "search_documents", "get_customer", "update_ticket", "run_query", "send_mail", "get_policy")
_ERRORS = (("builtins:TimeoutError", "the tool did not answer in time"), ("builtins:KeyError", "'order_id'"))


class Made(NamedTuple):
    """What was made: traces (nested ones included), steps, bytes of the journals."""

    traces: int
    steps: int
    size: int


class Language:
    """Words, sentences and documents of a made-up trade."""

    def __init__(self, chance: Random, long: int = 0) -> None:
        """`long`: documents of about so many sentences, of which each is another; else 600 short ones come up again."""
        self._long = long
        syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "an", "er", "il")]
        words = ["".join(chance.choices(syllables, k=chance.choice((1, 2, 2, 3)))) for _ in range(4000)]
        weights = list(accumulate(1 / (rank + 3) for rank in range(len(words))))
        self.sentences = [
            " ".join(chance.choices(words, cum_weights=weights, k=chance.randint(5, 18))).capitalize() + "."
            for _ in range(30_000)
        ]
        self.documents = [" ".join(chance.choices(self.sentences, k=chance.randint(3, 14))) for _ in range(600)]
        self.prompts = {
            agent: [" ".join(chance.choices(self.sentences, k=chance.randint(15, 40))) for _ in range(4)]
            for agent in _AGENTS
        }
        self.tools = {name: self._tool(name, chance) for name in _TOOLS}

    def document(self, chance: Random) -> str:
        """A document."""
        if not self._long:
            return chance.choice(self.documents)
        return " ".join(chance.choices(self.sentences, k=chance.randint(self._long // 2, self._long * 3 // 2)))

    def _tool(self, name: str, chance: Random) -> dict[str, Any]:
        fields = {key: {"type": "string", "description": chance.choice(self.sentences)} for key in ("id", "reason")}
        schema = {"type": "object", "properties": fields, "required": ["id"]}
        about = " ".join(chance.choices(self.sentences, k=3))
        return {"type": "function", "function": {"name": name, "description": about, "parameters": schema}}


def write_journals(folder: Path, traces: int, steps: int, seed: int = 1, first: int = 0, long: int = 0) -> Made:
    """Write the journals of so many traces (one of them long) and, nearly, so many steps in all.

    Processes are numbered from `first`: two fleets that have no number in common have no trace in common. `long` as in
    `Language`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    language = Language(Random(seed), long)
    chance = Random(seed + 1)
    long = min(LONG, steps // 4)
    mean = max(3.0, (steps - long) / max(1, traces))
    written = made = size = 0
    number = first
    while made < traces:
        started_ns = _FIRST_NS + number * _SPACING_NS
        count = long if made == traces // 2 else max(2, round(chance.expovariate(1 / mean)))
        replayed = chance.randrange(first, number) if number > first + 20 and chance.random() < 0.05 else None
        process = _Process(language, seed, number, started_ns, replayed)
        process.run(count, LONG_NAME if count == long and made == traces // 2 else None, needle=made == traces // 3)
        path = folder / f"{started_ns:016x}-{process.pid}-{number % 65536:04x}{journal.SUFFIX}"
        path.write_bytes(b"".join(process.out))
        os.utime(path, ns=(started_ns, started_ns))
        made, written, number = made + process.traces, written + process.steps, number + 1
        size += sum(map(len, process.out))
        mean = max(3.0, (steps - written - (0 if made > traces // 2 else long)) / max(1, traces - made))
    return Made(made, written, size)


def trace_id(number: int, inner: int = 0) -> str:
    """The id of a made-up trace."""
    return f"{_FIRST_NS // 1_000_000 + number * 260_000:012x}{Random(number * 8 + inner).getrandbits(56):014x}"


class _Process:
    """One process and its journal."""

    def __init__(self, language: Language, seed: int, number: int, started_ns: int, replayed: int | None) -> None:
        self.language, self.number, self.started_ns, self.replayed = language, number, started_ns, replayed
        self.chance = Random(f"{seed} {number if replayed is None else replayed}")
        self.pid = 1000 + number % 30_000
        self.out: list[bytes] = [journal.header_bytes()]
        self.steps = self.traces = self.at_us = 0
        self.headers: dict[tuple[str, str], int] = {}
        self.current = 0

    def frame(self, *elements: Any) -> None:
        self.out.append(journal.frame(journal.pack(list(elements))))

    def run(self, count: int, name: str | None, needle: bool) -> None:
        """All frames, for about so many steps."""
        chance = self.chance
        agent = chance.choice(_AGENTS)
        self.model = chance.choices(_MODELS, cum_weights=_SHARES)[0]
        self.prompt = self.language.prompts[agent][min(3, self.number * 4 // 20_000 if self.number else 0)]
        versions = {"rashomon": "0.1.0", "python": "3.12.7", "openai": "3.52.0", "implementation": "cpython"}
        process = {"role": "program", "pid": self.pid, "ppid": 1, "argv": [f"{agent}.py"], "versions": versions}
        self.frame(Code.PROCESS, {**process, "started_ns": self.started_ns, "monotonic_ns": 7_000_000})
        tags = {"env": chance.choice(("prod", "prod", "prod", "staging")), "customer": f"c{chance.randrange(900)}"}
        info = {"id": trace_id(self.number), "name": name or agent, "started_ns": self.started_ns, "tags": tags}
        command = {"command": ["python", f"{agent}.py"], "cwd": f"/srv/agents/{agent}", "environ": {"LANG": "C.UTF-8"}}
        git = {"git": {"commit": f"{self.number // 500:040x}", "branch": "main", "dirty": False}}
        parent = None if self.replayed is None else trace_id(self.replayed)
        swaps = [] if parent is None else [{"kind": "model", "value": "gpt-4.1", "where": "all"}]
        self.frame(Code.TRACE, 0, {**info, **command, "parent": parent, "swaps": swaps, "provenance": git})
        self.traces = 1
        self.surroundings()
        inner = chance.random() < 0.04 and count > 10
        talk = _Conversation(self, needle)
        while self.steps < count:
            if inner and self.traces == 1 and self.steps > count // 2:
                self.inside(agent)
                talk = _Conversation(self, False)
            talk.turn(count)
        self.close(chance)

    def close(self, chance: Random) -> None:
        """The ends of the traces, unless the process was killed."""
        if chance.random() < 0.01:
            return
        failed = chance.random() < 0.06
        end = {"outcome": "error" if failed else "ok", "exit_code": int(failed)}
        if failed:
            end["error"] = f"RuntimeError: {chance.choice(self.language.sentences)}"
        for trace in reversed(range(self.traces)):
            self.frame(Code.TRACE_END, trace, self.at_us, end)
        self.frame(Code.CLOSE, self.at_us)

    def inside(self, agent: str) -> None:
        """From here on, what happens is recorded within another trace too."""
        started_ns = self.started_ns + self.at_us * 1000
        info = {"id": trace_id(self.number, 1), "name": f"{agent}-helper", "started_ns": started_ns}
        self.frame(Code.TRACE, 1, {**info, "tags": {}, "within": trace_id(self.number)})
        self.traces, self.current = 2, 1

    def surroundings(self) -> None:
        """What the program read, and a connection."""
        for read in range(4):
            site = [read, "/srv/agents/agent.py", 10 + read, "main"]
            self.frame(Code.READ, 0, "clock", "time.time", self.started_ns / 1e9 + read, [], 100 * read, None, site)
        self.frame(Code.CONNECT, 0, 150, "api.example.com:443", 0)
        if self.chance.random() < 0.02:
            self.frame(Code.CONNECT, 0, 160, "db.example.com:5432", None)

    def listed(self, pairs: list[tuple[str, str]]) -> list[Any]:
        """Headers as a journal has them: each once, then its number."""
        found: list[Any] = []
        for pair in pairs:
            known = self.headers.get(pair)
            if known is None:
                known = self.headers[pair] = len(self.headers)
                found.append([known, *pair])
            else:
                found.append(known)
        return found

    def began(self, kind: str, name: str, head: dict[str, Any], body: Any, within: int | None = None) -> int:
        """A call; the number of its step."""
        number, self.steps = self.steps, self.steps + 1
        self.at_us += self.chance.randrange(200, 20_000)
        self.frame(Code.CALL, number, self.current, kind, name, [], self.at_us, within, head, body)
        if self.replayed is not None:
            self.frame(Code.MATCH, number, "exact" if number % 9 else "live", f"0.{number}", "")
        return number

    def ended(self, number: int, took_us: int, failure: tuple[str, str] | None = None) -> None:
        """The end of an answer."""
        self.at_us += took_us
        if failure is None:
            self.frame(Code.END, number, self.at_us, "complete", None)
        else:
            self.frame(Code.END, number, self.at_us, "error", [*failure, values.encode([[failure[1]], {}])])


class _Conversation:
    """Calls of a model and of the tools that it asks for, in one growing list of messages."""

    def __init__(self, process: _Process, needle: bool) -> None:
        self.process, self.chance, self.language = process, process.chance, process.language
        self.needle = needle
        self.anthropic = process.model.startswith("claude")
        self.waiting: list[tuple[str, str, dict[str, str]]] = []
        self.begin()

    def begin(self) -> None:
        """An empty list of messages."""
        names = self.chance.sample(_TOOLS, 5)
        tools = [self.language.tools[name] for name in sorted(names)]
        self.tools = sorted(names)
        asked = " ".join(self.chance.choices(self.language.sentences, k=self.chance.randint(1, 4)))
        number = self.chance.randrange(10**6)
        first = [{"role": "user", "content": f"Case {number}: {asked}"}]
        start: dict[str, Any] = {"model": self.process.model, "temperature": 0.2}
        if self.anthropic:
            start |= {"max_tokens": 1024, "system": self.process.prompt}
            tools = [{"name": t["function"]["name"], **_schema(t["function"])} for t in tools]
        else:
            first = [{"role": "system", "content": self.process.prompt}, *first]
        text = json.dumps(start | {"tools": tools, "messages": first}, ensure_ascii=False, separators=(",", ":"))
        self.whole = text.encode()
        self.size, self.base = len(self.whole), -1
        self.new: list[dict[str, Any]] = []

    def turn(self, limit: int) -> None:
        """One call of the model, and the tools that it asked for."""
        if self.size > _FULL:
            self.begin()
        self.ask()
        for call, name, arguments in self.waiting:
            if self.process.steps < limit:
                self.work(call, name, arguments)
        self.waiting = []

    def ask(self) -> None:
        """One call of the model; one in fifty is refused first and made again."""
        process, chance = self.process, self.chance
        stream = not self.anthropic and chance.random() < 0.1
        url = (
            "https://api.anthropic.com/v1/messages" if self.anthropic else "https://api.openai.com/v1/chat/completions"
        )
        body = self.body()
        sent, head = [*_SENT, ("content-length", str(self.size))], {"method": "POST", "url": url}
        name = "messages" if self.anthropic else "chat.completions"
        if chance.random() < 0.02:
            number = process.began("llm", name, {**head, "headers": process.listed(sent)}, body)
            self.base, body = number, [number, self.size, 0, b""]
            self.answer(
                number, 429, b'{"error":{"type":"rate_limit_error","message":"Rate limit reached. Slow down."}}'
            )
        number = process.began("llm", name, {**head, "headers": process.listed(sent)}, body)
        self.base = number
        self.reply(number, stream)

    def body(self) -> Any:
        """The request's body: whole at first, then what is new."""
        if self.base < 0:
            return self.whole
        middle = "".join(
            "," + json.dumps(message, ensure_ascii=False, separators=(",", ":")) for message in self.new
        ).encode()
        before, self.size, self.new = self.size, self.size + len(middle), []
        return [self.base, before - 2, 2, middle]

    def reply(self, number: int, stream: bool) -> None:
        """What the model says, and which tools it asks for."""
        chance = self.chance
        text = " ".join(chance.choices(self.language.sentences, k=chance.choice((1, 1, 2, 3, 5))))
        self.waiting = [
            (f"call_{chance.getrandbits(80):020x}", chance.choice(self.tools), self.arguments())
            for _ in range(chance.choice((0, 1, 1, 1, 2)))
        ]
        usage = self.size // 4, len(text) // 4 + 20 * len(self.waiting)
        if self.anthropic:
            self.answer(number, 200, self.message(text, usage))
        else:
            calls = [
                {"id": call, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
                for call, name, given in self.waiting
            ]
            said: dict[str, Any] = {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})
            self.new.append(said)
            if stream:
                self.stream(number, text, calls, usage)
            else:
                self.answer(number, 200, self.completion(said, usage))
        if not self.waiting:
            asked = chance.choice(self.language.sentences)
            self.new.append({"role": "user", "content": f"{asked} ({chance.randrange(10**5)})"})

    def arguments(self) -> dict[str, str]:
        return {"id": f"A-{self.chance.randrange(10**5)}", "reason": self.chance.choice(self.language.sentences)}

    def completion(self, said: dict[str, Any], usage: tuple[int, int]) -> bytes:
        choice = {"index": 0, "message": {**said, "refusal": None, "annotations": []}, "logprobs": None,
                  "finish_reason": "tool_calls" if self.waiting else "stop"}  # fmt: skip
        used = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage),
                "prompt_tokens_details": {"cached_tokens": usage[0] // 2, "audio_tokens": 0}}  # fmt: skip
        document = {"id": f"chatcmpl-{self.chance.getrandbits(96):024x}", "object": "chat.completion",
                    "created": 1760000000, "model": self.process.model, "choices": [choice], "usage": used,
                    "service_tier": "default", "system_fingerprint": "fp_1042c4b0c0"}  # fmt: skip
        return json.dumps(document, ensure_ascii=False).encode()

    def message(self, text: str, usage: tuple[int, int]) -> bytes:
        content: list[dict[str, Any]] = [{"type": "text", "text": text}]
        content += [{"type": "tool_use", "id": c, "name": name, "input": given} for c, name, given in self.waiting]
        self.new.append({"role": "assistant", "content": content})
        document = {"id": f"msg_{self.chance.getrandbits(96):024x}", "type": "message", "role": "assistant",
                    "model": self.process.model, "content": content, "stop_sequence": None,
                    "stop_reason": "tool_use" if self.waiting else "end_turn",
                    "usage": {"input_tokens": usage[0], "output_tokens": usage[1]}}  # fmt: skip
        return json.dumps(document, ensure_ascii=False).encode()

    def answer(self, number: int, status: int, body: bytes) -> None:
        """An answer in one piece."""
        process = self.process
        process.at_us += self.chance.randrange(300_000, 4_000_000)
        got = process.listed([*_GOT, ("x-request-id", f"req_{self.chance.getrandbits(80):020x}")])
        process.frame(Code.HEAD, number, process.at_us, {"status": status, "headers": got, "http_version": "HTTP/1.1"})
        process.frame(Code.PIECE, number, process.at_us + 90, body)
        process.ended(number, 100)

    def stream(self, number: int, text: str, calls: list[dict[str, Any]], usage: tuple[int, int]) -> None:
        """An answer as server-sent events."""
        process = self.process
        process.frame(Code.HEAD, number, process.at_us, {"status": 200, "headers": process.listed(list(_STREAMED))})
        start = f'data: {{"id":"chatcmpl-{self.chance.getrandbits(96):024x}","object":"chat.completion.chunk","model":'
        start += f'"{process.model}","choices":[{{"index":0,"delta":'
        words = text.split(" ")
        deltas: list[dict[str, Any]] = [
            {"content": " ".join(words[at : at + 2]) + " "} for at in range(0, len(words), 2)
        ]
        deltas += [{"tool_calls": [{"index": at, **call}]} for at, call in enumerate(calls)]
        for delta in deltas:
            process.at_us += 12_000
            data = f'{start}{json.dumps(delta, ensure_ascii=False)},"finish_reason":null}}]}}\n\n'
            process.frame(Code.PIECE, number, process.at_us, data.encode())
        used = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
        finish = "tool_calls" if calls else "stop"
        last = f'{start}{{}},"finish_reason":"{finish}"}}],"usage":{json.dumps(used)}}}\n\ndata: [DONE]\n\n'
        process.frame(Code.PIECE, number, process.at_us, last.encode())
        process.ended(number, 500)

    def work(self, call: str, name: str, arguments: dict[str, str]) -> None:
        """One call of a tool, and the message that tells the model of it."""
        process, chance = self.process, self.chance
        head = {"ref": f"agent.tools:{name}", "flavour": "function"}
        number = process.began("tool", name, head, values.encode([[], arguments]))
        failure = chance.choice(_ERRORS) if chance.random() < 0.03 else None
        if failure is not None:
            told = f"{failure[0].partition(':')[2]}: {failure[1]}"
        else:
            told = self.language.document(chance) if chance.random() < 0.5 else self.found()
            if chance.random() < 0.001:
                told = f"{told} {RARE}"
            if self.needle:
                told, self.needle = f"{told} {NEEDLE}", False
            process.frame(Code.PIECE, number, process.at_us + 50, values.encode(told))
        process.ended(number, chance.randrange(1_000, 400_000), failure)
        if self.anthropic:
            result = {"type": "tool_result", "tool_use_id": call, "content": told}
            self.new.append({"role": "user", "content": [result]})
        else:
            self.new.append({"role": "tool", "tool_call_id": call, "content": told})

    def found(self) -> str:
        """Records that nobody else was given."""
        chance = self.chance
        return json.dumps(
            [
                {"id": f"A-{chance.randrange(10**7)}", "total": chance.randrange(10**5) / 100, "note": note}
                for note in chance.choices(self.language.sentences, k=chance.randint(1, 5))
            ]
        )


def _schema(function: dict[str, Any]) -> dict[str, Any]:
    return {"description": function["description"], "input_schema": function["parameters"]}


_SENT = (
    ("host", "api.example.com"), ("accept-encoding", "gzip, deflate"), ("connection", "keep-alive"),
    ("authorization", "<secret:authorization:e49d1efa>"), ("accept", "application/json"),
    ("content-type", "application/json"), ("user-agent", "AsyncOpenAI/Python 3.52.0"), ("x-stainless-lang", "python"),
    ("x-stainless-package-version", "3.52.0"), ("x-stainless-os", "Linux"), ("x-stainless-runtime", "CPython"),
)  # fmt: skip
_GOT = (
    ("content-type", "application/json"), ("server", "cloudflare"), ("cf-cache-status", "DYNAMIC"),
    ("openai-organization", "an-organization"), ("openai-version", "2020-10-01"),
    ("x-ratelimit-limit-requests", "10000"), ("x-ratelimit-reset-requests", "6ms"), ("transfer-encoding", "chunked"),
)  # fmt: skip
_REFUSED = b'{"error":{"type":"rate_limit_error","message":"Rate limit reached. Slow down."}}'
_STREAMED = (("content-type", "text/event-stream; charset=utf-8"), *_GOT[1:])
