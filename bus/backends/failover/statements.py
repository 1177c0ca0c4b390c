"""The statements of hand-overs. Each is one round trip."""

_ITEMS = "unnest($2::text[], $3::text[], $4::smallint[], $5::int[]) r (grp, key, bus, handed)"
_MATCH = """h.fleet = $1 AND h.grp = r.grp AND h.key = r.key AND h.bus = r.bus
    AND h.handed = r.handed AND h.done IS NULL"""

CLAIM = """
INSERT INTO hand_overs (fleet, grp, key, bus, handed)
SELECT $1, $2, key, $3, 1 FROM unnest($4::text[]) r (key) ORDER BY key
ON CONFLICT (fleet, grp, key) DO UPDATE
    SET handed = hand_overs.handed + 1, at = now(), kept = NULL
    WHERE hand_overs.bus = excluded.bus AND hand_overs.done IS NULL
        AND (hand_overs.kept IS NULL OR hand_overs.kept <= now())
RETURNING key, handed
"""
"""Of each key the message of the bus that came first, each time that bus hands it out."""

KEPT = """
SELECT key FROM hand_overs WHERE fleet = $1 AND grp = $2 AND bus = $3 AND key = ANY($4::text[])
    AND done IS NULL
"""
"""What was not claimed since its holder keeps it; of the rest no other message is wanted."""

KEEP = f"""
UPDATE hand_overs h SET kept = now() + make_interval(secs => $6::float8)
FROM {_ITEMS} WHERE {_MATCH} AND ($7 OR h.kept > now()) RETURNING h.grp, h.key
"""  # noqa: S608
"""Keep these for their holders although their bus cannot: from now on ($7), or further on."""

DONE = f"""
UPDATE hand_overs h SET done = now(), kept = NULL FROM {_ITEMS} WHERE {_MATCH}
RETURNING h.grp, h.key
"""  # noqa: S608

BACK = f"""
UPDATE hand_overs h SET handed = h.handed - 1 FROM {_ITEMS} WHERE {_MATCH}
"""  # noqa: S608
"""Nobody saw these: as if they had not been handed out."""

DROP = "DELETE FROM hand_overs WHERE fleet = $1 AND grp = $2"

NOW = "SELECT extract(epoch FROM now())::float8"

FORGET = """
DELETE FROM hand_overs WHERE fleet = $1 AND grp = $2 AND bus = $3
    AND done < to_timestamp($4::float8)
"""

ORPHANS = """
DELETE FROM hand_overs WHERE fleet = $1 AND grp = $2 AND done IS NULL
    AND at < now() - make_interval(secs => $3::float8)
"""
