"""What the bus database is asked. Rows of one statement come sorted, so that none wait in a circle.

`DONE` is lane 9, see `names`. Where many may touch the same rows, a statement moves on from where
it found them, or not at all.

Plans are made once, often while a table is young and nothing is known of it. So rows named by their
keys are found by conditions that fit the primary key alone: those that look for lane and time say
`lane < 9`, as the index for them does, and the others nothing it follows from.
"""

FLEET = "INSERT INTO kafka_fleets (fleet) VALUES ($1) ON CONFLICT DO NOTHING"

LIMIT = "UPDATE fleets SET max_bytes = $2 WHERE id = $1 AND max_bytes IS DISTINCT FROM $2"

VERSION = "SELECT version FROM kafka_fleets WHERE fleet = $1"

GROUPS = """SELECT gid, name, topic, patterns, cut, widest, slots, f.version
FROM kafka_fleets f LEFT JOIN kafka_groups g ON g.fleet = f.fleet AND ready
    AND closing IS NULL
WHERE f.fleet = $1"""

FOUND = """INSERT INTO kafka_groups AS g (fleet, name, topic, patterns, cut, widest, slots)
VALUES ($1, $2, $3, '{}', 1, 1, $4)
ON CONFLICT (fleet, name) DO UPDATE SET name = g.name
RETURNING gid, topic, patterns, cut, widest, slots, ready,
    closing IS NULL AS open"""

PARTS = """INSERT INTO kafka_parts (gid, part) SELECT gid, n FROM kafka_groups,
generate_series(0, $2 - 1) n WHERE gid = $1 ON CONFLICT DO NOTHING"""

BOUND = """WITH bound AS (
    UPDATE kafka_groups SET patterns = $3, cut = $4, widest = greatest(widest, $4),
        slots = greatest(slots, $5), ready = true, closing = NULL
    WHERE gid = $2 RETURNING gid)
UPDATE kafka_fleets SET version = version + 1 WHERE fleet = $1 AND EXISTS (SELECT FROM bound)
RETURNING version"""

CLOSING = """WITH found AS (
    UPDATE kafka_groups SET closing = $3 WHERE fleet = $1 AND name = $2
    RETURNING gid, name, topic, patterns, cut, widest, slots),
moved AS (
    UPDATE kafka_fleets SET version = version + 1 WHERE fleet = $1 AND EXISTS (SELECT FROM found))
SELECT * FROM found"""

REOPEN = """WITH found AS (
    UPDATE kafka_groups SET closing = NULL WHERE gid = $2 AND closing = $3 RETURNING gid)
UPDATE kafka_fleets SET version = version + 1 WHERE fleet = $1 AND EXISTS (SELECT FROM found)"""

UNBOUND = """WITH gone AS (
    DELETE FROM kafka_groups WHERE gid = $1 AND closing = $2 RETURNING gid, fleet, topic),
forgotten AS (DELETE FROM kafka_tasks WHERE gid IN (SELECT gid FROM gone))
INSERT INTO kafka_graves (topic, fleet) SELECT topic, fleet FROM gone RETURNING topic"""

GRAVES = "SELECT topic FROM kafka_graves WHERE fleet = $1"

BURIED = "DELETE FROM kafka_graves WHERE topic = $1"

STATE = """SELECT 0 AS kind, 0 AS a, 0 AS b, version AS n, NULL::float8 AS late
FROM kafka_fleets WHERE fleet = $1
UNION ALL SELECT 1, part, 0, next, NULL FROM kafka_parts WHERE gid = $2
UNION ALL SELECT 2, w.lane, w.slice,
    (SELECT count(*) FROM (SELECT FROM kafka_tasks t WHERE t.gid = $2 AND t.lane = w.lane
        AND t.lane < 9 AND t.slice = w.slice AND t.at <= now() LIMIT $5) due),
    least($6, extract(epoch FROM (SELECT t.at FROM kafka_tasks t WHERE t.gid = $2
        AND t.lane = w.lane AND t.lane < 9 AND t.slice = w.slice
        ORDER BY t.at LIMIT 1) - now())::float8)
FROM unnest($3::smallint[], $4::smallint[]) w (lane, slice)"""

_RECORDS = """moved AS (
    UPDATE kafka_parts p SET next = a.upto, unread = p.unread - a.bytes,
        upto = to_timestamp(a.time)
    FROM unnest($4::int[], $5::bigint[], $6::bigint[], $7::bigint[], $8::float8[])
        a (part, first, upto, bytes, time)
    WHERE p.gid = $1 AND p.part = a.part AND p.next = a.first RETURNING p.part, a.upto),
ours AS MATERIALIZED (SELECT array_agg(part) AS parts FROM moved),
new AS (
    INSERT INTO kafka_tasks (gid, at, owner, handed, key, part, off, lane, slice, size)
    SELECT $1, now() + make_interval(secs => $2), $3, 1, r.*
    FROM unnest(string_to_array($9, chr(10)), $10::text::int[], $11::text::bigint[],
        $12::text::smallint[], $13::text::smallint[], $14::text::int[])
        r (key, part, off, lane, slice, size)
    WHERE r.part = ANY ((SELECT parts FROM ours)::int[])
    ON CONFLICT DO NOTHING RETURNING part, off)"""

_NEW = """SELECT array_agg(off) AS offs, NULL AS key, NULL::smallint AS lane,
    NULL::smallint AS slice, part, NULL::bigint AS off, NULL AS meta, NULL::bytea AS body,
    1 AS handed FROM new GROUP BY part"""

CLAIM = f"WITH {_RECORDS} {_NEW}"

# Those who wait for the same records are told up to where they are handed over.
COMPETE = f"""WITH {_RECORDS}
SELECT coalesce((SELECT array_agg(off) FROM new n WHERE n.part = m.part), '{{}}') AS offs,
    NULL AS key, part, pg_notify($15, format('%s:%s=%s', $1, part, upto)) FROM moved m"""  # noqa: S608

CLAIM_BOTH = f"""WITH wanted AS (
    SELECT * FROM unnest($15::smallint[], $16::smallint[], $17::int[]) w (lane, slice, most)),
picked AS MATERIALIZED (
    SELECT c.gid, c.key FROM wanted w CROSS JOIN LATERAL (
        SELECT gid, key FROM kafka_tasks t WHERE t.gid = $1 AND t.lane = w.lane AND t.lane < 9
            AND t.slice = w.slice AND t.at <= now()
        ORDER BY t.at LIMIT w.most FOR UPDATE SKIP LOCKED) c),
taken AS (
    UPDATE kafka_tasks t SET at = now() + make_interval(secs => $2), owner = $3,
        handed = handed + 1
    FROM picked p WHERE t.gid = p.gid AND t.key = p.key
    RETURNING t.key, t.lane, t.slice, t.part, t.off, t.meta, t.body, t.handed),
{_RECORDS}
{_NEW}
UNION ALL SELECT NULL, key, lane, slice, part, off, meta, body, handed FROM taken"""  # noqa: S608

TAKE = """WITH wanted AS (
    SELECT * FROM unnest($4::smallint[], $5::smallint[], $6::int[]) w (lane, slice, most)),
picked AS MATERIALIZED (
    SELECT c.gid, c.key FROM wanted w CROSS JOIN LATERAL (
        SELECT gid, key FROM kafka_tasks t WHERE t.gid = $1 AND t.lane = w.lane AND t.lane < 9
            AND t.slice = w.slice AND t.at <= now()
        ORDER BY t.at LIMIT w.most FOR UPDATE SKIP LOCKED) c)
UPDATE kafka_tasks t SET at = now() + make_interval(secs => $2), owner = $3, handed = handed + 1
FROM picked p WHERE t.gid = p.gid AND t.key = p.key
RETURNING NULL AS offs, t.key, t.lane, t.slice, t.part, t.off, t.meta, t.body, t.handed"""

_OURS = """FROM unnest($1::text::int[], string_to_array($2, chr(10)), $3::text::bigint[])
    WITH ORDINALITY r (gid, key, owner, n)
WHERE t.gid = r.gid AND t.key = r.key AND t.owner = r.owner AND (t.at > now()) IS TRUE
    AND (t.lane < 9) IS TRUE"""

_DONE = f"""UPDATE kafka_tasks t SET lane = 9, slice = 0, at = now(), owner = NULL, meta = NULL,
    body = NULL {_OURS}"""  # noqa: S608

SETTLE = f"WITH gone AS ({_DONE} RETURNING r.n) SELECT array_agg(n) FROM gone"  # noqa: S608

SETTLE_THEN = f"""WITH known AS (SELECT FROM kafka_fleets WHERE fleet = $12 AND version = $13),
gone AS ({_DONE} AND EXISTS (SELECT FROM known) RETURNING r.n),
kept AS (
    INSERT INTO kafka_tasks (gid, key, lane, slice, at, handed, size, meta, body)
    SELECT r.gid, r.key, r.lane, r.slice, greatest(now(), to_timestamp(r.due)), 0, r.size,
        r.meta, r.body
    FROM unnest($4::int[], $5::text[], $6::smallint[], $7::smallint[], $8::float8[], $9::int[],
        $10::text[], $11::bytea[]) r (gid, key, lane, slice, due, size, meta, body)
    WHERE EXISTS (SELECT FROM gone) AND EXISTS (SELECT FROM kafka_groups g WHERE g.gid = r.gid)
    ON CONFLICT DO NOTHING)
SELECT (SELECT array_agg(n) FROM gone) AS ours, EXISTS (SELECT FROM known) AS known"""  # noqa: S608

KEEP = """INSERT INTO kafka_tasks (gid, key, lane, slice, at, handed, size, meta, body)
SELECT r.gid, r.key, r.lane, r.slice, greatest(now(), to_timestamp(r.due)), 0, r.size,
    r.meta, r.body
FROM unnest($1::int[], $2::text[], $3::smallint[], $4::smallint[], $5::float8[], $6::int[],
    $7::text[], $8::bytea[]) r (gid, key, lane, slice, due, size, meta, body)
WHERE EXISTS (SELECT FROM kafka_groups g WHERE g.gid = r.gid)
ON CONFLICT DO NOTHING"""

EXTEND = f"""WITH held AS (UPDATE kafka_tasks t SET at = now() + make_interval(secs => $4) {_OURS}
    RETURNING r.n)
SELECT array_agg(n) FROM held"""  # noqa: S608

CARRY = """UPDATE kafka_tasks t SET meta = r.meta, body = r.body
FROM unnest($1::int[], $2::text[], $3::bigint[], $4::text[], $5::bytea[])
    r (gid, key, owner, meta, body)
WHERE t.gid = r.gid AND t.key = r.key AND t.owner = r.owner AND (t.lane < 9) IS TRUE"""

GIVE_BACK = f"""UPDATE kafka_tasks t SET at = now(), owner = NULL, handed = handed - 1
{_OURS}"""  # noqa: S608

# A statement of its own, which waits for no disk: commits that notify wait for each other.
RING = "SELECT pg_notify($1, news) FROM unnest($2::text[]) news"

COUNT = """UPDATE kafka_parts p SET unread = unread + a.bytes
FROM unnest($1::int[], $2::int[], $3::bigint[]) a (gid, part, bytes)
WHERE p.gid = a.gid AND p.part = a.part"""

COUNTS = """SELECT lane, slice, count(*) FILTER (WHERE at <= now()) AS waiting,
    count(*) FILTER (WHERE at > now() AND owner IS NULL) AS delayed,
    count(*) FILTER (WHERE at > now() AND owner IS NOT NULL) AS leased
FROM kafka_tasks WHERE gid = $1 AND lane < 9 GROUP BY lane, slice"""

NEXT = "SELECT part, next FROM kafka_parts WHERE gid = $1"

ROOM = """SELECT f.max_bytes,
    (SELECT greatest(0, coalesce(sum(p.unread), 0))::bigint
        FROM kafka_parts p JOIN kafka_groups g USING (gid) WHERE g.fleet = f.id)
    + (SELECT coalesce(sum(t.size), 0)::bigint FROM kafka_groups g JOIN kafka_tasks t USING (gid)
        WHERE g.fleet = f.id AND t.lane < 9) AS used
FROM fleets f WHERE f.id = $1"""

SWEEP = """UPDATE kafka_fleets SET swept = now()
WHERE fleet = $1 AND swept < now() - make_interval(secs => $2) RETURNING now()"""

LOWS = """SELECT g.gid, g.topic, p.part, p.next, p.low, least(p.next, held.off) AS wanted
FROM kafka_groups g JOIN kafka_parts p USING (gid) LEFT JOIN LATERAL (
    SELECT t.part, min(t.off) AS off FROM kafka_tasks t
    WHERE t.gid = g.gid AND t.lane = ANY ('{0,2,3}') AND t.body IS NULL GROUP BY t.part) held
    USING (part)
WHERE g.fleet = $1 AND g.ready"""

SWEPT = """UPDATE kafka_parts p SET low = greatest(p.low, a.low),
    upto = CASE WHEN a.drained AND p.next = a.next THEN greatest(p.upto, $1) ELSE p.upto END,
    unread = CASE WHEN a.drained AND p.next = a.next THEN 0 ELSE p.unread END
FROM unnest($2::int[], $3::int[], $4::bigint[], $5::bigint[], $6::bool[])
    a (gid, part, low, next, drained)
WHERE p.gid = a.gid AND p.part = a.part"""

FORGET = """DELETE FROM kafka_tasks WHERE ctid = ANY (ARRAY (
    SELECT t.ctid FROM kafka_tasks t WHERE t.gid = $1 AND t.lane = 9
        AND t.at < (SELECT least(now(), min(upto)) FROM kafka_parts WHERE gid = $1)
            - make_interval(secs => $2)
    ORDER BY t.at LIMIT $3))
RETURNING 1"""

LEAD = """WITH lead AS (
    INSERT INTO kafka_tasks AS t (gid, key, lane, slice, handed, size, owner, at)
    VALUES ($1, '/reader', 10, 0, 0, 0, $2, now() + make_interval(secs => $3))
    ON CONFLICT (gid, key) DO UPDATE SET owner = $2, at = now() + make_interval(secs => $3)
    WHERE t.owner = $2 OR t.at < now() RETURNING gid)
SELECT f.version
FROM lead JOIN kafka_groups g USING (gid) JOIN kafka_fleets f ON f.fleet = g.fleet"""

RESIGN = "DELETE FROM kafka_tasks WHERE gid = $1 AND key = '/reader' AND owner = $2"

UNPARK = """UPDATE kafka_tasks SET at = now()
WHERE gid = $1 AND lane = 1 AND owner IS NULL AND at > now()"""

PARKED = """SELECT count(*) OVER () AS count, t.meta
FROM kafka_groups g JOIN kafka_tasks t USING (gid)
WHERE g.fleet = $1 AND g.name = $2 AND t.lane = 1 LIMIT $3"""
