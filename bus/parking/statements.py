"""The statements of parking. Each is one round trip; what it writes is kept as a whole.

Rows that are named by their keys are found by the primary key, whatever the planner believes of a
young table: conditions on `at` are written so that no partial index follows from them.
"""

_MATCH = """t.gid = r.gid AND t.key = r.key AND t.owner = r.owner AND t.handed = r.handed
    AND t.done IS NULL"""
_ITEMS = "unnest($1::int[], $2::text[], $3::bigint[], $4::int[])"
_ITEM = "r (gid, key, owner, handed)"
_LEASE = "now() + make_interval(secs => $5::float8)"
_HELD = "t.at > now() AND isfinite(t.at)"
_CLAIMED = "NOT isfinite(t.at)"

SETTLE = f"""
WITH known AS (SELECT gid FROM groups WHERE gid = ANY($12::int[]) ORDER BY gid FOR KEY SHARE),
sound AS (SELECT count(*) = cardinality($12::int[]) AS all_known FROM known),
mine AS (
    UPDATE tasks t SET done = now(), at = 'infinity', owner = NULL, head = NULL, body = NULL
    FROM {_ITEMS} {_ITEM} WHERE {_MATCH} AND t.at > now() AND (SELECT all_known FROM sound)
    RETURNING t.gid, t.key
),
kept AS (
    INSERT INTO tasks (gid, key, lane, slice, at, handed, head, body)
    SELECT gid, key, lane, slice, CASE WHEN due = 0 THEN now() ELSE to_timestamp(due) END, 0,
        head, body
    FROM unnest($5::int[], $6::text[], $7::text[], $8::smallint[], $9::float8[], $10::text[],
        $11::bytea[]) n (gid, key, lane, slice, due, head, body)
    WHERE (SELECT all_known FROM sound)
        AND (cardinality($1::int[]) = 0 OR EXISTS (SELECT FROM mine))
    ON CONFLICT DO NOTHING RETURNING gid
)
SELECT 'mine' AS what, gid, key FROM mine
UNION ALL SELECT 'unbound', 0, '' FROM sound WHERE NOT all_known
UNION ALL SELECT 'told', gid, pg_notify($13, gid::text)::text FROM (SELECT DISTINCT gid FROM kept) k
"""  # noqa: S608
"""Forget these, and keep those beside them, neither without the other."""

DONE = f"""
UPDATE tasks t SET done = now(), at = 'infinity', owner = NULL, head = NULL, body = NULL
FROM {_ITEMS} {_ITEM} WHERE {_MATCH} AND t.at > now() RETURNING t.gid, t.key
"""  # noqa: S608
"""Forget these."""

CLAIM = """
INSERT INTO tasks (gid, key, lane, slice, at, owner, handed, sent)
SELECT $1, key, lane, slice, 'infinity', owner, 1, to_timestamp(sent)
FROM unnest($2::text[], $3::bigint[], $4::text[], $5::smallint[], $6::float8[])
    r (key, owner, lane, slice, sent) ORDER BY key
ON CONFLICT (gid, key) DO UPDATE SET handed = tasks.handed + 1, since = now()
    WHERE tasks.owner = excluded.owner AND tasks.at = 'infinity' AND tasks.done IS NULL
RETURNING key, handed
"""
"""Of each key the first transmission, each time the broker hands it out; no other."""

LOOK = """
SELECT w.lane, w.slice,
    (SELECT count(*) FROM (SELECT FROM tasks t WHERE t.gid = $1 AND t.lane = w.lane
        AND t.slice = w.slice AND t.at <= now() AND t.at < 'infinity' LIMIT $4) c) AS ready,
    (SELECT extract(epoch FROM min(t.at) - now())::float8 FROM tasks t WHERE t.gid = $1
        AND t.lane = w.lane AND t.slice = w.slice AND t.at > now() AND t.at < 'infinity') AS next
FROM unnest($2::text[], $3::smallint[]) w (lane, slice)
"""
"""How many of each may be taken now, and in how many seconds the next one."""

TAKE = """
WITH ripe AS (
    SELECT t.key FROM unnest($2::text[], $3::smallint[], $4::int[]) w (lane, slice, most)
    CROSS JOIN LATERAL (SELECT key FROM tasks WHERE gid = $1 AND lane = w.lane
        AND slice = w.slice AND at <= now() AND at < 'infinity'
        ORDER BY at LIMIT w.most FOR UPDATE SKIP LOCKED) t
)
UPDATE tasks t SET owner = $6, handed = handed + 1, at = now() + make_interval(secs => $5::float8)
FROM ripe WHERE t.gid = $1 AND t.key = ripe.key
RETURNING t.key, t.handed, t.lane, t.slice, t.head, t.body
"""

UNTAKE = """
WITH back AS (UPDATE tasks SET handed = handed - 1, owner = NULL, at = now()
    WHERE gid = $1 AND owner = $2 AND at < 'infinity' RETURNING gid)
SELECT gid, pg_notify($3, gid::text)::text FROM (SELECT DISTINCT gid FROM back) g
"""
"""Of what was taken and handed to nobody, also when its lease is over by now."""

RENEW = f"""
UPDATE tasks t SET at = {_LEASE} FROM {_ITEMS} {_ITEM} WHERE {_MATCH} AND {_HELD}
RETURNING t.gid, t.key
"""  # noqa: S608

HOLD = f"""
UPDATE tasks t SET at = {_LEASE}, head = r.head, body = r.body
FROM unnest($1::int[], $2::text[], $3::bigint[], $4::int[], $6::text[], $7::bytea[])
    r (gid, key, owner, handed, head, body)
WHERE {_MATCH} AND {_CLAIMED} RETURNING t.gid, t.key
"""  # noqa: S608
"""What the broker has lies here from now on, under a lease."""

_NOBODYS = "now() - make_interval(secs => 3 * {}::float8)"
"""When what nobody holds was handed out, to whoever asks: longer ago than anybody can hold it."""

BACK = f"""
WITH back AS (UPDATE tasks t SET handed = t.handed - 1, since = {_NOBODYS.format("$6")},
    at = CASE WHEN t.at < 'infinity' THEN now() ELSE t.at END,
    owner = CASE WHEN t.at < 'infinity' THEN NULL ELSE t.owner END
FROM {_ITEMS} {_ITEM} WHERE {_MATCH} AND t.at > now() RETURNING t.gid)
SELECT gid, pg_notify($5, gid::text)::text FROM (SELECT DISTINCT gid FROM back) g
"""  # noqa: S608
"""Nobody saw these: as if they had not been handed out."""

LOST = f"""
UPDATE tasks t SET since = {_NOBODYS.format("$5")}
FROM {_ITEMS} {_ITEM} WHERE {_MATCH} AND {_CLAIMED}
"""  # noqa: S608
"""These went back to the broker."""

COUNT = """
SELECT lane, slice, count(*) FILTER (WHERE at <= now()) AS waiting,
    count(*) FILTER (WHERE at > now() AND owner IS NULL) AS delayed,
    count(*) FILTER (WHERE at > now() AND owner IS NOT NULL) AS leased
FROM tasks WHERE gid = $1 AND at < 'infinity' GROUP BY lane, slice
UNION ALL
SELECT lane, slice, 0, 0, count(*) FROM tasks
WHERE gid = $1 AND at = 'infinity' AND done IS NULL
    AND since > now() - make_interval(secs => $2::float8) GROUP BY lane, slice
"""

NEWEST = """
SELECT lane, slice, extract(epoch FROM max(sent))::float8 FROM tasks WHERE gid = $1
GROUP BY lane, slice
"""

FORGET = """
WITH gone AS (DELETE FROM tasks WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM tasks WHERE gid = $1 AND done < now() - make_interval(secs => $2::float8)
        AND sent < to_timestamp($3::float8) LIMIT $4 FOR UPDATE SKIP LOCKED)) RETURNING true)
SELECT count(*) FROM gone
"""

STALE = """
DELETE FROM tasks WHERE gid = $1 AND lane = ANY($2::text[]) AND at = 'infinity' AND done IS NULL
    AND since < now() - make_interval(secs => $3::float8) AND sent < to_timestamp($4::float8)
"""
"""Claims of what is nowhere any more."""

ORPHANS = """
WITH RECURSIVE known (gid) AS (
    (SELECT gid FROM tasks ORDER BY gid LIMIT 1)
    UNION ALL SELECT (SELECT t.gid FROM tasks t WHERE t.gid > k.gid ORDER BY t.gid LIMIT 1)
        FROM known k WHERE k.gid IS NOT NULL
)
SELECT gid FROM known WHERE gid IS NOT NULL EXCEPT SELECT gid FROM groups
"""
"""Groups that are gone and have rows; reads a row for each group."""

DROP = """
WITH gone AS (DELETE FROM tasks WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM tasks WHERE gid = $1 LIMIT $2)) RETURNING true)
SELECT count(*) FROM gone
"""

ROOM = """
UPDATE fleets SET sent_count = least(sent_count, 1000000) + $2::bigint,
    sent_bytes = least(sent_bytes, sent_bytes * 1000000 / greatest(sent_count, 1)) + $3::bigint,
    max_bytes = coalesce($4::bigint, max_bytes)
WHERE id = $1 RETURNING sent_count, sent_bytes, max_bytes
"""
"""What was sent since, and what may be filled; what is long ago weighs less and less."""

TURN = """
UPDATE fleets SET forgot = now()
WHERE id = $1 AND forgot < now() - make_interval(secs => $2::float8) RETURNING true
"""
"""One of all processes has the turn."""

GROUPS = "SELECT gid, name, patterns, facts FROM groups WHERE fleet = $1"

BIND = """
WITH bound AS (
    INSERT INTO groups (fleet, name, patterns, facts) VALUES ($1, $2, $3, $4)
    ON CONFLICT (fleet, name) DO UPDATE SET patterns = $3, facts = $4 RETURNING gid
)
SELECT gid, pg_notify($5, 'bound')::text FROM bound
"""

UNBIND = """
WITH gone AS (DELETE FROM groups WHERE fleet = $1 AND name = $2 RETURNING gid)
SELECT gid, pg_notify($3, 'bound')::text FROM gone
"""
