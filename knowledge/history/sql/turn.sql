-- One batch after the other, whoever writes: overlapping ones could wait for each other's rows.
-- $1 text: schema
SELECT pg_advisory_xact_lock(hashtextextended('muster record ' || $1, 0))
