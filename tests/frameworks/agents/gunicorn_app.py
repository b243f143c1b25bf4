"""A web application that asks a model once for each request; gunicorn forks its workers from one process."""

import os
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs

from openai import OpenAI

client = OpenAI()  # made before the fork, as with --preload in production


def application(environ: dict[str, str], start_response: Callable[..., object]) -> Iterable[bytes]:
    """Answers with the model's answer, and with the number of the process that asked."""
    question = parse_qs(environ["QUERY_STRING"])["q"][0]
    answer = client.chat.completions.create(model="gpt-4.1", messages=[{"role": "user", "content": question}])
    body = f"{os.getpid()} {answer.choices[0].message.content}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
