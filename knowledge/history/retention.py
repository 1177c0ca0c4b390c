"""How long what is kept: partitions made ahead, and dropped as a whole."""

import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from knowledge.database.database import Database
from knowledge.database.statements import statement

if TYPE_CHECKING:
    from knowledge.database.links import Link

DAY = 86400.0

AHEAD = 3
"""Days made ahead: history survives a long weekend without the job."""

LONGEST = 400 * DAY
"""Until then a task that has not ended stays: nothing may be put off for longer than 366 days."""


@dataclass(frozen=True, slots=True)
class Keep:
    """Seconds for which each kind is kept: tasks and their runs since they were published, and
    at least since they ended; the others since they happened."""

    tasks: float = 90 * DAY
    results: float = 30 * DAY
    events: float = 14 * DAY
    letters: float = 180 * DAY
    usage: float = LONGEST
    audit: float = LONGEST


@dataclass(frozen=True, slots=True)
class Retained:
    """What a call of `retain` did: partitions made and dropped, single rows deleted."""

    made: tuple[str, ...]
    dropped: tuple[str, ...]
    deleted: int


@dataclass(frozen=True, slots=True)
class _Table:
    """A table in partitions by `key`. `gone` says what goes from the default partition: `$1` is
    the cut, `$2` that of what has not ended; `kept` what outlives its partition."""

    name: str
    key: str
    keep: float
    gone: str
    kept: str = "false"
    filled: int = 100


_ENDED = "state IN ('succeeded', 'failed', 'cancelled', 'handled')"


def _tables(keep: Keep) -> Sequence[_Table]:
    """Rows of `tasks` and `runs` are written more than once: their pages keep room for that."""
    row = "published < $1 AND at < $1 AND $2::double precision IS NOT NULL"
    return (
        _Table(
            "tasks",
            "published",
            keep.tasks,
            f"published < $1 AND since < $1 AND ({_ENDED} OR since < $2)",
            kept=f"NOT {_ENDED}",
            filled=80,
        ),
        _Table("runs", "published", keep.tasks, row, filled=80),
        _Table("results", "published", keep.results, row),
        _Table("events", "at", keep.events, "at < $1 AND $2::double precision IS NOT NULL"),
    )


async def retain(database: Database, now: float, keep: Keep) -> Retained:
    """See `History.retain`."""
    made: list[str] = []
    dropped: list[str] = []
    deleted = 0
    for table in _tables(keep):
        made += await _make(database, table, now)
        dropped += await _drop(database, table, now)
        deleted += await _delete(
            database, f"{table.name}_default", table.gone, now - table.keep, now
        )
    for name, gone, kept in (
        ("letters", "coalesce(died, fate_at) < $1", keep.letters),
        ("audit", "at < $1", keep.audit),
        ("usage", "day < to_timestamp($1)::date", keep.usage),
    ):
        more = f"{gone} AND $2::double precision IS NOT NULL"
        deleted += await _delete(database, name, more, now - kept, now)
    return Retained(tuple(made), tuple(dropped), deleted)


async def _make(database: Database, table: _Table, now: float) -> list[str]:
    """The days from yesterday on, and those that lie in the default partition and are kept."""
    made = []
    today = int(now // DAY)
    async with _alone(database) as link:
        there = await _days(link, table.name)
        reach = (now - table.keep + DAY, (today + AHEAD + 1) * DAY)
        astray = _sql("astray").format(table=table.name, key=table.key)
        wanted = {row["day"] for row in await link.fetch(astray, *reach)}
        wanted |= set(range(today - 1, today + AHEAD + 1))
        for day in sorted(wanted - there):
            name = _name(table.name, day)
            await link.execute(_partition(table, name, day))
            made.append(name)
    return made


def _partition(table: _Table, name: str, day: int) -> str:
    return _sql("partition").format(
        table=table.name,
        name=name,
        key=table.key,
        begin=day * 86400,
        end=(day + 1) * 86400,
        filled=table.filled,
    )


async def _drop(database: Database, table: _Table, now: float) -> list[str]:
    """Each day in a transaction of its own: a reader that is in the way stops only one."""
    async with database.link() as link:
        there = await _days(link, table.name)
    dropped = []
    for day in sorted(d for d in there if (d + 1) * DAY <= now - table.keep):
        name = _name(table.name, day)
        async with _alone(database) as link:
            if day in await _days(link, table.name):
                drop = _sql("drop").format(table=table.name, name=name, kept=table.kept)
                await link.execute(drop)
                dropped.append(name)
    return dropped


async def _delete(database: Database, table: str, gone: str, cut: float, now: float) -> int:
    async with database.transaction() as link:
        done = await link.execute(_sql("old").format(table=table, gone=gone), cut, now - LONGEST)
    return int(done.split()[-1])


@asynccontextmanager
async def _alone(database: Database) -> AsyncIterator["Link"]:
    """A transaction while nobody records, that rather fails than makes readers wait for long."""
    async with database.transaction() as link:
        await link.execute(statement("knowledge.history", "turn"), database.schema)
        await link.execute("SET LOCAL lock_timeout = '2s'")
        yield link


async def _days(link: "Link", table: str) -> set[int]:
    """The days that have a partition."""
    rows = await link.fetch(_sql("partitions"), table)
    found = (re.fullmatch(rf"{table}_(\d{{8}})", row["name"]) for row in rows)
    return {_day(match[1]) for match in found if match}


def _name(table: str, day: int) -> str:
    return f"{table}_{datetime.fromtimestamp(day * DAY, UTC):%Y%m%d}"


def _day(text: str) -> int:
    begin = datetime.strptime(text, "%Y%m%d").replace(tzinfo=UTC)
    return int(begin.timestamp() // DAY)


def _sql(name: str) -> str:
    return statement("knowledge.history", name)
