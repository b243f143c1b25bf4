"""What is read of a model's call: every dialect, its streams, its errors, and what nobody knows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rashomon import dialects, views
from rashomon.streams import aws_events
from tests.dialect_samples import (
    ANTHROPIC,
    ANTHROPIC_STREAM,
    AWS,
    CHAT,
    CHAT_STREAM,
    CONVERSE,
    CONVERSE_EVENTS,
    CONVERSE_STREAM,
    EMBEDDINGS,
    GOOGLE,
    GOOGLE_STREAM,
    JSON,
    RESPONSES,
    SAMPLES,
    Sample,
    aws_message,
    aws_stream,
    chat_chunk,
    sse,
)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_dialect_is_read_whole(name: str) -> None:
    """Model, text, calls, reasoning, refusal, usage and finish are read of an answer, streamed or not."""
    sample = SAMPLES[name]
    said = views.summary(sample.step())
    assert {key: getattr(said, key) for key in sample.expected} == sample.expected
    assert (said.decoded, said.unknown) == ("whole", ())


@pytest.mark.parametrize(
    ("streamed", "plain"),
    [(ANTHROPIC_STREAM, ANTHROPIC), (GOOGLE_STREAM, GOOGLE), (CONVERSE_STREAM, CONVERSE)],
    ids=lambda sample: sample.content_type,
)
def test_a_stream_says_what_the_same_answer_says_without_streaming(streamed: Sample, plain: Sample) -> None:
    """Text, thoughts and calls of a stream are those of the whole answer, whatever blocks took turns."""
    left, right = (dialects.read_answer(views.response_view(one.step())) for one in (streamed, plain))
    assert (left.text, left.reasoning, left.tool_calls) == (right.text, right.reasoning, right.tool_calls)
    assert (left.input_tokens, left.output_tokens) == (right.input_tokens, right.output_tokens)


def test_several_choices_are_counted_and_the_first_is_told() -> None:
    """Of choices whose chunks take turns, each gets its own text."""
    view = views.response_view(CHAT_STREAM.step())
    assert isinstance(view, dict)
    assert [choice["message"]["content"] for choice in view["choices"]] == ["Sunny", "B"]
    assert dialects.read_answer(view).choices == 2


def test_calls_that_share_an_index_stay_apart_by_their_ids() -> None:
    """Some compatible servers number every call 0: two whole calls do not run into one."""
    calls = [
        chat_chunk({"tool_calls": [{"index": 0, "id": key, "function": {"name": key, "arguments": "{}"}}]})
        for key in ("a", "b")
    ]
    said = views.summary(CHAT_STREAM.step(sse(*calls, "[DONE]")))
    assert [(call.id, call.name, call.arguments) for call in said.calls] == [("a", "a", {}), ("b", "b", {})]


def test_tools_that_the_provider_ran_are_no_calls_of_the_program() -> None:
    """A web search by the provider is told apart from a tool that the program is to run."""
    reading = dialects.read_answer(json.loads(ANTHROPIC.answer))
    assert [call.name for call in reading.tool_calls] == ["weather"]
    assert [call.name for call in reading.server_calls] == ["web_search"]
    assert [(one.id, one.name, one.failed) for one in reading.tool_results] == [("srv", "web_search", False)]
    reading = dialects.read_answer(json.loads(RESPONSES.answer))
    assert [(call.name, call.arguments) for call in reading.server_calls] == [
        ("web_search", {"type": "search", "query": "Rome"})
    ]


def test_a_content_of_texts_and_parts_keeps_both() -> None:
    """Mistral streams its thinking as parts between texts."""

    def thought(text: str) -> dict[str, Any]:
        return chat_chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]})

    texts = [chat_chunk({"content": text}) for text in ("", "Sun", "ny")]
    said = views.summary(CHAT_STREAM.step(sse(texts[0], thought("H"), thought("mm"), *texts[1:], "[DONE]")))
    assert (said.text, said.reasoning, said.decoded) == ("Sunny", "Hmm", "whole")
    said = views.summary(CHAT_STREAM.step(sse(*texts, thought("Hmm"), "[DONE]")))
    assert (said.text, said.reasoning) == ("Sunny", "Hmm")


def test_usage_that_stands_aside_is_found() -> None:
    """Groq's streams tell the usage in a member of their own; a response that failed has none."""
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5, "queue_time": 0.1}
    said = views.summary(CHAT_STREAM.step(sse(chat_chunk({"content": "x"}), chat_chunk({}, x_groq={"usage": usage}))))
    assert (said.input_tokens, said.output_tokens, said.decoded) == (3, 2, "whole")
    failed = {"id": "r", "object": "response", "status": "failed", "error": {"code": "server_error", "message": "Oh."}}
    said = views.summary(RESPONSES.step(json.dumps(failed).encode()))
    assert (said.dialect, said.finish, said.error_type, said.error_message) == (
        "openai.responses", "failed", "server_error", "Oh."
    )  # fmt: skip


def test_counts_that_cannot_be_are_none() -> None:
    """A count is a whole number that is not negative and fits a column; some servers write it as a float."""
    for number, expected in ((7, 7), (7.0, 7), (-1, None), (0.5, None), (True, None), ("7", None), (10**400, None)):
        answer = {"choices": [], "usage": {"prompt_tokens": number}}
        assert views.summary(CHAT.step(json.dumps(answer).encode())).input_tokens == expected


def test_counting_and_moderating_are_read_and_use_no_tokens() -> None:
    """What a prompt would use is not used by asking."""
    count = ANTHROPIC._replace(url=f"{ANTHROPIC.url}/count_tokens")
    said = views.summary(count.step(b'{"input_tokens": 2095}'))
    assert (said.dialect, said.decoded, said.input_tokens) == ("anthropic.count_tokens", "whole", None)
    assert said.title == "claude-sonnet-4-5 → 2,095 tokens"
    flagged = {"id": "m", "model": "omni-moderation-latest", "results": [{"flagged": True, "categories": {}}]}
    said = views.summary(CHAT.step(json.dumps(flagged).encode()))
    assert (said.dialect, said.decoded, said.title) == ("openai.moderations", "whole", "gpt-4o → 1 of 1 flagged")


# --------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("sample", "answer", "kind", "message"),
    [
        (CHAT, {"error": {"message": "No.", "type": "invalid_request_error", "code": "x"}},
         "invalid_request_error", "No."),
        (CHAT, {"error": {"code": "content_filter", "message": "Filtered.", "innererror": {}}},
         "content_filter", "Filtered."),
        (ANTHROPIC, {"type": "error", "error": {"type": "overloaded_error", "message": "Busy."}},
         "overloaded_error", "Busy."),
        (GOOGLE, {"error": {"code": 429, "message": "Quota.", "status": "RESOURCE_EXHAUSTED"}},
         "RESOURCE_EXHAUSTED", "Quota."),
        (GOOGLE, [{"error": {"code": 400, "message": "Bad.", "status": "INVALID_ARGUMENT"}}],
         "INVALID_ARGUMENT", "Bad."),
        (CONVERSE, {"message": "Too many requests."}, None, "Too many requests."),
        (CHAT, {"detail": "Not here."}, None, "Not here."),
        (CHAT, {"detail": [{"loc": ["body"], "msg": "Field required"}]}, None, "Field required"),
        (CHAT, {"error": "model not found"}, None, "model not found"),
    ],
)  # fmt: skip
def test_errors_of_every_provider_are_read(sample: Sample, answer: Any, kind: str | None, message: str) -> None:
    """An error answer is decoded too: the provider's type and message, in the dialect that was asked."""
    said = views.summary(sample.step(json.dumps(answer).encode(), status=429))
    assert (said.error_type, said.error_message) == (kind, message)
    assert (said.dialect, said.decoded) == (sample.expected["dialect"], "whole")
    assert said.title.endswith(f"429 {message}")


def test_the_type_of_amazons_error_is_in_a_header() -> None:
    """Bedrock names the error beside the body."""
    step = CONVERSE.step(b'{"message": "Slow down."}', status=429)
    headers = [["content-type", JSON], ["x-amzn-ErrorType", "ThrottlingException:http://internal.amazon.com/"]]
    step = step._replace(response=step.response._replace(head={"status": 429, "headers": headers}))
    assert views.summary(step).error_type == "ThrottlingException"


@pytest.mark.parametrize(
    ("sample", "cut", "error"),
    [
        (CHAT_STREAM, 4, {"error": {"type": "server_error", "message": "Gone."}}),
        (ANTHROPIC_STREAM, 11, {"type": "error", "error": {"type": "server_error", "message": "Gone."}}),
        (Sample(RESPONSES.url, RESPONSES.request, SAMPLES["responses_stream"].answer, "text/event-stream", {}), 2,
         {"type": "error", "code": "server_error", "message": "Gone."}),
    ],
    ids=["chat", "anthropic", "responses"],
)  # fmt: skip
def test_an_error_in_the_middle_of_a_stream_keeps_what_had_come(sample: Sample, cut: int, error: Any) -> None:
    """A stream that fails says why, and what it had said until then."""
    events = sample.answer.decode().split("\n\n")[:cut]
    body = "\n\n".join([*events, f"event: error\ndata: {json.dumps(error)}", ""]).encode()
    said = views.summary(sample.step(body))
    assert (said.error_type, said.error_message) == ("server_error", "Gone.")
    assert said.decoded == "whole"
    assert said.text or said.calls or said.reasoning


@pytest.mark.parametrize("stray", ["none", None, 7])
def test_a_stray_message_in_a_stream_leaves_its_text(stray: Any) -> None:
    """A chunk whose `message` is no object takes nothing from what the deltas say."""
    deltas = [{"delta": {"content": "a"}}, {"message": stray}, {"delta": {"content": "b"}}]
    whole = dialects.assemble([("", {"choices": [{"index": 0, **delta}]}) for delta in deltas])
    assert whole is not None
    assert dialects.read_answer(whole.answer).text == "ab"


def test_a_stream_that_fails_before_it_begins_is_an_error() -> None:
    """An error as the only event is the answer."""
    said = views.summary(
        ANTHROPIC_STREAM.step(sse({"type": "error", "error": {"type": "api_error", "message": "Oh."}}))
    )
    assert (said.dialect, said.decoded, said.error_type) == ("anthropic.messages", "whole", "api_error")
    throttled = aws_message({"message": "Slow."}, exception_type="throttlingException", message_type="exception")
    said = views.summary(CONVERSE_STREAM.step(throttled))
    assert (said.error_type, said.error_message) == ("throttlingException", "Slow.")
    said = views.summary(CONVERSE_STREAM.step(aws_stream(*CONVERSE_EVENTS[:6]) + throttled))
    assert (said.text, said.error_type) == ("Sunny", "throttlingException")


# -------------------------------------------------------------------------------- what is not known


@pytest.mark.parametrize("name", [name for name, sample in SAMPLES.items() if sample.content_type == JSON])
def test_a_new_field_is_named_and_the_rest_is_read(name: str) -> None:
    """An answer with a field from the future is decoded partly, and says which it is."""
    sample = SAMPLES[name]
    whole = json.loads(sample.answer)
    (whole[0] if isinstance(whole, list) else whole)["shiny"] = {"a": 1}
    said = views.summary(sample.step(json.dumps(whole).encode()))
    assert (said.decoded, said.unknown) == ("partly", ("shiny",))
    assert {key: getattr(said, key) for key in sample.expected} == sample.expected


def test_new_events_blocks_and_counts_are_named() -> None:
    """Whatever is new is found at its depth: an event, a delta, a block, an item, a token count."""
    start = {"type": "message_start", "message": {"type": "message", "content": [], "usage": {"shiny_tokens": 1}}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "hologram", "beam": 1}}
    delta = {"type": "content_block_delta", "index": 0, "delta": {"type": "beam_delta", "beam": 2}}
    said = views.summary(ANTHROPIC_STREAM.step(sse(start, block, delta, {"type": "encore"})))
    assert said.unknown == (
        "content[hologram]", "event:content_block_delta[beam_delta]", "event:encore", "usage.shiny_tokens"
    )  # fmt: skip
    item = {"type": "hologram_call", "id": "h"}
    answer = {**json.loads(RESPONSES.answer), "output": [item]}
    assert views.summary(RESPONSES.step(json.dumps(answer).encode())).unknown == ("output[hologram_call]",)
    said = views.summary(CONVERSE_STREAM.step(aws_stream(*CONVERSE_EVENTS, ("encore", {}))))
    assert (said.decoded, said.unknown, said.text) == ("partly", ("event:encore",), "Sunny")


def test_an_answer_of_no_known_dialect_is_raw_and_shown_as_it_is() -> None:
    """Nothing is lost or made up of a shape that nobody knows."""
    step = CHAT.step(b'{"verdict": "yes"}')._replace(name="judge")
    said = views.summary(
        step._replace(request=step.request._replace(head={"method": "POST", "url": "https://x.io/judge"}))
    )
    assert (said.dialect, said.decoded, said.text, said.input_tokens) == (None, "raw", "", None)
    assert views.response_view(step) == {"verdict": "yes"}
    assert views.summary(CHAT.step(b"<html>Bad gateway</html>", status=502)).decoded == "raw"


def test_a_call_without_an_answer_is_of_the_dialect_that_was_asked() -> None:
    """When nothing came back there is nothing to decode, but what was asked is known."""
    step = ANTHROPIC.step()
    said = views.summary(step._replace(response=step.response._replace(head=None, pieces=())))
    assert (said.dialect, said.decoded) == ("anthropic.messages", None)


def test_a_dialect_is_not_taken_from_the_address() -> None:
    """A compatible server speaks another's dialect at an address of its own."""
    elsewhere = CHAT._replace(url="http://gateway.corp:8080/llm/anthropic")
    assert views.summary(elsewhere.step()).dialect == "openai.chat"
    assert views.summary(CHAT.step(ANTHROPIC.answer)).dialect == "anthropic.messages"


def test_a_message_of_openais_threads_is_not_taken_for_anthropics() -> None:
    """Two providers call different things `message`; the shape tells them apart."""
    message = {"id": "msg", "object": "thread.message", "role": "user", "content": [{"type": "text", "text": {}}]}
    assert dialects.read_answer(message).dialect is None


# ----------------------------------------------------------------------------- Amazon's event stream


def test_messages_of_amazons_stream_are_read_with_their_checksums() -> None:
    """Names and payloads come back as they were sent; a flipped byte ends the reading there and is told."""
    body = aws_stream(("messageStart", {"role": "assistant"}), ("contentBlockDelta", {"delta": {"text": "x"}}))
    assert aws_events(body) == [
        ("messageStart", {"role": "assistant"}),
        ("contentBlockDelta", {"delta": {"text": "x"}}),
    ]
    first = len(aws_stream(("messageStart", {"role": "assistant"})))
    for at in range(first, len(body)):
        events = aws_events(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
        assert events[0] == ("messageStart", {"role": "assistant"})
        name, told = events[1]
        assert name == "$damaged"
        assert isinstance(told, dict)
        assert told["size"] == len(body) - first


def test_a_cut_amazon_stream_says_what_had_come_and_that_it_is_cut() -> None:
    """The whole messages before the cut are read."""
    said = views.summary(CONVERSE_STREAM.step(aws_stream(*CONVERSE_EVENTS[:6])[:-3]))
    assert (said.text, said.decoded, said.unknown) == ("Sun", "partly", ("event:$damaged",))


@pytest.mark.parametrize(("sample", "events"), [(ANTHROPIC_STREAM, 11), (GOOGLE_STREAM, 3), (CHAT_STREAM, 4)])
def test_a_cut_stream_counts_no_output(sample: Sample, events: int) -> None:
    """What had been counted when a stream was cut is not what the call used."""
    body = "\n\n".join(sample.answer.decode().split("\n\n")[:events]) + "\n\n"
    said = views.summary(sample.step(body.encode()))
    assert (said.decoded, said.output_tokens, said.finish) == ("whole", None, None)
    assert said.text


def test_a_cut_list_of_chunks_says_what_had_come() -> None:
    """Google streams a JSON list, which is no JSON until its end."""
    body = SAMPLES["google_list"].answer
    said = views.summary(GOOGLE.step(body[: body.index(b'"ny"') - 30]))
    assert (said.text, said.reasoning, said.decoded, said.unknown) == ("Sun", "Hmm", "partly", ("event:$cut",))


def test_an_event_inside_a_chunk_of_invoke_is_read() -> None:
    """Behind invoke-with-response-stream, each event is base64 in JSON in a message: the maker's own dialect."""
    import base64

    texts = [text.split("data: ", 1)[1] for text in ANTHROPIC_STREAM.answer.decode().split("\n\n") if text]
    chunks = [{"bytes": base64.b64encode(text.encode()).decode(), "p": "ab"} for text in texts]
    sample = ANTHROPIC_STREAM._replace(
        url="https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-v2/invoke-with-response-stream",
        content_type=AWS,
    )
    said = views.summary(sample.step(aws_stream(*[("chunk", chunk) for chunk in chunks])))
    assert (said.dialect, said.decoded, said.text) == ("anthropic.messages", "whole", "Sunny")


# --------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize(
    "sample", [CHAT, RESPONSES, ANTHROPIC, GOOGLE, CONVERSE], ids=lambda one: one.expected["dialect"]
)
@pytest.mark.parametrize("with_address", [True, False])
def test_requests_of_every_dialect_ask_the_same(sample: Sample, with_address: bool) -> None:
    """System prompt, messages and tools come out alike, with the address or by the shape alone."""
    asked = dialects.read_request(sample.request, sample.url if with_address else "")
    assert asked.dialect == sample.expected["dialect"]
    assert asked.system == "Be brief."
    assert [(message.role, message.text) for message in asked.messages] == [("user", "Weather in Rome?")]
    if sample is not RESPONSES:
        assert [(tool.name, tool.description) for tool in asked.tools] == [("weather", "Now")]
        assert asked.tools[0].schema == {"type": "object", "properties": {"city": {"type": "string"}}}


_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome"}'}}
_TURNS: dict[str, Any] = {
    "openai.chat": {"messages": [
        {"role": "user",
         "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "assistant", "content": None, "tool_calls": [_CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "Sunny"}]},
    "openai.responses": {"input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Look"}, {"type": "image_url", "image_url": "x"}]},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Rome"}'},
        {"type": "function_call_output", "call_id": "c1", "output": "Sunny"}]},
    "anthropic.messages": {"messages": [
        {"role": "user", "content": [{"type": "text", "text": "Look"}, {"type": "image_url", "source": {}}]},
        {"role": "assistant",
         "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": {"city": "Rome"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c1", "content": "Sunny"}]}]},
}  # fmt: skip


@pytest.mark.parametrize("dialect", _TURNS)
def test_calls_and_results_in_a_conversation_are_read(dialect: str) -> None:
    """What a model asked for and what the tool gave belong together by the call's id; other contents are named."""
    asked = dialects.read_request(_TURNS[dialect])
    assert asked.dialect == dialect
    look, call, result = asked.messages
    assert (look.text, look.other) == ("Look", ("image_url",))
    assert call.tool_calls == (dialects.ToolCall("c1", "weather", {"city": "Rome"}),)
    assert [(one.id, one.content) for one in result.tool_results] == [("c1", "Sunny")]


@pytest.mark.parametrize(
    ("url", "model"),
    [
        ("https://acme.openai.azure.com/openai/deployments/our%20gpt/chat/completions?api-version=1", "our gpt"),
        ("https://google.example/v1beta/models/gemini-2.0-flash:streamGenerateContent", "gemini-2.0-flash"),
        ("https://google.example/v1/publishers/anthropic/models/claude-3@20240229:rawPredict", "claude-3@20240229"),
        ("https://bedrock.example/model/anthropic.claude-v2%3A1/converse", "anthropic.claude-v2:1"),
        ("https://bedrock.example/model/meta.llama3-8b:0/invoke", "meta.llama3-8b:0"),
        ("https://api.openai.com/v1/chat/completions", None),
    ],
)
def test_the_model_is_read_from_an_address(url: str, model: str | None) -> None:
    """Azure, Google and Bedrock name the model in the path."""
    assert dialects.model_in(url) == model


# ---------------------------------------------------------------------------------------- opening


def opened(request: dict[str, Any]) -> dialects.Opening:
    """The opening of a request that has been split as the store splits it."""
    values = {key: value for key, value in request.items() if not isinstance(value, list)}
    lists = {key: value for key, value in request.items() if isinstance(value, list)}
    elements = [
        (f"{key}[{n}]", json.dumps(item).encode()) for key, found in lists.items() for n, item in enumerate(found)
    ]
    return dialects.opening(values, iter(elements))


@pytest.mark.parametrize(
    "sample", [CHAT, RESPONSES, ANTHROPIC, GOOGLE, CONVERSE], ids=lambda one: one.expected["dialect"]
)
def test_a_conversation_is_named_by_how_it_begins(sample: Sample) -> None:
    """System prompt and first message are found in every dialect, wherever they stand."""
    found = opened(sample.request)
    assert found.system == "Be brief."
    assert found.first is not None
    assert b"Weather in Rome?" in found.first
    assert opened(dict(reversed(sample.request.items()))) == found


def test_only_leading_system_messages_are_the_prompt() -> None:
    """A system message in the middle belongs to the conversation."""
    system, late = {"role": "developer", "content": [{"type": "text", "text": "A"}]}, {"role": "system", "content": "B"}
    found = opened({"messages": [system, {"role": "user", "content": "system developer"}, late]})
    assert found.system == "A"
    assert found.first == b'{"role": "user", "content": "system developer"}'


def test_marks_of_caching_do_not_change_the_conversation() -> None:
    """A client marks the newest message for the cache: in the next turn the first one has no mark."""
    mark = {"cache_control": {"type": "ephemeral"}}
    text = {"type": "text", "text": "Hi ✓"}
    plain = dialects.opening({}, [("messages[0]", '{"role":"user","content":"Hi ✓"}'.encode())])
    assert opened({"messages": [{"role": "user", "content": [{**text, **mark}]}]}) == plain
    image = {"type": "image", "source": {}}
    first, second = ({"role": "user", "content": [image, {**text, **more}]} for more in (mark, {}))
    compact = json.dumps(second, separators=(",", ":"), ensure_ascii=False).encode()
    assert opened({"messages": [first]}).first == compact
    point = {"role": "user", "content": [{"text": "Hi"}, {"cachePoint": {"type": "default"}}]}
    assert opened({"messages": [point]}).first == b'{"role":"user","content":[{"text":"Hi"}]}'


def test_embeddings_open_no_conversation() -> None:
    """Texts to embed are no messages."""
    assert opened(EMBEDDINGS.request) == dialects.Opening(None, None)
    assert opened({"model": "text-embedding-3-small", "input": "a"}) == dialects.Opening(None, None)


@pytest.mark.parametrize("member", ["system", "systemInstruction", "messages", "input", "contents", "prompt"])
@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"content":', "}"), ('{"parts":', "}")])
def test_what_is_nested_to_the_edge_is_read(member: str, opens: str, closes: str) -> None:
    """A body as deep as Python parses breaks nothing."""
    for depth in (400, 900):
        deep = opens * depth + "null" + closes * depth
        value = json.loads(deep)
        dialects.opening({member: value}, [(f"{member}[0]", deep.encode())])
        dialects.opening({}, [("messages[0]", f'{{"role": "system", "content": {deep}}}'.encode())])
        dialects.read_request({member: value})
        dialects.read_request({member: [value]})
        for body in (f'{{"{member}": {deep}}}', f'{{"choices": [{deep}]}}', f'{{"content": {deep}, "role": ""}}', deep):
            assert views.summary(CHAT.step(body.encode())).decoded in ("raw", "partly", "whole")
        chunk = f'data: {{"choices": [{{"delta": {{"content": {deep}}}}}]}}\n\n'
        assert views.summary(CHAT_STREAM.step(chunk.encode() * 2)).decoded
