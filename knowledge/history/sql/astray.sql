-- Days of rows in the default partition that have come within reach.
-- {table}: table; {key}: its time; $1, $2 double precision: from, to
SELECT DISTINCT floor({key} / 86400)::bigint AS day
FROM {table}_default
WHERE {key} >= $1 AND {key} < $2
