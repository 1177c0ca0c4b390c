-- Tasks by role, newest publication first. What was published to whoever is bound is there until
-- a role has it; a publication that only repeated one whose runs are known is left out (an id of
-- UUID version 7 is made for one publication only).
-- $1 text: role; $2 text: topic; $3 text: tenant; $4 text[]: states as stored; $5 text[]: states
-- as shown; $6, $7 double precision: published since, until; $8 text: pattern of ILIKE;
-- $9 text: task; $10 double precision, $11 text, $12 text: after this row; $13 bigint: how many;
-- $14 text: the state as stored, where it is only one; each NULL where nothing is asked
SELECT
    t.task, t.role, t.topic, t.tenant, t.published, t.correlation,
    coalesce(t.priority, p.priority) AS priority,
    coalesce(t.deadline, p.deadline) AS deadline,
    coalesce(t.parent, p.parent) AS parent,
    coalesce(t.subjects, p.subjects) AS subjects,
    t.state, t.copy, t.since, t.attempt, t.worker, t.pid, t.due, t.reason, t.error, t.share,
    t.note, r.started, r.seconds, r.cost
FROM (
    SELECT t.*
    FROM tasks AS t
    WHERE
        t.state <> 'handled'
        AND ($1::text IS NULL OR t.role = $1)
        AND ($2::text IS NULL OR t.topic = $2)
        AND ($3::text IS NULL OR t.tenant = $3)
        AND ($4::text[] IS NULL OR t.state = ANY($4))
        AND ($14::text IS NULL OR t.state = $14)
        AND (
            $5::text[] IS NULL
            OR CASE
                WHEN t.state = 'waiting' AND t.due > extract(EPOCH FROM now()) THEN 'delayed'
                ELSE t.state
            END = ANY($5)
        )
        AND ($6::double precision IS NULL OR t.published >= $6)
        AND ($7::double precision IS NULL OR t.published < $7)
        AND (
            $8::text IS NULL
            OR concat_ws(' ', t.task, t.topic, t.worker, t.reason, t.error, t.note) ILIKE $8
        )
        AND ($9::text IS NULL OR t.task = $9)
        AND (
            $10::double precision IS NULL
            OR (t.published, t.task, t.role) < ($10, $11::text, $12::text)
        )
        AND NOT (
            t.copy < 0
            AND substr(t.task, 15, 1) <> '7'
            AND EXISTS (
                SELECT FROM tasks AS o
                WHERE o.task = t.task AND o.published <> t.published AND o.copy >= 0
                    AND (t.role = '' OR o.role = t.role)
            )
        )
    ORDER BY t.published DESC, t.task DESC, t.role DESC
    LIMIT $13
) AS t
LEFT JOIN tasks AS p
    ON t.role <> '' AND p.published = t.published AND p.task = t.task AND p.role = ''
LEFT JOIN runs AS r
    ON r.published = t.published AND r.task = t.task AND r.role = t.role AND r.copy = t.copy
ORDER BY t.published DESC, t.task DESC, t.role DESC
