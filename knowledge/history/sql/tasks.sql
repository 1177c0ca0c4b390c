-- Each task of a role as the last that happened to it says; what happened before changes nothing.
INSERT INTO tasks AS t (
    published, task, role, topic, tenant, correlation, state, copy, step, since, told, attempt,
    worker, pid, due, reason, error, share, note
)
SELECT DISTINCT ON (published, task, role)
    published, task, role, topic, tenant, correlation, state, copy, step, at, told, attempt,
    worker, pid, due, reason, error, share, note
FROM incoming
WHERE step > 0
ORDER BY published, task, role, copy DESC, step DESC, at DESC, told DESC
ON CONFLICT (published, task, role) DO UPDATE SET
    state = excluded.state,
    copy = excluded.copy,
    step = excluded.step,
    since = excluded.since,
    told = excluded.told,
    attempt = excluded.attempt,
    worker = excluded.worker,
    pid = excluded.pid,
    due = excluded.due,
    reason = excluded.reason,
    error = excluded.error,
    share = excluded.share,
    note = excluded.note
WHERE (excluded.copy, excluded.step, excluded.since, excluded.told)
    > (t.copy, t.step, t.since, t.told)
