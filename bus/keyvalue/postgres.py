"""The key-value store on the bus database: a row per entry, changes told by notices."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from math import ceil

from bus.database.database import BusDatabase
from bus.database.ear import Ear
from bus.errors import Closed, Conflict
from bus.keyvalue.postgres_statements import (
    DELETE,
    GET,
    LIST,
    PUT,
    PUT_ABSENT,
    PUT_ON,
    bounds,
)
from bus.keyvalue.postgres_watch import Watching
from bus.keyvalue.protocol import ABSENT, Absent, Change, Current, Entry, Revision, Wish
from bus.sizes import check_value
from contracts.clock import Clock


class PostgresKeyValue:
    """See `bus.keyvalue.protocol.KeyValue` for the promises. A change of an entry that follows
    another within moments may be all that a watch tells of both when the value is long."""

    def __init__(self, database: BusDatabase, ear: Ear, clock: Clock) -> None:
        self._database = database
        self._watching = Watching(database, ear, clock)
        self._closed = False

    async def get(self, key: str) -> Entry | None:
        """See `KeyValue.get`."""
        self._check_open()
        rows = await self._database.fetch(GET, self._database.fleet, key)
        return Entry(*rows[0]) if rows else None

    async def put(
        self,
        key: str,
        value: bytes,
        *,
        ttl: float | None = None,
        expect: Revision | Absent | None = None,
    ) -> Revision:
        """See `KeyValue.put`."""
        check_value(key, value)
        self._check_open()
        left = None if ttl is None else float(max(1, ceil(ttl)))
        what = (self._database.fleet, key, bytes(value), left)
        if expect is None:
            found = await self._database.fetchval(PUT, *what)
        elif expect is ABSENT:
            found = await self._database.fetchval(PUT_ABSENT, *what)
        else:
            found = await self._database.fetchval(PUT_ON, *what, expect)
        if found is None:
            expected = "no entry" if expect is ABSENT else f"revision {expect}"
            raise Conflict(
                f"the entry {key!r} is not what was expected", details=f"expected {expected}"
            )
        return int(found)

    async def delete(self, key: str, *, expect: Revision | None = None) -> bool:
        """See `KeyValue.delete`."""
        self._check_open()
        return bool(await self._database.fetchval(DELETE, self._database.fleet, key, expect))

    async def list(self, prefix: str, *, after: str | None = None, limit: int = 500) -> list[Entry]:
        """See `KeyValue.list`."""
        self._check_open()
        what = (self._database.fleet, *bounds(prefix), after, limit)
        return [Entry(*row) for row in await self._database.fetch(LIST, *what)]

    async def watch(self, prefix: str) -> AsyncIterator[Change]:
        """See `KeyValue.watch`."""
        self._check_open()
        async with aclosing(self._watching.follow(prefix)) as changes:
            async for change in changes:
                if not isinstance(change, Current):
                    yield change

    async def follow(
        self, prefix: str, *, every: float, wish: Wish | None = None
    ) -> AsyncIterator[Change | Current]:
        """See `KeyValue.follow`."""
        self._check_open()
        async with aclosing(self._watching.follow(prefix, every, wish)) as changes:
            async for change in changes:
                yield change

    async def close(self) -> None:
        """See `KeyValue.close`."""
        self._closed = True
        self._watching.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed("the key-value store was closed", actions=("connect again",))
