"""Runs schedules one after the other and tells each result as a line of JSON: `python -m tests.schedules.worker`.

It is a process of its own so that a schedule that hangs can be seen, made to say where it hangs, and left behind.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import sys
import traceback
from typing import Any

from tests.schedules.clients import load
from tests.schedules.judge import Finding
from tests.schedules.provider import Provider
from tests.schedules.schedule import Result, run_schedule, spec_of


def main() -> None:
    """Run the schedules of the command line: `--seconds` is how long one may take."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--way", default="inside")
    parser.add_argument("--seeds", required=True, help="FIRST:END:STEP")
    parser.add_argument("--provider", required=True, help="its address")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--replays", type=int, default=1)
    options = parser.parse_args()
    seeds = range(*map(int, options.seeds.split(":")))
    provider = Provider(options.provider)
    if not options.way.endswith("launched"):  # importing takes seconds, which are not the first schedule's
        load(frozenset({"message"}), frozenset({"aiohttp", "httpx", "httpx2", "requests", "urllib.request"}))
    for seed in seeds:
        faulthandler.dump_traceback_later(options.seconds, exit=True)
        result = _run(options, seed, provider)
        faulthandler.cancel_dump_traceback_later()
        print(json.dumps(result._asdict()), flush=True)


def _run(options: Any, seed: int, provider: Provider) -> Result:
    try:
        return run_schedule(options.way, spec_of(options.way, seed), provider, options.replays)
    except TimeoutError as error:
        return Result(options.way, seed, (Finding("hung", str(error)),), {})
    except Exception:
        sys.stderr.write(traceback.format_exc())
        return Result(options.way, seed, (Finding("broken", traceback.format_exc()[-1500:]),), {})


if __name__ == "__main__":
    main()
