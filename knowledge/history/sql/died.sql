-- Deaths, last first, with what a person decided: purged, else changed, else replayed as its event
-- tells. $1 text: task; $2 text: role; $3 text: tenant; $4 text: reason; $5, $6 double precision:
-- died since, until; $7 boolean: only those nobody has decided on; $8 text: pattern of ILIKE;
-- $9 double precision, $10 text, $11 text, $12 integer: after this row; each NULL for all;
-- $13 bigint: how many
SELECT
    died, task, role, copy, published, topic, tenant, reason, error, attempts, worker,
    coalesce(d.fate, l.fate) AS fate,
    coalesce(d.fate_by, l.fate_by) AS fate_by,
    coalesce(d.fate_at, l.fate_at) AS fate_at,
    (
        SELECT count(*) FROM letters AS m
        WHERE m.task = l.task AND m.role = l.role AND m.fate = 'replayed'
    ) AS replays
FROM letters AS l
LEFT JOIN LATERAL (
    SELECT
        CASE a.action WHEN 'dlq purge' THEN 'purged' ELSE 'edited' END AS fate,
        a.by AS fate_by,
        a.at AS fate_at
    FROM audit_tasks AS t
    JOIN audit AS a ON a.deed = t.deed
    WHERE
        t.task = l.task AND t.role = l.role AND t.copy = l.copy
        AND a.action IN ('dlq purge', 'dlq edit')
    ORDER BY a.action DESC, a.at DESC
    LIMIT 1
) AS d ON true
WHERE
    died IS NOT NULL
    AND ($1::text IS NULL OR task = $1)
    AND ($2::text IS NULL OR role = $2)
    AND ($3::text IS NULL OR tenant = $3)
    AND ($4::text IS NULL OR reason = $4)
    AND ($5::double precision IS NULL OR died >= $5)
    AND ($6::double precision IS NULL OR died < $6)
    AND ($7::boolean IS NOT TRUE OR coalesce(d.fate, l.fate) IS NULL)
    AND ($8::text IS NULL OR concat_ws(' ', task, topic, error) ILIKE $8)
    AND (
        $9::double precision IS NULL
        OR (died, task, role, copy) < ($9, $10::text, $11::text, $12::integer)
    )
ORDER BY died DESC, task DESC, role DESC, copy DESC
LIMIT $13
