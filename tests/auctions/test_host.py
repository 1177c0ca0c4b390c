"""A worker process with auctioned roles beside others, in real time."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.bus import Bus
from bus.keyvalue.memory import MemoryKeyValue
from contracts.clock import SystemClock
from tests.auctions.fleets import sold
from tests.auctions.local import LocalCluster
from tests.engine.fleets import made
from workers.auctions.ledger import NoLedger
from workers.engine.host import Host
from workers.engine.identity import Identity
from workers.fleet.client import FleetClient
from workers.sdk.context import Context
from workers.sdk.role import Role
from workers.settings import load
from workers.wiring import work


class Place:
    """A broker, a ledger and a client in real time."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.broker = MemoryBroker(self.clock, lease=2.0)
        self.cluster = LocalCluster(self.clock)
        self.client = FleetClient(self.bus(), self.clock)

    def bus(self) -> Bus:
        store = MemoryKeyValue(self.broker.store)
        return Bus(MemoryBackend(self.broker), store, clock=self.clock)

    def host(self, *roles: Role, bus: Bus, ledger: bool = True) -> Host:
        who = Identity.of_this_process()

        async def extender() -> MemoryBackend:
            return MemoryBackend(self.broker)

        session = self.cluster.session(who.name) if ledger else None
        given = (roles, bus, who, self.clock)
        return Host(*given, lease=2.0, drain=2.0, extender=extender, ledger=session)


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    found = Place()
    yield found
    await found.client.close()
    await found.cluster.close()


async def doubled(number: int, ctx: Context) -> int:
    return 2 * number


async def asking(number: int, ctx: Context) -> Any:
    """Calls an auctioned role, and itself until it is 0."""
    if number:
        return await ctx.call("auctioned", number - 1)
    return await ctx.call("second", await ctx.call("plain", 21))


async def test_auctioned_and_other_roles_call_each_other(place: Place) -> None:
    """With one place: a run that waits for its children gives up its place, and its award does not
    keep the child from being awarded."""
    bus = place.bus()
    plain = made(doubled, "plain")
    auctioned = sold(asking, "auctioned", listens="ask.#", concurrency=1, lease=30.0)
    second = sold(doubled, "second", listens="two.#")
    host = place.host(plain, auctioned, second, bus=bus)
    run = asyncio.create_task(host.run())
    await asyncio.wait_for(host.ready(), 5.0)
    task = await place.client.publish("ask.a", 1)
    assert await asyncio.wait_for(task.result(), 30.0) == 84
    assert len(place.cluster.completed) == 3
    host.stop()
    await run
    await bus.close()


async def test_without_a_ledger_an_auctioned_role_is_refused_with_its_place(place: Place) -> None:
    bus = place.bus()
    with pytest.raises(NoLedger) as caught:
        place.host(sold(doubled, "auctioned"), bus=bus, ledger=False)
    assert "test_host.py" in caught.value.details
    await bus.close()


async def test_a_process_that_has_no_ledger_refuses_before_it_connects(tmp_path: Path) -> None:
    with pytest.raises(NoLedger, match="auctioned"):
        await work(load(tmp_path, flags={"bus.url": "nats://127.0.0.1:1"}), [sold(doubled)])
