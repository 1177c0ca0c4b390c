-- $1 name, $2 next, $3 last tick that was published or null, $4 how many were
UPDATE schedules
SET next = $2, due = $2, last = coalesce($3, last), fired = fired + $4, error = NULL
WHERE name = $1
