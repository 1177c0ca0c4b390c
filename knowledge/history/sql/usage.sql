-- What was done and spent, by day, tenant and role, or over all of what is not asked for.
-- $1, $2 date: first day, day after the last; $3 text: tenant; $4 text: role; each NULL for all;
-- $5 boolean: by day; $6 boolean: by tenant; $7 boolean: by role
SELECT
    CASE WHEN $5 THEN day END AS day,
    CASE WHEN $6 THEN tenant END AS tenant,
    CASE WHEN $7 THEN role END AS role,
    sum(published)::bigint AS published,
    sum(runs)::bigint AS runs,
    sum(succeeded)::bigint AS succeeded,
    sum(failed)::bigint AS failed,
    sum(cancelled)::bigint AS cancelled,
    sum(retried)::bigint AS retried,
    sum(seconds) AS seconds,
    sum(cost)::bigint AS cost
FROM usage
WHERE
    ($1::date IS NULL OR day >= $1)
    AND ($2::date IS NULL OR day < $2)
    AND ($3::text IS NULL OR tenant = $3)
    AND ($4::text IS NULL OR role = $4)
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3
