"""A schedule's program in a process of its own: `python -m tests.schedules.launched SEED PROFILE [--forks]`.

The provider's address is $SCHEDULE_BASE_URL. It tells its log on standard output, each line at once, so that a child
that it forks, and a program that is stopped, tell theirs too.
"""

from __future__ import annotations

import os
import sys
from typing import cast

from tests.schedules.clients import bodies_run
from tests.schedules.events import Log
from tests.schedules.programs import run_program
from tests.schedules.specs import Profile, make_spec


def main() -> None:
    """Run the program of the command line."""
    spec = make_spec(int(sys.argv[1]), cast(Profile, sys.argv[2]), forks="--forks" in sys.argv)
    permute = os.environ.get("SCHEDULE_PERMUTE")
    log = Log(aloud=True)
    try:
        run_program(spec, log, os.environ["SCHEDULE_BASE_URL"], None if permute is None else int(permute))
    finally:
        log.count("bodies run", bodies_run.total())


if __name__ == "__main__":
    main()
