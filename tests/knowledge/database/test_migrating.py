"""Tables are brought up to date once, by however many start at once, never by an older release."""

import asyncio
import sys
from dataclasses import replace

import asyncpg
import pytest

from contracts.migrations import Migration, packaged
from knowledge.database.database import SCHEMA, Database
from knowledge.database.errors import DatabaseError, NewerDatabase, NotOurs
from knowledge.database.looking import look
from knowledge.database.migrating import migrate

OURS = packaged("knowledge.database")


def _more(*sql: str) -> list[Migration]:
    return OURS + [Migration(len(OURS) + n, f"more_{n}", s) for n, s in enumerate(sql, 1)]


async def test_a_second_opening_changes_nothing(history_url: str) -> None:
    first = await Database.open(history_url)
    async with first.link() as link:
        before = await link.fetch("SELECT * FROM migrations")
        assert await migrate(link, SCHEMA, OURS) == 0
    await first.close()
    second = await Database.open(history_url)
    async with second.link() as link:
        assert await link.fetch("SELECT * FROM migrations") == before
    await second.close()


async def test_what_is_missing_is_applied_in_order(database: Database) -> None:
    later = _more("CREATE TABLE a (x int)", "ALTER TABLE a ADD y int")
    async with database.link() as link:
        assert await migrate(link, SCHEMA, later) == 2
        assert await link.fetch("SELECT x, y FROM a") == []


async def test_a_step_that_fails_leaves_nothing_behind(database: Database) -> None:
    later = _more("CREATE TABLE a (x int)", "CREATE TABLE b (x int); SELECT 1 / 0")
    with pytest.raises(DatabaseError):
        async with database.link() as link:
            await migrate(link, SCHEMA, later)
    async with database.link() as link:
        assert await link.fetchval(
            "SELECT to_regclass('a') IS NOT NULL AND to_regclass('b') IS NULL"
        )
        assert await migrate(link, SCHEMA, _more("CREATE TABLE a (x int)", "SELECT 1")) == 1


async def test_many_that_open_at_once_apply_each_step_once(history_url: str) -> None:
    opened = await asyncio.gather(*(Database.open(history_url) for _ in range(10)))
    async with opened[0].link() as link:
        assert await link.fetchval("SELECT count(*) FROM migrations") == len(OURS)
    for database in opened:
        await database.close()


async def test_ten_processes_that_open_at_once_apply_each_step_once(history_url: str) -> None:
    open_it = (
        "import asyncio, sys; from knowledge.database.database import Database;"
        "asyncio.run(Database.open(sys.argv[1]))"
    )
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", open_it, history_url)
        for _ in range(10)
    ]
    assert [await process.wait() for process in processes] == [0] * 10
    database = await Database.open(history_url)
    async with database.link() as link:
        assert await link.fetchval("SELECT count(*) FROM migrations") == len(OURS)
    await database.close()


async def test_a_database_of_a_newer_release_is_refused(history_url: str) -> None:
    database = await Database.open(history_url)
    async with database.link() as link:
        await migrate(link, SCHEMA, _more("CREATE TABLE a (x int)"))
    before = await _rows(history_url)
    await database.close()
    with pytest.raises(NewerDatabase) as caught:
        await Database.open(history_url)
    assert all(caught.value.lines())
    assert not caught.value.retryable
    with pytest.raises(NewerDatabase):
        await look(history_url, SCHEMA)
    assert await _rows(history_url) == before


async def test_who_only_looks_makes_nothing(history_url: str) -> None:
    await look(history_url, SCHEMA)
    assert await _rows(history_url) == {}
    await (await Database.open(history_url)).close()
    before = await _rows(history_url)
    await look(history_url, SCHEMA)
    assert await _rows(history_url) == before != {}


async def _rows(url: str) -> dict[str, tuple[int, str]]:
    """Every table of ours: how many rows it has, and its columns."""
    asked = """
        SELECT c.relname, c.relfilenode::text || (SELECT string_agg(attname, ',' ORDER BY attnum)
               FROM pg_attribute WHERE attrelid = c.oid AND attnum > 0) AS shape
        FROM pg_class c WHERE relnamespace = to_regnamespace($1) AND relkind IN ('r', 'p')
    """
    link = await asyncpg.connect(url)
    try:
        found = await link.fetch(asked, SCHEMA)
        counts = [
            await link.fetchval(f"SELECT count(*) FROM {SCHEMA}.{row['relname']}")  # noqa: S608
            for row in found
        ]
        return {r["relname"]: (n, r["shape"]) for r, n in zip(found, counts, strict=True)}
    finally:
        await link.close()


async def test_tables_of_somebody_else_are_left_alone(history_url: str) -> None:
    database = await Database.open(history_url, schema="other")
    async with database.link() as link:
        await link.execute(f"CREATE SCHEMA {SCHEMA}; CREATE TABLE {SCHEMA}.invoices (x int)")
    with pytest.raises(NotOurs) as caught:
        await Database.open(history_url)
    assert "invoices" in caught.value.details
    async with database.link() as link:
        await link.execute(f"CREATE TABLE {SCHEMA}.migrations (version text)")
    with pytest.raises(NotOurs):
        await Database.open(history_url)
    await database.close()


async def test_a_step_that_was_changed_since_is_noticed(database: Database) -> None:
    changed = [replace(OURS[0], sql="SELECT 1"), *OURS[1:]]
    with pytest.raises(NotOurs):
        async with database.link() as link:
            await migrate(link, SCHEMA, changed)
