"""What finalizers do while the garbage collector runs: none of it sets a context variable on our account."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import environment

WATCHED = """
import asyncio, contextvars, gc, sys
import httpx2, rashomon

collecting, found, finalized = [], [], []
gc.callbacks.append(lambda phase, info: collecting.append(1) if phase == "start" else collecting.clear())

def watch(frame, event, called):
    if event == "c_call" and collecting and isinstance(getattr(called, "__self__", None), contextvars.ContextVar):
        if called.__name__ in ("set", "reset"):
            found.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")

class Body(httpx2.SyncByteStream):
    def __iter__(self):
        yield b"data: 1\\n\\n"
        yield b"data: 2\\n\\n"
    def close(self):
        if collecting:
            finalized.append("stream")

def answer(request):
    return httpx2.Response(200, headers={"content-type": "text/event-stream"}, stream=Body())

def stream():
    response = client.send(client.build_request("GET", "http://provider.test/"), stream=True)
    try:
        yield from response.stream
    finally:
        response.close()

@rashomon.tool
def pages():
    try:
        yield 1
        yield 2
    finally:
        if collecting:
            finalized.append("pages")

@rashomon.tool
def look_up():
    return 1

class Late:
    def __del__(self):
        look_up()
        client.get("http://provider.test/late").read()
        finalized.append("late")

async def never():
    await asyncio.get_running_loop().create_future()

@rashomon.tool
async def asked():
    try:
        await never()
    finally:
        if collecting:
            finalized.append("asked")

def in_a_cycle(thing):
    cycle = [thing]
    cycle.append(cycle)

def drop(what):
    if what == "late":
        in_a_cycle(Late())
    elif what == "asked":  # its loop is gone: nobody closes it
        context = contextvars.copy_context()
        loop = asyncio.new_event_loop()
        task = loop.create_task(asked())
        loop.run_until_complete(asyncio.sleep(0))
        task._log_destroy_pending = False
        asyncio._unregister_task(task)
        in_a_cycle(task)
        loop.close()
    else:
        generator = {"stream": stream, "pages": pages}[what]()
        next(generator)
        in_a_cycle(generator)

with rashomon.trace():
    with httpx2.Client(transport=httpx2.MockTransport(answer)) as client:
        gc.disable()
        drop(sys.argv[1])
        sys.setprofile(watch)
        gc.collect()
        sys.setprofile(None)
print(finalized[-1], found)
"""


@pytest.mark.parametrize("what", ["stream", "pages", "late", "asked"])
def test_no_context_variable_is_set_while_the_collector_runs(tmp_path: Path, what: str) -> None:
    """It may have interrupted `ContextVar.set` itself, which then reads what was freed: Python 3.11 crashes."""
    command = [sys.executable, "-c", WATCHED, what]
    run = subprocess.run(command, env=environment(tmp_path), capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == (f"{what} []\n", "")
