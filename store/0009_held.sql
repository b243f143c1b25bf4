-- Whether a replay held is not known of one that is still going on, nor of one that another format has told of.

CREATE OR REPLACE MACRO replays_rows() AS TABLE FROM query($$
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
    CASE
        WHEN diverged.divergences > 0 THEN false
        WHEN replay.outcome = 'open' OR json_array_length(replay.provenance, '$.imported.lacks') > 0 THEN NULL
        ELSE true
    END AS held
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
COMMENT ON COLUMN replays.held IS 'Whether there was no divergence; NULL where that is not known: the replay goes on, or it was imported from a format that does not tell.';
