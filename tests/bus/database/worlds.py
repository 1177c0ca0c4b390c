"""A world whose key-value store lies on a PostgreSQL, without any broker."""

import asyncio

from typing_extensions import override

from bus.backend import Backend
from bus.database.database import BusDatabase
from bus.database.ear import Ear
from bus.keyvalue.postgres import PostgresKeyValue
from bus.keyvalue.protocol import KeyValue
from tests.brokers import Broker
from tests.bus.conformance.broker_world import BrokerWorld
from tests.bus.conformance.harness import World
from tests.servers import PostgresServer


class OnlyPostgres:
    """A PostgreSQL in the place of a broker."""

    def __init__(self, server: PostgresServer, url: str) -> None:
        self.database: str | None = None
        self.fallback: str | None = None
        self.lease, self.starting = 1.5, 0.0
        self.url = url
        self.store = server
        self.start = server.start
        self.kill = server.kill
        self.stop = server.stop
        self.freeze = server.freeze
        self.thaw = server.thaw


class StoreWorld(BrokerWorld):
    """A store of the test's own fleet on a PostgreSQL."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(broker)
        self.address = broker.url
        self._databases: list[BusDatabase] = []

    @override
    def neighbour(self) -> World:
        return StoreWorld(self._broker)

    @override
    async def close(self) -> None:
        await super().close()
        for database in self._databases:
            database.close()
        await asyncio.sleep(0)

    async def database(self) -> BusDatabase:
        """A connection of its own."""
        made = await BusDatabase.open(self.address, fleet=self.fleet)
        self._databases.append(made)
        return made

    @override
    async def _connect(self) -> Backend:
        raise NotImplementedError

    @override
    async def _connect_store(self) -> KeyValue:
        database = await self.database()
        return PostgresKeyValue(database, Ear(database, self.clock), self.clock)
