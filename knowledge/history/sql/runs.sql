-- Each run as the last that is told of it says; it began when the first to know says.
INSERT INTO runs AS r (
    published, task, role, copy, attempt, worker, pid, started, outcome, step, at, told, seconds,
    cost, reason, error
)
SELECT DISTINCT ON (published, task, role, copy)
    published,
    task,
    role,
    copy,
    attempt,
    worker,
    pid,
    min(started) OVER (PARTITION BY published, task, role, copy),
    CASE WHEN step > 2 THEN kind END,
    step,
    at,
    told,
    seconds,
    cost,
    reason,
    error
FROM incoming
WHERE step > 1
ORDER BY published, task, role, copy, step DESC, at DESC, told DESC
ON CONFLICT (published, task, role, copy) DO UPDATE SET
    (started, attempt, worker, pid, outcome, step, at, told, seconds, cost, reason, error) = (
        SELECT
            least(r.started, excluded.started),
            m.attempt, m.worker, m.pid, m.outcome, m.step, m.at, m.told, m.seconds, m.cost,
            m.reason, m.error
        FROM (
            VALUES
            (
                r.attempt, r.worker, r.pid, r.outcome, r.step, r.at, r.told, r.seconds, r.cost,
                r.reason, r.error
            ),
            (
                excluded.attempt, excluded.worker, excluded.pid, excluded.outcome, excluded.step,
                excluded.at, excluded.told, excluded.seconds, excluded.cost, excluded.reason,
                excluded.error
            )
        ) AS m (
            attempt, worker, pid, outcome, step, at, told, seconds, cost, reason, error
        )
        ORDER BY m.step DESC, m.at DESC, m.told DESC
        LIMIT 1
    )
WHERE (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told)
    OR excluded.started < r.started
    OR (r.started IS NULL AND excluded.started IS NOT NULL)
