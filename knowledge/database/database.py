"""One PostgreSQL database: a few connections, transactions, errors of our own."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg

from contracts.migrations import packaged
from knowledge.database.address import described
from knowledge.database.errors import BadAddress, Busy, Closed, translated
from knowledge.database.migrating import migrate

if TYPE_CHECKING:
    from knowledge.database.links import Link

SCHEMA = "muster"
"""Where the tables are, unless somebody says otherwise."""

CONNECTIONS = 4
"""Of one process at most: a batch being prepared, one being written, a read, a lock."""

_CONNECT = 5.0
"""Seconds to log in, and to wait for one of our own connections."""

_STATEMENT = 30.0
"""Seconds a statement may take at the server."""

_ANSWER = 40.0
"""Seconds until a server that says nothing counts as away: longer than it may take by itself."""

_LOCK = 10.0
"""Seconds a statement may wait for a lock."""

_SETTINGS = {
    "jit": "off",  # compiling a statement of a few rows takes longer than running it
    "client_min_messages": "warning",
    "timezone": "UTC",
    "statement_timeout": f"{_STATEMENT:g}s",
    "lock_timeout": f"{_LOCK:g}s",
    "idle_in_transaction_session_timeout": "60s",
    "tcp_keepalives_idle": "10",  # a machine that is gone holds its locks for 20 s, not hours
    "tcp_keepalives_interval": "3",
    "tcp_keepalives_count": "3",
}


class Database:
    """A schema of one database, with the tables this release knows. Safe to use concurrently.

    Statements are prepared once per connection, and temporary tables and advisory locks live as
    long as one: a pooler between must not share connections between transactions.
    """

    def __init__(
        self, pool: "asyncpg.Pool[asyncpg.Record]", url: str, schema: str, where: str
    ) -> None:
        self.schema = schema
        self.where = where
        self._pool = pool
        self._url = url

    @classmethod
    async def open(
        cls, url: str, *, schema: str = SCHEMA, connections: int = CONNECTIONS
    ) -> "Database":
        """The database at `url`, its tables made or brought up to date.

        Raises `Unreachable`, `Busy`, `AccessDenied`, `NoSuchDatabase`, `BadAddress`, `NotOurs`,
        `NewerDatabase`.
        """
        where = described(url)
        _check(schema)
        with translated(where, greeting=True):
            pool = await asyncpg.create_pool(
                url,
                min_size=0,
                max_size=connections,
                timeout=_CONNECT,
                command_timeout=_ANSWER,
                server_settings=_settings(schema),
            )
        database = cls(pool, url, schema, where)
        try:
            with translated(where, greeting=True):
                await pool.release(await pool.acquire())
            async with database.link() as link:
                await migrate(link, schema, packaged("knowledge.database"))
        except BaseException:
            pool.terminate()
            raise
        return database

    @asynccontextmanager
    async def link(self) -> AsyncIterator["Link"]:
        """A connection for a while, every error of it one of `errors`."""
        with translated(self.where):
            if self._pool.is_closing():
                raise Closed(
                    "the history database was closed",
                    details=self.where,
                    actions=("open it again",),
                )
            link = await self._acquire()
            try:
                yield link
            finally:
                await self._pool.release(link)

    async def _acquire(self) -> "Link":
        try:
            return await self._pool.acquire(timeout=_CONNECT)
        except TimeoutError as error:
            if self._pool.get_size() < self._pool.get_max_size():
                raise
            raise Busy(
                "every connection to the history database is in use",
                details=f"{self.where}: {self._pool.get_size()}, for {_CONNECT:g} s",
                actions=("try again", "ask fewer questions at once"),
                retry_after=1.0,
            ) from error

    @asynccontextmanager
    async def transaction(self, *, fresh_plans: bool = False) -> AsyncIterator["Link"]:
        """A connection in a transaction: kept as a whole when the block ends, else not at all.

        `fresh_plans`: plan each statement for its own arguments, for those with many filters.
        """
        async with self.link() as link, link.transaction():
            if fresh_plans:
                await link.execute("SET LOCAL plan_cache_mode = force_custom_plan")
            yield link

    @asynccontextmanager
    async def apart(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A connection of its own beside the others, without limits of time: for what waits."""
        settings = {**_settings(self.schema), "statement_timeout": "0", "lock_timeout": "0"}
        with translated(self.where):
            link = await asyncpg.connect(self._url, timeout=_CONNECT, server_settings=settings)
            try:
                yield link
            finally:
                link.terminate()

    async def close(self) -> None:
        """Give all connections back; those in use are waited for, up to a few seconds."""
        with translated(self.where):
            await self._pool.close()

    def terminate(self) -> None:
        """Drop all connections at once."""
        self._pool.terminate()


def _settings(schema: str) -> dict[str, str]:
    return {**_SETTINGS, "application_name": "muster", "search_path": f'"{schema}"'}


def _check(schema: str) -> None:
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,62}", schema) or schema.startswith("pg_"):
        raise BadAddress(
            f"{schema[:80]!r} cannot be the name of a schema",
            details="it takes 1 to 63 of a-z, 0-9, _ and -, begins with a letter, not with pg_",
            actions=("choose another name",),
        )
