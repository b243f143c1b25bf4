-- Smaller files: zstd for texts and bytes that a dictionary of short pieces served worse, and a table of a few rows
-- without an index. A column's compression cannot be changed, so that each of these is made anew.

CREATE TABLE parts_anew (
    digest VARCHAR NOT NULL,
    size BIGINT NOT NULL,
    text VARCHAR USING COMPRESSION zstd,
    body BLOB USING COMPRESSION zstd,
    id INTEGER
);
INSERT INTO parts_anew SELECT digest, size, text, body, id FROM parts;
DROP TABLE parts;
ALTER TABLE parts_anew RENAME TO parts;
COMMENT ON TABLE parts IS 'Pieces of payload, named by their content and stored once.';
COMMENT ON COLUMN parts.digest IS '`b2:` and 32 hex digits: BLAKE2b of the bytes, 128 bits.';
COMMENT ON COLUMN parts.size IS 'Size in bytes.';
COMMENT ON COLUMN parts.text IS 'The content, when it is UTF-8; else NULL.';
COMMENT ON COLUMN parts.body IS 'The content, when it is not UTF-8; else NULL.';
COMMENT ON COLUMN parts.id IS 'Number of the part, by which steps refer to it.';

ALTER TABLE steps RENAME COLUMN title TO title_before;
ALTER TABLE steps ADD COLUMN title VARCHAR USING COMPRESSION zstd;
UPDATE steps SET title = title_before;
ALTER TABLE steps DROP COLUMN title_before;
COMMENT ON COLUMN steps.title IS 'One line that says what was asked and what came back.';

ALTER TABLE steps RENAME COLUMN request_head TO request_head_before;
ALTER TABLE steps RENAME COLUMN response_head TO response_head_before;
ALTER TABLE steps ADD COLUMN request_head JSON USING COMPRESSION zstd;
ALTER TABLE steps ADD COLUMN response_head JSON USING COMPRESSION zstd;
UPDATE steps SET request_head = request_head_before, response_head = response_head_before;
ALTER TABLE steps DROP COLUMN request_head_before;
ALTER TABLE steps DROP COLUMN response_head_before;
COMMENT ON COLUMN steps.request_head IS 'Method, url and headers; for a tool its reference and flavour.';
COMMENT ON COLUMN steps.response_head IS 'Status and headers; NULL when the call failed before anything came back.';

ALTER TABLE tool_requests RENAME COLUMN arguments TO arguments_before;
ALTER TABLE tool_requests ADD COLUMN arguments JSON USING COMPRESSION zstd;
UPDATE tool_requests SET arguments = arguments_before;
ALTER TABLE tool_requests DROP COLUMN arguments_before;
COMMENT ON COLUMN tool_requests.arguments IS 'The arguments; a JSON text where the model sent no valid JSON.';

ALTER TABLE members RENAME COLUMN told TO told_before;
ALTER TABLE members ADD COLUMN told BLOB USING COMPRESSION zstd;
UPDATE members SET told = told_before;
ALTER TABLE members DROP COLUMN told_before;
COMMENT ON COLUMN members.told IS 'The sums and facts, in msgpack, as `rashomon/store/ledger.py` packs them.';

ALTER TABLE journals RENAME COLUMN resume TO resume_before;
ALTER TABLE journals ADD COLUMN resume BLOB USING COMPRESSION zstd;
UPDATE journals SET resume = resume_before;
ALTER TABLE journals DROP COLUMN resume_before;
COMMENT ON COLUMN journals.resume IS 'Where and how to read on, in msgpack.';

CREATE TABLE meta_anew (key VARCHAR NOT NULL, value VARCHAR NOT NULL);
INSERT INTO meta_anew SELECT key, value FROM meta;
DROP TABLE meta;
ALTER TABLE meta_anew RENAME TO meta;
COMMENT ON TABLE meta IS 'What this file is: who made it, and at which version of the schema.';
COMMENT ON COLUMN meta.key IS '`application`, `schema` (number of the last migration), `generation` (grows with each ingestion), `compaction` (rows were deleted, and their space is to be given back) or `compacted` (bytes of the file when it was written anew).';
COMMENT ON COLUMN meta.value IS 'The value, as text.';
