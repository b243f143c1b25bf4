"""What a replay loads of vcrpy: the stand-ins, and nothing that the program did not load itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROGRAM = """
import asyncio, sys
import rashomon
from tests.support import tapes_of

library, url, home = sys.argv[1:]

async def by_aiohttp():
    import aiohttp
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return await answer.read()

def ask():
    if library == "aiohttp":
        return asyncio.run(by_aiohttp())
    import urllib3
    return urllib3.PoolManager().request("GET", url).data

with rashomon.trace():
    live = ask()
tape = tapes_of(__import__("pathlib").Path(home))[-1]
watched = {"vcr", "httpx", "httpx2", "requests", "aiohttp", "botocore", "tornado", "wrapt", "yaml"} - {library}
assert not watched & set(sys.modules), watched & set(sys.modules)
with rashomon.replay(tape) as replayed:
    assert ask() == live
    loaded = sorted(watched & set(sys.modules))
print(replayed.divergences, loaded)
import vcr
print(vcr.VCR.__name__, "vcr.patch" in sys.modules)
"""


@pytest.mark.parametrize("library", ["urllib3", "aiohttp"])
def test_a_replay_loads_no_library_that_the_program_did_not(stage: Any, home: Path, library: str) -> None:
    """A thread that looks whether httpx is loaded finds the same in a replay; vcrpy imported later is whole."""
    arguments = [library, stage.url + "/text", str(home)]
    run = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("() []\nVCR True\n", "")
