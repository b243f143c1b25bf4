"""The providers' error bodies and response headers, as in their references and recorded traffic."""

from __future__ import annotations

from email.utils import formatdate
from time import gmtime, strftime
from typing import Any, Literal, TypeAlias

from .http import Headers, Received, Response, json_response
from .wire import ApiError, Ids, sse

Provider: TypeAlias = Literal["openai", "anthropic"]

OPENAI_ERRORS: dict[int, tuple[str, str | None, str]] = {  # status: type, code, message
    400: ("invalid_request_error", None, "We could not parse the JSON body of your request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model does not exist or you do not have access to it.",
    ),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}
ANTHROPIC_ERRORS: dict[int, tuple[str, str]] = {  # status: type, message
    400: ("invalid_request_error", "The request body is not valid JSON"),
    401: ("authentication_error", "invalid x-api-key"),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "Not found"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your account's rate limit. Please try again later."),
    500: ("api_error", "Internal server error"),
    503: ("api_error", "Service unavailable"),
    529: ("overloaded_error", "Overloaded"),
}


def provider_of(request: Received) -> Provider:
    """Whose API a request is for."""
    if request.path.startswith("/v1/messages") or request.header("anthropic-version"):
        return "anthropic"
    return "openai"


def error_body(provider: Provider, error: ApiError, request_id: str) -> dict[str, Any]:
    """The JSON body of an error."""
    if provider == "anthropic":
        kind, text = ANTHROPIC_ERRORS.get(error.status, ANTHROPIC_ERRORS[500 if error.status > 499 else 400])
        inner = {"type": kind, "message": error.message or text}
        return {"type": "error", "error": inner, "request_id": request_id}
    kind, code, text = OPENAI_ERRORS.get(error.status, OPENAI_ERRORS[500 if error.status > 499 else 400])
    code = error.code or (None if error.message and error.status == 400 else code)
    return {"error": {"message": error.message or text, "type": kind, "param": error.param, "code": code}}


def error_event(provider: Provider, error: ApiError, request_id: str) -> bytes:
    """The event that reports an error in a stream that has begun."""
    body = error_body(provider, error, request_id)
    if provider == "anthropic":
        return sse(body, "error")
    return sse(body)


def error_response(
    provider: Provider, error: ApiError, ids: Ids, now: float, retry_after: float | None = None
) -> Response:
    """The answer to a request that failed, with the provider's headers."""
    headers = provider_headers(provider, ids, now)
    request_id = dict(headers).get("request-id", "")
    if retry_after is not None:
        headers += (("retry-after", f"{retry_after:g}"), ("retry-after-ms", str(round(retry_after * 1000))))
    return json_response(error.status, error_body(provider, error, request_id), headers)


def provider_headers(provider: Provider, ids: Ids, now: float) -> Headers:
    """The headers that a provider adds to every answer: date, request id, limits, version."""
    common = (
        ("date", formatdate(now, usegmt=True)),
        ("server", "cloudflare"),
        ("cf-cache-status", "DYNAMIC"),
    )
    cookie = ("set-cookie", f"__cf_bm={ids.base62('', 43)}; path=/; HttpOnly; Secure; SameSite=None")
    if provider == "anthropic":
        reset = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(now))
        limits = {"requests": 4000, "input-tokens": 400000, "output-tokens": 80000, "tokens": 480000}
        ratelimits: list[tuple[str, str]] = []
        for name, limit in limits.items():
            prefix = f"anthropic-ratelimit-{name}"
            remaining = str(limit - 1 if name == "requests" else limit)
            ratelimits += [
                (f"{prefix}-limit", str(limit)),
                (f"{prefix}-remaining", remaining),
                (f"{prefix}-reset", reset),
            ]
        organization = ("anthropic-organization-id", "5f0c1d7e-0000-4000-8000-000000000001")
        return (*common, ("request-id", ids.base62("req_011C", 20)), organization, *ratelimits, cookie)
    return (
        *common,
        ("x-request-id", ids.hex("req_", 32)),
        ("openai-organization", "rashomon-testing"),
        ("openai-processing-ms", str(40 + int(ids.hex("0x", 2), 16))),
        ("openai-version", "2020-10-01"),
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-limit-tokens", "30000000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-remaining-tokens", "29999968"),
        ("x-ratelimit-reset-requests", "6ms"),
        ("x-ratelimit-reset-tokens", "0s"),
        cookie,
    )


def check_key(request: Received, provider: Provider) -> None:
    """Refuse a request without a key, and one whose key contains "invalid". Raises ApiError 401."""
    authorization = (request.header("authorization") or "").removeprefix("Bearer ").strip()
    key = authorization or request.header("x-api-key") or request.header("api-key") or ""
    if provider == "anthropic":
        if not key:
            raise ApiError(401, "x-api-key header is required")
        if "invalid" in key:
            raise ApiError(401, "invalid x-api-key")
        return
    if not key:
        raise ApiError(401, "You didn't provide an API key. Send it as 'Authorization: Bearer YOUR_KEY'.")
    if "invalid" in key:
        raise ApiError(401, f"Incorrect API key provided: {key[:6]}***.", code="invalid_api_key")
