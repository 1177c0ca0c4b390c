"""One of many: a lock that ends with the session of whoever holds it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from knowledge.database.database import Database

_TAKE = "SELECT pg_advisory_lock(hashtextextended('muster lock ' || $1 || ' ' || $2, 0))"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that is held until its block ends. `lost` is set when the connection to the server
    ends before: somebody else may hold the lock from then on."""

    name: str
    lost: asyncio.Event


@asynccontextmanager
async def held(database: Database, name: str) -> AsyncIterator[Lock]:
    """Wait, however long, until the lock `name` of this schema is ours alone; others stand by and
    take over as soon as the session ends, by itself or with its process.

    Raises what a database raises when it goes away while we wait. A holder that is cut off from
    the server without noticing keeps the lock for 20 s, then another has it beside him: what it
    guards has to be safe to repeat.
    """
    async with database.apart() as link:
        lost = asyncio.Event()
        link.add_termination_listener(lambda _: lost.set())
        await link.execute(_TAKE, database.schema, name)
        yield Lock(name, lost)
