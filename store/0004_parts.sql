-- A step's parts as one list instead of a row for each, by number; and what is needed to read a journal on.

ALTER TABLE parts ADD COLUMN id INTEGER;
UPDATE parts SET id = numbered.id FROM (
    SELECT digest, row_number() OVER (ORDER BY rowid) - 1 AS id FROM parts
) AS numbered WHERE numbered.digest = parts.digest;
COMMENT ON COLUMN parts.id IS 'Number of the part, by which steps refer to it.';

ALTER TABLE steps ADD COLUMN request_parts INTEGER[];
ALTER TABLE steps ADD COLUMN response_part INTEGER;
ALTER TABLE steps ADD COLUMN prompt_part INTEGER;
ALTER TABLE steps ADD COLUMN runs STRUCT(path VARCHAR, "first" INTEGER, "start" INTEGER, "count" INTEGER, separator VARCHAR)[];
COMMENT ON COLUMN steps.request_parts IS 'The request: `parts.id` of its frame, then of what goes into the frame''s holes.';
COMMENT ON COLUMN steps.response_part IS '`parts.id` of the response; NULL when none came.';
COMMENT ON COLUMN steps.prompt_part IS '`parts.id` of the system prompt''s text.';
COMMENT ON COLUMN steps.runs IS 'For each hole the parts that go into it: member of the request, place of the first in the member''s list (NULL: it is the member itself), place of the first among the parts, from 1, number, and what stands between any two.';
COMMENT ON COLUMN steps.holes IS 'Offsets, in characters of the request''s frame, where parts are to be put in: those of the run in the same place.';

UPDATE steps SET request_parts = linked.ids, response_part = linked.response, runs = linked.runs FROM (
    SELECT
        links.trace,
        links.step,
        list(parts.id ORDER BY links.position) FILTER (links.position >= 0) AS ids,
        any_value(parts.id) FILTER (links.position = -1) AS response,
        coalesce(list(struct_pack(
            path := links.path[9:], "first" := NULL::INTEGER, "start" := links.position, "count" := 1, separator := ''
        ) ORDER BY links.position) FILTER (links.position > 0), []) AS runs
    FROM step_parts AS links JOIN parts ON parts.digest = links.part
    GROUP BY ALL
) AS linked WHERE linked.trace = steps.trace AND linked.step = steps.position;

DROP TABLE step_parts;

CREATE VIEW step_parts AS
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
FROM links JOIN parts ON parts.id = links.id;
COMMENT ON VIEW step_parts IS 'Which parts a step is made of, one row for each.';
COMMENT ON COLUMN step_parts.trace IS 'Id of the trace.';
COMMENT ON COLUMN step_parts.step IS '`steps.position` of the step.';
COMMENT ON COLUMN step_parts.position IS 'Order within the step: 0 is the request''s frame, then what goes into its holes; -1 is the response, -2 the text of the system prompt.';
COMMENT ON COLUMN step_parts.path IS '`request` (the frame), `request.messages[3]` (what goes into a hole), `response` or `prompt`.';
COMMENT ON COLUMN step_parts.part IS '`parts.digest`.';

ALTER TABLE points ADD COLUMN process INTEGER;
ALTER TABLE points ADD COLUMN position INTEGER DEFAULT 0;
ALTER TABLE points ADD COLUMN shift_us BIGINT DEFAULT 0;
COMMENT ON TABLE points IS 'The order in which completions reached the program: heads, pieces and ends of answers, timers, wake-ups, sleeps.';
COMMENT ON COLUMN points.process IS '`processes.number` of the process whose journal told of them; NULL where they say it themselves.';
COMMENT ON COLUMN points.position IS 'Place of the row among those of its process, from 0.';
COMMENT ON COLUMN points.shift_us IS 'Microseconds from the start of the trace to that of the process.';
COMMENT ON COLUMN points.packed IS 'Up to 4096 of them, in columns: zlib around msgpack, laid out as `rashomon/store/points.py` says.';

CREATE TABLE members (
    trace VARCHAR NOT NULL,
    journal VARCHAR NOT NULL,
    told BLOB NOT NULL
);
COMMENT ON TABLE members IS 'What each journal says of each of its traces beside steps, so that a journal that grows is not read whole.';
COMMENT ON COLUMN members.trace IS 'Id of the trace.';
COMMENT ON COLUMN members.journal IS '`journals.name`.';
COMMENT ON COLUMN members.told IS 'The sums and facts, in msgpack, as `rashomon/store/ledger.py` packs them.';

ALTER TABLE journals ADD COLUMN process BLOB;
ALTER TABLE journals ADD COLUMN resume BLOB;
COMMENT ON COLUMN journals.process IS 'What it says of its process, in msgpack.';
COMMENT ON COLUMN journals.resume IS 'Where and how to read on, in msgpack.';
