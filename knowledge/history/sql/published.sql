-- What publishers said.
INSERT INTO tasks AS t (
    published, task, role, topic, tenant, correlation, priority, deadline, parent, subjects,
    state, copy, step, since, told, due
)
SELECT DISTINCT ON (published, task, role)
    published, task, role, topic, tenant, correlation, priority, deadline, parent, subjects,
    state, copy, step, at, told, due
FROM incoming
WHERE step = 0
ORDER BY published, task, role, told
ON CONFLICT (published, task, role) DO UPDATE SET
    correlation = coalesce(t.correlation, excluded.correlation),
    priority = excluded.priority,
    deadline = excluded.deadline,
    parent = excluded.parent,
    subjects = excluded.subjects
WHERE t.priority IS NULL
