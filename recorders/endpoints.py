"""Which HTTP requests are calls of a model, by their path. The host does not count: proxies, gateways,
Azure and local servers speak the same protocols."""

from __future__ import annotations

import re

from rashomon.model import Kind

# Paths from the providers' API references.
_ENDINGS = (
    ("/chat/completions", "chat.completions"),
    ("/responses", "responses"),
    ("/embeddings", "embeddings"),
    ("/completions", "completions"),
    ("/messages", "messages"),
    ("/messages/count_tokens", "messages.count_tokens"),
    ("/v1/complete", "complete"),
    ("/moderations", "moderations"),
)
_MODEL_PATH = re.compile(
    r":(generateContent|streamGenerateContent|embedContent|batchEmbedContents|rawPredict|streamRawPredict)$|/model/[^/]+/(converse|converse-stream|invoke|invoke-with-response-stream)$"
)


def classify(method: str, path: str) -> tuple[Kind, str]:
    """Kind and name of a request: `(LLM, "chat.completions")`, or `(HTTP, "GET /orders/7")`."""
    bare = path.split("?", 1)[0]
    if method == "POST":
        for ending, name in _ENDINGS:
            if bare.endswith(ending):
                return Kind.LLM, name
        found = _MODEL_PATH.search(bare)
        if found is not None:
            return Kind.LLM, found[1] or found[2]
    return Kind.HTTP, f"{method} {bare}"
