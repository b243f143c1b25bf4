-- The list of traces from the sums that each trace holds: it needs no steps.

CREATE OR REPLACE VIEW trace_list AS
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
LEFT JOIN loss_counts ON loss_counts.trace = traces.id;
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
