-- $1 now, $2 how many at most
SELECT * FROM schedules
WHERE NOT paused AND due <= $1
ORDER BY due
LIMIT $2
FOR UPDATE SKIP LOCKED
