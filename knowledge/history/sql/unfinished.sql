-- What has not ended and of which nothing was heard since a time, longest silence first; without
-- repeated publications, as in listing.sql.
-- $1 double precision: since; $2 bigint: how many
SELECT
    t.task, t.role, t.topic, t.tenant, t.published, t.correlation,
    coalesce(t.priority, p.priority) AS priority,
    coalesce(t.deadline, p.deadline) AS deadline,
    coalesce(t.parent, p.parent) AS parent,
    coalesce(t.subjects, p.subjects) AS subjects,
    t.state, t.copy, t.since, t.attempt, t.worker, t.pid, t.due, t.reason, t.error, t.share,
    t.note, r.started, r.seconds, r.cost
FROM (
    SELECT t.*
    FROM tasks AS t
    WHERE
        t.state IN ('waiting', 'running', 'retrying', 'snoozed')
        AND t.since < $1
        AND NOT (
            t.copy < 0
            AND substr(t.task, 15, 1) <> '7'
            AND EXISTS (
                SELECT FROM tasks AS o
                WHERE o.task = t.task AND o.published <> t.published AND o.copy >= 0
                    AND (t.role = '' OR o.role = t.role)
            )
        )
    ORDER BY t.since
    LIMIT $2
) AS t
LEFT JOIN tasks AS p
    ON t.role <> '' AND p.published = t.published AND p.task = t.task AND p.role = ''
LEFT JOIN runs AS r
    ON r.published = t.published AND r.task = t.task AND r.role = t.role AND r.copy = t.copy
ORDER BY t.since
