-- $1 name, $2 next
UPDATE schedules SET paused = false, next = $2, due = $2, error = NULL WHERE name = $1
