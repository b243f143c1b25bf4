"""In place of the `claude` command: speaks its protocol, lines of JSON on stdin and stdout, with random ids and delays.

It says hello to the tools' server of the program, asks its hooks and its permissions, calls a tool of the program for
each prompt, does something itself (it writes a line to the file named by `CLAUDE_LOG`), and answers.
"""

from __future__ import annotations

import json
import os
import queue
import random
import sys
import threading
import time
import uuid
from typing import Any

chance = random.SystemRandom()
said: queue.Queue[dict[str, Any] | None] = queue.Queue()
answers: dict[str, queue.Queue[Any]] = {}
session = str(uuid.uuid4())
lock = threading.Lock()


def say(**message: Any) -> None:
    """One message to the program, after a moment."""
    time.sleep(chance.random() / 50)
    with lock:
        print(json.dumps(message), flush=True)


def ask(**request: Any) -> Any:
    """A request to the program, and what it answers."""
    number = str(uuid.uuid4())
    answers[number] = queue.Queue()
    say(type="control_request", request_id=number, request=request)
    answer = answers[number].get(timeout=30)
    return answer.get("response")


def call(method: str, **params: Any) -> Any:
    """A request to the server of the program's own tools."""
    message = {"jsonrpc": "2.0", "id": chance.randrange(1000), "method": method, "params": params}
    answer = ask(subtype="mcp_message", server_name="shop", message=message)
    return answer["mcp_response"].get("result")


def turn(text: str, hook: str) -> None:
    """One prompt: a hook is asked, a tool is called, an answer is given."""
    ask(subtype="hook_callback", callback_id=hook, input={"hook_event_name": "UserPromptSubmit", "prompt": text})
    number = f"toolu_{chance.getrandbits(64):x}"
    use = {"type": "tool_use", "id": number, "name": "mcp__shop__lookup", "input": {"order": text[-3:]}}
    say(**told("assistant", [use]))
    allowed = ask(subtype="can_use_tool", tool_name=use["name"], input=use["input"], permission_suggestions=[])
    found = call("tools/call", name="lookup", arguments=use["input"]) if allowed["behavior"] == "allow" else None
    with open(os.environ["CLAUDE_LOG"], "a") as log:
        log.write(f"{text}\n")
    say(**told("user", [{"type": "tool_result", "tool_use_id": number, "content": found["content"]}]))
    answer = f"{found['content'][0]['text']}, and that is {chance.randrange(10**6)}"
    say(**told("assistant", [{"type": "text", "text": answer}]))
    usage = {"input_tokens": 12, "output_tokens": 3}
    say(type="result", subtype="success", is_error=False, duration_ms=3, duration_api_ms=2, num_turns=1, result=answer,
        session_id=session, total_cost_usd=0.01, usage=usage)  # fmt: skip


def told(role: str, content: list[Any]) -> dict[str, Any]:
    """A message of the conversation."""
    message = {"role": role, "content": content, "model": "claude-x", "id": f"msg_{chance.getrandbits(64):x}"}
    return {"type": role, "message": message, "parent_tool_use_id": None, "session_id": session}


def converse() -> None:
    """Answer what was said, one by one."""
    hook = ""
    while (message := said.get()) is not None:
        if message["type"] == "control_request":
            hooks = message["request"].get("hooks") or {}
            hook = hooks["UserPromptSubmit"][0]["hookCallbackIds"][0]
            call("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "c", "version": "1"})
            answer = {"subtype": "success", "request_id": message["request_id"], "response": {"commands": []}}
            say(type="control_response", response=answer)
            say(type="system", subtype="init", session_id=session, tools=[], model="claude-x",
                claude_code_version="99.0.0")  # fmt: skip
        else:
            turn(message["message"]["content"], hook)


def main() -> None:
    """Read what the program says, until it has no more."""
    worker = threading.Thread(target=converse)
    worker.start()
    for line in sys.stdin:
        message = json.loads(line)
        if message["type"] == "control_response":
            answers[message["response"]["request_id"]].put(message["response"])
        else:
            said.put(message)
    said.put(None)
    worker.join()


main()
