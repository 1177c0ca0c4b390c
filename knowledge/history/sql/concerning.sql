-- What operators did to a task, first one first: by its id, or to all of its role, tenant, subject
-- or fleet while it had not ended. $1 text: task; $2 text[]: roles; $3 text: tenant;
-- $4 text[]: subjects; $5, $6 double precision: published, ended (NULL: not yet); $7 text[]: actions
-- on many that concern each
SELECT
    id, at, by, action, scope, target, before, after, details, outcome, role,
    nullif(count, 0) AS count, ARRAY[]::text[] AS tasks
FROM audit
WHERE
    deed IN (SELECT deed FROM audit_tasks WHERE task = $1)
    OR (
        at >= $5
        AND ($6::double precision IS NULL OR at <= $6)
        AND action = ANY($7)
        AND (
            scope = 'fleet'
            OR (scope = 'role' AND target = ANY($2))
            OR (scope = 'tenant' AND target = $3)
            OR (scope = 'subject' AND target = ANY($4))
        )
    )
ORDER BY at, id
LIMIT 1000
