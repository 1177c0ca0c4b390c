-- $1 name, $2 tenant, $3 topic, $4 payload, $5 priority, $6 deadline, $7 budget, $8 cron, $9 at,
-- $10 zone, $11 misfire, $12 made, $13 next, $14 whether one of this name is replaced
-- Answers the name, nothing where one is there and stays.
INSERT INTO schedules AS old
    (name, tenant, topic, payload, priority, deadline, budget, cron, at, zone, misfire, made, next, due)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $13)
ON CONFLICT (name) DO UPDATE
SET tenant = excluded.tenant, topic = excluded.topic, payload = excluded.payload,
    priority = excluded.priority, deadline = excluded.deadline, budget = excluded.budget,
    cron = excluded.cron, at = excluded.at, zone = excluded.zone, misfire = excluded.misfire,
    next = excluded.next, due = excluded.due, error = NULL
WHERE $14
RETURNING name
