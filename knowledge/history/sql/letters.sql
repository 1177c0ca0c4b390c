-- Deaths, each once.
INSERT INTO letters AS l (
    died, task, role, copy, published, topic, tenant, reason, error, attempts, worker
)
SELECT DISTINCT ON (published, task, role, copy)
    at, task, role, copy, published, topic, tenant, coalesce(reason, ''), coalesce(error, ''),
    attempt, worker
FROM incoming
WHERE kind = 'failed'
ORDER BY published, task, role, copy, at DESC, told DESC
ON CONFLICT (task, role, published, copy) DO UPDATE SET
    died = excluded.died,
    reason = excluded.reason,
    error = excluded.error,
    attempts = excluded.attempts,
    worker = excluded.worker
WHERE l.died IS NULL OR excluded.died > l.died
