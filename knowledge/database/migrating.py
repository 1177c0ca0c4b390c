"""Bringing the tables up to date: numbered SQL files, each once, in order."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from knowledge.database.errors import NewerDatabase, NotOurs

if TYPE_CHECKING:
    import asyncpg

    from knowledge.database.links import Link

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

_LEDGER = """
CREATE TABLE migrations (
    number  integer PRIMARY KEY,
    name    text NOT NULL,
    digest  text NOT NULL,
    applied timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step from one release's tables to the next; released ones never change."""

    number: int
    name: str
    sql: str

    @property
    def digest(self) -> str:
        """Tells whether the file is the one that was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def packaged() -> list[Migration]:
    """Those of this release, of all rooms of `knowledge`: `migrations/NNNN_name.sql`, numbered
    without a gap from 1."""
    found = []
    for file in (files("knowledge.database") / "migrations").iterdir():
        if match := _NAME.fullmatch(file.name):
            text = file.read_text(encoding="utf-8")
            found.append(Migration(int(match[1]), match[2], text))
    found.sort(key=lambda m: m.number)
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise RuntimeError(f"migrations are not numbered 1, 2, 3, …: {[m.number for m in found]}")
    return found


async def migrate(link: "Link", schema: str, migrations: Sequence[Migration]) -> int:
    """Apply what is missing, each in a transaction of its own; answers how many were.

    Any number of processes may do so at once: they wait for each other. Raises `NewerDatabase`
    and `NotOurs`; then nothing was changed.
    """
    applied = 0
    while await _next(link, schema, migrations):
        applied += 1
    return applied


async def _next(link: "Link", schema: str, migrations: Sequence[Migration]) -> bool:
    """Apply one; False when nothing is missing. The first call makes the schema too."""
    async with link.transaction():
        await link.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        await link.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('muster migrate ' || $1, 0))", schema
        )
        done = await _applied(link, schema)
        _check(done, migrations, schema)
        missing = [m for m in migrations if m.number not in done]
        if not missing:
            return False
        await link.execute(missing[0].sql)
        await link.execute(
            "INSERT INTO migrations (number, name, digest) VALUES ($1, $2, $3)",
            missing[0].number,
            missing[0].name,
            missing[0].digest,
        )
    return True


async def fits(
    link: "Link | asyncpg.Connection[asyncpg.Record]", schema: str, migrations: Sequence[Migration]
) -> None:
    """Raise what `migrate` would raise of what was applied; changes nothing."""
    _check(await _done(link, schema) or {}, migrations, schema)


async def _applied(link: "Link", schema: str) -> Mapping[int, str]:
    """Numbers and digests of what was applied; makes an empty ledger where there is nothing."""
    done = await _done(link, schema)
    if done is None:
        await link.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        await link.execute(_LEDGER)
    return done or {}


async def _done(
    link: "Link | asyncpg.Connection[asyncpg.Record]", schema: str
) -> Mapping[int, str] | None:
    """Numbers and digests of what was applied, None where there is no table at all."""
    tables = await link.fetchval(
        "SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = $1", schema
    )
    if not tables:
        return None
    if "migrations" not in tables:
        raise _not_ours(schema, f"it holds {', '.join(sorted(tables)[:5])} and no migrations")
    ledger = f'"{schema}".migrations'
    columns = await link.fetchval(
        "SELECT array_agg(attname::text) FROM pg_attribute"
        " WHERE attrelid = $1::text::regclass AND attnum > 0",
        ledger,
    )
    if not {"number", "digest"} <= set(columns):
        raise _not_ours(schema, "its table migrations is of another project")
    rows = await link.fetch(f"SELECT number, digest FROM {ledger} ORDER BY number")  # noqa: S608
    return {row["number"]: row["digest"] for row in rows}


def _check(done: Mapping[int, str], ours: Sequence[Migration], schema: str) -> None:
    newest = max(done, default=0)
    if newest > len(ours):
        raise NewerDatabase(
            "the history database belongs to a newer release",
            details=f"schema {schema} is at step {newest}, this release knows {len(ours)}",
            actions=("update this installation", "or give it a database of its own"),
        )
    for m in ours:
        if done.get(m.number, m.digest) != m.digest:
            raise _not_ours(schema, f"its step {m.number} is not {m.name} of this release")


def _not_ours(schema: str, why: str) -> NotOurs:
    return NotOurs(
        f"schema {schema} of the history database is not one of this project",
        details=why,
        actions=("give history a database of its own: `history.url`",),
    )
