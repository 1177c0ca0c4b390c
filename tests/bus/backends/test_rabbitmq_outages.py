"""RabbitMQ and its bus database: a network cut from both, and each of them hanging alone."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from bus.backend import Backend, Delivery
from bus.backends.choice import open_parts
from bus.errors import Unreachable
from bus.opening import Parts, Terms
from contracts.clock import SystemClock
from tests.bus.conformance.load import BACK, Load
from tests.bus.conformance.steps import ORDER, ids, tasks
from tests.forms import form
from tests.networks import Network, between
from tests.rabbitmq_server import RabbitServer

pytestmark = [pytest.mark.rabbitmq, pytest.mark.slow]

LEASE = 2.5
CLOCK = SystemClock()


@asynccontextmanager
async def connected(
    server: RabbitServer,
    fleet: str = "t",
    network: Network | None = None,
    *,
    patience: float = 5.0,
) -> AsyncIterator[Parts]:
    """One process's connection."""
    url, database = server.url, server.database
    if network is not None:
        url, database = network.url, network.environment["MUSTER_BUS_DATABASE"]
    given = {"fleet": fleet, "clock": CLOCK, "lease": LEASE, "patience": patience}
    terms = Terms(url=url, database=database, **given)  # type: ignore[arg-type]
    parts = await open_parts(terms)
    try:
        yield parts
    finally:
        await parts.backend.close()
        await parts.store.close()
        await parts.close()


@pytest.mark.timeout(90)
@pytest.mark.promise(12, 15, 16)
@pytest.mark.parametrize("silently", [True, False], ids=["hangs", "breaks"])
async def test_a_worker_that_is_cut_off_from_both_loses_nothing(
    rabbitmq_server: RabbitServer, silently: bool
) -> None:
    """What it held runs elsewhere within lease + 1 s of the cut; it works again within five seconds
    of the return, alone, and none of what it held then is settled by it."""
    load, alone = Load(CLOCK), Load(CLOCK)
    fleet = f"cut-{silently}"
    async with (
        between(rabbitmq_server) as network,
        connected(rabbitmq_server, fleet) as near,
        connected(rabbitmq_server, fleet, network) as far,
    ):
        await near.backend.bind("g", ["work.#"])
        await near.backend.publish(tasks(20))
        held = await far.backend.pull("g", ORDER, limit=20, wait=5.0)
        assert held
        if silently:
            for proxy in network.proxies:
                proxy.hang()
        else:
            await network.cut()
        working = asyncio.create_task(load.work(near.backend))
        async with asyncio.timeout(LEASE + 1.0):
            await load.done({f"t{n}" for n in range(20)})
        await CLOCK.sleep(5.0)
        await network.mend()
        working.cancel()
        await asyncio.wait([working])
        working = asyncio.create_task(alone.work(far.backend))
        fresh = tasks(20, "fresh")
        await near.backend.publish(fresh)
        async with asyncio.timeout(BACK):
            await alone.done({message.id for message in fresh})
        assert await far.backend.settle(held) == held
        working.cancel()
        await asyncio.wait([working])
    assert load.again == []
    assert len(load.settled) == 22  # two leave a copy


@pytest.mark.promise(14)
@pytest.mark.parametrize("pause", [0.05, 1.0], ids=["at-once", "later"])
async def test_what_a_database_that_hung_counted_was_no_hand_over(
    own_rabbitmq: Callable[..., RabbitServer], pause: float
) -> None:
    """It answers too late, and does what it was asked when it goes on: nobody was handed anything,
    so nothing comes as what a crash left behind, also to another process."""
    server = own_rabbitmq()
    async with connected(server, patience=1.5) as parts:
        await parts.backend.bind("g", ["work.#"])
        await parts.backend.publish(tasks(3, "u"))
        left = 3
        while left:
            first = await parts.backend.pull("g", ORDER, limit=10, wait=1.0)
            assert await parts.backend.settle(first) == []
            left -= len(first)
        assert await parts.backend.pull("g", ORDER, limit=10, wait=0.0) == []
        await parts.backend.publish(tasks(10))
        await asyncio.to_thread(server.store.freeze)
        with pytest.raises(Unreachable):
            await parts.backend.pull("g", ORDER, limit=10, wait=5.0)
        server.store.thaw()
        found: list[Delivery] = []
        async with asyncio.timeout(20.0), connected(server) as other:
            while len(found) < 10:
                for backend in (parts.backend, other.backend):
                    await CLOCK.sleep(pause)
                    with suppress(Unreachable):
                        found += await backend.pull("g", ORDER, limit=5, wait=0.5)
        assert [d.earlier for d in found] == [0] * 10


@pytest.mark.promise(13)
@pytest.mark.timeout(90)
async def test_what_is_held_for_long_outlives_a_broker_that_hangs(
    own_rabbitmq: Callable[..., RabbitServer],
) -> None:
    """Longer than its lease, several times: it is a row, and rows do not need the broker. Nobody
    else is handed it, and it is settled."""
    server = own_rabbitmq()
    async with connected(server) as parts, connected(server) as other:
        await parts.backend.bind("g", ["work.#"])
        await parts.backend.publish(tasks(3))
        held = await parts.backend.pull("g", ORDER, limit=3, wait=5.0)
        while len(held) < 3:
            held += await parts.backend.pull("g", ORDER, limit=3 - len(held), wait=5.0)
        for _ in range(4):
            await CLOCK.sleep(0.5)
            assert await parts.backend.extend(held) == []
        await asyncio.to_thread(server.freeze)
        for _ in range(form(12, 24)):
            await CLOCK.sleep(0.5)
            assert await parts.backend.extend(held) == []
        assert await parts.backend.settle(held) == []
        server.thaw()
        found = await persisted_pull(other.backend)
        assert found == []


async def persisted_pull(backend: Backend) -> list[str]:
    """What comes within two leases."""
    found: list[str] = []
    end = CLOCK.monotonic() + 2 * LEASE
    while CLOCK.monotonic() < end:
        with suppress(Unreachable):
            found += ids(await backend.pull("g", ORDER, limit=9, wait=1.0))
            continue
        await CLOCK.sleep(0.1)
    return found
