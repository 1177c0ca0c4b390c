"""One holds the lock, and the next has it as soon as the session of the first ends."""

import asyncio
import sys

import pytest

from knowledge.database.database import Database
from knowledge.database.errors import Unreachable
from knowledge.database.locks import held

_HOLDS = """
import asyncio, sys
from knowledge.database.database import Database
from knowledge.database.locks import held

async def main():
    database = await Database.open(sys.argv[1])
    async with held(database, "recorder"):
        print("held", flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_others_stand_by_until_it_is_given_back(database: Database) -> None:
    order = []
    first_has_it, let_go = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with held(database, "recorder") as lock:
            assert not lock.lost.is_set()
            first_has_it.set()
            await let_go.wait()
            order.append("first ends")

    async def second() -> None:
        await first_has_it.wait()
        let_go.set()
        async with held(database, "recorder"):
            order.append("second has it")

    await asyncio.gather(first(), second())
    assert order == ["first ends", "second has it"]


async def test_other_names_and_schemas_are_other_locks(history_url: str) -> None:
    one = await Database.open(history_url, schema="a")
    other = await Database.open(history_url, schema="b")
    async with held(one, "recorder"), held(one, "scheduler"), held(other, "recorder"):
        pass
    await one.close()
    await other.close()


async def test_a_holder_that_is_killed_is_followed_at_once(
    database: Database, history_url: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HOLDS, history_url), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    waiting = asyncio.create_task(_take(database))
    process.kill()
    async with asyncio.timeout(5):
        await waiting
    await process.wait()


async def _take(database: Database) -> None:
    async with held(database, "recorder"):
        pass


async def test_who_stops_waiting_does_not_have_it_later(database: Database) -> None:
    async with held(database, "recorder"):
        waiting = asyncio.create_task(_take(database))
        await _until_somebody_waits(database)
        waiting.cancel()
        await asyncio.wait([waiting])
    async with asyncio.timeout(5):
        await _take(database)


async def _until_somebody_waits(database: Database) -> None:
    async with database.link() as link, asyncio.timeout(5):
        while not await link.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            pass


async def test_a_holder_hears_that_its_session_has_ended(database: Database) -> None:
    async with held(database, "recorder") as lock:
        async with database.link() as link:
            await link.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
            )
        async with asyncio.timeout(5):
            await lock.lost.wait()


async def test_waiting_ends_with_the_server(database: Database) -> None:
    async with held(database, "recorder"):
        waiting = asyncio.create_task(_take(database))
        await _until_somebody_waits(database)
        async with database.link() as link:
            await link.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted")
        with pytest.raises(Unreachable):
            await waiting
