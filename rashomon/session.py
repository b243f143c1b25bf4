"""What a program sees of recording (`install`, `trace`, `note`, `wrap`), and this process's journal."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from rashomon import boundary, collector, real
from rashomon.errors import UsageError
from rashomon.model import STDIN, Event, Lane
from rashomon.recorders import ambient, coverage, lanes, reports, slots, standard_input
from rashomon.recorders.complaints import cannot_write
from rashomon.recorders.imports import when_imported
from rashomon.version import __version__

if TYPE_CHECKING:  # all of this is loaded when the first trace begins: a program without one does not pay for it
    from rashomon.recorders.recorder import ProcessRecorder, TraceRecorder
    from rashomon.redaction import Redactor

F = TypeVar("F", bound=Callable[..., Any])
SESSION = "RASHOMON_SESSION"
"""The environment variable through which a launcher tells a child what to do: one JSON object."""
UNCALLED = ".uncalled"
"""How the file is called, behind a tape's name, in which a child says why it cannot call the recorded function."""
OFF = "RASHOMON_OFF"
_KEPT_ENDINGS = ("_BASE_URL", "_API_BASE", "_ENDPOINT", "_MODEL", "_API_VERSION", "_DISABLE_TRACING", "_TELEMETRY")
_KEPT_NAMES = ("PYTHONHASHSEED", "TZ", "LANG", "LC_ALL", "DO_NOT_TRACK")

_installed = False
_process: ProcessRecorder | None = None


def install() -> None:
    """Patch the clients this process uses or will use. Calls are recorded inside a trace only.

    Idempotent. Loads nothing that the program does not load itself. `RASHOMON_OFF=1` makes it do nothing.
    """
    global _installed
    if _installed or os.environ.get(OFF):
        return
    _installed = True
    collector.watch()
    ambient.install()
    coverage.install()
    standard_input.install()
    reports.install()
    lanes.patch_threads()
    when_imported("concurrent.futures.thread", lanes.patch_executors)
    when_imported("anyio._backends._asyncio", lanes.patch_anyio)
    when_imported("asyncio.base_events", _patch_asyncio)
    when_imported("asyncio.timeouts", _patch_limits)
    when_imported("asyncio.runners", _patch_runners)
    for name in ("httpx", "httpx2"):
        when_imported(name, _patch_httpx)
    when_imported("http.client", _patch_http_client)
    when_imported("httplib2", _patch_httplib2)
    when_imported("urllib3.connectionpool", _patch_urllib3)
    when_imported("aiohttp.client", _patch_aiohttp)
    when_imported("uvloop", _patch_uvloop)
    when_imported("trio._core._run", _patch_trio)
    for name in ("mcp.client.stdio", "mcp.shared.jsonrpc_dispatcher", "mcp.shared.session"):
        when_imported(name, _patch_mcp)
    for name in ("claude_agent_sdk", "claude_code_sdk"):
        when_imported(f"{name}._internal.transport.subprocess_cli", _patch_claude)
    for name in ("openai._base_client", "anthropic._base_client"):
        when_imported(name, _patch_platform)
    for name in slots.PATCHED:
        when_imported(name, _patch_processes)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before_fork, after_in_child=_after_fork)


def _patch_asyncio(module: Any) -> None:
    from rashomon.recorders import loops

    lanes.patch_asyncio(module)
    loops.patch_asyncio(module)


def _patch_limits(module: Any) -> None:
    from rashomon.recorders import loops

    loops.patch_limits(module)


def _patch_runners(module: Any) -> None:
    from rashomon.recorders import loop_ends

    loop_ends.patch(module)


def attach_running_loop() -> None:
    """A trace or a replay begins inside a running event loop."""
    asyncio = sys.modules.get("asyncio")
    loop = None if asyncio is None else asyncio._get_running_loop()
    if loop is not None:
        from rashomon.recorders import loops

        loops.attach(loop)


def _patch_httpx(module: Any) -> None:
    from rashomon.recorders import httpx_shim

    httpx_shim.patch(module)


def _patch_http_client(module: Any) -> None:
    from rashomon.recorders import http_client

    http_client.patch(module)


def _patch_httplib2(module: Any) -> None:
    from rashomon.recorders import http_client

    http_client.patch_httplib2(module)


def _patch_urllib3(module: Any) -> None:
    from rashomon.recorders import vcr_shim

    vcr_shim.patch_urllib3(module)


def _patch_aiohttp(module: Any) -> None:
    from rashomon.recorders import vcr_shim

    vcr_shim.patch_aiohttp(module)


def _patch_mcp(module: Any) -> None:
    from rashomon.recorders import mcp_sessions

    mcp_sessions.patch(module)


def _patch_claude(module: Any) -> None:
    from rashomon.recorders import claude_agent

    claude_agent.patch(module)


def _patch_platform(module: Any) -> None:
    from rashomon.recorders import platforms

    platforms.patch(module)


def _patch_processes(module: Any) -> None:
    from rashomon.recorders import processes

    processes.patch(module)


def _patch_uvloop(module: Any) -> None:
    from rashomon.recorders import uvloop_lanes

    uvloop_lanes.patch(module)


def _patch_trio(module: Any) -> None:
    from rashomon.recorders import trio_lanes

    trio_lanes.patch(module)


def _before_fork() -> None:
    traced = boundary.current() is not None
    slots.before_fork(traced)
    if traced:
        lanes.await_leaving()


def _after_fork() -> None:
    global _process
    lane = slots.forked()
    if _process is None:
        return
    if lane is None:  # no process of a trace, or one that is about to run another program
        _process.writer.abandon()
        _process = None
        boundary.set_process_interceptor(None)
        return
    lanes.reset_process(lane)
    guard = boundary.current()
    step = slots.inside_of(_process.writer.path)
    if step is not None:
        slots.enter(step)
    _process.after_fork(lane, trace_id(guard))
    narrow = getattr(guard, "after_fork", None)
    if narrow is not None:
        narrow(lane)


def environ_kept() -> dict[str, str]:
    """The variables that a replay needs to find again; of keys, only that they were set."""
    variables = os.environ.items()
    kept = {name: value for name, value in variables if name.endswith(_KEPT_ENDINGS) or name in _KEPT_NAMES}
    kept |= {name: "<secret>" for name in os.environ if name.endswith("API_KEY")}
    return kept | {STDIN: standard_input.kept()}


def folder() -> str:
    """The folder that the program runs in; empty where that has been deleted."""
    try:
        return os.getcwd()
    except OSError:
        return ""


def _process_info(role: str) -> dict[str, Any]:
    return {
        "role": role,
        "argv": list(sys.orig_argv),
        "cwd": folder(),
        "versions": {
            "rashomon": __version__,
            "python": ".".join(map(str, sys.version_info[:3])),
            "implementation": sys.implementation.name,
            "platform": sys.platform,
        },
    }


def open_process(home: str, role: str = "program", lane: Lane = ()) -> ProcessRecorder:
    """Open the journal of this process, whose main line is `lane`. Raises OSError when it cannot be written."""
    from rashomon.home import prepare
    from rashomon.recorders.recorder import ProcessRecorder

    prepare(home)
    info = {**_process_info(role), "lane": list(lane)}
    return ProcessRecorder(home, redactor_of(home), info, os.environ.get("RASHOMON_FSYNC", "never"))


def redactor_of(home: str) -> Redactor:
    """What takes the secrets out of all that is written into a home. Raises OSError where its key cannot be made."""
    from rashomon.home import redaction_key
    from rashomon.redaction import Redactor

    fields = [name for name in os.environ.get("RASHOMON_REDACT_FIELDS", "").split(",") if name]
    patterns = [text for text in [os.environ.get("RASHOMON_REDACT_PATTERN", "")] if text]
    return Redactor(redaction_key(home), os.environ, fields, patterns)


def process_recorder() -> ProcessRecorder | None:
    """This process's journal, if it is open."""
    return _process


def use_process(process: ProcessRecorder) -> None:
    """Write into this journal from now on, and close it at the end."""
    global _process
    _process = process
    atexit.register(process.close)


def open_recorder() -> ProcessRecorder | None:
    """This process's journal, opened when first needed; None when it cannot be."""
    global _process
    if _process is None and not os.environ.get(OFF):
        from rashomon.home import home_name

        home = home_name()
        try:
            use_process(open_process(home))
        except OSError as error:
            cannot_write(home, error)
            return None
    return _process


def close_journal() -> None:
    """Close this process's journal; the next trace opens another, in the home that is named then."""
    global _process
    if _process is not None:
        atexit.unregister(_process.close)
        _process.close()
        _process = None


def was_cancelled(error: str | None) -> bool:
    """Whether a trace ended since its caller cancelled it: a time limit, or a client that went away."""
    return error is not None and error.partition(":")[0] == "CancelledError"


def new_trace_id(now_ns: int | None = None) -> str:
    """Twenty-six hex digits: milliseconds, then chance; so ids sort by time."""
    now = real.time_ns() if now_ns is None else now_ns
    return f"{now // 1_000_000:012x}{real.urandom(7).hex()}"


class trace:
    """`with rashomon.trace("name", tags={...}) as t:` — record what happens inside as one trace.

    Calls `install()`. `t.id` is the trace's id, or None when nothing can be recorded. Never raises by
    itself; an exception of the block is noted as the trace's outcome and goes on.
    """

    def __init__(self, name: str = "trace", tags: dict[str, str] | None = None, **info: Any) -> None:
        self._name, self._tags, self._info = name, tags or {}, info
        self.id: str | None = None
        self._recorder: TraceRecorder | None = None
        self._result: bytes | None = None
        self._here = False

    def __enter__(self) -> trace:
        install()
        process = open_recorder()
        if process is None:
            return self
        outer = boundary.current()
        now = real.time_ns()
        info = {"id": new_trace_id(now), "name": self._name, "started_ns": now, "tags": self._tags, "cwd": folder(),
                "environ": environ_kept(), "within": trace_id(outer), **self._info}  # fmt: skip
        self._recorder = process.begin(info)
        self.id = info["id"]
        ambient.announce(self._recorder)
        into = getattr(outer, "into", None)
        self._scope = boundary.intercepted(self._recorder if into is None else into(self._recorder))
        attach_running_loop()
        if boundary.ticker is not None:
            place = boundary.ticker.place() or boundary.NOWHERE
            self._recorder.note_point(Event.BEGIN, (), boundary.ticker.loops(), place)
        self._line = None if outer is not None else lanes.Line(())
        self.resume()
        return self

    def resume(self) -> None:
        """What runs from here on belongs to the trace again, after `suspend`."""
        if self._recorder is not None and not self._here and not collector.is_running():
            self._here = True
            self._token = None if self._line is None else lanes.start_root(self._line)
            self._scope.__enter__()

    def suspend(self) -> None:
        """What runs from here on does not belong to the trace, until `resume` or its end."""
        if self._here:
            self._here = False
            try:
                self._scope.__exit__()
                if self._token is not None:
                    lanes.end_root(self._token)
            except ValueError:  # in another context than it was begun in: there is nothing to undo here
                pass

    def set_result(self, value: Any) -> None:
        """Keep a value as the trace's result."""
        from rashomon import values

        self._result = values.encode(value)

    def __exit__(self, exc_type: Any, error: BaseException | None, traceback: Any) -> None:
        recorder = self._recorder
        if recorder is None:
            return
        self.suspend()
        text = None if error is None else f"{type(error).__name__}: {error}"
        recorder.finish("ok" if error is None else "error", error=text, result=self._result)


def trace_id(interceptor: Any) -> str | None:
    """The id of the trace that a recorder or a replay writes; None for nobody."""
    scribe = getattr(interceptor, "scribe", interceptor)
    found = getattr(scribe, "id", None)
    return found if isinstance(found, str) else None


def note(text: str = "", /, *, labels: Iterable[str] = (), **data: Any) -> None:
    """Say something about the execution: an outcome, a score, who the user is.

        rashomon.note("refused", labels=["policy"], score=0.2, user="u-17")

    Becomes a step of kind `note` of the trace that is being recorded. Does nothing where none is, and never raises. A
    replay takes no notice of notes: they may come, go and move without the replay leaving its recording.
    """
    guard = boundary.current()
    write = None if guard is None else getattr(getattr(guard, "scribe", guard), "note", None)
    if write is not None:
        try:
            write(str(text), (labels,) if isinstance(labels, str) else tuple(map(str, labels)), data)
        except Exception:  # a text or a label that cannot be made one: a note must not break the program
            pass


def wrap(client: Any) -> Any:
    """Record the calls of one client only, inside a trace, without `install()`. Returns the client."""
    from rashomon.recorders import httpx_shim

    if not httpx_shim.wrap_client(client):
        raise UsageError(
            f"rashomon.wrap() cannot record a {type(client).__module__}.{type(client).__qualname__}.",
            "Pass an openai, anthropic, httpx or httpx2 client, or use rashomon.install().",
        )
    return client


class Order(NamedTuple):
    """What a launcher asks of a child, as JSON in the environment."""

    mode: str
    home: str
    info: dict[str, Any]
    tape: str | None = None
    stubs: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    on_drift: str = "stop"
    folder: str | None = None
