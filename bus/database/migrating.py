"""Bringing the bus database's tables up to date: numbered SQL files, each once, in order."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

from bus.errors import Unsafe

if TYPE_CHECKING:
    from bus.database.links import Link

SCHEMA = "muster_bus"
"""Where the tables are, those of every fleet."""

_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('muster migrate ' || $1, 0))"

_LEDGER = f"""
CREATE SCHEMA IF NOT EXISTS {SCHEMA};
CREATE TABLE {SCHEMA}.migrations (
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
    """Those of this release: `migrations/NNNN_name.sql`, numbered without a gap from 1."""
    found = []
    for file in (files("bus.database") / "migrations").iterdir():
        if match := _NAME.fullmatch(file.name):
            text = file.read_text(encoding="utf-8")
            found.append(Migration(int(match[1]), match[2], text))
    found.sort(key=lambda m: m.number)
    if [m.number for m in found] != list(range(1, len(found) + 1)):
        raise RuntimeError(f"migrations are not numbered 1, 2, 3, …: {[m.number for m in found]}")
    return found


async def migrate(link: "Link", migrations: Sequence[Migration]) -> int:
    """Apply what is missing, all in one transaction; answers how many were. Any number of
    processes may do so at once: they wait for each other. Raises `Unsafe`; then nothing was
    changed."""
    done = await _done(link)
    if done is not None and not _missing(done, migrations):
        return 0
    async with link.transaction():
        await link.execute("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0")
        await link.execute(_LOCK, SCHEMA)
        done = await _done(link)
        if done is None:
            await link.execute(_LEDGER)
        missing = _missing(done or {}, migrations)
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
    newest = max(done, default=0)
    if newest > len(ours):
        raise Unsafe(
            "the bus database belongs to a newer release",
            details=f"schema {SCHEMA} is at step {newest}, this release knows {len(ours)}",
            actions=("update this installation", "or give it a database of its own"),
        )
    for m in ours:
        if done.get(m.number, m.digest) != m.digest:
            raise _not_ours(f"its step {m.number} is not {m.name} of this release")
    return [m for m in ours if m.number not in done]


def _not_ours(why: str) -> Unsafe:
    return Unsafe(
        f"schema {SCHEMA} of the bus database is not one of this project",
        details=why,
        actions=("give the bus a database of its own: `bus.database`",),
    )
