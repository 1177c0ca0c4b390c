"""The statements of the key-value store on PostgreSQL, and what it tells watchers. Pure.

A notice is one word for what happened (`put`, `read`, `del` or `exp`), the revision, the seconds
the entry has left (empty: for ever), the key with its length, and after `put` the value: a value
too long for a notice is `read` by who wants it.
"""

from base64 import b64decode
from dataclasses import dataclass

from bus.keyvalue.protocol import Revision

LONGEST = 5000
"""Bytes of a value that a notice takes along; PostgreSQL's limit is 8,000 bytes of a notice, the
value is in base 64 there."""


def channel_of(fleet: int) -> str:
    """Where changes of the entries of a fleet are told."""
    return f"muster_entries_{fleet}"


_CHANNEL = "'muster_entries_' || $1::int"
_LEFT = "coalesce(extract(epoch FROM nullif(until, 'infinity') - clock_timestamp())::text, '')"
_NOTICE = f"""
pg_notify({_CHANNEL}, CASE WHEN octet_length(value) + octet_length(key) <= {LONGEST}
    THEN 'put ' ELSE 'read ' END || revision || ' ' || {_LEFT} || ' ' || char_length(key) || ' '
    || key || CASE WHEN octet_length(value) + octet_length(key) <= {LONGEST}
    THEN translate(encode(value, 'base64'), E'\\n', '') ELSE '' END)"""
_GONE = f"pg_notify({_CHANNEL}, '%s ' || revision || '  ' || char_length(key) || ' ' || key)"

_UNTIL = "coalesce(clock_timestamp() + make_interval(secs => $4), 'infinity')"
_SET = f"SET value = $3, revision = nextval('revisions'), until = {_UNTIL}"
_INSERT = f"""INSERT INTO entries AS e (fleet, key, value, revision, until)
    VALUES ($1, $2, $3, nextval('revisions'), {_UNTIL}) ON CONFLICT (fleet, key) DO UPDATE {_SET}"""  # noqa: S608


def _told(write: str) -> str:
    return f"""WITH written AS ({write} RETURNING key, value, e.revision, until)
SELECT revision, {_NOTICE} FROM written"""  # noqa: S608


PUT = _told(_INSERT)
PUT_ABSENT = _told(f"{_INSERT} WHERE e.until <= clock_timestamp()")
PUT_ON = _told(f"""UPDATE entries e {_SET} WHERE fleet = $1 AND key = $2 AND e.revision = $5
    AND until > clock_timestamp()""")

DELETE = f"""WITH gone AS (DELETE FROM entries WHERE fleet = $1 AND key = $2
    AND ($3::bigint IS NULL OR revision = $3) RETURNING key, revision,
    until > clock_timestamp() AS was)
SELECT bool_or(was), min({_GONE % "del"}::text) FROM gone"""  # noqa: S608

EXPIRE = f"""WITH late AS (SELECT key FROM entries WHERE fleet = $1 AND until <= now()
    ORDER BY key LIMIT 1000 FOR UPDATE SKIP LOCKED),
gone AS (DELETE FROM entries e USING late WHERE fleet = $1 AND e.key = late.key
    RETURNING e.key, revision)
SELECT count(*), min({_GONE % "exp"}::text) FROM gone"""  # noqa: S608

_COLUMNS = "SELECT key, value, revision FROM entries"
GET = f"{_COLUMNS} WHERE fleet = $1 AND key = $2 AND until > clock_timestamp()"
_UNDER = """fleet = $1 AND key >= $2 AND ($3::text IS NULL OR key < $3)
    AND until > clock_timestamp()"""
LIST = f"""{_COLUMNS} WHERE {_UNDER} AND ($4::text IS NULL OR key > $4) ORDER BY key LIMIT $5"""
ALL = f"""SELECT key, value, revision, extract(epoch FROM nullif(until, 'infinity')
    - clock_timestamp())::float8 AS left FROM entries WHERE {_UNDER} ORDER BY key"""  # noqa: S608


def bounds(prefix: str) -> tuple[str, str | None]:
    """The first key under a prefix, which ends with `/` or is empty, and the first after them."""
    return prefix, f"{prefix[:-1]}0" if prefix else None  # the sign after `/`


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened to a key. `left`: seconds until it expires. `value` None: it is not told."""

    what: str
    revision: Revision
    left: float | None
    key: str
    value: bytes | None


def notice_of(payload: str) -> Notice:
    """The notice that was told as `payload`."""
    what, revision, left, length, rest = payload.split(" ", 4)
    key, value = rest[: int(length)], rest[int(length) :]
    known = b64decode(value) if what == "put" else None
    return Notice(what, int(revision), float(left) if left else None, key, known)
