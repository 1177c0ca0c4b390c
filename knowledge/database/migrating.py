"""Bringing the tables up to date: numbered SQL files, each once, in order."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from contracts import migrations
from contracts.migrations import LEDGER, Foreign, Migration, Newer
from knowledge.database.errors import NewerDatabase, NotOurs

if TYPE_CHECKING:
    import asyncpg

    from knowledge.database.links import Link


async def migrate(link: "Link", schema: str, ours: Sequence[Migration]) -> int:
    """Apply what of `ours` is missing, each in a transaction of its own; answers how many were.

    Any number of processes may do so at once: they wait for each other. Raises `NewerDatabase`
    and `NotOurs`; then nothing was changed.
    """
    applied = 0
    while await _next(link, schema, ours):
        applied += 1
    return applied


async def _next(link: "Link", schema: str, ours: Sequence[Migration]) -> bool:
    """Apply one; False when nothing is missing. The first call makes the schema too."""
    async with link.transaction():
        await link.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        await link.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('muster migrate ' || $1, 0))", schema
        )
        done = await _applied(link, schema)
        missing = _missing(done, ours, schema)
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
    link: "Link | asyncpg.Connection[asyncpg.Record]", schema: str, ours: Sequence[Migration]
) -> None:
    """Raise what `migrate` would raise of what was applied; changes nothing."""
    _missing(await _done(link, schema) or {}, ours, schema)


async def _applied(link: "Link", schema: str) -> Mapping[int, str]:
    """Numbers and digests of what was applied; makes an empty ledger where there is nothing."""
    done = await _done(link, schema)
    if done is None:
        await link.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
        await link.execute(LEDGER.format(schema=f'"{schema}"'))
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


def _missing(done: Mapping[int, str], ours: Sequence[Migration], schema: str) -> list[Migration]:
    try:
        return migrations.missing(done, ours)
    except Foreign as error:
        raise _not_ours(schema, str(error)) from error
    except Newer as error:
        raise NewerDatabase(
            "the history database belongs to a newer release",
            details=f"schema {schema} {error}",
            actions=("update this installation", "or give it a database of its own"),
        ) from error


def _not_ours(schema: str, why: str) -> NotOurs:
    return NotOurs(
        f"schema {schema} of the history database is not one of this project",
        details=why,
        actions=("give history a database of its own: `history.url`",),
    )
