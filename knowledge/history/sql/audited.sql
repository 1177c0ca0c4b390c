-- What operators did, last first, with the first of the tasks it was done to.
-- $1 text: by, whole or before the @; $2 text: action, whole or its first word; $3 text: role;
-- $4 text: task; $5, $6 double precision: since, until; $7 double precision, $8 bigint: after this
-- row; each NULL for all; $9 bigint: how many
SELECT
    a.id, a.at, a.by, a.action, a.scope, a.target, a.before, a.after, a.details, a.outcome,
    coalesce(nullif(a.role, ''), t.roles, '') AS role,
    coalesce(a.count, nullif(t.count, 0)) AS count,
    coalesce(t.tasks, '{}') AS tasks
FROM (
    SELECT *
    FROM audit AS a
    WHERE
        ($1::text IS NULL OR by = $1 OR split_part(by, '@', 1) = $1)
        AND ($2::text IS NULL OR action = $2 OR split_part(action, ' ', 1) = $2)
        AND (
            $3::text IS NULL
            OR role = $3
            OR EXISTS (SELECT FROM audit_tasks AS t WHERE t.deed = a.deed AND t.role = $3)
        )
        AND (
            $4::text IS NULL
            OR EXISTS (SELECT FROM audit_tasks AS t WHERE t.deed = a.deed AND t.task = $4)
        )
        AND ($5::double precision IS NULL OR at >= $5)
        AND ($6::double precision IS NULL OR at < $6)
        AND ($7::double precision IS NULL OR (at, id) < ($7, $8::bigint))
    ORDER BY at DESC, id DESC
    LIMIT $9
) AS a
LEFT JOIN LATERAL (
    SELECT
        count(*) AS count,
        string_agg(DISTINCT nullif(role, ''), ' ') AS roles,
        (array_agg(task ORDER BY task))[:20] AS tasks
    FROM audit_tasks AS t
    WHERE t.deed = a.deed
) AS t ON true
ORDER BY a.at DESC, a.id DESC
