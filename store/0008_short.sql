-- Small stores of many short traces. What repeats is kept as text, which DuckDB keeps once for thousands of rows, or is
-- computed when it is asked for; and views are kept as their text: parsed, as DuckDB keeps a view, they take four times as
-- much. Each view asks a macro, for a text in a macro is in the file once, and in a view twice.

CREATE TABLE parts_anew (
    digest VARCHAR NOT NULL,
    text VARCHAR USING COMPRESSION zstd,
    body BLOB USING COMPRESSION zstd,
    id INTEGER,
    size BIGINT GENERATED ALWAYS AS (coalesce(strlen(text), octet_length(body))) VIRTUAL
);
INSERT INTO parts_anew SELECT digest, text, body, id FROM parts;
DROP TABLE parts;
ALTER TABLE parts_anew RENAME TO parts;
COMMENT ON TABLE parts IS 'Pieces of payload, named by their content and stored once.';
COMMENT ON COLUMN parts.digest IS '`b2:` and 32 hex digits: BLAKE2b of the bytes, 128 bits.';
COMMENT ON COLUMN parts.text IS 'The content, when it is UTF-8; else NULL.';
COMMENT ON COLUMN parts.body IS 'The content, when it is not UTF-8; else NULL.';
COMMENT ON COLUMN parts.id IS 'Number of the part, by which steps refer to it.';
COMMENT ON COLUMN parts.size IS 'Size in bytes. Computed.';

CREATE TABLE steps_anew (
    trace VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    lane VARCHAR NOT NULL,
    depth INTEGER NOT NULL,
    started_us BIGINT NOT NULL,
    duration_us BIGINT NOT NULL,
    ended VARCHAR NOT NULL,
    failure_type VARCHAR,
    failure_message VARCHAR,
    failure_values BLOB,
    grade VARCHAR,
    recorded VARCHAR,
    match_detail VARCHAR,
    within VARCHAR,
    marks VARCHAR[] NOT NULL,
    model VARCHAR,
    input_tokens BIGINT,
    output_tokens BIGINT,
    status BIGINT,
    finish VARCHAR,
    text VARCHAR USING COMPRESSION zstd,
    request_digest VARCHAR NOT NULL,
    response_digest VARCHAR,
    request_bytes UINTEGER NOT NULL,
    response_bytes UINTEGER NOT NULL,
    offsets_us BIGINT[] NOT NULL,
    sizes BIGINT[] NOT NULL,
    exact BLOB,
    dialect VARCHAR,
    decoded VARCHAR,
    unknown VARCHAR[] DEFAULT [],
    cached_tokens BIGINT,
    cache_write_tokens BIGINT,
    reasoning_tokens BIGINT,
    cost DOUBLE,
    reasoning VARCHAR,
    refusal VARCHAR,
    error_type VARCHAR,
    error_message VARCHAR,
    prompt VARCHAR,
    conversation VARCHAR,
    frame_part INTEGER,
    lead_part INTEGER,
    other_parts INTEGER[] NOT NULL,
    parts_from INTEGER,
    parts_to INTEGER,
    response_part INTEGER,
    prompt_part INTEGER,
    layout VARCHAR,
    title VARCHAR USING COMPRESSION zstd,
    request_head JSON USING COMPRESSION zstd,
    response_head JSON USING COMPRESSION zstd,
    request_size BIGINT GENERATED ALWAYS AS (request_bytes::BIGINT) VIRTUAL,
    response_size BIGINT GENERATED ALWAYS AS (response_bytes::BIGINT) VIRTUAL,
    piece_offsets_us BIGINT[] GENERATED ALWAYS AS (
        CASE WHEN response_bytes > 0 AND len(offsets_us) = 0 THEN [duration_us] ELSE offsets_us END
    ) VIRTUAL,
    piece_sizes BIGINT[] GENERATED ALWAYS AS (
        CASE WHEN response_bytes > 0 AND len(sizes) = 0 THEN [response_bytes::BIGINT] ELSE sizes END
    ) VIRTUAL,
    request_parts INTEGER[] GENERATED ALWAYS AS (
        CASE WHEN frame_part IS NOT NULL THEN list_concat(
            CASE WHEN lead_part IS NULL THEN [frame_part] ELSE [frame_part, lead_part] END,
            list_concat(other_parts, range(parts_from, parts_to + 1)::INTEGER[])
        ) END
    ) VIRTUAL,
    holes INTEGER[] GENERATED ALWAYS AS (
        json_extract(layout, '$[*].at')::INTEGER[]
    ) VIRTUAL,
    runs STRUCT(path VARCHAR, "first" INTEGER, "start" INTEGER, count INTEGER, separator VARCHAR)[] GENERATED ALWAYS AS (
        from_json(
            layout,
            '[{"path":"VARCHAR","first":"INTEGER","start":"INTEGER","count":"INTEGER","separator":"VARCHAR"}]'
        )
    ) VIRTUAL
);
INSERT INTO steps_anew (
    trace, position, id, kind, name, lane, depth, started_us, duration_us, ended, failure_type, failure_message,
    failure_values, grade, recorded, match_detail, within, marks, model, input_tokens, output_tokens, status, finish,
    text, request_digest, response_digest, request_bytes, response_bytes, offsets_us, sizes, exact, dialect, decoded,
    unknown, cached_tokens, cache_write_tokens, reasoning_tokens, cost, reasoning, refusal, error_type, error_message,
    prompt, conversation, frame_part, lead_part, other_parts, parts_from, parts_to, response_part, prompt_part,
    layout, title, request_head, response_head
)
SELECT
    trace, position, id, kind, name, lane, depth, started_us, duration_us, ended, failure_type, failure_message,
    failure_values, grade, recorded, match_detail, within, marks, model, input_tokens, output_tokens, status, finish,
    text, request_digest, response_digest, request_size, response_size,
    CASE
        WHEN response_size > 0 AND piece_sizes = [response_size] AND piece_offsets_us = [duration_us] THEN []
        ELSE piece_offsets_us
    END,
    CASE WHEN response_size > 0 AND piece_sizes = [response_size] THEN [] ELSE piece_sizes END,
    exact, dialect, decoded, unknown, cached_tokens, cache_write_tokens, reasoning_tokens, cost, reasoning, refusal,
    error_type, error_message, prompt, conversation,
    parts[1],
    CASE WHEN listed > 1 THEN parts[2] END,
    coalesce(parts[3:listed], []),
    parts[listed + 1],
    CASE WHEN listed < len(parts) THEN parts[-1] END,
    response_part, prompt_part,
    to_json(list_transform(range(1, len(runs) + 1), lambda nth: {
        'at': holes[nth], 'path': runs[nth].path, 'first': runs[nth].first, 'start': runs[nth].start,
        'count': runs[nth].count, 'separator': runs[nth].separator
    }))::VARCHAR,
    title, request_head, response_head
FROM (
    SELECT *, coalesce(list_filter(
        range(2, len(parts)), lambda nth: parts[nth + 1] <> parts[nth] + 1
    )[-1], 1) AS listed
    FROM (SELECT *, request_parts AS parts FROM steps)
);
DROP TABLE steps;
ALTER TABLE steps_anew RENAME TO steps;
COMMENT ON TABLE steps IS 'One row for each call that crossed the boundary. Bodies are in `parts`, through `step_parts`.';
COMMENT ON COLUMN steps.trace IS 'Id of the trace.';
COMMENT ON COLUMN steps.position IS 'Place in the trace, by start, from 0.';
COMMENT ON COLUMN steps.id IS '`<process>.<arrival>`, unique in its trace.';
COMMENT ON COLUMN steps.kind IS 'What the step talked to: llm, tool, http, mcp, clock, random, sleep, note.';
COMMENT ON COLUMN steps.name IS 'Name of the tool, or method and host of an HTTP call.';
COMMENT ON COLUMN steps.lane IS 'Line of control, by how it was spawned: empty for the root, else e.g. `0.2`.';
COMMENT ON COLUMN steps.depth IS 'How many spawns the lane is away from the root.';
COMMENT ON COLUMN steps.started_us IS 'Microseconds from the start of the trace.';
COMMENT ON COLUMN steps.duration_us IS 'Microseconds from the call to the end of its answer; 0 while it is open.';
COMMENT ON COLUMN steps.ended IS 'How the answer ended: complete, closed, cancelled, error, leaked, open.';
COMMENT ON COLUMN steps.failure_type IS 'Type of the exception that reached the program, `module:Qualname`.';
COMMENT ON COLUMN steps.failure_message IS 'Its text.';
COMMENT ON COLUMN steps.failure_values IS 'Its arguments and state, in the encoding of recorded values.';
COMMENT ON COLUMN steps.grade IS 'In a replay, how the call found its answer: exact, explained, drifted, stubbed, live, missed.';
COMMENT ON COLUMN steps.recorded IS 'In a replay, id of the step that the answer came from.';
COMMENT ON COLUMN steps.match_detail IS 'In a replay, what else there is to say about the match.';
COMMENT ON COLUMN steps.within IS 'Id of the tool step that made this call.';
COMMENT ON COLUMN steps.marks IS 'What is unusual about the step, e.g. `no-lane`, `damaged-request`.';
COMMENT ON COLUMN steps.model IS 'Model that was asked.';
COMMENT ON COLUMN steps.input_tokens IS 'Tokens read, as the provider counted them.';
COMMENT ON COLUMN steps.output_tokens IS 'Tokens written, as the provider counted them.';
COMMENT ON COLUMN steps.status IS 'HTTP status.';
COMMENT ON COLUMN steps.finish IS 'Why the model stopped, in the provider''s word.';
COMMENT ON COLUMN steps.text IS 'What the model said, streams put together; NULL when it said no text.';
COMMENT ON COLUMN steps.request_digest IS 'Digest of the request''s content: two requests that are the same call have the same.';
COMMENT ON COLUMN steps.response_digest IS 'Digest of the response''s bytes as they came, also their name in `parts`; NULL when none came.';
COMMENT ON COLUMN steps.request_bytes IS 'As `request_size`.';
COMMENT ON COLUMN steps.response_bytes IS 'As `response_size`.';
COMMENT ON COLUMN steps.offsets_us IS 'As `piece_offsets_us`; empty where all came in one piece, when the answer ended.';
COMMENT ON COLUMN steps.sizes IS 'As `piece_sizes`; empty where all came in one piece.';
COMMENT ON COLUMN steps.exact IS 'As `traces.exact`.';
COMMENT ON COLUMN steps.dialect IS 'How an LLM call was read: `openai.chat`, `openai.responses`, `anthropic.messages`, ...; NULL for others.';
COMMENT ON COLUMN steps.decoded IS 'How far: `whole`, `partly` (see `unknown`) or `raw`; NULL where `dialect` would be no use.';
COMMENT ON COLUMN steps.unknown IS 'Fields and events of the answer that the dialect did not know. They are in the body.';
COMMENT ON COLUMN steps.cached_tokens IS 'Input tokens read from the provider''s cache; contained in `input_tokens`.';
COMMENT ON COLUMN steps.cache_write_tokens IS 'Input tokens written to the provider''s cache; contained in `input_tokens`.';
COMMENT ON COLUMN steps.reasoning_tokens IS 'Output tokens spent on reasoning; contained in `output_tokens`.';
COMMENT ON COLUMN steps.cost IS 'Price of the call in US dollars; NULL where it is not known.';
COMMENT ON COLUMN steps.reasoning IS 'Reasoning that the model showed.';
COMMENT ON COLUMN steps.refusal IS 'What the model said instead of an answer, where the provider marks it as a refusal.';
COMMENT ON COLUMN steps.error_type IS 'The provider''s own type or code of an error answer.';
COMMENT ON COLUMN steps.error_message IS 'The provider''s own message of an error answer.';
COMMENT ON COLUMN steps.prompt IS 'Digest of the system prompt''s text, which is a part; NULL without one.';
COMMENT ON COLUMN steps.conversation IS 'Digest of the first message that is no system prompt: calls of one conversation share it.';
COMMENT ON COLUMN steps.frame_part IS '`parts.id` of the request''s frame, the first of `request_parts`.';
COMMENT ON COLUMN steps.lead_part IS 'The second of them, where it is told apart: most often the system prompt.';
COMMENT ON COLUMN steps.other_parts IS 'Those between it and `parts_from`.';
COMMENT ON COLUMN steps.parts_from IS 'The first of those that the list ends with and that are numbered on to `parts_to`; NULL when there is none.';
COMMENT ON COLUMN steps.parts_to IS 'The last of them.';
COMMENT ON COLUMN steps.response_part IS '`parts.id` of the response; NULL when none came.';
COMMENT ON COLUMN steps.prompt_part IS '`parts.id` of the system prompt''s text.';
COMMENT ON COLUMN steps.layout IS 'Where the parts of a request go, as a JSON list: `at` is the offset of a hole, as in `holes`, the rest is as in `runs`.';
COMMENT ON COLUMN steps.title IS 'One line that says what was asked and what came back.';
COMMENT ON COLUMN steps.request_head IS 'Method, url and headers; for a tool its reference and flavour.';
COMMENT ON COLUMN steps.response_head IS 'Status and headers; NULL when the call failed before anything came back.';
COMMENT ON COLUMN steps.request_size IS 'Bytes of the request''s body. Computed.';
COMMENT ON COLUMN steps.response_size IS 'Bytes of the response''s body as they came. Computed.';
COMMENT ON COLUMN steps.piece_offsets_us IS 'When each piece of the response came, in microseconds from the call. Computed.';
COMMENT ON COLUMN steps.piece_sizes IS 'Size of each piece of the response, in bytes. Computed.';
COMMENT ON COLUMN steps.request_parts IS 'The request: `parts.id` of its frame, then of what goes into the frame''s holes. Computed.';
COMMENT ON COLUMN steps.holes IS 'Offsets, in characters of the request''s frame, where parts are to be put in: those of the run in the same place. Computed.';
COMMENT ON COLUMN steps.runs IS 'For each hole the parts that go into it: member of the request, place of the first in the member''s list (NULL: it is the member itself), place of the first among the parts, from 1, number, and what stands between any two. Computed.';

CREATE MACRO step_parts_rows() AS TABLE FROM query($$
WITH links AS (
    SELECT trace, position AS step, 0 AS position, 'request' AS path, request_parts[1] AS id FROM steps
    UNION ALL
    SELECT
        trace,
        step,
        run.start + place AS position,
        'request.' || run.path || CASE WHEN run.first IS NULL THEN '' ELSE '[' || (run.first + place) || ']' END AS path,
        id
    FROM (
        SELECT
            trace,
            step,
            run,
            unnest(range(run.count))::INTEGER AS place,
            unnest(request_parts[run.start + 1 : run.start + run.count]) AS id
        FROM (SELECT trace, position AS step, request_parts, unnest(runs) AS run FROM steps)
    )
    UNION ALL
    SELECT trace, position AS step, -1 AS position, 'response' AS path, response_part AS id
    FROM steps WHERE response_part IS NOT NULL
    UNION ALL
    SELECT trace, position AS step, -2 AS position, 'prompt' AS path, prompt_part AS id
    FROM steps WHERE prompt_part IS NOT NULL
)
SELECT links.trace, links.step, links.position, links.path, parts.digest AS part
FROM links JOIN parts ON parts.id = links.id
$$);
CREATE OR REPLACE VIEW step_parts AS FROM step_parts_rows();
COMMENT ON VIEW step_parts IS 'Which parts a step is made of, one row for each.';
COMMENT ON COLUMN step_parts.trace IS 'Id of the trace.';
COMMENT ON COLUMN step_parts.step IS '`steps.position` of the step.';
COMMENT ON COLUMN step_parts.position IS 'Order within the step: 0 is the request''s frame, then what goes into its holes; -1 is the response, -2 the text of the system prompt.';
COMMENT ON COLUMN step_parts.path IS '`request` (the frame), `request.messages[3]` (what goes into a hole), `response` or `prompt`.';
COMMENT ON COLUMN step_parts.part IS '`parts.digest`.';

CREATE MACRO llm_calls_rows() AS TABLE FROM query($$
SELECT
    steps.trace,
    traces.name AS trace_name,
    steps.id AS step,
    steps.position,
    make_timestamp(traces.started_ns // 1000 + steps.started_us) AS started_at,
    steps.duration_us / 1000 AS duration_ms,
    steps.piece_offsets_us[1] / 1000 AS first_piece_ms,
    steps.model,
    steps.dialect,
    steps.name,
    steps.lane,
    steps.within,
    steps.status,
    steps.ended,
    steps.finish,
    steps.input_tokens,
    steps.cached_tokens,
    steps.cache_write_tokens,
    steps.output_tokens,
    steps.reasoning_tokens,
    steps.cost,
    coalesce(steps.grade = 'live', true) AS sent,
    steps.grade,
    steps.failure_type IS NOT NULL OR coalesce(steps.status >= 400, false) AS failed,
    coalesce(steps.failure_type, steps.error_type) AS error_type,
    coalesce(steps.failure_message, steps.error_message) AS error_message,
    steps.refusal,
    steps.prompt,
    steps.conversation,
    steps.title,
    steps.text,
    steps.reasoning,
    steps.decoded,
    steps.unknown,
    steps.request_digest,
    steps.request_size,
    steps.response_size,
    traces.tags
FROM steps JOIN traces ON traces.id = steps.trace
WHERE steps.kind = 'llm'
$$);
CREATE OR REPLACE VIEW llm_calls AS FROM llm_calls_rows();
COMMENT ON VIEW llm_calls IS 'Calls of language models.';
COMMENT ON COLUMN llm_calls.trace IS 'Id of the trace.';
COMMENT ON COLUMN llm_calls.trace_name IS 'Name of the trace.';
COMMENT ON COLUMN llm_calls.step IS 'Id of the step: `rashomon show TRACE STEP`.';
COMMENT ON COLUMN llm_calls.position IS 'Place of the step in its trace, by start, from 0.';
COMMENT ON COLUMN llm_calls.started_at IS 'When the call went out, UTC.';
COMMENT ON COLUMN llm_calls.duration_ms IS 'Milliseconds to the end of the answer; 0 while it is open.';
COMMENT ON COLUMN llm_calls.first_piece_ms IS 'Milliseconds to the first piece of the answer: of a stream, how long the reader waited.';
COMMENT ON COLUMN llm_calls.model IS 'Model that was asked.';
COMMENT ON COLUMN llm_calls.dialect IS 'How the call was read, as `steps.dialect`.';
COMMENT ON COLUMN llm_calls.name IS 'Method and host of the call.';
COMMENT ON COLUMN llm_calls.lane IS 'Line of control: empty for the root, else e.g. `0.2`.';
COMMENT ON COLUMN llm_calls.within IS 'Id of the tool step that made the call.';
COMMENT ON COLUMN llm_calls.status IS 'HTTP status.';
COMMENT ON COLUMN llm_calls.ended IS 'How the answer ended: complete, closed, cancelled, error, leaked, open.';
COMMENT ON COLUMN llm_calls.finish IS 'Why the model stopped, in the provider''s word.';
COMMENT ON COLUMN llm_calls.input_tokens IS 'Tokens read, as the provider counted them.';
COMMENT ON COLUMN llm_calls.cached_tokens IS 'Those of them that were read from the provider''s cache.';
COMMENT ON COLUMN llm_calls.cache_write_tokens IS 'Those of them that were written to the provider''s cache.';
COMMENT ON COLUMN llm_calls.output_tokens IS 'Tokens written, as the provider counted them.';
COMMENT ON COLUMN llm_calls.reasoning_tokens IS 'Those of them that were spent on reasoning.';
COMMENT ON COLUMN llm_calls.cost IS 'Price in US dollars, as a provider bills it; NULL where it is not known. See `sent`.';
COMMENT ON COLUMN llm_calls.sent IS 'Whether the call went to a provider; false where a replay answered it from a recording, which costs nothing.';
COMMENT ON COLUMN llm_calls.grade IS 'In a replay, how the call found its answer: exact, explained, drifted, stubbed, live, missed.';
COMMENT ON COLUMN llm_calls.failed IS 'Whether it raised, or came back with an HTTP status of 400 or more.';
COMMENT ON COLUMN llm_calls.error_type IS 'Type of the exception that reached the program, else the provider''s own type of error.';
COMMENT ON COLUMN llm_calls.error_message IS 'Text of that.';
COMMENT ON COLUMN llm_calls.refusal IS 'What the model said instead of an answer, where the provider marks it as a refusal.';
COMMENT ON COLUMN llm_calls.prompt IS 'Digest of the system prompt: see `prompts`.';
COMMENT ON COLUMN llm_calls.conversation IS 'Digest of the first message: see `conversations`.';
COMMENT ON COLUMN llm_calls.title IS 'One line that says what was asked and what came back.';
COMMENT ON COLUMN llm_calls.text IS 'What the model said; NULL when it said no text.';
COMMENT ON COLUMN llm_calls.reasoning IS 'Reasoning that the model showed.';
COMMENT ON COLUMN llm_calls.decoded IS 'How far the answer was understood: `whole`, `partly` or `raw`.';
COMMENT ON COLUMN llm_calls.unknown IS 'Fields and events of the answer that were not understood.';
COMMENT ON COLUMN llm_calls.request_digest IS 'Digest of the request: equal for calls that ask the same.';
COMMENT ON COLUMN llm_calls.request_size IS 'Bytes of the request''s body.';
COMMENT ON COLUMN llm_calls.response_size IS 'Bytes of the response''s body.';
COMMENT ON COLUMN llm_calls.tags IS 'Tags of the trace: `tags->>''customer''`.';

CREATE MACRO tool_calls_rows() AS TABLE FROM query($$
SELECT
    steps.trace,
    traces.name AS trace_name,
    steps.id AS step,
    steps.position,
    make_timestamp(traces.started_ns // 1000 + steps.started_us) AS started_at,
    steps.duration_us / 1000 AS duration_ms,
    steps.kind,
    steps.name AS tool,
    step_values.arguments,
    step_values.result,
    steps.lane,
    steps.within,
    steps.ended,
    steps.failure_type IS NOT NULL OR coalesce(steps.status >= 400, false) AS failed,
    steps.failure_type AS error_type,
    steps.failure_message AS error_message,
    steps.grade,
    steps.title,
    steps.request_digest,
    steps.response_digest,
    traces.tags
FROM steps
JOIN traces ON traces.id = steps.trace
LEFT JOIN step_values ON step_values.trace = steps.trace AND step_values.step = steps.position
WHERE steps.kind IN ('tool', 'mcp')
$$);
CREATE OR REPLACE VIEW tool_calls AS FROM tool_calls_rows();
COMMENT ON VIEW tool_calls IS 'Calls of tools that were executed, those of MCP servers among them. What models asked for is in `requested_calls`.';
COMMENT ON COLUMN tool_calls.trace IS 'Id of the trace.';
COMMENT ON COLUMN tool_calls.trace_name IS 'Name of the trace.';
COMMENT ON COLUMN tool_calls.step IS 'Id of the step: `rashomon show TRACE STEP`.';
COMMENT ON COLUMN tool_calls.position IS 'Place of the step in its trace, by start, from 0.';
COMMENT ON COLUMN tool_calls.started_at IS 'When it was called, UTC.';
COMMENT ON COLUMN tool_calls.duration_ms IS 'Milliseconds to its end; 0 while it is open.';
COMMENT ON COLUMN tool_calls.kind IS '`tool` or `mcp`.';
COMMENT ON COLUMN tool_calls.tool IS 'Name of the tool.';
COMMENT ON COLUMN tool_calls.arguments IS 'Arguments, a JSON object: `arguments->>''order_id''`.';
COMMENT ON COLUMN tool_calls.result IS 'What it returned, as JSON; NULL when it returned nothing.';
COMMENT ON COLUMN tool_calls.lane IS 'Line of control: empty for the root, else e.g. `0.2`.';
COMMENT ON COLUMN tool_calls.within IS 'Id of the tool step that called it.';
COMMENT ON COLUMN tool_calls.ended IS 'How it ended: complete, closed, cancelled, error, leaked, open.';
COMMENT ON COLUMN tool_calls.failed IS 'Whether it raised.';
COMMENT ON COLUMN tool_calls.error_type IS 'Type of the exception, `module:Qualname`.';
COMMENT ON COLUMN tool_calls.error_message IS 'Its text.';
COMMENT ON COLUMN tool_calls.grade IS 'In a replay, how the call found its answer: exact, explained, drifted, stubbed, live, missed.';
COMMENT ON COLUMN tool_calls.title IS 'One line: the call and what came of it.';
COMMENT ON COLUMN tool_calls.request_digest IS 'Digest of tool and arguments: equal for equal calls.';
COMMENT ON COLUMN tool_calls.response_digest IS 'Digest of the result''s bytes: equal for equal results.';
COMMENT ON COLUMN tool_calls.tags IS 'Tags of the trace.';

CREATE MACRO messages_rows() AS TABLE FROM query($$
WITH runs AS (
    SELECT
        trace, position AS owner, id AS step, started_us, model, request_parts, unnest(runs) AS run
    FROM steps
    WHERE kind = 'llm' AND coalesce(dialect, '') NOT LIKE '%embed%'
),
links AS (
    SELECT
        trace, owner, step, started_us, model,
        coalesce(run.first, try_cast(regexp_extract(run.path, '\[(\d+)\]$', 1) AS INTEGER))
            + unnest(range(run.count))::INTEGER AS place,
        unnest(request_parts[run.start + 1 : run.start + run.count]) AS id
    FROM runs
    WHERE (run.first IS NOT NULL AND run.path IN ('messages', 'input', 'contents'))
        OR (run.first IS NULL AND regexp_matches(run.path, '^(messages|input|contents)\['))
),
listed AS (
    SELECT
        links.* EXCLUDE (id), parts.digest AS part, parts.text AS raw, try_cast(parts.text AS JSON) AS message
    FROM links JOIN parts ON parts.id = links.id
),
blocks AS (
    SELECT
        *,
        CASE
            WHEN json_type(message, '$.content') = 'ARRAY' THEN json_extract(message, '$.content[*]')
            WHEN json_type(message, '$.parts') = 'ARRAY' THEN json_extract(message, '$.parts[*]')
            WHEN json_type(message, '$.output') = 'ARRAY' THEN json_extract(message, '$.output[*]')
            WHEN json_type(message, '$.summary') = 'ARRAY' THEN json_extract(message, '$.summary[*]')
            ELSE []
        END AS blocks
    FROM listed
    WHERE coalesce(json_type(message), 'OBJECT') = 'OBJECT' OR place < 0
),
spoken AS (
    SELECT
        trace, owner, step, started_us, model, place, part,
        coalesce(message->>'$.role', CASE
            WHEN message->>'$.type' LIKE '%\_output' ESCAPE '\' THEN 'tool'
            WHEN message->>'$.type' IS NOT NULL THEN 'assistant'
            WHEN message IS NOT NULL THEN 'user'
        END) AS role,
        CASE
            WHEN message IS NULL THEN raw
            WHEN json_type(message, '$.content') = 'VARCHAR' THEN message->>'$.content'
            WHEN json_type(message, '$.output') = 'VARCHAR' THEN message->>'$.output'
            WHEN len(blocks) = 0 THEN message->>'$.refusal'
            ELSE nullif(array_to_string(list_filter(list_transform(blocks, lambda block: CASE
                WHEN json_type(block) = 'VARCHAR' THEN block->>'$'
                WHEN json_type(block, '$.content') = 'ARRAY'
                    THEN array_to_string(json_extract_string(block, '$.content[*].text'), chr(10))
                WHEN json_type(block, '$.toolResult') = 'OBJECT' THEN array_to_string(list_concat(
                    json_extract_string(block, '$.toolResult.content[*].text'),
                    json_extract_string(block, '$.toolResult.content[*].json')), chr(10))
                ELSE coalesce(block->>'$.text', block->>'$.content', block->>'$.refusal',
                    block->>'$.functionResponse.response')
            END), lambda said: said IS NOT NULL), chr(10)), '')
        END AS text,
        coalesce(list_filter(list_concat(
            json_extract_string(message, '$.tool_calls[*].id'),
            CASE WHEN message->>'$.type' LIKE '%\_call' ESCAPE '\' THEN [message->>'$.call_id'] ELSE [] END,
            json_extract_string(message, '$.content[*].id'),
            json_extract_string(message, '$.content[*].toolUse.toolUseId'),
            json_extract_string(message, '$.parts[*].functionCall.id')
        ), lambda call: call IS NOT NULL), []) AS calls,
        coalesce(list_filter(list_concat(
            [message->>'$.tool_call_id'],
            CASE WHEN message->>'$.type' LIKE '%\_output' ESCAPE '\' THEN [message->>'$.call_id'] ELSE [] END,
            json_extract_string(message, '$.content[*].tool_use_id'),
            json_extract_string(message, '$.content[*].toolResult.toolUseId'),
            json_extract_string(message, '$.parts[*].functionResponse.id')
        ), lambda call: call IS NOT NULL), []) AS answers
    FROM blocks
),
short AS (
    SELECT
        steps.trace, steps.position AS owner, steps.id AS step, steps.started_us, steps.model,
        try_cast(array_to_string(list_transform(range(len(holes) + 1), lambda nth: substring(
            parts.text, coalesce(holes[nth], 0) + 1,
            coalesce(holes[nth + 1], length(parts.text)) - coalesce(holes[nth], 0)
        )), 'null') AS JSON) AS body
    FROM steps JOIN parts ON parts.id = steps.request_parts[1]
    WHERE steps.kind = 'llm' AND coalesce(steps.dialect, '') NOT LIKE 'openai.chat%'
        AND coalesce(steps.dialect, '') NOT LIKE '%embed%'
        AND regexp_matches(CASE WHEN steps.position >= 0 THEN parts.text END, '"(input|prompt)"\s*:\s*"')
),
long AS (
    SELECT
        trace, position AS owner, id AS step, started_us, model, request_parts, unnest(runs) AS run
    FROM steps
    WHERE kind = 'llm' AND coalesce(dialect, '') NOT LIKE '%embed%'
),
prompted AS (
    SELECT
        steps.trace, steps.position AS owner, steps.id AS step, steps.started_us, steps.model, steps.prompt,
        parts.text
    FROM steps
    JOIN parts ON parts.id = steps.prompt_part
    JOIN parts AS frames ON frames.id = steps.request_parts[1]
    WHERE steps.kind = 'llm' AND coalesce(steps.dialect, '') NOT LIKE 'openai.chat%' AND regexp_matches(
        CASE WHEN steps.position >= 0 THEN frames.text END,
        '"(system|instructions|systemInstruction|system_instruction|preamble)"\s*:')
),
whole AS (
    SELECT trace, owner, step, started_us, model, place, role, text, calls, answers, part FROM spoken
    UNION ALL
    SELECT trace, owner, step, started_us, model, -1, 'system', text, [], [], prompt FROM prompted
    UNION ALL
    SELECT
        long.trace, long.owner, long.step, long.started_us, long.model, 0, 'user',
        coalesce(try_cast(parts.text AS JSON)->>'$', parts.text), [], [], parts.digest
    FROM long JOIN parts ON parts.id = long.request_parts[long.run.start + 1]
    WHERE long.run.first IS NULL AND long.run.path IN ('input', 'prompt')
    UNION ALL
    SELECT
        trace, owner, step, started_us, model, 0, 'user', coalesce(body->>'$.input', body->>'$.prompt'), [], [], NULL
    FROM short
    WHERE json_type(body, '$.input') = 'VARCHAR' OR json_type(body, '$.prompt') = 'VARCHAR'
    UNION ALL
    SELECT
        steps.trace, steps.position, steps.id, steps.started_us, steps.model, NULL, 'assistant', steps.text,
        coalesce(asked.calls, []), [], steps.response_digest
    FROM steps LEFT JOIN (
        SELECT trace, step, list(call ORDER BY position) AS calls FROM tool_requests GROUP BY trace, step
    ) AS asked ON asked.trace = steps.trace AND asked.step = steps.position
    WHERE steps.kind = 'llm' AND coalesce(steps.dialect, '') NOT LIKE '%embed%'
        AND coalesce(steps.status < 400, true) AND steps.response_digest IS NOT NULL
)
SELECT
    whole.trace,
    traces.name AS trace_name,
    whole.step,
    whole.owner AS step_position,
    whole.place AS position,
    whole.role,
    whole.text,
    whole.calls,
    whole.answers,
    whole.part,
    whole.place IS NULL AS answer,
    make_timestamp(traces.started_ns // 1000 + whole.started_us) AS started_at,
    whole.model
FROM whole JOIN traces ON traces.id = whole.trace
$$);
CREATE OR REPLACE VIEW messages AS FROM messages_rows();
COMMENT ON VIEW messages IS 'What was said in LLM calls: each message of each request, and its answer. A message that is sent sixty times is here sixty times; `unique_messages` has it once. Of OpenAI chat and responses, Anthropic, Gemini, Bedrock and what speaks like them.';
COMMENT ON COLUMN messages.trace IS 'Id of the trace.';
COMMENT ON COLUMN messages.trace_name IS 'Name of the trace.';
COMMENT ON COLUMN messages.step IS 'Id of the LLM step.';
COMMENT ON COLUMN messages.step_position IS 'Place of that step in its trace.';
COMMENT ON COLUMN messages.position IS 'Place in the request''s list, from 0; -1: a system prompt that stands outside of it; NULL: the answer.';
COMMENT ON COLUMN messages.role IS 'Who speaks, in the provider''s word: system, developer, user, assistant, tool, model. NULL: the message is no JSON that SQL reads.';
COMMENT ON COLUMN messages.text IS 'What is said, text blocks and tool results one below the other; NULL where there is no text.';
COMMENT ON COLUMN messages.calls IS 'Ids of the tool calls that the message asks for: see `requested_calls`.';
COMMENT ON COLUMN messages.answers IS 'Ids of the tool calls whose results the message brings.';
COMMENT ON COLUMN messages.part IS 'Digest of its bytes: `parts.digest`. Of the answer, the whole body as it came. NULL: it is too short to be a part.';
COMMENT ON COLUMN messages.answer IS 'Whether it is the answer, and not sent by the program.';
COMMENT ON COLUMN messages.started_at IS 'When the call went out, UTC.';
COMMENT ON COLUMN messages.model IS 'Model that was asked.';

CREATE MACRO unique_messages_rows() AS TABLE FROM query($$
WITH runs AS (
    SELECT
        steps.trace, steps.position AS owner, traces.started_ns // 1000 + steps.started_us AS sent_us,
        steps.request_parts, unnest(steps.runs) AS run
    FROM steps JOIN traces ON traces.id = steps.trace
    WHERE steps.kind = 'llm' AND coalesce(steps.dialect, '') NOT LIKE '%embed%'
),
links AS (
    SELECT trace, owner, sent_us, unnest(request_parts[run.start + 1 : run.start + run.count]) AS id
    FROM runs
    WHERE (run.first IS NOT NULL AND run.path IN ('messages', 'input', 'contents'))
        OR (run.first IS NULL AND regexp_matches(run.path, '^(messages|input|contents)\['))
),
used AS (
    SELECT
        id,
        count(*) AS times,
        count(DISTINCT trace) AS traces,
        min(sent_us) AS first_seen,
        max(sent_us) AS last_seen,
        arg_min(trace, sent_us) AS first_trace
    FROM links
    GROUP BY id
),
listed AS (
    SELECT used.*, parts.digest, parts.size, parts.text AS raw, try_cast(parts.text AS JSON) AS message
    FROM used JOIN parts USING (id)
),
blocks AS (
    SELECT
        *,
        CASE
            WHEN json_type(message, '$.content') = 'ARRAY' THEN json_extract(message, '$.content[*]')
            WHEN json_type(message, '$.parts') = 'ARRAY' THEN json_extract(message, '$.parts[*]')
            WHEN json_type(message, '$.output') = 'ARRAY' THEN json_extract(message, '$.output[*]')
            WHEN json_type(message, '$.summary') = 'ARRAY' THEN json_extract(message, '$.summary[*]')
            ELSE []
        END AS blocks
    FROM listed
    WHERE coalesce(json_type(message), 'OBJECT') = 'OBJECT' OR times < 0
),
spoken AS (
    SELECT
        digest, size, times, traces, first_seen, last_seen, first_trace,
        coalesce(message->>'$.role', CASE
            WHEN message->>'$.type' LIKE '%\_output' ESCAPE '\' THEN 'tool'
            WHEN message->>'$.type' IS NOT NULL THEN 'assistant'
            WHEN message IS NOT NULL THEN 'user'
        END) AS role,
        CASE
            WHEN message IS NULL THEN raw
            WHEN json_type(message, '$.content') = 'VARCHAR' THEN message->>'$.content'
            WHEN json_type(message, '$.output') = 'VARCHAR' THEN message->>'$.output'
            WHEN len(blocks) = 0 THEN message->>'$.refusal'
            ELSE nullif(array_to_string(list_filter(list_transform(blocks, lambda block: CASE
                WHEN json_type(block) = 'VARCHAR' THEN block->>'$'
                WHEN json_type(block, '$.content') = 'ARRAY'
                    THEN array_to_string(json_extract_string(block, '$.content[*].text'), chr(10))
                WHEN json_type(block, '$.toolResult') = 'OBJECT' THEN array_to_string(list_concat(
                    json_extract_string(block, '$.toolResult.content[*].text'),
                    json_extract_string(block, '$.toolResult.content[*].json')), chr(10))
                ELSE coalesce(block->>'$.text', block->>'$.content', block->>'$.refusal',
                    block->>'$.functionResponse.response')
            END), lambda said: said IS NOT NULL), chr(10)), '')
        END AS text,
        coalesce(list_filter(list_concat(
            json_extract_string(message, '$.tool_calls[*].id'),
            CASE WHEN message->>'$.type' LIKE '%\_call' ESCAPE '\' THEN [message->>'$.call_id'] ELSE [] END,
            json_extract_string(message, '$.content[*].id'),
            json_extract_string(message, '$.content[*].toolUse.toolUseId'),
            json_extract_string(message, '$.parts[*].functionCall.id')
        ), lambda call: call IS NOT NULL), []) AS calls,
        coalesce(list_filter(list_concat(
            [message->>'$.tool_call_id'],
            CASE WHEN message->>'$.type' LIKE '%\_output' ESCAPE '\' THEN [message->>'$.call_id'] ELSE [] END,
            json_extract_string(message, '$.content[*].tool_use_id'),
            json_extract_string(message, '$.content[*].toolResult.toolUseId'),
            json_extract_string(message, '$.parts[*].functionResponse.id')
        ), lambda call: call IS NOT NULL), []) AS answers
    FROM blocks
)
SELECT
    digest,
    role,
    text,
    calls,
    answers,
    size,
    times,
    traces,
    first_trace,
    make_timestamp(first_seen) AS first_seen,
    make_timestamp(last_seen) AS last_seen
FROM spoken
$$);
CREATE OR REPLACE VIEW unique_messages AS FROM unique_messages_rows();
COMMENT ON VIEW unique_messages IS 'Each distinct message that programs sent to models, once, however often it was sent. Much cheaper than `messages` over many traces.';
COMMENT ON COLUMN unique_messages.digest IS 'Digest of its bytes: `parts.digest`, `messages.part`.';
COMMENT ON COLUMN unique_messages.role IS 'As `messages.role`.';
COMMENT ON COLUMN unique_messages.text IS 'As `messages.text`.';
COMMENT ON COLUMN unique_messages.calls IS 'As `messages.calls`.';
COMMENT ON COLUMN unique_messages.answers IS 'As `messages.answers`.';
COMMENT ON COLUMN unique_messages.size IS 'Size in bytes.';
COMMENT ON COLUMN unique_messages.times IS 'How often it was sent.';
COMMENT ON COLUMN unique_messages.traces IS 'In how many traces.';
COMMENT ON COLUMN unique_messages.first_trace IS 'Id of the trace that sent it first.';
COMMENT ON COLUMN unique_messages.first_seen IS 'When it was sent first, UTC.';
COMMENT ON COLUMN unique_messages.last_seen IS 'When it was sent last, UTC.';

CREATE MACRO prompts_rows() AS TABLE FROM query($$
SELECT
    used.prompt AS digest,
    parts.text,
    make_timestamp(used.first_seen) AS first_seen,
    make_timestamp(used.last_seen) AS last_seen,
    used.calls,
    used.traces,
    used.models,
    used.trace_names,
    used.cost
FROM (
    SELECT
        steps.prompt,
        any_value(steps.prompt_part) AS id,
        min(traces.started_ns // 1000 + steps.started_us) AS first_seen,
        max(traces.started_ns // 1000 + steps.started_us) AS last_seen,
        count(*) AS calls,
        count(DISTINCT steps.trace) AS traces,
        list_sort(coalesce(list(DISTINCT steps.model) FILTER (steps.model IS NOT NULL), [])) AS models,
        list_sort(list(DISTINCT traces.name)) AS trace_names,
        sum(steps.cost) FILTER (steps.grade IS NULL OR steps.grade = 'live') AS cost
    FROM steps JOIN traces ON traces.id = steps.trace
    WHERE steps.prompt IS NOT NULL
    GROUP BY steps.prompt
) AS used
LEFT JOIN parts ON parts.id = used.id
$$);
CREATE OR REPLACE VIEW prompts AS FROM prompts_rows();
COMMENT ON VIEW prompts IS 'Each distinct system prompt: the versions that were in use, and when.';
COMMENT ON COLUMN prompts.digest IS 'Digest of its text: `llm_calls.prompt`.';
COMMENT ON COLUMN prompts.text IS 'The prompt.';
COMMENT ON COLUMN prompts.first_seen IS 'When it was sent first, UTC.';
COMMENT ON COLUMN prompts.last_seen IS 'When it was sent last, UTC.';
COMMENT ON COLUMN prompts.calls IS 'Number of LLM calls with it, those that a replay answered included.';
COMMENT ON COLUMN prompts.traces IS 'Number of traces with it.';
COMMENT ON COLUMN prompts.models IS 'Models that it was sent to.';
COMMENT ON COLUMN prompts.trace_names IS 'Names of the traces with it.';
COMMENT ON COLUMN prompts.cost IS 'What the calls cost that went to a provider, in US dollars; NULL where no price is known.';

CREATE MACRO conversations_rows() AS TABLE FROM query($$
SELECT
    steps.conversation,
    steps.trace,
    any_value(traces.name) AS trace_name,
    count(*) AS turns,
    arg_min(steps.id, steps.position) AS first_step,
    arg_max(steps.id, steps.position) AS last_step,
    make_timestamp(min(traces.started_ns // 1000 + steps.started_us)) AS started_at,
    (max(steps.started_us + steps.duration_us) - min(steps.started_us)) / 1e6 AS duration_s,
    max(steps.input_tokens) AS longest_input,
    sum(steps.input_tokens)::BIGINT AS input_tokens,
    sum(steps.output_tokens)::BIGINT AS output_tokens,
    sum(steps.cost) FILTER (steps.grade IS NULL OR steps.grade = 'live') AS cost,
    list_sort(coalesce(list(DISTINCT steps.model) FILTER (steps.model IS NOT NULL), [])) AS models,
    arg_max(steps.finish, steps.position) AS finish
FROM steps JOIN traces ON traces.id = steps.trace
WHERE steps.conversation IS NOT NULL
GROUP BY steps.conversation, steps.trace
$$);
CREATE OR REPLACE VIEW conversations AS FROM conversations_rows();
COMMENT ON VIEW conversations IS 'LLM calls of a trace that begin with the same message: the turns of one conversation.';
COMMENT ON COLUMN conversations.conversation IS 'Digest of the first message that is no system prompt: `llm_calls.conversation`.';
COMMENT ON COLUMN conversations.trace IS 'Id of the trace. A conversation that began with the same words elsewhere has a row there.';
COMMENT ON COLUMN conversations.trace_name IS 'Name of the trace.';
COMMENT ON COLUMN conversations.turns IS 'Number of LLM calls.';
COMMENT ON COLUMN conversations.first_step IS 'Id of the first of them.';
COMMENT ON COLUMN conversations.last_step IS 'Id of the last of them: its request has the whole conversation.';
COMMENT ON COLUMN conversations.started_at IS 'When the first went out, UTC.';
COMMENT ON COLUMN conversations.duration_s IS 'Seconds from the first call to the end of the last answer.';
COMMENT ON COLUMN conversations.longest_input IS 'Input tokens of the call that had most: how full the context became.';
COMMENT ON COLUMN conversations.input_tokens IS 'Sum over the calls.';
COMMENT ON COLUMN conversations.output_tokens IS 'Sum over the calls.';
COMMENT ON COLUMN conversations.cost IS 'What the calls cost that went to a provider, in US dollars; NULL where no price is known.';
COMMENT ON COLUMN conversations.models IS 'Models that took part.';
COMMENT ON COLUMN conversations.finish IS 'Why the model stopped in the last call.';

CREATE MACRO costs_rows() AS TABLE FROM query($$
SELECT
    make_timestamp(traces.started_ns // 1000 + steps.started_us)::DATE AS day,
    steps.model,
    traces.name AS trace_name,
    count(*) AS calls,
    count(DISTINCT steps.trace) AS traces,
    count(*) FILTER (steps.failure_type IS NOT NULL OR steps.status >= 400) AS failed,
    coalesce(sum(steps.input_tokens), 0)::BIGINT AS input_tokens,
    coalesce(sum(steps.cached_tokens), 0)::BIGINT AS cached_tokens,
    coalesce(sum(steps.output_tokens), 0)::BIGINT AS output_tokens,
    coalesce(sum(steps.reasoning_tokens), 0)::BIGINT AS reasoning_tokens,
    sum(steps.cost) AS cost,
    count(*) FILTER (steps.cost IS NULL AND (steps.input_tokens > 0 OR steps.output_tokens > 0)) AS unpriced
FROM steps JOIN traces ON traces.id = steps.trace
WHERE steps.kind = 'llm' AND (steps.grade IS NULL OR steps.grade = 'live')
GROUP BY ALL
$$);
CREATE OR REPLACE VIEW costs AS FROM costs_rows();
COMMENT ON VIEW costs IS 'LLM calls that went to a provider, by day, model and name of the trace. What a replay answered from a recording cost nothing and is not here.';
COMMENT ON COLUMN costs.day IS 'Day of the calls, UTC.';
COMMENT ON COLUMN costs.model IS 'Model that was asked.';
COMMENT ON COLUMN costs.trace_name IS 'Name of the traces.';
COMMENT ON COLUMN costs.calls IS 'Number of calls.';
COMMENT ON COLUMN costs.traces IS 'Number of traces.';
COMMENT ON COLUMN costs.failed IS 'Number of calls that raised, or came back with an HTTP status of 400 or more.';
COMMENT ON COLUMN costs.input_tokens IS 'Tokens read.';
COMMENT ON COLUMN costs.cached_tokens IS 'Those of them that were read from the provider''s cache.';
COMMENT ON COLUMN costs.output_tokens IS 'Tokens written.';
COMMENT ON COLUMN costs.reasoning_tokens IS 'Those of them that were spent on reasoning.';
COMMENT ON COLUMN costs.cost IS 'US dollars, over the calls whose price is known; NULL where none is.';
COMMENT ON COLUMN costs.unpriced IS 'Number of calls that used tokens and have no known price: `cost` lacks them.';

CREATE MACRO failures_rows() AS TABLE FROM query($$
WITH judged AS (
    SELECT
        steps.*,
        CASE
            WHEN steps.grade = 'missed' THEN 'missed'
            WHEN steps.failure_type IS NOT NULL THEN 'raised'
            WHEN steps.status >= 400 THEN 'status'
            WHEN steps.refusal IS NOT NULL OR lower(steps.finish) IN ('refusal', 'content_filter', 'content_filtered',
                'safety', 'prohibited_content', 'blocklist', 'recitation', 'spii', 'guardrail_intervened')
                THEN 'refused'
            WHEN steps.ended = 'error' THEN 'cut'
        END AS what
    FROM steps
    WHERE steps.grade = 'missed' OR steps.failure_type IS NOT NULL OR steps.status >= 400
        OR steps.refusal IS NOT NULL OR steps.finish IS NOT NULL OR steps.ended = 'error'
)
SELECT
    judged.trace,
    traces.name AS trace_name,
    judged.id AS step,
    judged.position,
    make_timestamp(traces.started_ns // 1000 + judged.started_us) AS started_at,
    judged.kind,
    judged.name,
    judged.model,
    judged.what,
    judged.status,
    CASE judged.what WHEN 'refused' THEN judged.finish ELSE coalesce(judged.failure_type, judged.error_type) END
        AS error_type,
    CASE judged.what
        WHEN 'refused' THEN coalesce(judged.refusal, judged.text)
        ELSE coalesce(judged.failure_message, judged.error_message)
    END AS error_message,
    judged.grade,
    judged.title,
    traces.tags
FROM judged JOIN traces ON traces.id = judged.trace
WHERE judged.what IS NOT NULL
UNION ALL
SELECT
    id,
    name,
    NULL,
    NULL,
    make_timestamp(coalesce(ended_ns, started_ns) // 1000),
    'trace',
    name,
    NULL,
    CASE outcome WHEN 'killed' THEN 'killed' ELSE 'ended badly' END,
    exit_code,
    nullif(regexp_extract(error, '^([\w.]+)(:|$)', 1), ''),
    error,
    NULL,
    coalesce(error, outcome || ' with exit code ' || exit_code, outcome),
    tags
FROM traces
WHERE outcome IN ('error', 'killed') OR exit_code <> 0
$$);
CREATE OR REPLACE VIEW failures AS FROM failures_rows();
COMMENT ON VIEW failures IS 'Steps that failed or were refused, and traces that ended badly.';
COMMENT ON COLUMN failures.trace IS 'Id of the trace.';
COMMENT ON COLUMN failures.trace_name IS 'Name of the trace.';
COMMENT ON COLUMN failures.step IS 'Id of the step; NULL: the whole trace.';
COMMENT ON COLUMN failures.position IS 'Place of the step in its trace.';
COMMENT ON COLUMN failures.started_at IS 'When the step began, or the trace ended, UTC.';
COMMENT ON COLUMN failures.kind IS 'Kind of the step, or `trace`.';
COMMENT ON COLUMN failures.name IS 'Name of the tool, method and host of a call, or name of the trace.';
COMMENT ON COLUMN failures.model IS 'Model that was asked.';
COMMENT ON COLUMN failures.what IS '`raised`, `status` (an HTTP status of 400 or more), `refused` (by the model or a filter), `cut` (the answer broke off), `missed` (a replay had no answer); of traces `ended badly` or `killed`.';
COMMENT ON COLUMN failures.status IS 'HTTP status; of a trace its exit code.';
COMMENT ON COLUMN failures.error_type IS 'Type of the exception, the provider''s type of error, or why the model stopped.';
COMMENT ON COLUMN failures.error_message IS 'Text of that.';
COMMENT ON COLUMN failures.grade IS 'In a replay, how the call found its answer.';
COMMENT ON COLUMN failures.title IS 'One line on it.';
COMMENT ON COLUMN failures.tags IS 'Tags of the trace.';

CREATE MACRO replays_rows() AS TABLE FROM query($$
SELECT
    replay.id AS trace,
    replay.name,
    replay.parent,
    recorded.name AS parent_name,
    make_timestamp(replay.started_ns // 1000) AS started_at,
    (replay.ended_ns - replay.started_ns) / 1e9 AS duration_s,
    (recorded.ended_ns - recorded.started_ns) / 1e9 AS parent_duration_s,
    replay.outcome,
    recorded.outcome AS parent_outcome,
    replay.swaps,
    replay.steps,
    recorded.steps AS parent_steps,
    coalesce(graded.exact, 0) AS exact,
    coalesce(graded.explained, 0) AS explained,
    coalesce(graded.drifted, 0) AS drifted,
    coalesce(graded.stubbed, 0) AS stubbed,
    coalesce(graded.live, 0) AS live,
    coalesce(graded.missed, 0) AS missed,
    coalesce(diverged.divergences, 0) AS divergences,
    diverged.first_step,
    diverged.first_recorded,
    diverged.first_kind,
    diverged.first_summary,
    coalesce(diverged.divergences, 0) = 0 AS held
FROM traces AS replay
LEFT JOIN traces AS recorded ON recorded.id = replay.parent
LEFT JOIN (
    SELECT
        trace,
        count(*) FILTER (grade = 'exact') AS exact,
        count(*) FILTER (grade = 'explained') AS explained,
        count(*) FILTER (grade = 'drifted') AS drifted,
        count(*) FILTER (grade = 'stubbed') AS stubbed,
        count(*) FILTER (grade = 'live') AS live,
        count(*) FILTER (grade = 'missed') AS missed
    FROM steps
    WHERE grade IS NOT NULL
    GROUP BY trace
) AS graded ON graded.trace = replay.id
LEFT JOIN (
    SELECT
        trace,
        count(*) AS divergences,
        arg_min_null(step, position) AS first_step,
        arg_min_null(recorded, position) AS first_recorded,
        arg_min(kind, position) AS first_kind,
        arg_min(summary, position) AS first_summary
    FROM divergences
    GROUP BY trace
) AS diverged ON diverged.trace = replay.id
WHERE replay.parent IS NOT NULL
$$);
CREATE OR REPLACE VIEW replays AS FROM replays_rows();
COMMENT ON VIEW replays IS 'Replays beside what they replay: what was changed, how calls found their answers, where they left the recording.';
COMMENT ON COLUMN replays.trace IS 'Id of the replay.';
COMMENT ON COLUMN replays.name IS 'Name of the replay.';
COMMENT ON COLUMN replays.parent IS 'Id of the recording; it may be one that the store does not hold.';
COMMENT ON COLUMN replays.parent_name IS 'Name of the recording.';
COMMENT ON COLUMN replays.started_at IS 'When the replay began, UTC.';
COMMENT ON COLUMN replays.duration_s IS 'Seconds that it took, by the clock that it was given.';
COMMENT ON COLUMN replays.parent_duration_s IS 'Seconds that the recording took.';
COMMENT ON COLUMN replays.outcome IS '`ok`, `error`, `killed` or `open`.';
COMMENT ON COLUMN replays.parent_outcome IS 'Outcome of the recording.';
COMMENT ON COLUMN replays.swaps IS 'What the replay was told to change, a JSON list.';
COMMENT ON COLUMN replays.steps IS 'Number of its steps.';
COMMENT ON COLUMN replays.parent_steps IS 'Number of the recording''s steps.';
COMMENT ON COLUMN replays.exact IS 'Steps answered from an equal call of the recording.';
COMMENT ON COLUMN replays.explained IS 'Steps answered from a call whose differences are all explained.';
COMMENT ON COLUMN replays.drifted IS 'Steps answered from a call that is not equal, because that was asked for.';
COMMENT ON COLUMN replays.stubbed IS 'Steps answered by a stub.';
COMMENT ON COLUMN replays.live IS 'Steps that went to the outside.';
COMMENT ON COLUMN replays.missed IS 'Steps that nothing answered.';
COMMENT ON COLUMN replays.divergences IS 'Number of divergences.';
COMMENT ON COLUMN replays.first_step IS 'Id of the replay''s step at the first divergence; NULL where it has none.';
COMMENT ON COLUMN replays.first_recorded IS 'Id of the recording''s step there.';
COMMENT ON COLUMN replays.first_kind IS 'Kind of the first divergence.';
COMMENT ON COLUMN replays.first_summary IS 'The first divergence in one sentence.';
COMMENT ON COLUMN replays.held IS 'Whether there was no divergence.';

CREATE MACRO notes_rows() AS TABLE FROM query($$
SELECT
    steps.trace,
    steps.id AS step,
    traces.started_ns + 1000 * steps.started_us::HUGEINT AS at_ns,
    make_timestamp(traces.started_ns // 1000 + steps.started_us) AS written_at,
    NULL::VARCHAR AS author,
    coalesce(steps.request_head->>'$.note.text', steps.title) AS text,
    json_extract_string(steps.request_head, '$.note.labels[*]') AS labels,
    coalesce(steps.request_head->'$.note.data', '{}') AS data,
    'program' AS source,
    NULL::VARCHAR AS id
FROM steps JOIN traces ON traces.id = steps.trace
WHERE steps.kind = 'note'
UNION ALL
SELECT trace, step, at_ns, make_timestamp(at_ns // 1000), author, text, labels, data, 'person', id
FROM annotations
$$);
CREATE OR REPLACE VIEW notes AS FROM notes_rows();
COMMENT ON VIEW notes IS 'What programs said about themselves with `rashomon.note`, and what people wrote with `rashomon note`.';
COMMENT ON COLUMN notes.trace IS 'Id of the trace.';
COMMENT ON COLUMN notes.step IS 'Id of the step that it is on, or of the program''s note itself; NULL: on the whole trace.';
COMMENT ON COLUMN notes.at_ns IS 'When, Unix time in nanoseconds.';
COMMENT ON COLUMN notes.written_at IS 'When, UTC.';
COMMENT ON COLUMN notes.author IS 'Who wrote it; NULL of a program''s.';
COMMENT ON COLUMN notes.text IS 'The note.';
COMMENT ON COLUMN notes.labels IS 'Labels: `list_contains(labels, ''root-cause'')`.';
COMMENT ON COLUMN notes.data IS 'Further values by name: `data->>''score''`.';
COMMENT ON COLUMN notes.source IS '`program` or `person`.';
COMMENT ON COLUMN notes.id IS 'Id of a person''s note; NULL of a program''s.';

CREATE MACRO tool_definitions_rows() AS TABLE FROM query($$
WITH runs AS (
    SELECT
        steps.trace, steps.position AS owner, traces.started_ns // 1000 + steps.started_us AS sent_us,
        steps.request_parts, unnest(steps.runs) AS run
    FROM steps JOIN traces ON traces.id = steps.trace
    WHERE steps.kind = 'llm'
),
links AS (
    SELECT trace, owner, sent_us, unnest(request_parts[run.start + 1 : run.start + run.count]) AS id
    FROM runs
    WHERE regexp_matches(run.path, '^(tools|functions)(\[|$)') OR run.path = 'toolConfig'
),
used AS (
    SELECT
        id,
        count(*) AS calls,
        count(DISTINCT trace) AS traces,
        min(sent_us) AS first_seen,
        max(sent_us) AS last_seen
    FROM links
    GROUP BY id
),
listed AS (
    SELECT used.* EXCLUDE (id), parts.digest, try_cast(parts.text AS JSON) AS tool FROM used JOIN parts USING (id)
),
each AS (
    SELECT * EXCLUDE (tool), unnest(CASE
            WHEN json_type(tool, '$.functionDeclarations') = 'ARRAY'
                THEN json_extract(tool, '$.functionDeclarations[*]')
            WHEN json_type(tool, '$.function_declarations') = 'ARRAY'
                THEN json_extract(tool, '$.function_declarations[*]')
            WHEN json_type(tool, '$.tools') = 'ARRAY' THEN json_extract(tool, '$.tools[*].toolSpec')
            ELSE [coalesce(json_extract(tool, '$.function'), tool)]
        END) AS defined
    FROM listed
)
SELECT
    defined->>'$.name' AS tool,
    digest,
    defined->>'$.description' AS description,
    coalesce(defined->'$.parameters', defined->'$.input_schema', defined->'$.inputSchema.json',
            defined->'$.parametersJsonSchema', defined->'$.parameters_json_schema') AS schema,
    make_timestamp(first_seen) AS first_seen,
    make_timestamp(last_seen) AS last_seen,
    calls,
    traces
FROM each
WHERE defined->>'$.name' IS NOT NULL
$$);
CREATE OR REPLACE VIEW tool_definitions AS FROM tool_definitions_rows();
COMMENT ON VIEW tool_definitions IS 'Each distinct definition of a tool that was sent to a model. A tool with two rows has changed.';
COMMENT ON COLUMN tool_definitions.tool IS 'Name of the tool.';
COMMENT ON COLUMN tool_definitions.digest IS 'Digest of the definition''s bytes: `parts.digest`. Where a provider takes all tools in one piece, of that.';
COMMENT ON COLUMN tool_definitions.description IS 'What the model is told about it.';
COMMENT ON COLUMN tool_definitions.schema IS 'JSON schema of its arguments.';
COMMENT ON COLUMN tool_definitions.first_seen IS 'When it was sent first, UTC.';
COMMENT ON COLUMN tool_definitions.last_seen IS 'When it was sent last, UTC.';
COMMENT ON COLUMN tool_definitions.calls IS 'Number of LLM calls with it.';
COMMENT ON COLUMN tool_definitions.traces IS 'Number of traces with it.';

CREATE MACRO requested_calls_rows() AS TABLE FROM query($$
WITH runs AS (
    SELECT steps.trace, steps.position AS owner, steps.request_parts, unnest(steps.runs) AS run
    FROM steps
    WHERE EXISTS (FROM tool_requests AS asked WHERE asked.trace = steps.trace AND asked.step = steps.position)
),
links AS (
    SELECT trace, owner, unnest(request_parts[run.start + 1 : run.start + run.count]) AS id
    FROM runs
    WHERE regexp_matches(run.path, '^(tools|functions)(\[|$)') OR run.path = 'toolConfig'
),
offered AS (
    SELECT links.trace, links.owner, parts.digest, try_cast(parts.text AS JSON) AS tool
    FROM links JOIN parts USING (id)
),
each AS (
    SELECT trace, owner, digest, unnest(CASE
            WHEN json_type(tool, '$.functionDeclarations') = 'ARRAY'
                THEN json_extract(tool, '$.functionDeclarations[*]')
            WHEN json_type(tool, '$.function_declarations') = 'ARRAY'
                THEN json_extract(tool, '$.function_declarations[*]')
            WHEN json_type(tool, '$.tools') = 'ARRAY' THEN json_extract(tool, '$.tools[*].toolSpec')
            ELSE [coalesce(json_extract(tool, '$.function'), tool)]
        END) AS defined
    FROM offered
),
definitions AS (
    SELECT
        trace, owner, defined->>'$.name' AS name, any_value(digest) AS digest,
        any_value(coalesce(defined->'$.parameters', defined->'$.input_schema', defined->'$.inputSchema.json',
            defined->'$.parametersJsonSchema', defined->'$.parameters_json_schema')) AS schema
    FROM each
    GROUP BY ALL
),
events AS (
    SELECT true AS asked, trace, name, arguments, step AS owner, position, call, NULL AS id FROM tool_requests
    UNION ALL
    SELECT false, steps.trace, steps.name, step_values.arguments, steps.position, 0, NULL, steps.id
    FROM steps JOIN step_values ON step_values.trace = steps.trace AND step_values.step = steps.position
    WHERE steps.kind IN ('tool', 'mcp')
),
queued AS (
    SELECT
        *,
        count(*) FILTER (asked) OVER queue AS asks,
        count(*) FILTER (NOT asked) OVER queue AS answers
    FROM events
    WINDOW queue AS (PARTITION BY trace, name, arguments ORDER BY owner, position)
),
numbered AS (
    SELECT * EXCLUDE (asks, answers, early), CASE
        WHEN asked THEN asks
        WHEN answers - asks <= early THEN answers - early
    END AS nth
    FROM (
        SELECT *, greatest(0, max(answers - asks) OVER (
            PARTITION BY trace, name, arguments ORDER BY owner, position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )) AS early
        FROM queued
    )
),
equal AS (
    SELECT
        * EXCLUDE (nth),
        max(id) OVER twin AS twin_id,
        nth IS NOT NULL AND bool_or(asked) OVER twin AND bool_or(NOT asked) OVER twin AS found
    FROM numbered
    WINDOW twin AS (PARTITION BY trace, name, arguments, nth)
),
queued_again AS (
    SELECT
        *,
        count(*) FILTER (asked) OVER queue AS asks,
        count(*) FILTER (NOT asked) OVER queue AS answers
    FROM equal
    WINDOW queue AS (PARTITION BY trace, name, found ORDER BY owner, position)
),
numbered_again AS (
    SELECT * EXCLUDE (asks, answers, early), CASE
        WHEN asked THEN asks
        WHEN answers - asks <= early THEN answers - early
    END AS nth
    FROM (
        SELECT *, greatest(0, max(answers - asks) OVER (
            PARTITION BY trace, name, found ORDER BY owner, position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        )) AS early
        FROM queued_again
    )
),
paired AS (
    SELECT *, max(id) OVER (PARTITION BY trace, name, found, nth) AS next_id FROM numbered_again
),
requests AS (
    SELECT
        trace, owner, position, call, name, arguments,
        CASE WHEN found THEN twin_id ELSE next_id END AS answered_by,
        CASE WHEN found THEN 'arguments' WHEN next_id IS NOT NULL THEN 'order' END AS found_by
    FROM paired
    WHERE asked
),
checked AS (
    SELECT
        requests.*,
        definitions.digest,
        definitions.schema,
        CASE WHEN json_type(requests.arguments) = 'OBJECT' THEN json_keys(requests.arguments) ELSE [] END AS given
    FROM requests
    LEFT JOIN definitions USING (trace, owner, name)
)
SELECT
    checked.trace,
    traces.name AS trace_name,
    steps.id AS step,
    steps.position AS step_position,
    checked.position,
    make_timestamp(traces.started_ns // 1000 + steps.started_us) AS started_at,
    steps.model,
    steps.prompt,
    checked.call,
    checked.name AS tool,
    checked.arguments,
    checked.digest AS definition,
    checked.schema,
    CASE
        WHEN checked.schema IS NULL THEN NULL
        WHEN (coalesce(json_type(checked.arguments), 'NULL') = 'NULL' OR checked.arguments->>'$' = '')
            AND len(json_extract(checked.schema, '$.required[*]')) = 0 THEN []
        WHEN coalesce(json_type(checked.arguments), 'NULL') <> 'OBJECT' THEN ['the arguments are no JSON object']
        ELSE list_concat(
            list_transform(
                list_filter(json_extract_string(checked.schema, '$.required[*]'),
                    lambda key: NOT list_contains(checked.given, key)),
                lambda key: key || ' is missing'),
            list_transform(
                list_filter(checked.given, lambda key: checked.schema->>'$.additionalProperties' = 'false'
                    AND NOT json_exists(checked.schema, '/properties/' || replace(replace(key, '~', '~0'), '/', '~1'))),
                lambda key: key || ' is not in the schema'),
            list_filter(list_transform(
                list_transform(checked.given, lambda key: {
                    'key': key,
                    'value': json_extract(checked.arguments, '/' || replace(replace(key, '~', '~0'), '/', '~1')),
                    'rule': json_extract(checked.schema, '/properties/' || replace(replace(key, '~', '~0'), '/', '~1'))
                }),
                lambda one: CASE
                    WHEN json_type(one.rule, '$.type') IN ('VARCHAR', 'ARRAY')
                        AND NOT list_has_any(
                            CASE json_type(one.rule, '$.type')
                                WHEN 'ARRAY' THEN list_transform(json_extract_string(one.rule, '$.type[*]'),
                                    lambda kind: lower(kind))
                                ELSE [lower(one.rule->>'$.type')]
                            END,
                            CASE
                                WHEN json_type(one.value) = 'VARCHAR' THEN ['string']
                                WHEN json_type(one.value) IN ('BIGINT', 'UBIGINT', 'HUGEINT', 'UHUGEINT')
                                    THEN ['integer', 'number']
                                WHEN json_type(one.value) = 'DOUBLE' THEN
                                    CASE WHEN (one.value->>'$')::DOUBLE = trunc((one.value->>'$')::DOUBLE)
                                        THEN ['number', 'integer'] ELSE ['number'] END
                                ELSE [lower(json_type(one.value))]
                            END)
                        AND NOT (json_type(one.value) = 'NULL' AND coalesce(one.rule->>'$.nullable' = 'true', false))
                        THEN one.key || ' is ' || CASE json_type(one.value)
                                WHEN 'VARCHAR' THEN 'a text' WHEN 'BOOLEAN' THEN 'a boolean' WHEN 'NULL' THEN 'null'
                                WHEN 'OBJECT' THEN 'an object' WHEN 'ARRAY' THEN 'a list' ELSE 'a number' END
                            || ', not ' || lower(one.rule->>'$.type')
                    WHEN json_type(one.rule, '$.enum') = 'ARRAY'
                        AND NOT list_contains(json_extract_string(one.rule, '$.enum[*]'), one.value->>'$')
                        THEN one.key || ' is not one of ' || (one.rule->>'$.enum')
                    WHEN try_cast(one.value->>'$' AS DOUBLE) < try_cast(one.rule->>'$.minimum' AS DOUBLE)
                        THEN one.key || ' is below ' || (one.rule->>'$.minimum')
                    WHEN try_cast(one.value->>'$' AS DOUBLE) > try_cast(one.rule->>'$.maximum' AS DOUBLE)
                        THEN one.key || ' is above ' || (one.rule->>'$.maximum')
                END), lambda told: told IS NOT NULL)
        )
    END AS misfits,
    checked.answered_by,
    checked.found_by,
    traces.tags
FROM checked
JOIN traces ON traces.id = checked.trace
JOIN steps ON steps.trace = checked.trace AND steps.position = checked.owner
$$);
CREATE OR REPLACE VIEW requested_calls AS FROM requested_calls_rows();
COMMENT ON VIEW requested_calls IS 'Tool calls that models asked for, with the tool''s definition in that request, and with the step that executed the call where it can be found. Over a whole store it takes a while: where the requests alone will do, they are in `tool_requests`.';
COMMENT ON COLUMN requested_calls.trace IS 'Id of the trace.';
COMMENT ON COLUMN requested_calls.trace_name IS 'Name of the trace.';
COMMENT ON COLUMN requested_calls.step IS 'Id of the LLM step whose answer asked.';
COMMENT ON COLUMN requested_calls.step_position IS 'Place of that step in its trace.';
COMMENT ON COLUMN requested_calls.position IS 'Place of the call in that answer, from 0.';
COMMENT ON COLUMN requested_calls.started_at IS 'When the LLM call went out, UTC.';
COMMENT ON COLUMN requested_calls.model IS 'Model that asked.';
COMMENT ON COLUMN requested_calls.prompt IS 'Digest of the system prompt in force: see `prompts`.';
COMMENT ON COLUMN requested_calls.call IS 'The provider''s id of the call; empty where there is none.';
COMMENT ON COLUMN requested_calls.tool IS 'Name of the tool.';
COMMENT ON COLUMN requested_calls.arguments IS 'The arguments; a JSON text where the model sent no valid JSON.';
COMMENT ON COLUMN requested_calls.definition IS 'Digest of the tool''s definition in the request: see `tool_definitions`. NULL: the tool was not offered.';
COMMENT ON COLUMN requested_calls.schema IS 'JSON schema of its arguments.';
COMMENT ON COLUMN requested_calls.misfits IS 'How the arguments do not fit: what is missing, unknown, of another type, not in an enumeration, or out of bounds. Only the uppermost level is checked. Empty: they fit; NULL: there is no schema.';
COMMENT ON COLUMN requested_calls.answered_by IS 'Id of the tool step that executed the call; NULL where none was found.';
COMMENT ON COLUMN requested_calls.found_by IS 'How that was found: equal `arguments`, else `order` among the calls of that tool that are left.';
COMMENT ON COLUMN requested_calls.tags IS 'Tags of the trace.';

CREATE MACRO trace_list_rows() AS TABLE FROM query($$
WITH RECURSIVE nested(root, id) AS (
    SELECT within, id FROM traces WHERE within IS NOT NULL
    UNION
    SELECT traces.within, nested.id
    FROM nested JOIN traces ON traces.id = nested.root
    WHERE traces.within IS NOT NULL
),
inner_sums AS (
    SELECT
        nested.root AS id,
        sum(steps)::BIGINT AS steps,
        sum(llm_calls)::BIGINT AS llm_calls,
        sum(tool_calls)::BIGINT AS tool_calls,
        sum(failures)::BIGINT AS failures,
        sum(input_tokens)::BIGINT AS input_tokens,
        sum(output_tokens)::BIGINT AS output_tokens,
        sum(cost) AS cost,
        sum(unpriced)::BIGINT AS unpriced,
        flatten(list(models)) AS models
    FROM nested JOIN traces ON traces.id = nested.id
    WHERE nested.root <> nested.id
    GROUP BY nested.root
),
divergence_counts AS (SELECT trace, count(*) AS divergences FROM divergences GROUP BY trace),
loss_counts AS (SELECT trace, count(*) AS losses, sum(steps)::BIGINT AS lost FROM losses GROUP BY trace)
SELECT
    traces.id,
    traces.name,
    traces.started_ns,
    (traces.ended_ns - traces.started_ns) // 1000 AS duration_us,
    traces.outcome,
    traces.exit_code,
    traces.steps + coalesce(inner_sums.steps, 0) AS steps,
    traces.llm_calls + coalesce(inner_sums.llm_calls, 0) AS llm_calls,
    traces.tool_calls + coalesce(inner_sums.tool_calls, 0) AS tool_calls,
    traces.failures + coalesce(inner_sums.failures, 0) AS failures,
    traces.input_tokens + coalesce(inner_sums.input_tokens, 0) AS input_tokens,
    traces.output_tokens + coalesce(inner_sums.output_tokens, 0) AS output_tokens,
    CASE WHEN inner_sums.cost IS NULL THEN traces.cost ELSE coalesce(traces.cost, 0) + inner_sums.cost END AS cost,
    traces.unpriced + coalesce(inner_sums.unpriced, 0) AS unpriced,
    CASE
        WHEN inner_sums.models IS NULL THEN traces.models
        ELSE list_sort(list_distinct(list_concat(traces.models, inner_sums.models)))
    END AS models,
    traces.parent,
    traces.within,
    coalesce(divergence_counts.divergences, 0) AS divergences,
    len(traces.missed) AS coverage_missed,
    coalesce(loss_counts.lost, 0) AS lost,
    coalesce(loss_counts.losses, 0) AS losses,
    traces.tags,
    traces.swaps,
    traces.error,
    coalesce(json_array_length(traces.provenance, '$.imported.lacks'), 0) > 0 AS imported
FROM traces
LEFT JOIN inner_sums ON inner_sums.id = traces.id
LEFT JOIN divergence_counts ON divergence_counts.trace = traces.id
LEFT JOIN loss_counts ON loss_counts.trace = traces.id
$$);
CREATE OR REPLACE VIEW trace_list AS FROM trace_list_rows();
COMMENT ON VIEW trace_list IS 'One line for each trace, with what it and the traces within it add up to. What `rashomon ls` shows.';
COMMENT ON COLUMN trace_list.id IS 'Id of the trace.';
COMMENT ON COLUMN trace_list.name IS 'Name of the trace.';
COMMENT ON COLUMN trace_list.started_ns IS 'Start, Unix nanoseconds.';
COMMENT ON COLUMN trace_list.duration_us IS 'Microseconds from start to end; NULL while the trace is open.';
COMMENT ON COLUMN trace_list.outcome IS '`ok`, `error`, `killed` or `open`.';
COMMENT ON COLUMN trace_list.exit_code IS 'Exit code of the program.';
COMMENT ON COLUMN trace_list.steps IS 'Number of steps.';
COMMENT ON COLUMN trace_list.llm_calls IS 'Number of LLM calls.';
COMMENT ON COLUMN trace_list.tool_calls IS 'Number of tool calls, MCP included.';
COMMENT ON COLUMN trace_list.failures IS 'Number of steps that failed.';
COMMENT ON COLUMN trace_list.input_tokens IS 'Sum over the LLM calls.';
COMMENT ON COLUMN trace_list.output_tokens IS 'Sum over the LLM calls.';
COMMENT ON COLUMN trace_list.cost IS 'Sum over the priced LLM calls, in US dollars; NULL where none has a price.';
COMMENT ON COLUMN trace_list.unpriced IS 'Number of LLM calls with a use of tokens and no known price.';
COMMENT ON COLUMN trace_list.models IS 'Models that were asked, sorted.';
COMMENT ON COLUMN trace_list.parent IS 'Id of the trace that this one replays.';
COMMENT ON COLUMN trace_list.within IS 'Id of the trace that encloses this one.';
COMMENT ON COLUMN trace_list.divergences IS 'Number of divergences, of a replay.';
COMMENT ON COLUMN trace_list.coverage_missed IS 'Number of peers that were reached outside of any recorded call: `traces.missed` names them.';
COMMENT ON COLUMN trace_list.lost IS 'Number of steps that are known to be lost.';
COMMENT ON COLUMN trace_list.losses IS 'Number of rows in `losses`.';
COMMENT ON COLUMN trace_list.tags IS 'Tags as a JSON object of texts.';
COMMENT ON COLUMN trace_list.swaps IS 'What a replay was told to change, a JSON list.';
COMMENT ON COLUMN trace_list.error IS 'The exception that ended the execution, as text.';
COMMENT ON COLUMN trace_list.imported IS 'True where another tool recorded the trace: what slipped past it is not known.';
