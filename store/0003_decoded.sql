-- What is decoded of a step, sums by trace so that a list needs no steps, notes, and where a trace is from.

ALTER TABLE traces ADD COLUMN steps BIGINT DEFAULT 0;
ALTER TABLE traces ADD COLUMN llm_calls BIGINT DEFAULT 0;
ALTER TABLE traces ADD COLUMN tool_calls BIGINT DEFAULT 0;
ALTER TABLE traces ADD COLUMN failures BIGINT DEFAULT 0;
ALTER TABLE traces ADD COLUMN input_tokens BIGINT DEFAULT 0;
ALTER TABLE traces ADD COLUMN output_tokens BIGINT DEFAULT 0;
ALTER TABLE traces ADD COLUMN cost DOUBLE;
ALTER TABLE traces ADD COLUMN unpriced BIGINT DEFAULT 0;
ALTER TABLE traces ADD COLUMN models VARCHAR[] DEFAULT [];
ALTER TABLE traces ADD COLUMN provenance JSON DEFAULT '{}';
COMMENT ON COLUMN traces.steps IS 'Number of its own steps, without those of traces within it.';
COMMENT ON COLUMN traces.llm_calls IS 'Number of its own LLM calls.';
COMMENT ON COLUMN traces.tool_calls IS 'Number of its own tool calls, MCP included.';
COMMENT ON COLUMN traces.failures IS 'Number of its own steps that failed: an exception, or an HTTP status of 400 or more.';
COMMENT ON COLUMN traces.input_tokens IS 'Sum over its own LLM calls.';
COMMENT ON COLUMN traces.output_tokens IS 'Sum over its own LLM calls.';
COMMENT ON COLUMN traces.cost IS 'Sum over its own priced LLM calls, in US dollars; NULL where none has a price.';
COMMENT ON COLUMN traces.unpriced IS 'Number of its own LLM calls with a use of tokens and no known price.';
COMMENT ON COLUMN traces.models IS 'Models of its own LLM calls, sorted.';
COMMENT ON COLUMN traces.provenance IS 'Where it is from: `git` of the program; `imported` where it was not recorded here.';

ALTER TABLE steps ADD COLUMN dialect VARCHAR;
ALTER TABLE steps ADD COLUMN decoded VARCHAR;
ALTER TABLE steps ADD COLUMN unknown VARCHAR[] DEFAULT [];
ALTER TABLE steps ADD COLUMN cached_tokens BIGINT;
ALTER TABLE steps ADD COLUMN cache_write_tokens BIGINT;
ALTER TABLE steps ADD COLUMN reasoning_tokens BIGINT;
ALTER TABLE steps ADD COLUMN cost DOUBLE;
ALTER TABLE steps ADD COLUMN reasoning VARCHAR USING COMPRESSION zstd;
ALTER TABLE steps ADD COLUMN refusal VARCHAR;
ALTER TABLE steps ADD COLUMN error_type VARCHAR;
ALTER TABLE steps ADD COLUMN error_message VARCHAR;
ALTER TABLE steps ADD COLUMN prompt VARCHAR;
ALTER TABLE steps ADD COLUMN conversation VARCHAR;
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

CREATE TABLE tool_requests (
    trace VARCHAR NOT NULL,
    step INTEGER NOT NULL,
    position INTEGER NOT NULL,
    call VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    arguments JSON
);
COMMENT ON TABLE tool_requests IS 'Tool calls that a model asked for in its answer.';
COMMENT ON COLUMN tool_requests.trace IS 'Id of the trace.';
COMMENT ON COLUMN tool_requests.step IS '`steps.position` of the LLM call that asked.';
COMMENT ON COLUMN tool_requests.position IS 'Place in that answer, from 0.';
COMMENT ON COLUMN tool_requests.call IS 'The provider''s id of the call; empty where there is none.';
COMMENT ON COLUMN tool_requests.name IS 'Name of the tool.';
COMMENT ON COLUMN tool_requests.arguments IS 'The arguments; a JSON text where the model sent no valid JSON.';

CREATE TABLE annotations (
    id VARCHAR NOT NULL,
    trace VARCHAR NOT NULL,
    step VARCHAR,
    at_ns BIGINT NOT NULL,
    author VARCHAR,
    text VARCHAR NOT NULL,
    labels VARCHAR[] NOT NULL,
    data JSON NOT NULL
);
COMMENT ON TABLE annotations IS 'Notes that people wrote on traces and steps. Also kept in `notes.jsonl` beside the store.';
COMMENT ON COLUMN annotations.id IS 'Id of the note.';
COMMENT ON COLUMN annotations.trace IS 'Id of the trace; it may be one that the store does not hold (any more).';
COMMENT ON COLUMN annotations.step IS 'Id of the step; NULL: on the whole trace.';
COMMENT ON COLUMN annotations.at_ns IS 'When, Unix time in nanoseconds.';
COMMENT ON COLUMN annotations.author IS 'Who, as the system names them.';
COMMENT ON COLUMN annotations.text IS 'The note.';
COMMENT ON COLUMN annotations.labels IS 'Labels such as `root-cause`.';
COMMENT ON COLUMN annotations.data IS 'Further values by name, such as a score.';
