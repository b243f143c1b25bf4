-- A call that was answered and did not tell what it used, as streams do, has no price that is known either.

CREATE OR REPLACE MACRO costs_rows() AS TABLE FROM query($$
SELECT
    make_timestamp(t.started_ns // 1000 + s.started_us)::DATE AS day,
    s.model,
    t.name AS trace_name,
    count(*) AS calls,
    count(DISTINCT s.trace) AS traces,
    count(*) FILTER (
        coalesce(s.failure_type, s.error_type, s.error_message) IS NOT NULL
        OR s.status >= 400
    ) AS failed,
    coalesce(sum(s.input_tokens), 0)::BIGINT AS input_tokens,
    coalesce(sum(s.cached_tokens), 0)::BIGINT AS cached_tokens,
    coalesce(sum(s.output_tokens), 0)::BIGINT AS output_tokens,
    coalesce(sum(s.reasoning_tokens), 0)::BIGINT AS reasoning_tokens,
    sum(s.cost) AS cost,
    count(*) FILTER (
        s.cost IS NULL AND (
            coalesce(s.input_tokens, s.output_tokens) IS NOT NULL
            OR (s.status < 400 AND s.name NOT IN ('moderations', 'messages.count_tokens'))
        )
    ) AS unpriced
FROM steps s JOIN traces t ON t.id = s.trace
WHERE s.kind = 'llm' AND (s.grade IS NULL OR s.grade = 'live')
GROUP BY ALL
$$);
COMMENT ON COLUMN costs.unpriced IS 'Number of calls with no known price: `cost` lacks them.';
COMMENT ON COLUMN trace_list.unpriced IS 'Number of LLM calls with no known price.';
COMMENT ON COLUMN traces.unpriced IS 'Number of its own LLM calls with no known price.';

-- in fewer words
COMMENT ON VIEW requested_calls IS 'Tool calls that models asked for, with the tool''s definition in that request, and with the step that executed the call where it can be found. Slow over a whole store: the requests alone are in `tool_requests`.';
COMMENT ON VIEW unique_messages IS 'Each distinct message that programs sent to models, once. Much cheaper than `messages` over many traces.';
COMMENT ON COLUMN messages.role IS 'Who speaks, in the provider''s word: system, user, assistant, tool, model. NULL: the message is no JSON that SQL reads.';
COMMENT ON COLUMN steps.runs IS 'For each hole the parts that go into it: member of the request, place of the first in the member''s list (NULL: the member itself), number of the first part, from 1, how many, and what stands between any two. Computed.';
