-- The first schema of the store. Every table and column carries its own description; the documentation
-- page is generated from them. A statement ends with a semicolon at the end of a line.

CREATE TABLE meta (
    key VARCHAR PRIMARY KEY,
    value VARCHAR NOT NULL
);
COMMENT ON TABLE meta IS 'What this file is: who made it, and at which version of the schema.';
COMMENT ON COLUMN meta.key IS '`application`, `schema` (number of the last migration) or `generation` (grows with each ingestion).';
COMMENT ON COLUMN meta.value IS 'The value, as text.';

CREATE TABLE journals (
    name VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    mtime_ns BIGINT NOT NULL,
    reader INTEGER NOT NULL,
    state VARCHAR NOT NULL,
    reason VARCHAR,
    whole BIGINT NOT NULL,
    torn BIGINT NOT NULL,
    damage STRUCT("offset" BIGINT, size BIGINT, reason VARCHAR)[] NOT NULL,
    closed BOOLEAN NOT NULL,
    traces VARCHAR[] NOT NULL
);
COMMENT ON TABLE journals IS 'The ledger of ingestion: one row for each journal file that was read.';
COMMENT ON COLUMN journals.name IS 'File name, relative to the folder of journals.';
COMMENT ON COLUMN journals.size IS 'Size in bytes when it was read; a journal is read again when it differs.';
COMMENT ON COLUMN journals.mtime_ns IS 'Time of last change when it was read, Unix nanoseconds; 0 when it may still have changed unseen.';
COMMENT ON COLUMN journals.reader IS 'Version of the reader; journals that an older one read are read again.';
COMMENT ON COLUMN journals.state IS '`read`, `foreign` (not a journal), `newer` (a newer format) or `unusable` (cannot be understood).';
COMMENT ON COLUMN journals.reason IS 'Why the file was not read; NULL when it was.';
COMMENT ON COLUMN journals.whole IS 'Offset in bytes behind the last whole frame.';
COMMENT ON COLUMN journals.torn IS 'Bytes behind it that a killed or still running writer left.';
COMMENT ON COLUMN journals.damage IS 'Stretches of bytes that could not be read: offset, size, reason.';
COMMENT ON COLUMN journals.closed IS 'Whether the process said that it ended.';
COMMENT ON COLUMN journals.traces IS 'Ids of the traces that this process took part in.';

CREATE TABLE traces (
    id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    started_ns BIGINT NOT NULL,
    ended_ns BIGINT,
    outcome VARCHAR NOT NULL,
    exit_code BIGINT,
    error VARCHAR,
    tags JSON NOT NULL,
    parent VARCHAR,
    within VARCHAR,
    swaps JSON NOT NULL,
    command VARCHAR[],
    entrypoint JSON,
    cwd VARCHAR,
    environ JSON NOT NULL,
    versions JSON NOT NULL,
    connections BIGINT NOT NULL,
    missed VARCHAR[] NOT NULL,
    result BLOB,
    fingerprint VARCHAR NOT NULL,
    exact BLOB
);
COMMENT ON TABLE traces IS 'One row for each recorded execution. A replay is a trace of its own.';
COMMENT ON COLUMN traces.id IS 'Id of the trace.';
COMMENT ON COLUMN traces.name IS 'Name given by `--name`, or made from the command or the entry point.';
COMMENT ON COLUMN traces.started_ns IS 'Start, Unix nanoseconds.';
COMMENT ON COLUMN traces.ended_ns IS 'End, Unix nanoseconds; NULL while the trace is open.';
COMMENT ON COLUMN traces.outcome IS '`ok`, `error`, `killed` or `open`.';
COMMENT ON COLUMN traces.exit_code IS 'Exit code of the program.';
COMMENT ON COLUMN traces.error IS 'The exception that ended the execution, as text.';
COMMENT ON COLUMN traces.tags IS 'Tags as a JSON object of texts: `tags->>''env'' = ''prod''`.';
COMMENT ON COLUMN traces.parent IS 'Id of the trace that this one replays.';
COMMENT ON COLUMN traces.within IS 'Id of the trace that encloses this one.';
COMMENT ON COLUMN traces.swaps IS 'What a replay was told to change, a JSON list.';
COMMENT ON COLUMN traces.command IS 'The command that can be launched again, word by word.';
COMMENT ON COLUMN traces.entrypoint IS 'The recorded function: `ref` and `file`.';
COMMENT ON COLUMN traces.cwd IS 'Working directory of the program.';
COMMENT ON COLUMN traces.environ IS 'Chosen environment variables, a JSON object.';
COMMENT ON COLUMN traces.versions IS 'Versions of Python and of the libraries that were used, a JSON object.';
COMMENT ON COLUMN traces.connections IS 'Connections that the program opened.';
COMMENT ON COLUMN traces.missed IS 'Peers that the program reached outside of any recorded call.';
COMMENT ON COLUMN traces.result IS 'What the entry point returned, in the encoding of recorded values (msgpack).';
COMMENT ON COLUMN traces.fingerprint IS 'Digest of the whole trace with its steps; an unchanged trace is not written again.';
COMMENT ON COLUMN traces.exact IS 'msgpack map of column to exact value, for values that the column cannot hold (bytes, text that is no UTF-8).';

CREATE TABLE processes (
    trace VARCHAR NOT NULL,
    number INTEGER NOT NULL,
    pid BIGINT NOT NULL,
    argv VARCHAR[] NOT NULL,
    python VARCHAR NOT NULL,
    ended BOOLEAN NOT NULL,
    lane VARCHAR NOT NULL,
    exact BLOB
);
COMMENT ON TABLE processes IS 'The recorded processes of each trace.';
COMMENT ON COLUMN processes.trace IS 'Id of the trace.';
COMMENT ON COLUMN processes.number IS 'Number of the process within its trace; the first half of a step''s id.';
COMMENT ON COLUMN processes.pid IS 'Process id on the machine that recorded it.';
COMMENT ON COLUMN processes.argv IS 'Its arguments.';
COMMENT ON COLUMN processes.python IS 'Its version of Python.';
COMMENT ON COLUMN processes.ended IS 'False when it was killed, or was still running when it was read last.';
COMMENT ON COLUMN processes.lane IS 'Line of control that started it, e.g. `0.2`; empty for the root.';
COMMENT ON COLUMN processes.exact IS 'As `traces.exact`.';

CREATE TABLE losses (
    trace VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    reason VARCHAR NOT NULL,
    steps BIGINT NOT NULL,
    exact BLOB
);
COMMENT ON TABLE losses IS 'What should have been recorded and was not.';
COMMENT ON COLUMN losses.trace IS 'Id of the trace.';
COMMENT ON COLUMN losses.position IS 'Place in the trace''s list of losses.';
COMMENT ON COLUMN losses.reason IS 'Why it was lost.';
COMMENT ON COLUMN losses.steps IS 'How many steps were lost; 0 when that is not known.';
COMMENT ON COLUMN losses.exact IS 'As `traces.exact`.';

CREATE TABLE divergences (
    trace VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    kind VARCHAR NOT NULL,
    summary VARCHAR NOT NULL,
    step VARCHAR,
    recorded VARCHAR,
    paths VARCHAR[] NOT NULL,
    detail VARCHAR[] NOT NULL,
    exact BLOB
);
COMMENT ON TABLE divergences IS 'Where a replay stopped being the recording.';
COMMENT ON COLUMN divergences.trace IS 'Id of the replay.';
COMMENT ON COLUMN divergences.position IS 'Place among the divergences of the replay; 0 came first.';
COMMENT ON COLUMN divergences.kind IS 'Kind of divergence.';
COMMENT ON COLUMN divergences.summary IS 'One sentence on what happened.';
COMMENT ON COLUMN divergences.step IS 'Id of the step in the replay.';
COMMENT ON COLUMN divergences.recorded IS 'Id of the nearest step of the recording.';
COMMENT ON COLUMN divergences.paths IS 'JSON paths that differ.';
COMMENT ON COLUMN divergences.detail IS 'Reasons, line by line.';
COMMENT ON COLUMN divergences.exact IS 'As `traces.exact`.';

CREATE TABLE steps (
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
    title VARCHAR NOT NULL,
    text VARCHAR USING COMPRESSION zstd,
    request_digest VARCHAR NOT NULL,
    response_digest VARCHAR,
    request_head JSON NOT NULL,
    response_head JSON,
    request_size BIGINT NOT NULL,
    response_size BIGINT NOT NULL,
    holes INTEGER[] NOT NULL,
    piece_offsets_us BIGINT[] NOT NULL,
    piece_sizes BIGINT[] NOT NULL,
    exact BLOB
);
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
COMMENT ON COLUMN steps.title IS 'One line that says what was asked and what came back.';
COMMENT ON COLUMN steps.text IS 'What the model said, streams put together; NULL when it said no text.';
COMMENT ON COLUMN steps.request_digest IS 'Digest of the request''s content: two requests that are the same call have the same.';
COMMENT ON COLUMN steps.response_digest IS 'Digest of the response''s bytes as they came, also their name in `parts`; NULL when none came.';
COMMENT ON COLUMN steps.request_head IS 'Method, url and headers; for a tool its reference and flavour.';
COMMENT ON COLUMN steps.response_head IS 'Status and headers; NULL when the call failed before anything came back.';
COMMENT ON COLUMN steps.request_size IS 'Bytes of the request''s body.';
COMMENT ON COLUMN steps.response_size IS 'Bytes of the response''s body as they came.';
COMMENT ON COLUMN steps.holes IS 'Where the parts of a request go: offsets in characters into its frame, in order.';
COMMENT ON COLUMN steps.piece_offsets_us IS 'When each piece of the response came, in microseconds from the call.';
COMMENT ON COLUMN steps.piece_sizes IS 'Size of each piece of the response, in bytes.';
COMMENT ON COLUMN steps.exact IS 'As `traces.exact`.';

CREATE TABLE parts (
    digest VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    text VARCHAR USING COMPRESSION zstd,
    body BLOB
);
COMMENT ON TABLE parts IS 'Pieces of payload, named by their content and stored once.';
COMMENT ON COLUMN parts.digest IS '`b2:` and 32 hex digits: BLAKE2b of the bytes, 128 bits.';
COMMENT ON COLUMN parts.size IS 'Size in bytes.';
COMMENT ON COLUMN parts.text IS 'The content, when it is UTF-8; else NULL.';
COMMENT ON COLUMN parts.body IS 'The content, when it is not UTF-8; else NULL.';

CREATE TABLE step_parts (
    trace VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    position INTEGER NOT NULL,
    path VARCHAR NOT NULL,
    part VARCHAR NOT NULL
);
COMMENT ON TABLE step_parts IS 'Which parts a step is made of.';
COMMENT ON COLUMN step_parts.trace IS 'Id of the trace.';
COMMENT ON COLUMN step_parts.step IS '`steps.position` of the step.';
COMMENT ON COLUMN step_parts.position IS 'Order within the step: 0 is the request''s frame, then what goes into its holes, -1 is the response.';
COMMENT ON COLUMN step_parts.path IS '`request` (the frame), `request.messages[3]` (what goes into a hole) or `response`.';
COMMENT ON COLUMN step_parts.part IS '`parts.digest`.';

CREATE TABLE cohorts (
    name VARCHAR NOT NULL,
    created_ns BIGINT NOT NULL,
    query VARCHAR NOT NULL,
    traces VARCHAR[] NOT NULL
);
COMMENT ON TABLE cohorts IS 'Frozen sets of traces, each chosen by a query.';
COMMENT ON COLUMN cohorts.name IS 'Name of the cohort.';
COMMENT ON COLUMN cohorts.created_ns IS 'When it was frozen, Unix nanoseconds.';
COMMENT ON COLUMN cohorts.query IS 'The condition on `trace_list` that chose it.';
COMMENT ON COLUMN cohorts.traces IS 'Ids of its traces.';

CREATE VIEW trace_list AS
WITH RECURSIVE family(root, id) AS (
    SELECT id, id FROM traces
    UNION
    SELECT family.root, nested.id FROM family JOIN traces AS nested ON nested.within = family.id
),
counts AS (
    SELECT
        trace,
        count(*) AS steps,
        count(*) FILTER (kind = 'llm') AS llm_calls,
        count(*) FILTER (kind = 'tool') AS tool_calls,
        sum(input_tokens)::BIGINT AS input_tokens,
        sum(output_tokens)::BIGINT AS output_tokens,
        list(DISTINCT model) FILTER (model IS NOT NULL) AS models
    FROM steps
    GROUP BY trace
),
totals AS (
    SELECT
        family.root AS id,
        sum(counts.steps)::BIGINT AS steps,
        sum(llm_calls)::BIGINT AS llm_calls,
        sum(tool_calls)::BIGINT AS tool_calls,
        sum(input_tokens)::BIGINT AS input_tokens,
        sum(output_tokens)::BIGINT AS output_tokens,
        list_sort(list_distinct(flatten(list(models) FILTER (models IS NOT NULL)))) AS models
    FROM family JOIN counts ON counts.trace = family.id
    GROUP BY family.root
)
SELECT
    traces.id,
    traces.name,
    traces.started_ns,
    (traces.ended_ns - traces.started_ns) // 1000 AS duration_us,
    traces.outcome,
    traces.exit_code,
    coalesce(totals.steps, 0) AS steps,
    coalesce(totals.llm_calls, 0) AS llm_calls,
    coalesce(totals.tool_calls, 0) AS tool_calls,
    coalesce(totals.input_tokens, 0) AS input_tokens,
    coalesce(totals.output_tokens, 0) AS output_tokens,
    coalesce(totals.models, []) AS models,
    traces.parent,
    traces.within,
    (SELECT count(*) FROM divergences WHERE divergences.trace = traces.id) AS divergences,
    len(traces.missed) AS coverage_missed,
    (SELECT coalesce(sum(losses.steps), 0)::BIGINT FROM losses WHERE losses.trace = traces.id) AS lost,
    (SELECT count(*) FROM losses WHERE losses.trace = traces.id) AS losses,
    traces.tags,
    traces.swaps,
    traces.error
FROM traces LEFT JOIN totals ON totals.id = traces.id;
COMMENT ON VIEW trace_list IS 'One line for each trace, with what it and the traces within it add up to. What `rashomon ls` shows.';

CREATE VIEW llm_calls AS
SELECT
    steps.trace, traces.name AS trace_name, steps.id, steps.position, steps.model, steps.status, steps.finish,
    steps.input_tokens, steps.output_tokens, steps.started_us, steps.duration_us, steps.ended,
    steps.failure_type, steps.grade, steps.title, steps.text
FROM steps JOIN traces ON traces.id = steps.trace
WHERE steps.kind = 'llm';
COMMENT ON VIEW llm_calls IS 'Calls of language models.';

CREATE VIEW tool_calls AS
SELECT
    steps.trace, traces.name AS trace_name, steps.id, steps.position, steps.name, steps.started_us,
    steps.duration_us, steps.ended, steps.failure_type, steps.failure_message, steps.grade, steps.title
FROM steps JOIN traces ON traces.id = steps.trace
WHERE steps.kind IN ('tool', 'mcp');
COMMENT ON VIEW tool_calls IS 'Calls of tools.';

CREATE VIEW ambient AS
SELECT trace, id, position, kind, name, lane, started_us, title, request_head
FROM steps
WHERE kind IN ('clock', 'random', 'sleep');
COMMENT ON VIEW ambient IS 'Reads of the clock and of random sources, and sleeps.';

CREATE VIEW notes AS
SELECT trace, id, position, name, lane, started_us, title
FROM steps
WHERE kind = 'note';
COMMENT ON VIEW notes IS 'What a program said about itself.';
