-- What operators did, last first. $1 text: by; $2 text: action; $3 text: target; $4, $5 double
-- precision: since, until; $6 bigint: before this id; each NULL for all; $7 bigint: how many
SELECT id, at, by, action, target, details, outcome
FROM audit
WHERE
    ($1::text IS NULL OR by = $1)
    AND ($2::text IS NULL OR action = $2)
    AND ($3::text IS NULL OR target = $3)
    AND ($4::double precision IS NULL OR at >= $4)
    AND ($5::double precision IS NULL OR at < $5)
    AND ($6::bigint IS NULL OR id < $6)
ORDER BY id DESC
LIMIT $7
