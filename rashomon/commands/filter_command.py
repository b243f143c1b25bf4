"""A command whose arguments may be a filter: it lets `-kind:note` through, which is no option."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand

_NEGATED = re.compile(r"-(?=(?:(?:step|trace)\.)?[A-Za-z_]+(?:[:~=<>]|!=)|\$[.\[])")


class FilterCommand(TyperCommand):
    """A command with a filter among its arguments."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Write the minus of a negated term as `!`, which the language reads as the same."""
        end = args.index("--") if "--" in args else len(args)
        terms = [_NEGATED.sub("!", one, count=1) if _NEGATED.match(one) else one for one in args[:end]]
        return super().parse_args(ctx, [*terms, *args[end:]])
