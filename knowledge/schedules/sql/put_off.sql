-- $1 name, $2 due, $3 error
UPDATE schedules SET due = $2, error = $3 WHERE name = $1
