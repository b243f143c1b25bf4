"""prompt_toolkit's prompts read keys from the terminal by themselves: each is the call of a tool, as `input()` is."""

from __future__ import annotations

import functools
import sys
from typing import Any

from rashomon.boundary import cross_async
from rashomon.recorders import lanes
from rashomon.recorders.standard_input import Answer, Aside, asked, call_of, hearing

_NAME, _REF = "prompt_toolkit.prompt", "prompt_toolkit.shortcuts.prompt:PromptSession.prompt"


def patch(module: Any) -> None:
    """`prompt` and `prompt_async` of `PromptSession` (`prompt_toolkit.shortcuts.prompt`)."""
    session = module.PromptSession
    original, original_async = session.prompt, session.prompt_async

    @functools.wraps(original)
    def prompt(self: Any, message: Any = None, **options: Any) -> Any:
        if hearing() is None:
            return original(self, message, **options)
        text, secret = _text(self, message), _is_secret(self, options)
        return asked(_NAME, _REF, text, lambda _: original(self, message, **options), secret)

    @functools.wraps(original_async)
    async def prompt_async(self: Any, message: Any = None, **options: Any) -> Any:
        if hearing() is None:
            return await original_async(self, message, **options)
        line = lanes.spawn()
        text, secret = _text(self, message), _is_secret(self, options)

        async def live() -> Any:
            with Aside(), lanes.inner(line):
                return await original_async(self, message, **options)

        return await cross_async(call_of(_NAME, _REF, "async", {"prompt": text}), live, Answer(_NAME, text, secret))

    session.prompt, session.prompt_async = prompt, prompt_async


def _text(session: Any, message: Any) -> str:
    """What is asked, without its colours."""
    formatted: Any = sys.modules["prompt_toolkit.formatted_text"]
    said = session.message if message is None else message
    return "".join(fragment[1] for fragment in formatted.to_formatted_text(said))


def _is_secret(session: Any, options: dict[str, Any]) -> bool:
    """Whether what is typed is not shown."""
    given = options.get("is_password")
    wanted = session.is_password if given is None else given
    return bool(wanted() if callable(wanted) else wanted)
