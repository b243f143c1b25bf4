-- What a program took from its surroundings, what it started, and the order in which answers reached it.

DROP VIEW ambient;

CREATE TABLE ambient (
    trace VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    process BIGINT NOT NULL,
    kind VARCHAR NOT NULL,
    what VARCHAR NOT NULL,
    value JSON NOT NULL,
    file VARCHAR NOT NULL,
    line BIGINT NOT NULL,
    function VARCHAR NOT NULL,
    lane VARCHAR NOT NULL,
    at_us BIGINT NOT NULL,
    within VARCHAR,
    exact BLOB
);
COMMENT ON TABLE ambient IS 'What the program''s own code read from its surroundings: the clock, randomness, the process; and its sleeps.';
COMMENT ON COLUMN ambient.trace IS 'Id of the trace.';
COMMENT ON COLUMN ambient.position IS 'Place among the reads of the trace, from 0; those of one process are in their order.';
COMMENT ON COLUMN ambient.process IS '`processes.number` of the process that read it.';
COMMENT ON COLUMN ambient.kind IS '`clock`, `random`, `sleep`, `process` or `output`.';
COMMENT ON COLUMN ambient.what IS 'The function that was called, e.g. `time.time`.';
COMMENT ON COLUMN ambient.value IS 'What it gave, as JSON: `value::double`. Bytes are `{"$bytes": hex}`: `value->>''$."$bytes"''`. Of a sleep, its seconds.';
COMMENT ON COLUMN ambient.file IS 'Source file that called it.';
COMMENT ON COLUMN ambient.line IS 'Line in that file.';
COMMENT ON COLUMN ambient.function IS 'Qualified name of the function around that line.';
COMMENT ON COLUMN ambient.lane IS 'Line of control, as `steps.lane`.';
COMMENT ON COLUMN ambient.at_us IS 'When, in microseconds from the start of the trace.';
COMMENT ON COLUMN ambient.within IS 'Id of the tool step that it was read in.';
COMMENT ON COLUMN ambient.exact IS 'As `traces.exact`.';

CREATE TABLE uncontrolled (
    trace VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    what VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    file VARCHAR,
    line BIGINT,
    function VARCHAR,
    exact BLOB
);
COMMENT ON TABLE uncontrolled IS 'Sources of nondeterminism that a replay cannot control.';
COMMENT ON COLUMN uncontrolled.trace IS 'Id of the trace.';
COMMENT ON COLUMN uncontrolled.position IS 'Place in the trace''s list of them.';
COMMENT ON COLUMN uncontrolled.what IS 'What it is.';
COMMENT ON COLUMN uncontrolled.reason IS 'Why it cannot be controlled.';
COMMENT ON COLUMN uncontrolled.file IS 'Source file that used it; NULL when that is not known.';
COMMENT ON COLUMN uncontrolled.line IS 'Line in that file.';
COMMENT ON COLUMN uncontrolled.function IS 'Qualified name of the function around that line.';
COMMENT ON COLUMN uncontrolled.exact IS 'As `traces.exact`.';

CREATE TABLE launched (
    trace VARCHAR NOT NULL,
    position INTEGER NOT NULL,
    argv VARCHAR[] NOT NULL,
    lane VARCHAR NOT NULL,
    file VARCHAR,
    line BIGINT,
    function VARCHAR,
    within VARCHAR,
    exact BLOB
);
COMMENT ON TABLE launched IS 'Subprocesses that the program started.';
COMMENT ON COLUMN launched.trace IS 'Id of the trace.';
COMMENT ON COLUMN launched.position IS 'Place in the trace''s list of them; those of one process are in their order.';
COMMENT ON COLUMN launched.argv IS 'The command, word by word.';
COMMENT ON COLUMN launched.lane IS 'Line of control that started it, as `steps.lane`.';
COMMENT ON COLUMN launched.file IS 'Source file that started it; NULL when that is not known.';
COMMENT ON COLUMN launched.line IS 'Line in that file.';
COMMENT ON COLUMN launched.function IS 'Qualified name of the function around that line.';
COMMENT ON COLUMN launched.within IS 'Id of the tool step that it was started in.';
COMMENT ON COLUMN launched.exact IS 'As `traces.exact`.';

CREATE TABLE points (
    trace VARCHAR NOT NULL,
    count BIGINT NOT NULL,
    packed BLOB NOT NULL
);
COMMENT ON TABLE points IS 'The order in which completions reached the program: heads, pieces and ends of answers, timers, wake-ups, sleeps. One row for each trace that has any.';
COMMENT ON COLUMN points.trace IS 'Id of the trace.';
COMMENT ON COLUMN points.count IS 'How many there are.';
COMMENT ON COLUMN points.packed IS 'All of them, in columns: zlib around msgpack, laid out as `rashomon/store/points.py` says.';

ALTER TABLE processes ADD COLUMN epoch_ns BIGINT DEFAULT 0;
ALTER TABLE processes ADD COLUMN monotonic_ns BIGINT DEFAULT 0;
COMMENT ON COLUMN processes.epoch_ns IS 'Unix time in nanoseconds at which its journal began; 0 when that is not known.';
COMMENT ON COLUMN processes.monotonic_ns IS 'Its monotonic clock then, in nanoseconds; 0 when that is not known.';
