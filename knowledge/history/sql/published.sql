-- What publishers said. A task that some role has taken already does not wait.
INSERT INTO tasks AS t (
    published, task, role, topic, tenant, correlation, priority, deadline, parent, subjects,
    state, copy, step, since, told, due
)
SELECT DISTINCT ON (i.published, i.task, i.role)
    i.published, i.task, i.role, i.topic, i.tenant, i.correlation, i.priority, i.deadline,
    i.parent, i.subjects,
    CASE
        WHEN i.role = '' AND EXISTS (
            SELECT FROM tasks AS r
            WHERE r.published = i.published AND r.task = i.task AND r.step > 0
        ) THEN 'handled'
        ELSE i.state
    END,
    -1, 0, i.at, i.told, i.due
FROM incoming AS i
WHERE i.step = 0
ORDER BY i.published, i.task, i.role, i.told
ON CONFLICT (published, task, role) DO UPDATE SET
    priority = excluded.priority,
    deadline = excluded.deadline,
    parent = excluded.parent,
    subjects = excluded.subjects
WHERE t.priority IS NULL
