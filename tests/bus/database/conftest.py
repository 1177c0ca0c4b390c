"""Worlds on a PostgreSQL alone."""

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.bus.conformance.harness import World
from tests.bus.database.worlds import OnlyPostgres, StoreWorld
from tests.servers import PostgresServer


@pytest.fixture(scope="session")
def bus_database_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The address of a database that the fleets of these tests share."""
    with postgres_server.fresh_database() as url:
        yield url


@pytest.fixture
async def world(postgres_server: PostgresServer, bus_database_url: str) -> AsyncIterator[World]:
    """A fleet of the test's own."""
    made = StoreWorld(OnlyPostgres(postgres_server, bus_database_url))
    yield made
    await made.close()


@pytest.fixture
async def another(world: World) -> AsyncIterator[World]:
    """Another fleet in the same database as `world`."""
    made = world.neighbour()
    yield made
    await made.close()


@pytest.fixture
async def mortal(own_postgres: Callable[[], PostgresServer]) -> AsyncIterator[World]:
    """A fleet on a PostgreSQL of the test's own, which the test may stop and kill."""
    server = own_postgres()
    made = StoreWorld(OnlyPostgres(server, server.url))
    yield made
    await made.close()
