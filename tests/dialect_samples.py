"""Calls of every dialect as they are on the wire, made by hand after the providers' references."""

from __future__ import annotations

import json
import zlib
from typing import Any, NamedTuple

from rashomon.model import Kind, Step
from tests.steps import http

JSON = "application/json"
SSE = "text/event-stream"
AWS = "application/vnd.amazon.eventstream"


class Sample(NamedTuple):
    """A call: where it went, what was asked and answered, and what its summary must say."""

    url: str
    request: dict[str, Any]
    answer: bytes
    content_type: str
    expected: dict[str, Any]

    def step(self, answer: bytes | None = None, status: int = 200) -> Step:
        """The step, maybe with another answer."""
        body = self.answer if answer is None else answer
        headers = [["content-type", self.content_type]]
        return http(Kind.LLM, json.dumps(self.request).encode(), body, url=self.url, headers=headers, status=status)


def sse(*events: Any, names: bool = False) -> bytes:
    """Events as a server sends them."""
    out = []
    for event in events:
        data = event if isinstance(event, str) else json.dumps(event)
        out.append((f"event: {event['type']}\n" if names else "") + f"data: {data}\n\n")
    return "".join(out).encode()


def aws_message(payload: Any, **headers: str) -> bytes:
    """One message of an Amazon event stream; `event_type="x"` is its header `:event-type`."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    head = b""
    for name, value in headers.items():
        key, text = f":{name.replace('_', '-')}".encode(), value.encode()
        head += bytes([len(key)]) + key + b"\x07" + len(text).to_bytes(2) + text
    prelude = (16 + len(head) + len(body)).to_bytes(4) + len(head).to_bytes(4)
    message = prelude + zlib.crc32(prelude).to_bytes(4) + head + body
    return message + zlib.crc32(message).to_bytes(4)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


_ASK = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather in Rome?"}]
_WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}}
_CHAT_URL = "https://api.openai.com/v1/chat/completions"
_CHAT_TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Now", "parameters": _WEATHER}}]


def chat_chunk(delta: dict[str, Any], index: int = 0, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a chat completion."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "gpt-4o-x",
        "choices": [choice],
        **more,
    }


CHAT = Sample(
    _CHAT_URL,
    {"model": "gpt-4o", "messages": _ASK, "tools": _CHAT_TOOLS},
    _json(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o-2024-08-06",
            "service_tier": "default",
            "choices": [
                {
                    "index": 0,
                    "logprobs": None,
                    "finish_reason": "tool_calls",
                    "message": {
                        "role": "assistant",
                        "content": None,
                        "refusal": None,
                        "annotations": [],
                        "tool_calls": [
                            {
                                "id": "call_1",
                                "type": "function",
                                "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
                            }
                        ],
                    },
                }
            ],
            "usage": {
                "prompt_tokens": 20,
                "completion_tokens": 12,
                "total_tokens": 32,
                "prompt_tokens_details": {"cached_tokens": 8, "audio_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 5, "audio_tokens": 0},
            },
        }
    ),
    JSON,
    {
        "dialect": "openai.chat",
        "model": "gpt-4o",
        "answered": "gpt-4o-2024-08-06",
        "finish": "tool_calls",
        "input_tokens": 20,
        "cached_tokens": 8,
        "output_tokens": 12,
        "reasoning_tokens": 5,
        "tier": "default",
        "calls": (("call_1", "weather", {"city": "Rome"}),),
    },
)
CHAT_STREAM = Sample(
    _CHAT_URL,
    {"model": "gpt-4o", "messages": _ASK, "stream": True, "n": 2},
    sse(
        chat_chunk({"role": "assistant", "content": "", "reasoning_content": "So"}, usage=None),
        chat_chunk({"content": "B"}, index=1, usage=None),
        chat_chunk({"reasoning_content": "..."}, usage=None),
        chat_chunk({"content": "Sun"}, usage=None),
        chat_chunk({"content": "ny"}, usage=None),
        chat_chunk({}, index=1, finish="length", usage=None),
        chat_chunk({}, finish="stop", usage=None),
        {**chat_chunk({}), "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}},
        "[DONE]",
    ),
    SSE,
    {
        "dialect": "openai.chat",
        "text": "Sunny",
        "reasoning": "So...",
        "finish": "stop",
        "input_tokens": 9,
        "output_tokens": 4,
    },
)
AZURE = Sample(
    "https://acme.openai.azure.com/openai/deployments/our-gpt/chat/completions?api-version=2024-10-21",
    {"messages": _ASK, "stream": True},
    sse(
        {
            "choices": [],
            "created": 0,
            "id": "",
            "model": "",
            "object": "",
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}],
        },
        chat_chunk({"role": "assistant", "content": "", "refusal": None}, model="gpt-4o-2024-05-13"),
        {
            **chat_chunk({"content": "Sunny"}, model="gpt-4o-2024-05-13"),
            "choices": [{"index": 0, "delta": {"content": "Sunny"}, "content_filter_results": {"hate": {}}}],
        },
        chat_chunk({}, finish="stop", model="gpt-4o-2024-05-13"),
        "[DONE]",
    ),
    SSE,
    {
        "dialect": "openai.chat",
        "model": "our-gpt",
        "answered": "gpt-4o-2024-05-13",
        "text": "Sunny",
        "finish": "stop",
        "input_tokens": None,
    },
)
REFUSED = Sample(
    _CHAT_URL,
    {"model": "gpt-4o", "messages": _ASK},
    _json(
        {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": "gpt-4o",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": None, "refusal": "I cannot help with that."},
                }
            ],
        }
    ),
    JSON,
    {"dialect": "openai.chat", "refusal": "I cannot help with that.", "text": "I cannot help with that."},
)
COMPLETION = Sample(
    "http://localhost:8000/v1/completions",
    {"model": "llama", "prompt": "Once"},
    sse(
        {"id": "x", "object": "text_completion", "model": "llama", "choices": [{"index": 0, "text": " upon"}]},
        {
            "id": "x",
            "object": "text_completion",
            "model": "llama",
            "choices": [{"index": 0, "text": " a time", "finish_reason": "length", "logprobs": None}],
        },
        "[DONE]",
    ),
    SSE,
    {"dialect": "openai.completions", "text": " upon a time", "finish": "length"},
)
EMBEDDINGS = Sample(
    "https://api.openai.com/v1/embeddings",
    {"model": "text-embedding-3-small", "input": ["a", "b"]},
    _json(
        {
            "object": "list",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5] * 8}],
            "model": "text-embedding-3-small",
            "usage": {"prompt_tokens": 2, "total_tokens": 2},
        }
    ),
    JSON,
    {"dialect": "openai.embeddings", "input_tokens": 2, "output_tokens": None, "text": ""},
)
_RESPONSE: dict[str, Any] = {
    "id": "resp",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "o4-mini-2025-04-16",
    "service_tier": "flex",
    "output": [
        {"id": "rs", "type": "reasoning", "summary": [{"type": "summary_text", "text": "Look it up."}]},
        {"id": "ws", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "Rome"}},
        {
            "id": "msg",
            "type": "message",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Sunny", "annotations": [], "logprobs": []}],
        },
        {
            "id": "fc",
            "type": "function_call",
            "status": "completed",
            "call_id": "call_9",
            "name": "weather",
            "arguments": '{"city":"Rome"}',
        },
    ],
    "usage": {
        "input_tokens": 30,
        "input_tokens_details": {"cached_tokens": 10},
        "output_tokens": 40,
        "output_tokens_details": {"reasoning_tokens": 25},
        "total_tokens": 70,
    },
}
_RESPONSES_ASK = {"model": "o4-mini", "instructions": "Be brief.", "input": "Weather in Rome?"}
_RESPONSES_SAID = {
    "dialect": "openai.responses",
    "model": "o4-mini",
    "answered": "o4-mini-2025-04-16",
    "text": "Sunny",
    "reasoning": "Look it up.",
    "finish": "completed",
    "input_tokens": 30,
    "cached_tokens": 10,
    "output_tokens": 40,
    "reasoning_tokens": 25,
    "tier": "flex",
    "calls": (("call_9", "weather", {"city": "Rome"}),),
}
RESPONSES = Sample("https://api.openai.com/v1/responses", _RESPONSES_ASK, _json(_RESPONSE), JSON, _RESPONSES_SAID)
RESPONSES_STREAM = Sample(
    "https://api.openai.com/v1/responses",
    {**_RESPONSES_ASK, "stream": True},
    sse(
        {"type": "response.created", "response": {**_RESPONSE, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": _RESPONSE["output"][0]},
        {"type": "response.completed", "response": _RESPONSE},
        names=True,
    ),
    SSE,
    _RESPONSES_SAID,
)
_ANTHROPIC_URL = "https://api.anthropic.com/v1/messages"
_ANTHROPIC_ASK = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 100,
    "system": [{"type": "text", "text": "Be brief."}],
    "messages": [{"role": "user", "content": "Weather in Rome?"}],
    "tools": [{"name": "weather", "description": "Now", "input_schema": _WEATHER}],
}
_ANTHROPIC_SAID = {
    "dialect": "anthropic.messages",
    "answered": "claude-sonnet-4-5-20250929",
    "text": "Sunny",
    "reasoning": "Hmm",
    "finish": "tool_use",
    "input_tokens": 35,
    "cached_tokens": 20,
    "cache_write_tokens": 5,
    "output_tokens": 7,
    "calls": (("toolu_1", "weather", {"city": "Rome"}),),
}
_ANTHROPIC_USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 5,
    "cache_read_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 7,
    "service_tier": "standard",
}
ANTHROPIC = Sample(
    _ANTHROPIC_URL,
    _ANTHROPIC_ASK,
    _json(
        {
            "id": "msg",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5-20250929",
            "content": [
                {"type": "thinking", "thinking": "Hmm", "signature": "s=="},
                {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "Rome"}},
                {"type": "web_search_tool_result", "tool_use_id": "srv", "content": []},
                {"type": "text", "text": "Sunny", "citations": None},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Rome"}},
            ],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": _ANTHROPIC_USAGE,
        }
    ),
    JSON,
    _ANTHROPIC_SAID,
)
_CITATION = {"type": "char_location", "cited_text": "sun", "document_index": 0}
ANTHROPIC_STREAM = Sample(
    _ANTHROPIC_URL,
    {**_ANTHROPIC_ASK, "stream": True},
    sse(
        {
            "type": "message_start",
            "message": {
                "id": "msg",
                "type": "message",
                "role": "assistant",
                "model": "claude-sonnet-4-5-20250929",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {**_ANTHROPIC_USAGE, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0,
         "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 2,
         "content_block": {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "H"}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": '{"city"'}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "mm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "s=="}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 2, "delta": {"type": "input_json_delta", "partial_json": ': "Rome"}'}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Sun"}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "citations_delta", "citation": _CITATION}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "ny"}},
        {"type": "content_block_stop", "index": 1},
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
         "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
        names=True,
    ),
    SSE,
    _ANTHROPIC_SAID,
)  # fmt: skip
_GOOGLE_URL = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent"
_GOOGLE_ASK = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [{"role": "user", "parts": [{"text": "Weather in Rome?"}]}],
    "tools": [{"functionDeclarations": [{"name": "weather", "description": "Now", "parameters": _WEATHER}]}],
}
_GOOGLE_SAID = {
    "dialect": "google.generate",
    "model": "gemini-2.5-flash",
    "text": "Sunny",
    "reasoning": "Hmm",
    "finish": "STOP",
    "input_tokens": 12,
    "cached_tokens": 4,
    "output_tokens": 9,
    "reasoning_tokens": 6,
    "calls": (("", "weather", {"city": "Rome"}),),
}
_GOOGLE_USAGE = {
    "promptTokenCount": 12,
    "candidatesTokenCount": 3,
    "totalTokenCount": 21,
    "cachedContentTokenCount": 4,
    "thoughtsTokenCount": 6,
}
_GOOGLE_PARTS = [
    {"text": "Hmm", "thought": True},
    {"text": "Sunny"},
    {"functionCall": {"name": "weather", "args": {"city": "Rome"}}, "thoughtSignature": "s=="},
]
GOOGLE = Sample(
    _GOOGLE_URL,
    _GOOGLE_ASK,
    _json(
        {
            "candidates": [{"content": {"parts": _GOOGLE_PARTS, "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": _GOOGLE_USAGE,
            "modelVersion": "gemini-2.5-flash",
            "responseId": "r",
        }
    ),
    JSON,
    _GOOGLE_SAID,
)
GOOGLE_SNAKE = Sample(
    _GOOGLE_URL,
    _GOOGLE_ASK,
    _json(
        {
            "candidates": [
                {
                    "content": {
                        "parts": [
                            {"text": "Hmm", "thought": True},
                            {"text": "Sunny"},
                            {"function_call": {"name": "weather", "args": {"city": "Rome"}}, "thought_signature": "s"},
                        ],
                        "role": "model",
                    },
                    "finish_reason": "STOP",
                }
            ],
            "usage_metadata": {
                "prompt_token_count": 12,
                "candidates_token_count": 3,
                "total_token_count": 21,
                "cached_content_token_count": 4,
                "thoughts_token_count": 6,
            },
            "model_version": "gemini-2.5-flash",
        }
    ),
    JSON,
    _GOOGLE_SAID,
)
_GOOGLE_CHUNKS: list[Any] = [
    {"candidates": [{"content": {"parts": [{"text": "H", "thought": True}], "role": "model"}, "index": 0}]},
    {"candidates": [{"content": {"parts": [{"text": "mm", "thought": True}, {"text": "Sun"}], "role": "model"}}]},
    {"candidates": [{"content": {"parts": [{"text": "ny"}], "role": "model"}}],
         "usageMetadata": {"promptTokenCount": 12}},
    {
        "candidates": [{"content": {"parts": [_GOOGLE_PARTS[2]], "role": "model"}, "finishReason": "STOP"}],
        "usageMetadata": _GOOGLE_USAGE,
        "modelVersion": "gemini-2.5-flash",
    },
]  # fmt: skip
_GOOGLE_STREAM_URL = _GOOGLE_URL.replace(":generate", ":streamGenerate")
GOOGLE_STREAM = Sample(f"{_GOOGLE_STREAM_URL}?alt=sse", _GOOGLE_ASK, sse(*_GOOGLE_CHUNKS), SSE, _GOOGLE_SAID)
GOOGLE_LIST = Sample(_GOOGLE_STREAM_URL, _GOOGLE_ASK, _json(_GOOGLE_CHUNKS), JSON, _GOOGLE_SAID)
BLOCKED = Sample(
    _GOOGLE_URL,
    _GOOGLE_ASK,
    _json({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 3}}),
    JSON,
    {"dialect": "google.generate", "refusal": "SAFETY", "input_tokens": 3},
)
_CONVERSE_URL = "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-micro-v1%3A0/converse"
_CONVERSE_ASK = {
    "system": [{"text": "Be brief."}],
    "messages": [{"role": "user", "content": [{"text": "Weather in Rome?"}]}],
    "toolConfig": {
        "tools": [{"toolSpec": {"name": "weather", "description": "Now", "inputSchema": {"json": _WEATHER}}}]
    },
}
_CONVERSE_USAGE = {
    "inputTokens": 10,
    "outputTokens": 6,
    "totalTokens": 41,
    "cacheReadInputTokens": 20,
    "cacheWriteInputTokens": 5,
}
_CONVERSE_SAID = {
    "dialect": "bedrock.converse",
    "model": "amazon.nova-micro-v1:0",
    "text": "Sunny",
    "reasoning": "Hmm",
    "finish": "tool_use",
    "input_tokens": 35,
    "cached_tokens": 20,
    "cache_write_tokens": 5,
    "output_tokens": 6,
    "calls": (("tu", "weather", {"city": "Rome"}),),
}
CONVERSE = Sample(
    _CONVERSE_URL,
    _CONVERSE_ASK,
    _json(
        {
            "output": {
                "message": {
                    "role": "assistant",
                    "content": [
                        {"reasoningContent": {"reasoningText": {"text": "Hmm", "signature": "s"}}},
                        {"text": "Sunny"},
                        {"toolUse": {"toolUseId": "tu", "name": "weather", "input": {"city": "Rome"}}},
                    ],
                }
            },
            "stopReason": "tool_use",
            "usage": _CONVERSE_USAGE,
            "metrics": {"latencyMs": 300},
        }
    ),
    JSON,
    _CONVERSE_SAID,
)
CONVERSE_EVENTS: list[tuple[str, Any]] = [
    ("messageStart", {"role": "assistant", "p": "abc"}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hmm"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"signature": "s"}}}),
    ("contentBlockStop", {"contentBlockIndex": 0}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "Sun"}, "p": "ab"}),
    ("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "ny"}, "p": "a"}),
    ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "tu", "name": "weather"}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"city":'}}}),
    ("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '"Rome"}'}}}),
    ("contentBlockStop", {"contentBlockIndex": 2}),
    ("messageStop", {"stopReason": "tool_use", "p": "abcd"}),
    ("metadata", {"usage": _CONVERSE_USAGE, "metrics": {"latencyMs": 300}, "p": "a"}),
]


def aws_stream(*events: tuple[str, Any]) -> bytes:
    """Events as Bedrock sends them."""
    return b"".join(
        aws_message(data, event_type=name, content_type=JSON, message_type="event") for name, data in events
    )


CONVERSE_STREAM = Sample(f"{_CONVERSE_URL}-stream", _CONVERSE_ASK, aws_stream(*CONVERSE_EVENTS), AWS, _CONVERSE_SAID)

SAMPLES: dict[str, Sample] = {
    name.lower(): value for name, value in list(globals().items()) if isinstance(value, Sample)
}
