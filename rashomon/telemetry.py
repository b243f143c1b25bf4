"""What a program's libraries report about it to others: traces, errors, metrics, usage, logs.

It is about the execution, and no part of it: sent in batches, by threads of its own, at times of its own. So it is no
step, and a replay neither sends it nor asks the tape about it (`docs/decisions/019-telemetry.md`). It is known by who
sends it. Where none of these modules is loaded, a call pays one look at `watching` for it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator
from types import FrameType

from rashomon.model import Call, End, Head, Kind, Piece, Response, Uncontrolled
from rashomon.parties import SilentWitness

SETTING = "RASHOMON_TELEMETRY"
"""More modules that send telemetry, divided by commas; `none`: nothing is taken for it."""
WHAT = "telemetry"
"""What a trace lists it under."""
_REASON = "no step, and a replay does not send it"

_MODULES = (
    # OpenTelemetry, and what is built on it: Langfuse, Logfire, Phoenix, Traceloop, AgentOps, Azure Monitor
    "opentelemetry.exporter",
    "opentelemetry.sdk._shared_internal",
    "opentelemetry.sdk.trace.export",
    "opentelemetry.sdk._logs._internal.export",
    "opentelemetry.sdk.metrics._internal.export",
    "logfire._internal.exporters",
    # of LLM calls and agents
    "agents.tracing.processors",
    "agno.api",
    "ddtrace.llmobs._writer",
    "langfuse._task_manager",
    "langsmith._internal._background_thread",
    "litellm.integrations.datadog",
    "litellm.integrations.helicone",
    "litellm.integrations.langsmith",
    "litellm.integrations.opik",
    "litellm.integrations.posthog",
    "lunary.consumer",
    "maxim.logger.writer",
    "mlflow.telemetry.client",
    "mlflow.tracing.export",
    "opik.file_upload",
    "opik.message_processing",
    "weave.trace_server_bindings.async_batch_processor",
    # of errors and performance
    "aws_xray_sdk.core.emitters",
    "aws_xray_sdk.core.sampling",
    "bugsnag.delivery",
    "ddtrace.debugging._uploader",
    "ddtrace.internal.agent",
    "ddtrace.internal.datastreams",
    "ddtrace.internal.remoteconfig",
    "ddtrace.internal.runtime",
    "ddtrace.internal.telemetry",
    "ddtrace.internal.writer",
    "elasticapm.transport",
    "honeybadger.connection",
    "newrelic.common.agent_http",
    "rollbar.lib.transport",
    "scout_apm.core.agent",
    "scout_apm.core.error_service",
    "sentry_sdk.transport",
    "sentry_sdk.worker",
    # of metrics
    "datadog.dogstatsd.base",
    "datadog.threadstats.periodic_timer",
    "datadog.threadstats.reporters",
    "ddtrace.internal.dogstatsd",
    "ddtrace.vendor.dogstatsd.base",
    "prometheus_client.exposition",
    "statsd.client.stream",
    "statsd.client.udp",
    # of usage
    "amplitude.http_client",
    "amplitude.worker",
    "gradio.analytics",
    "huggingface_hub.utils._telemetry",
    "posthog._async_consumer",
    "posthog.capture_v1",
    "posthog.consumer",
    "segment.analytics.consumer",
    "segment.analytics.request",
    # of logs
    "fluent.asyncsender",
    "fluent.sender",
    "google.cloud.logging_v2.handlers",
    "logging.handlers",
    "logtail.flusher",
)
_ALL: frozenset[str] = frozenset()
SENDERS: dict[str, frozenset[str]] = {
    **dict.fromkeys(_MODULES, _ALL),
    "braintrust.logger": frozenset({"_publisher", "_submit_logs_requests"}),
    "langsmith.client": frozenset(
        {
            "_create_run_non_batch",
            "_post_batch_ingest_runs",
            "_send_compressed_multipart_req",
            "_send_multipart_req",
            "_update_run_non_batch",
        }
    ),
    "mixpanel": frozenset({"_write_request"}),
    "posthog.request": frozenset({"batch_post"}),
}
"""Modules, with all below them, and which of their functions: empty for all. What is called from there is telemetry."""
_ANY_HANDLER = ("logging", frozenset({"callHandlers"}))
"""Whatever a handler of the program's own does with a log's record; looked for where something else is."""
_EXTENDED = frozenset(
    {
        "logging",
        "opentelemetry.sdk._logs._internal.export",
        "opentelemetry.sdk._shared_internal",
        "opentelemetry.sdk.metrics._internal.export",
        "opentelemetry.sdk.trace.export",
    }
)
"""Those to which a program adds ways to send of its own. Below all others its code is what they wrap to measure it."""

watching = False
"""Whether a module is loaded that may send telemetry."""
is_own: Callable[[FrameType], bool] = lambda frame: False  # noqa: E731
"""Whether it is the program's own code that runs in a frame: set by who knows (`recorders.reports`)."""
_Found = tuple[str, frozenset[str]] | None
_of_module: dict[str, _Found] = {}


def modules() -> Iterator[str]:
    """The modules whose import begins the watch. None where it is turned off; else `begin` is to be called for each."""
    named = _named()
    if "none" not in named:
        yield from SENDERS
        yield from named


def _named() -> list[str]:
    return [name.strip() for name in os.environ.get(SETTING, "").split(",") if name.strip()]


def begin(module: object = None) -> None:
    """Such a module is loaded."""
    global watching
    watching = True


def sender() -> str:
    """The module that sends telemetry here; empty where none does. Never raises."""
    if not watching:
        return ""
    frame: FrameType | None = sys._getframe(1)
    passed = False  # the program's own code, on the way up
    try:
        while frame is not None:
            name = frame.f_globals.get("__name__")
            found = _of_module[name] if name in _of_module else _looked_up(name)
            if found is not None and (not found[1] or frame.f_code.co_name in found[1]):
                if not passed or found[0] in _EXTENDED or found[0] not in SENDERS:
                    return found[0]
            elif not passed:
                passed = is_own(frame)
            frame = frame.f_back
    except Exception:  # globals of a strange kind: nobody's telemetry
        pass
    return ""


def _looked_up(module: object) -> _Found:
    name = str(module)
    found: _Found = _ANY_HANDLER if name == "logging" else None
    named = _named()
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        above = ".".join(parts[:end])
        if above in SENDERS or above in named:
            found = (above, SENDERS.get(above, _ALL))
            break
    _of_module[name] = found
    return found


def sent_by(call: Call) -> str:
    """The module that makes a call as telemetry; empty where it is none. A call of a model never is."""
    return sender() if watching and call.kind is Kind.HTTP else ""


def waits(kind: str) -> bool:
    """Whether a read of this kind is a wait between two reports: it takes its time in a replay, too."""
    return kind == "sleep" and bool(sender())


def origin(call: Call) -> str:
    """Where a call goes, without path and credentials: `https://host:port`."""
    scheme, _, rest = str(call.request.head.get("url", "")).partition("://")
    return f"{scheme}://{rest.partition('/')[0].partition('?')[0].rpartition('@')[2]}"


def fact(by: str, to: str) -> tuple[str, str]:
    """What a trace keeps of it, once for each sender and place: the `what` and `reason` of `model.Uncontrolled`."""
    return WHAT, f"{by} to {to}: {_REASON}"


def is_one(source: Uncontrolled) -> bool:
    """Whether that is what such an entry says."""
    return source.what == WHAT


def accepted(call: Call) -> Response:
    """What a replay answers: that it has come. Collectors say no more, and nobody asks for more."""
    from rashomon.canonical import header

    binary = "protobuf" in header(call.request.head, "content-type")
    kind, body = ("application/x-protobuf", b"") if binary else ("application/json", b"{}")
    head: Head = {"status": 200, "reason": "OK", "http_version": "HTTP/1.1",
                  "headers": [["content-type", kind], ["content-length", str(len(body))]]}  # fmt: skip
    return Response(head, (Piece(0, body),) if body else (), End.COMPLETE)


class NotSent(ConnectionRefusedError):
    """What a library gets in a replay that opens a connection for telemetry: it knows how to go on without one."""

    def __init__(self) -> None:
        super().__init__(errno.ECONNREFUSED, "a replay does not send telemetry")


class Aside(SilentWitness):
    """Stands at a call that is telemetry: nothing of it is kept, and what happens inside it is part of it."""
