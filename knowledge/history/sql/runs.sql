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
    started = least(r.started, excluded.started),
    attempt = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.attempt
        ELSE r.attempt
    END,
    worker = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.worker
        ELSE r.worker
    END,
    pid = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.pid
        ELSE r.pid
    END,
    outcome = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.outcome
        ELSE r.outcome
    END,
    seconds = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.seconds
        ELSE r.seconds
    END,
    cost = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.cost
        ELSE r.cost
    END,
    reason = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.reason
        ELSE r.reason
    END,
    error = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.error
        ELSE r.error
    END,
    step = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.step
        ELSE r.step
    END,
    at = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.at
        ELSE r.at
    END,
    told = CASE
        WHEN (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told) THEN excluded.told
        ELSE r.told
    END
WHERE (excluded.step, excluded.at, excluded.told) > (r.step, r.at, r.told)
    OR excluded.started < r.started
    OR (r.started IS NULL AND excluded.started IS NOT NULL)
