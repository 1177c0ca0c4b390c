-- $1 name
SELECT * FROM schedules WHERE name = $1 FOR UPDATE
