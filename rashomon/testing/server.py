"""A provider server in a thread of this process."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from types import TracebackType
from typing import Self

from .assistant import support_assistant
from .cassettes import Cassette, Recorded
from .connection import Connection, ConnectionProtocol
from .dispatch import Dispatcher, Pace
from .faults import Fault, FaultQueue
from .gates import Gates
from .http import Received
from .model import Model
from .pacing import ChunkingLike, Gate, Seconds, chunking_of
from .request_log import RequestLog
from .routes import Route, Routes
from .sampling import Sampler

HOST = "127.0.0.1"
TEST_KEY = "sk-test-0123456789abcdef"


class ProviderServer:
    """OpenAI's and Anthropic's APIs on a loopback port, answered by `model`.

    `model` is called in the server's thread and must not block it (it may be async). `seed` makes ids and
    sampled answers the same in every run; without it they differ, as a provider's do. `delay` is the time in
    seconds before an answer's head, `chunk_delay` between its pieces; both may be functions, see `jitter`.
    `chunking` is None (one piece an event), a number of bytes, offsets, or a `Chunking`. `compress` answers
    in gzip to clients that accept it. With a `cassette`, recorded answers are served and nothing else.
    `keep` bounds how many requests `requests` remembers. A key that contains "invalid" gets a 401.

    Use it as a context manager, or call `start` and `stop`. Raises OSError when the port is taken.
    """

    def __init__(
        self,
        model: Model = support_assistant,
        *,
        seed: int | None = None,
        faults: Iterable[Fault] = (),
        routes: Mapping[tuple[str, str], Route] | None = None,
        cassette: Cassette | Iterable[Recorded] | None = None,
        delay: Seconds = 0.0,
        chunk_delay: Seconds = 0.0,
        chunking: ChunkingLike = None,
        compress: bool = False,
        clock: Callable[[], float] = time.time,
        keep: int | None = None,
        port: int = 0,
    ) -> None:
        if cassette is not None and not isinstance(cassette, Cassette):
            cassette = Cassette(cassette)
        self.requests = RequestLog(keep)
        self.cassette = cassette
        self._gates = Gates()
        self._faults = FaultQueue(faults)
        self._dispatcher = Dispatcher(
            model=model,
            sampler=Sampler(seed),
            clock=clock,
            pace=Pace(delay, chunk_delay, chunking_of(chunking), compress),
            faults=self._faults,
            routes=Routes(routes),
            gates=self._gates,
            cassette=cassette,
        )
        self._port = port
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections = count()
        self._indexes = count()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1; known once started."""
        return self._port

    @property
    def url(self) -> str:
        """The server's address, for example http://127.0.0.1:40123, without a slash at the end."""
        return f"http://{HOST}:{self._port}"

    @property
    def openai_url(self) -> str:
        """What to give the openai SDK as `base_url`."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """What to give the anthropic SDK as `base_url`."""
        return self.url

    @property
    def failures(self) -> list[Exception]:
        """What the model and the routes raised; each was answered with a 500."""
        return self._dispatcher.failures

    def environ(self) -> dict[str, str]:
        """The variables that point an unchanged program's SDKs at this server."""
        return {
            "OPENAI_BASE_URL": self.openai_url,
            "OPENAI_API_KEY": TEST_KEY,
            "ANTHROPIC_BASE_URL": self.anthropic_url,
            "ANTHROPIC_API_KEY": TEST_KEY,
        }

    def hold(self, match: Callable[[Received], bool] | str | None = None, *, after: int = 0) -> Gate:
        """Hold the answer to the next matching request (all, a path's end, or a function) at a gate.

        `after` pieces of it are sent first. Release the gate to let it go on; `stop` releases all.
        """
        gate = Gate(after)
        if isinstance(match, str):
            ending = match
            self._gates.add(gate, lambda request: request.path.endswith(ending))
        else:
            self._gates.add(gate, match)
        return gate

    def add_fault(self, fault: Fault) -> None:
        """Append a fault to the list, while the server runs."""
        self._faults.add(fault)

    def start(self) -> Self:
        """Listen, and return once connections are accepted."""
        if self._thread is not None:
            raise RuntimeError("This server runs already. Stop it first, or make another.")
        listener = socket.create_server((HOST, self._port), backlog=512)
        self._port = listener.getsockname()[1]
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listener, ready), name="provider-server", daemon=True)
        self._thread.start()
        ready.wait()
        return self

    def stop(self) -> None:
        """Close every connection and the port, and wait for the thread. A second call does nothing."""
        thread, self._thread = self._thread, None
        if thread is None or self._loop is None or self._stop is None:
            return
        self._gates.release_all()
        self._loop.call_soon_threadsafe(self._stop.set)
        thread.join()

    def __enter__(self) -> Self:
        return self.start() if self._thread is None else self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, listener: socket.socket, ready: threading.Event) -> None:
        with asyncio.Runner() as runner:
            runner.run(self._serve(listener, ready))

    async def _serve(self, listener: socket.socket, ready: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: ConnectionProtocol(self._connected), sock=listener)
        ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await asyncio.sleep(0)  # transports close their sockets in the next round of the loop

    def _connected(self, protocol: ConnectionProtocol, writer: asyncio.StreamWriter) -> None:
        connection = Connection(
            next(self._connections),
            protocol,
            writer,
            self._dispatcher,
            self.requests,
            self._indexes,
            self._dispatcher.failures,
        )
        task = asyncio.get_running_loop().create_task(connection.run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
