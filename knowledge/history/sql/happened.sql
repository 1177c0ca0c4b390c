-- Every event of a task, as it went. $1 text: task; $2 bigint: how many of the last ones
SELECT * FROM (
    SELECT
        at, told, task, published, kind, topic, tenant, role, copy, attempt, worker, pid, number,
        correlation, data
    FROM events
    WHERE task = $1
    ORDER BY at DESC, copy DESC, told DESC
    LIMIT $2
) AS e
ORDER BY at, copy, told
