-- A trace whose program started others that no recorder looks into is not called complete without a word of them.

CREATE MACRO program(words) AS regexp_replace(coalesce(words[1], ''), '^.*/', '', 's');

CREATE OR REPLACE MACRO trace_list_rows() AS TABLE FROM query($$
WITH RECURSIVE nested(root, id) AS (
    SELECT within, id FROM traces WHERE within IS NOT NULL
    UNION
    SELECT traces.within, nested.id
    FROM nested JOIN traces ON traces.id = nested.root
    WHERE traces.within IS NOT NULL
),
inside AS (
    SELECT
        root AS id,
        sum(steps)::BIGINT AS steps,
        sum(llm_calls)::BIGINT AS llm_calls,
        sum(tool_calls)::BIGINT AS tool_calls,
        sum(failures)::BIGINT AS failures,
        sum(input_tokens)::BIGINT AS input_tokens,
        sum(output_tokens)::BIGINT AS output_tokens,
        sum(cost) AS cost,
        sum(unpriced)::BIGINT AS unpriced,
        flatten(list(models)) AS models
    FROM nested JOIN traces USING (id)
    WHERE root <> id
    GROUP BY root
),
diverged AS (SELECT trace, count(*) AS divergences FROM divergences GROUP BY trace),
lacking AS (SELECT trace, count(*) AS losses, sum(steps)::BIGINT AS lost FROM losses GROUP BY trace),
beside AS (
    SELECT trace, count(*) AS unseen
    FROM launched
    WHERE within IS NULL
        AND NOT regexp_matches(program(argv), '^(python|pypy)|\.py$')
        AND NOT EXISTS (
            FROM processes
            WHERE processes.trace = launched.trace
                AND program(processes.argv) = program(launched.argv)
                AND processes.argv[2:] = launched.argv[2:]
        )
    GROUP BY trace
)
SELECT
    traces.id,
    name,
    started_ns,
    (ended_ns - started_ns) // 1000 AS duration_us,
    outcome,
    exit_code,
    traces.steps + coalesce(inside.steps, 0) AS steps,
    traces.llm_calls + coalesce(inside.llm_calls, 0) AS llm_calls,
    traces.tool_calls + coalesce(inside.tool_calls, 0) AS tool_calls,
    traces.failures + coalesce(inside.failures, 0) AS failures,
    traces.input_tokens + coalesce(inside.input_tokens, 0) AS input_tokens,
    traces.output_tokens + coalesce(inside.output_tokens, 0) AS output_tokens,
    CASE WHEN inside.cost IS NULL THEN traces.cost ELSE coalesce(traces.cost, 0) + inside.cost END AS cost,
    traces.unpriced + coalesce(inside.unpriced, 0) AS unpriced,
    CASE
        WHEN inside.models IS NULL THEN traces.models
        ELSE list_sort(list_distinct(list_concat(traces.models, inside.models)))
    END AS models,
    parent,
    within,
    coalesce(divergences, 0) AS divergences,
    len(missed) AS coverage_missed,
    coalesce(unseen, 0) AS unseen,
    coalesce(lost, 0) AS lost,
    coalesce(losses, 0) AS losses,
    tags,
    swaps,
    error,
    coalesce(json_array_length(provenance, '$.imported.lacks'), 0) > 0 AS imported
FROM traces
LEFT JOIN inside ON inside.id = traces.id
LEFT JOIN diverged ON diverged.trace = traces.id
LEFT JOIN lacking ON lacking.trace = traces.id
LEFT JOIN beside ON beside.trace = traces.id
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
COMMENT ON COLUMN trace_list.unseen IS 'Number of programs that it started, outside of tools, and no recorder looks into: `launched` names them.';
COMMENT ON COLUMN trace_list.lost IS 'Number of steps that are known to be lost.';
COMMENT ON COLUMN trace_list.losses IS 'Number of rows in `losses`.';
COMMENT ON COLUMN trace_list.tags IS 'Tags as a JSON object of texts.';
COMMENT ON COLUMN trace_list.swaps IS 'What a replay was told to change, a JSON list.';
COMMENT ON COLUMN trace_list.error IS 'The exception that ended the execution, as text.';
COMMENT ON COLUMN trace_list.imported IS 'True where another tool recorded the trace: what slipped past it is not known.';
COMMENT ON COLUMN meta.key IS '`application`, `schema` (number of the last migration), `generation` (grows with each ingestion), `compaction` (space is to be given back), `compacted` (bytes of the file when it was written anew) or `unmerged` (parts in groups that are not full, their bytes, batches since some were merged).';
COMMENT ON VIEW messages IS 'What was said in LLM calls: each message of each request, as often as it was sent, and each answer. `unique_messages` has what repeats once.';
COMMENT ON VIEW requested_calls IS 'Tool calls that models asked for, with the tool''s definition, and the step that executed the call where it can be found. Slow over a whole store: the requests alone are in `tool_requests`.';

-- in fewer words
COMMENT ON COLUMN failures.what IS '`raised`, `status` (an HTTP status of 400 or more), `refused` (by the model or a filter), `error` (within an answer), `cut` (it broke off), `missed` (a replay had none); of traces `ended badly` or `killed`.';
COMMENT ON COLUMN failures.error_type IS 'Type of the exception, the provider''s type of error, `$no_json` of an answer that is none, or why it stopped.';
COMMENT ON COLUMN requested_calls.misfits IS 'What is missing, unknown, of another type, not in an enumeration or out of bounds, on the uppermost level. Empty: they fit; NULL: there is no schema.';
COMMENT ON COLUMN requested_calls.definition IS 'Digest of the definition in the request: see `tool_definitions`. NULL: the tool was not offered.';
COMMENT ON VIEW costs IS 'LLM calls that went to a provider, by day, model and name of the trace. What a replay answered is not here.';
COMMENT ON COLUMN costs.failed IS 'Number of calls that failed, as `llm_calls.failed`.';
COMMENT ON COLUMN replays.held IS 'Whether there was no divergence; NULL where that is not known: it goes on, or was imported from what does not tell.';
COMMENT ON VIEW replays IS 'Replays: what was changed, how calls found their answers, where they left the recording.';
COMMENT ON VIEW unique_messages IS 'Each distinct message that programs sent to models, once. Much cheaper than `messages` over many traces.';
COMMENT ON COLUMN step_parts.position IS 'Order within the step: 0 is the request''s frame, then what goes into its holes; -1 the response, -2 the system prompt.';
COMMENT ON COLUMN messages.role IS 'Who speaks, in the provider''s word: system, user, assistant, tool, model. NULL: it is no JSON that SQL reads.';
COMMENT ON COLUMN messages.part IS 'Digest of its bytes: `parts.digest`; of the answer, of the whole body. NULL: it is too short to be a part.';
COMMENT ON COLUMN steps.holes IS 'Offsets, in characters of the request''s frame, where the parts of `runs` are put in. Computed.';
COMMENT ON COLUMN steps.layout IS 'Where the parts of a request go, a JSON list: `at` is the offset of a hole, the rest is as in `runs`.';
COMMENT ON COLUMN steps.runs IS 'For each hole: member of the request, place of the first part in the member''s list (NULL: it is the member itself), place of the first among the parts, from 1, number, and what stands between two. Computed.';
COMMENT ON COLUMN steps.error_type IS 'The provider''s type or code of an error; `$no_json` of an answer that is none where JSON was due.';
COMMENT ON COLUMN traces.failures IS 'Number of its own steps that failed, as `llm_calls.failed`.';
COMMENT ON COLUMN llm_calls.sent IS 'Whether the call went to a provider; false where a replay answered it, which costs nothing.';
COMMENT ON VIEW tool_calls IS 'Tools that were executed, those of MCP servers too. What models asked for is in `requested_calls`.';
COMMENT ON TABLE points IS 'The order in which completions reached the program: heads, pieces, ends, timers, wake-ups, sleeps.';
COMMENT ON TABLE members IS 'What each journal says of its traces beside steps, so that one that grows is not read whole.';
COMMENT ON COLUMN tool_definitions.digest IS 'Digest of its bytes: `parts.digest`. Where a provider takes all tools in one piece, of that.';
