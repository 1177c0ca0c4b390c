"""Opening the bus database: by many at once, by a stranger, after a later release; losing it."""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest

from bus.database.address import described
from bus.database.database import BusDatabase
from bus.errors import AccessDenied, BusError, Closed, DatabaseUnreachable, Unsafe
from deploy import ports
from tests.servers import PostgresServer

pytestmark = pytest.mark.postgres


@pytest.fixture
def url(postgres_server: PostgresServer) -> Iterator[str]:
    """An empty database."""
    with postgres_server.fresh_database() as address:
        yield address


async def test_many_that_open_a_new_database_at_once_agree(url: str) -> None:
    """On its tables, and on the number of the fleet that none of them has heard of."""
    for fleet in ("one", "two"):
        opened = await asyncio.gather(*(BusDatabase.open(url, fleet=fleet) for _ in range(8)))
        assert len({database.fleet for database in opened}) == 1
        assert opened[0].fleet > 0
        for database in opened:
            database.close()


async def test_a_closed_database_says_so(url: str) -> None:
    """Closing it twice does nothing."""
    database = await BusDatabase.open(url, fleet="t")
    database.close()
    database.close()
    with pytest.raises(Closed):
        await database.fetch("SELECT 1")


async def test_what_belongs_to_a_later_release_or_to_others_is_left_alone(url: str) -> None:
    """It is refused, and nothing is changed."""
    database = await BusDatabase.open(url, fleet="t")
    await database.fetch("INSERT INTO migrations VALUES (9999, 'later', 'x')")
    database.close()
    with pytest.raises(Unsafe, match="newer release"):
        await BusDatabase.open(url, fleet="t")


async def test_a_schema_of_others_is_left_alone(postgres_server: PostgresServer, url: str) -> None:
    """One of the same name, without our ledger."""
    database = await BusDatabase.open(url, fleet="t")
    await database.fetch("DROP TABLE migrations")
    database.close()
    with pytest.raises(Unsafe, match="not one of this project"):
        await BusDatabase.open(url, fleet="t")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (("/test_", "/none_"), Unsafe),
        (("postgresql://", "mysql://"), Unsafe),
        (("postgresql://postgres", "postgresql://nobody"), AccessDenied),
    ],
)
async def test_each_wrong_address_is_one_clear_error(
    url: str, change: tuple[str, str], error: type[BusError]
) -> None:
    """Name, scheme and user."""
    with pytest.raises(error):
        await BusDatabase.open(url.replace(*change), fleet="t")


async def test_nobody_at_the_address_is_noticed_soon() -> None:
    """And no password is repeated."""
    address = f"postgresql://ada:secret@127.0.0.1:{ports.free()}/bus"
    with pytest.raises(DatabaseUnreachable) as caught:
        await BusDatabase.open(address, fleet="t")
    assert "secret" not in " ".join(caught.value.lines())
    assert described(address) in caught.value.details


async def test_a_server_that_hangs_is_unreachable_when_patience_is_over(
    own_postgres: Callable[[], PostgresServer],
) -> None:
    """Not after twice as long: nobody waits for it again when the connection is given back."""
    server, patience = own_postgres(), 1.5
    database = await BusDatabase.open(server.url, fleet="t", patience=patience)
    await database.fetchval("SELECT 1")
    server.freeze()
    began = time.monotonic()
    try:
        with pytest.raises(DatabaseUnreachable):
            await database.fetchval("SELECT 1")
    finally:
        took = time.monotonic() - began
        server.thaw()
    assert patience - 0.1 < took < 2 * patience - 0.3
    assert await database.fetchval("SELECT 1") == 1
    database.close()
    await asyncio.sleep(0)
