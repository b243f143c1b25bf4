"""A command whose arguments may be a filter: it lets `-kind:note` and `-café` through, which are no options."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from typer.core import TyperCommand

_NEGATED = re.compile(r"-(?=(?:(?:step|trace)\.)?[A-Za-z_]+(?:[:~=<>]|!=)|\$[.\[]|[^-\sA-Za-z0-9]|[^-\s]\S*\s)")
"""A term about a field, a path, and what no option looks like: a phrase in quotation marks, or with a space in it."""

_WORD = re.compile(r"-([^-\s].+)", re.S)


class FilterCommand(TyperCommand):
    """A command with a filter among its arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write the minus of a negated term as `!`, which the language reads as the same."""
        end = args.index("--") if "--" in args else len(args)
        return super().parse_args(ctx, [*self._terms(ctx, args[:end]), *args[end:]])

    def _terms(self, ctx: Any, words: list[str]) -> Iterator[str]:
        """The words, of which those are no terms that an option takes, or that stand where something else is due."""
        params = self.get_params(ctx)
        letters = {name[1:] for one in params for name in one.opts if len(name) == 2 and name[0] == "-"}
        take = {name for one in params for name in one.opts if not getattr(one, "is_flag", True)}
        others = sum(one.param_type_name == "argument" and one.required and one.nargs == 1 for one in params)
        taken = False
        for word in words:
            if not taken and others <= 0 and _is_term(word, letters):
                yield f"!{word[1:]}"
                continue
            yield word
            others -= not taken and not word.startswith("-")
            taken = not taken and word in take


def _is_term(word: str, letters: set[str]) -> bool:
    """Whether a word that begins with a minus negates a term: it looks so, or has a letter that is no option's."""
    if _NEGATED.match(word):
        return True
    named = _WORD.fullmatch(word)
    return named is not None and not set(named[1]) <= letters
