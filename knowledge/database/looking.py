"""What a server says about itself, for those who judge whether it can be trusted."""

import asyncio
from dataclasses import dataclass

import asyncpg

from contracts.migrations import packaged
from knowledge.database.address import described
from knowledge.database.errors import translated
from knowledge.database.migrating import fits

_CONNECT = 5.0

_ASK = """
SELECT current_setting('server_version') AS version,
       current_setting('fsync')::boolean AS fsync,
       current_setting('full_page_writes')::boolean AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('max_connections')::integer AS max_connections,
       pg_database_size(current_database()) AS bytes
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A server that answered at `where`. `bytes`: what the database fills."""

    where: str
    version: str
    fsync: bool
    full_page_writes: bool
    synchronous_commit: str
    max_connections: int
    bytes: int


async def look(url: str, schema: str) -> Server:
    """Ask the server at `url`, and see that what lies in `schema` can be opened, or made;
    nothing there is changed.

    Raises `Unreachable`, `Busy`, `AccessDenied`, `NoSuchDatabase`, `BadAddress`, `NotOurs`,
    `NewerDatabase`.
    """
    where = described(url)
    with translated(where, greeting=True):
        async with asyncio.timeout(2 * _CONNECT):
            link = await asyncpg.connect(url, timeout=_CONNECT)
            try:
                row = await link.fetchrow(_ASK)
                await fits(link, schema, packaged("knowledge.database"))
            finally:
                link.terminate()
    return Server(where=where, **dict(row or {}))
