"""Bringing the bus database's tables up to date: numbered SQL files, each once, in order."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bus.errors import Unsafe
from contracts import migrations
from contracts.migrations import LEDGER, Foreign, Migration, Newer

if TYPE_CHECKING:
    from bus.database.links import Link

SCHEMA = "muster_bus"
"""Where the tables are, those of every fleet."""

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('muster migrate ' || $1, 0))"


async def migrate(link: "Link", ours: Sequence[Migration]) -> int:
    """Apply what of `ours` is missing, all in one transaction; answers how many were. Any number of
    processes may do so at once: they wait for each other. Raises `Unsafe`; then nothing was
    changed."""
    done = await _done(link)
    if done is not None and not _missing(done, ours):
        return 0
    async with link.transaction():
        await link.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        await link.execute(_LOCK, SCHEMA)
        done = await _done(link)
        if done is None:
            await link.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
            await link.execute(LEDGER.format(schema=SCHEMA))
        missing = _missing(done or {}, ours)
        for step in missing:
            await link.execute(step.sql)
            ledger = f"INSERT INTO {SCHEMA}.migrations VALUES ($1, $2, $3)"  # noqa: S608
            await link.execute(ledger, step.number, step.name, step.digest)
    return len(missing)


async def _done(link: "Link") -> Mapping[int, str] | None:
    """Numbers and digests of what was applied, None where there is no table at all."""
    tables = await link.fetchval(
        "SELECT array_agg(tablename::text) FROM pg_tables WHERE schemaname = $1", SCHEMA
    )
    if not tables:
        return None
    if "migrations" not in tables:
        raise _not_ours(f"it holds {', '.join(sorted(tables)[:5])} and no migrations")
    rows = await link.fetch(f"SELECT number, digest FROM {SCHEMA}.migrations")  # noqa: S608
    return {row["number"]: row["digest"] for row in rows}


def _missing(done: Mapping[int, str], ours: Sequence[Migration]) -> list[Migration]:
    try:
        return migrations.missing(done, ours)
    except Foreign as error:
        raise _not_ours(str(error)) from error
    except Newer as error:
        raise Unsafe(
            "the bus database belongs to a newer release",
            details=f"schema {SCHEMA} {error}",
            actions=("update this installation", "or give it a database of its own"),
        ) from error


def _not_ours(why: str) -> Unsafe:
    return Unsafe(
        f"schema {SCHEMA} of the bus database is not one of this project",
        details=why,
        actions=("give the bus a database of its own: `bus.database`",),
    )
