-- Each task of a role as the last that happened to it says; what happened before changes nothing.
-- What some role has taken waits no longer for anybody: the row without a role is handled.
INSERT INTO tasks AS t (
    published, task, role, topic, tenant, correlation, state, copy, step, since, told, attempt,
    worker, pid, due, reason, error, share, note
)
(
    SELECT DISTINCT ON (published, task, role)
        published, task, role, topic, tenant, correlation, state, copy, step, at, told, attempt,
        worker, pid, due, reason, error, share, note
    FROM incoming
    WHERE step > 0
    ORDER BY published, task, role, copy DESC, step DESC, at DESC, told DESC
)
UNION ALL
(
    SELECT DISTINCT ON (published, task)
        published, task, '', topic, tenant, NULL, 'handled', -1, 1::smallint, 0::double precision,
        0::bigint, NULL::integer, NULL, NULL::integer, NULL::double precision, NULL, NULL,
        NULL::double precision, NULL
    FROM incoming
    WHERE step > 0 AND role <> ''
    ORDER BY published, task, told
)
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
