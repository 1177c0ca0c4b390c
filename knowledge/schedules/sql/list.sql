-- $1 tenant or null for all
SELECT * FROM schedules WHERE $1::text IS NULL OR tenant = $1 ORDER BY name
