"""A provider server for tests and demos: OpenAI's and Anthropic's APIs on loopback, answered by a function.

    with ProviderServer(model=support_assistant, seed=7) as server:
        client = OpenAI(base_url=server.openai_url, api_key="sk-test")

Needs the standard library only, and nothing of the rest of Rashomon.
"""

from .assistant import support_assistant
from .cassettes import Cassette, Recorded
from .faults import Fault
from .http import Received, Response, Sent
from .model import Message, Model, ModelRequest, Reply, Script, Tool, ToolCall, ToolResult, Usage, echo
from .pacing import Gate, at_offsets, by_bytes, by_event, inside_characters, jitter, whole
from .process import ProviderProcess
from .request_log import RequestLog
from .server import ProviderServer

__all__ = [
    "Cassette",
    "Fault",
    "Gate",
    "Message",
    "Model",
    "ModelRequest",
    "ProviderProcess",
    "ProviderServer",
    "Received",
    "Recorded",
    "Reply",
    "RequestLog",
    "Response",
    "Script",
    "Sent",
    "Tool",
    "ToolCall",
    "ToolResult",
    "Usage",
    "at_offsets",
    "by_bytes",
    "by_event",
    "echo",
    "inside_characters",
    "jitter",
    "support_assistant",
    "whole",
]
