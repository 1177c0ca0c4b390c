-- How the latest publication of a task has ended, with what it was given and gave, per role: of the
-- copy that counts, and only while no later one is under way. $1 text: task; $2 text: role or NULL
SELECT
    t.task, t.role, t.published, t.state, t.copy, t.attempt, t.worker, t.since, t.reason, t.error,
    r.payload, r.result, r.payload_bytes, r.result_bytes
FROM (
    SELECT DISTINCT ON (role) *
    FROM tasks
    WHERE task = $1 AND ($2::text IS NULL OR role = $2) AND copy >= 0
    ORDER BY role, published DESC
) AS t
LEFT JOIN results AS r
    ON r.published = t.published AND r.task = t.task AND r.role = t.role AND r.copy = t.copy
WHERE t.step = 4
ORDER BY t.role
