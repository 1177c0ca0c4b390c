"""The bus database as a fleet uses it: a few connections, errors of the bus."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from bus.database.address import described
from bus.database.errors import closed, login_refused, translated
from bus.database.migrating import SCHEMA, migrate
from bus.errors import AccessDenied
from bus.lockout import Lockouts
from contracts.migrations import packaged

if TYPE_CHECKING:
    from bus.database.links import Apart, Link, Row

CONNECTIONS = 3
"""Of each of the two kinds, of one process at most."""

_IDLE = 30.0
"""Seconds after which a connection nobody needed is given back."""

_FLEET = f"SELECT id FROM {SCHEMA}.fleets WHERE name = $1"  # noqa: S608
_NEW_FLEET = f"INSERT INTO {SCHEMA}.fleets (name) VALUES ($1) ON CONFLICT DO NOTHING"  # noqa: S608


class BusDatabase:
    """The bus database for one fleet, whose number in it is `fleet`. Safe to use concurrently.

    What is kept `sure`ly is on the server's disk when a call returns; what is not may be forgotten
    by a server that is killed in the second after, which only lets something be done again.
    Statements are prepared once per connection: a pooler between must not share connections
    between transactions.
    """

    def __init__(self, url: str, where: str, patience: float, lockouts: Lockouts) -> None:
        self.where = where
        self.fleet = 0
        self.patience = patience
        self.on_close: list[Callable[[], None]] = []
        self._url = url
        self._closed = False
        self._opened = False
        self._lockout = lockouts.of(f"the bus database at {where}")
        self._sure = self._pool(sure=True)
        self._quick = self._pool(sure=False)

    @classmethod
    async def open(
        cls, url: str, *, fleet: str, patience: float = 5.0, lockouts: Lockouts | None = None
    ) -> "BusDatabase":
        """The database at `url`, its tables made or brought up to date. `patience`: seconds until
        a server that does not answer is `Unreachable`; `lockouts`: see `Terms`. Raises
        `Unreachable`, `AccessDenied`, `Unsafe`."""
        where = described(url)
        with translated(where, greeting=True):
            database = cls(url, where, patience, lockouts or Lockouts())
        try:
            with translated(where, greeting=True):
                await database._sure
                await database._quick
                async with asyncio.timeout(patience), database._sure.acquire():
                    pass
            async with database.link() as link:
                await migrate(link, packaged("bus.database"))
                if await link.fetchval(_FLEET, fleet) is None:
                    await link.execute(_NEW_FLEET, fleet)
                database.fleet = await link.fetchval(_FLEET, fleet)
            database._opened = True
        except BaseException:
            database.close()
            raise
        return database

    @asynccontextmanager
    async def link(self, *, sure: bool = True) -> AsyncIterator["Link"]:
        """A connection for a while, every error of it one of the bus."""
        pool = self._sure if sure else self._quick
        if self._closed:
            raise closed(self.where)
        try:
            with translated(self.where):
                async with pool.acquire(timeout=self.patience) as link:
                    try:
                        yield link
                    except TimeoutError:
                        link.terminate()  # giving it back would wait for the server again
                        raise
        except Exception as error:
            if self._closed:
                raise closed(self.where) from error
            self._check_lockout(error)
            raise

    async def fetch(self, sql: str, *arguments: Any, sure: bool = True) -> "list[Row]":
        """The rows that one statement gives."""
        async with self.link(sure=sure) as link:
            return await link.fetch(sql, *arguments)

    async def fetchval(self, sql: str, *arguments: Any, sure: bool = True) -> Any:
        """The first value of the first row that one statement gives; None without a row."""
        async with self.link(sure=sure) as link:
            return await link.fetchval(sql, *arguments)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator["Link"]:
        """A connection in a transaction: kept as a whole when the block ends, else not at all."""
        async with self.link() as link, link.transaction():
            yield link

    async def apart(self) -> "Apart":
        """A connection of its own beside the others, for what listens; its user ends it."""
        if self._closed:
            raise closed(self.where)
        try:
            with translated(self.where):
                link: Apart = await asyncpg.connect(self._url, **self._terms(sure=True))
        except AccessDenied as error:
            self._check_lockout(error)
            raise
        await self._let_in(link)
        return link

    def close(self) -> None:
        """Drop all connections; any call afterwards raises `Closed`."""
        if not self._closed:
            self._closed = True
            self._sure.terminate()
            self._quick.terminate()
            for each in self.on_close:
                each()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def _pool(self, *, sure: bool) -> "asyncpg.Pool[Row]":
        return asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=CONNECTIONS,
            max_inactive_connection_lifetime=_IDLE,
            reset=_as_it_is,
            init=self._let_in,
            **self._terms(sure=sure),
        )

    def _check_lockout(self, error: Exception) -> None:
        """Raise what a refused login means that this server took before."""
        if self._opened and isinstance(error, AccessDenied) and login_refused(error):
            raise self._lockout.begun_of_database(error.details) from error.__cause__

    async def _let_in(self, _link: object) -> None:
        """A connection was made."""
        self._lockout.over()

    def _terms(self, *, sure: bool) -> dict[str, Any]:
        return {
            "timeout": self.patience,
            "command_timeout": self.patience,
            "server_settings": _settings(sure=sure),
        }


async def _as_it_is(_link: object) -> None:
    """A session is as it was: the driver's own question that makes sure would cost each statement
    a second round trip."""


def _settings(*, sure: bool) -> dict[str, str]:
    return {
        "application_name": "muster-bus",
        "search_path": SCHEMA,
        "synchronous_commit": "on" if sure else "off",
        "jit": "off",  # compiling a statement of a few rows takes longer than running it
        "enable_seqscan": "off",  # young tables have no statistics: a plan must not read them whole
        "enable_hashjoin": "off",  # nor all of an index to find the few rows that are named
        "enable_mergejoin": "off",
        "plan_cache_mode": "force_generic_plan",  # the shape of each statement is always the same
        "client_min_messages": "warning",
        "timezone": "UTC",
        "idle_in_transaction_session_timeout": "30s",
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "3",
        "tcp_keepalives_count": "3",
    }
