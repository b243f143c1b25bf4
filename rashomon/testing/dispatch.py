"""From a request to its answer: cassette, faults, routes, and the providers' endpoints."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, cast

from . import anthropic_messages, embeddings, openai_chat, openai_responses
from .cassettes import Cassette, missed, replayed
from .fault_effects import refusing, spoil_pieces, spoil_units
from .faults import Fault, FaultQueue, asked_for
from .gates import Gates
from .http import Headers, Received, Response, json_response
from .model import Model, ModelRequest, Reply
from .pacing import Chunking, Seconds, by_event, seconds
from .provider_shapes import Provider, check_key, error_response, provider_headers, provider_of
from .routes import Routes, route_response
from .sampling import Sampler
from .wire import Answering, ApiError, Ids, cut_short

MODELS = ("gpt-4.1", "gpt-4.1-mini", "gpt-4o-mini", "o4-mini", "text-embedding-3-small", "claude-sonnet-5")
T = TypeVar("T")


class Dialect(Protocol):
    """How one API reads a request and writes an answer."""

    def parse(self, raw: dict[str, Any], headers: Headers) -> ModelRequest:
        """The request in neutral words; ApiError when the provider would refuse it."""

    def render(self, answering: Answering) -> dict[str, Any]:
        """The whole answer as one object."""

    def stream(self, answering: Answering, whole: dict[str, Any]) -> Iterator[bytes]:
        """The whole answer as events."""


DIALECTS: Mapping[str, Dialect] = {
    "/v1/chat/completions": cast(Dialect, openai_chat),
    "/v1/responses": cast(Dialect, openai_responses),
    "/v1/messages": cast(Dialect, anthropic_messages),
}


@dataclass(frozen=True, slots=True)
class Pace:
    """When and in what pieces answers go out: seconds before the head, seconds between pieces, the cuts."""

    delay: Seconds = 0.0
    chunk_delay: Seconds = 0.0
    chunking: Chunking = by_event
    compress: bool = False


@dataclass(slots=True)
class Dispatcher:
    """Answers requests; all state of a server but its sockets."""

    model: Model
    sampler: Sampler
    clock: Callable[[], float]
    pace: Pace = field(default_factory=Pace)
    faults: FaultQueue = field(default_factory=FaultQueue)
    routes: Routes = field(default_factory=Routes)
    gates: Gates = field(default_factory=Gates)
    cassette: Cassette | None = None
    stored: openai_responses.Stored = field(default_factory=openai_responses.Stored)
    failures: list[Exception] = field(default_factory=list)

    async def __call__(self, request: Received) -> Response:
        """The answer to a request. An exception of the model or of a route becomes a 500 that names it."""
        ids = self.sampler.ids(f"{request.method} {request.target}\n".encode() + request.body)
        provider = provider_of(request)
        try:
            response = await self._answer(request, provider, ids)
        except ApiError as exc:
            response = error_response(provider, exc, ids, self.clock())
        except Exception as exc:  # a bug in the test's own function must reach the test, not a retry loop
            self.failures.append(exc)
            error = ApiError(500, f"The scripted function raised {type(exc).__name__}: {exc}")
            response = error_response(provider, error, ids, self.clock())
            response = replace(response, headers=(*response.headers, ("x-should-retry", "false")))
        return replace(
            response,
            delay=response.delay or seconds(self.pace.delay),
            piece_delay=response.piece_delay or self.pace.chunk_delay,
            gate=response.gate or self.gates.take(request),
        )

    async def _answer(self, request: Received, provider: Provider, ids: Ids) -> Response:
        try:
            fault = asked_for(request) or self.faults.take(request)
        except ValueError as exc:
            raise ApiError(400, str(exc)) from exc
        refusal = refusing(fault, provider, ids, self.clock()) if fault else None
        if refusal is not None:
            return refusal
        answer = await self._proper_answer(request, provider, ids)
        if isinstance(answer, Fault):
            fault = answer
            refusal = refusing(fault, provider, ids, self.clock())
            answer = refusal or await self._unscripted(request, provider, ids)
        if fault is not None:
            answer = spoil_units(fault, answer, provider, ids)
        if self.pace.compress and answer.status and "gzip" in (request.header("accept-encoding") or ""):
            answer = compressed(answer)
        if answer.status:
            answer = replace(answer, pieces=self.pace.chunking(answer.pieces))
        return spoil_pieces(fault, answer) if fault is not None else answer

    async def _proper_answer(self, request: Received, provider: Provider, ids: Ids) -> Response | Fault:
        if self.cassette is not None:
            recorded = self.cassette.take(request)
            return replayed(recorded) if recorded is not None else missed(request, self.cassette)
        found = self.routes.find(request)
        if found is not None:
            return route_response(await settled(found[0](found[1])))
        if not request.path.startswith("/v1/"):
            return json_response(404, {"error": {"message": f"Nothing is served at {request.method} {request.path}."}})
        check_key(request, provider)
        if request.method == "POST":
            return await self._post(request, provider, ids, self.model)
        return self._get(request, provider, ids)

    async def _unscripted(self, request: Received, provider: Provider, ids: Ids) -> Response:
        """The answer that a fault returned by the model is to spoil."""
        answer = await self._post(request, provider, ids, lambda _: Reply(text="This answer is spoilt by a fault."))
        assert isinstance(answer, Response)
        return answer

    async def _post(self, request: Received, provider: Provider, ids: Ids, model: Model) -> Response | Fault:
        raw = request.json()
        if not isinstance(raw, dict):
            raise ApiError(400, "")
        headers = provider_headers(provider, ids, self.clock())
        if request.path == "/v1/embeddings":
            return json_response(200, embeddings.render(raw), headers)
        if request.path == "/v1/messages/count_tokens":
            return json_response(200, anthropic_messages.count_tokens(raw, request.headers), headers)
        dialect = DIALECTS.get(request.path)
        if dialect is None:
            raise ApiError(404, f"Invalid URL (POST {request.path})")
        parsed = dialect.parse(
            self.stored.resolved(raw) if dialect is DIALECTS["/v1/responses"] else raw, request.headers
        )
        replies: list[Reply] = []
        for choice in range(raw.get("n") or 1):
            asked = self.sampler.seeded(parsed)
            reply = await settled(model(replace(asked, sampling_seed=asked.sampling_seed ^ choice)))
            if isinstance(reply, Fault):
                return reply
            replies.append(cut_short(reply, parsed))
        answering = Answering(parsed, tuple(replies), ids, int(self.clock()))
        whole = dialect.render(answering)
        if parsed.api == "responses":
            self.stored.keep(parsed.raw, whole)
        if parsed.stream:
            head = (
                ("content-type", "text/event-stream; charset=utf-8"),
                ("cache-control", "no-cache"),
                *headers,
            )
            return Response(200, head, dialect.stream(answering, whole), framing="chunked")
        return json_response(200, whole, headers)

    def _get(self, request: Received, provider: Provider, ids: Ids) -> Response:
        headers = provider_headers(provider, ids, self.clock())
        area, _, name = request.path.removeprefix("/v1/").partition("/")
        if area == "responses" and request.method == "GET" and name:
            return json_response(200, self.stored.whole(name), headers)
        if area != "models" or request.method != "GET":
            raise ApiError(404, f"Invalid URL ({request.method} {request.path})")
        if name and name not in MODELS:
            raise ApiError(404, f"The model '{name}' does not exist or you do not have access to it.")
        entries = [_model_entry(model, provider) for model in MODELS if not name or model == name]
        if name:
            return json_response(200, entries[0], headers)
        extra = {"has_more": False, "first_id": MODELS[0], "last_id": MODELS[-1]} if provider == "anthropic" else {}
        return json_response(200, ({} if extra else {"object": "list"}) | {"data": entries} | extra, headers)


def _model_entry(name: str, provider: Provider) -> dict[str, Any]:
    if provider == "anthropic":
        return {"type": "model", "id": name, "display_name": name, "created_at": "2025-09-29T00:00:00Z"}
    return {"id": name, "object": "model", "created": 1744316542, "owned_by": "system"}


async def settled(value: Any) -> Any:
    """The value, awaited if it has to be; scripted functions may be async."""
    return await value if inspect.isawaitable(value) else value


def compressed(response: Response) -> Response:
    """The answer in gzip; every unit is flushed, so that a stream still arrives as it is written."""
    headers = (*response.headers, ("content-encoding", "gzip"), ("vary", "Accept-Encoding"))
    if any(name.lower() == "content-encoding" for name, _ in response.headers):
        return response
    return replace(response, headers=headers, pieces=_gzip(response.pieces))


def _gzip(units: Iterable[bytes]) -> Iterator[bytes]:
    packer = zlib.compressobj(wbits=31)
    for unit in units:
        yield packer.compress(unit) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()
