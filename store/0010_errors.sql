-- An error that a provider tells of in an answer whose HTTP status is that of success (in the middle of a stream, or
-- instead of an answer), and an answer that is no JSON, are failures like others.

CREATE OR REPLACE MACRO llm_calls_rows() AS TABLE FROM query($$
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
    coalesce(steps.failure_type, steps.error_type, steps.error_message) IS NOT NULL
        OR coalesce(steps.status >= 400, false) AS failed,
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
COMMENT ON COLUMN llm_calls.failed IS 'Whether it raised, came back with an HTTP status of 400 or more, or with an error in its answer.';

CREATE OR REPLACE MACRO costs_rows() AS TABLE FROM query($$
SELECT
    make_timestamp(traces.started_ns // 1000 + steps.started_us)::DATE AS day,
    steps.model,
    traces.name AS trace_name,
    count(*) AS calls,
    count(DISTINCT steps.trace) AS traces,
    count(*) FILTER (
        coalesce(steps.failure_type, steps.error_type, steps.error_message) IS NOT NULL
        OR steps.status >= 400
    ) AS failed,
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
COMMENT ON COLUMN costs.failed IS 'Number of calls that raised, or came back with an HTTP status of 400 or more or with an error in their answer.';

CREATE OR REPLACE MACRO failures_rows() AS TABLE FROM query($$
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
            WHEN coalesce(steps.error_type, steps.error_message) IS NOT NULL THEN 'error'
            WHEN steps.ended = 'error' THEN 'cut'
        END AS what
    FROM steps
    WHERE steps.grade = 'missed' OR steps.status >= 400 OR steps.ended = 'error' OR coalesce(steps.failure_type,
        steps.refusal, steps.finish, steps.error_type, steps.error_message) IS NOT NULL
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
COMMENT ON COLUMN failures.what IS '`raised`, `status` (an HTTP status of 400 or more), `refused` (by the model or a filter), `error` (in an answer whose status is that of success), `cut` (the answer broke off), `missed` (a replay had no answer); of traces `ended badly` or `killed`.';
COMMENT ON COLUMN failures.error_type IS 'Type of the exception, the provider''s type of error, `$no_json` of an answer that is none, or why the model stopped.';
COMMENT ON COLUMN traces.failures IS 'Number of its own steps that failed: an exception, an HTTP status of 400 or more, or an error in the answer.';
COMMENT ON COLUMN steps.error_type IS 'The provider''s own type or code of an error answer; `$no_json` of an answer that is none where JSON was due.';
