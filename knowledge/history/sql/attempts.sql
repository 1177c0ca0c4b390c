-- The runs of a task in its roles, first one first: those of publications that rows of `tasks` tell of.
-- $1 text: task
SELECT
    r.published, r.role, r.copy, r.attempt, r.worker, r.pid, r.started, r.outcome, r.at, r.seconds,
    r.cost, r.reason, r.error
FROM tasks AS t
JOIN runs AS r ON r.published = t.published AND r.task = t.task AND r.role = t.role
WHERE t.task = $1
ORDER BY r.published, r.role, r.copy
