-- What a person decided about the last death of a task in a role.
-- $1 text: task; $2 text: role; $3 text: fate; $4 text: by
UPDATE letters AS l
SET fate = $3, fate_by = $4, fate_at = extract(EPOCH FROM clock_timestamp())
WHERE l.task = $1 AND l.role = $2 AND (l.published, l.copy) = (
    SELECT m.published, m.copy FROM letters AS m
    WHERE m.task = $1 AND m.role = $2 AND m.died IS NOT NULL
    ORDER BY m.published DESC, m.copy DESC
    LIMIT 1
)
RETURNING l.published, l.copy
