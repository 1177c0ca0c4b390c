"""Quotas of tenants: counted by all publishers together, all or nothing."""

import asyncio
import random
from math import ceil

import pytest

from bus.bus import Bus
from bus.errors import QuotaExceeded, Unroutable
from contracts.limits import Rate
from tests.bus.conformance.harness import World
from workers.fleet.client import FleetClient
from workers.fleet.options import Options

DAY = 86_400.0


async def client(world: World, **quotas: int) -> FleetClient:
    """A publisher that knows of these quotas per day; `EVERY` stands for each other tenant."""
    rates = {name.replace("EVERY", "*"): Rate(count, DAY) for name, count in quotas.items()}
    bus = Bus(await world.backend(), await world.keyvalue(), clock=world.clock, quotas=rates)
    await bus.bind("g", ["work.#"])
    return FleetClient(bus, world.clock)


async def published(fleet: FleetClient, count: int, tenant: str = "acme") -> int:
    """How many of so many tasks were accepted, as one batch."""
    try:
        found = await fleet.publish_many([("work.a", {})] * count, Options(tenant=tenant))
    except QuotaExceeded:
        return 0
    return len(found)


async def waiting(fleet: FleetClient) -> int:
    """How many tasks the broker has."""
    lag = await fleet.bus.lag("g")
    return sum(getattr(lane, "waiting", 0) or 0 for lane in lag.values())


async def test_a_batch_over_the_quota_sends_nothing_and_says_when_to_come_back(
    world: World,
) -> None:
    """The error is retryable and names the moment; what still fits is accepted."""
    fleet = await client(world, acme=10)

    async def scene() -> QuotaExceeded:
        assert await published(fleet, 7) == 7
        with pytest.raises(QuotaExceeded) as caught:
            await fleet.publish_many([("work.a", {})] * 4, Options(tenant="acme"))
        assert await published(fleet, 3) == 3
        assert await published(fleet, 1) == 0
        return caught.value

    error = await world.within(10.0, scene())
    now = world.clock.wall()
    until_midnight = ceil(now / DAY) * DAY - now
    assert error.retryable
    assert error.retry_after == pytest.approx(until_midnight, abs=15.0)
    assert "7 of 10" in error.details
    assert all(error.lines())
    assert await world.within(5.0, waiting(fleet)) == 10


async def test_publishers_in_several_processes_share_a_quota(world: World) -> None:
    """Whatever they ask at the same moment, never one more is accepted, nor one less."""
    fleets = [await client(world, acme=50) for _ in range(4)]

    async def scene() -> int:
        return sum(await asyncio.gather(*[published(f, 1) for f in fleets for _ in range(20)]))

    assert await world.within(20.0, scene()) == 50


async def test_tenants_have_quotas_of_their_own(world: World) -> None:
    fleet = await client(world, acme=2, EVERY=1)

    async def scene() -> list[int]:
        tenants = ["acme", "acme", "acme", "one", "one", "two"]
        return [await published(fleet, 1, tenant) for tenant in tenants]

    assert await world.within(10.0, scene()) == [1, 1, 0, 1, 0, 1]


async def test_what_was_refused_for_another_reason_does_not_count(world: World) -> None:
    """Nor does a task that was published before under the same key."""
    fleet = await client(world, acme=3)

    async def scene() -> list[int]:
        for _ in range(5):
            with pytest.raises(Unroutable):
                await fleet.publish("elsewhere", {}, tenant="acme")
        for _ in range(2):
            await fleet.publish("work.a", {}, tenant="acme", key="k")
        return [await published(fleet, 1) for _ in range(3)]

    assert await world.within(20.0, scene()) == [1, 1, 0]


async def test_a_new_window_begins_anew(world: World) -> None:
    """Windows of a second; time passes by the clock."""
    bus = Bus(
        await world.backend(),
        await world.keyvalue(),
        clock=world.clock,
        rng=random.Random(1),
        quotas={"acme": Rate(5, 1.0)},
    )
    await bus.bind("g", ["work.#"])
    fleet = FleetClient(bus, world.clock)

    async def scene() -> int:
        accepted = 0
        end = world.clock.wall() + 3.0
        while world.clock.wall() < end:
            accepted += await published(fleet, 1)
            await world.clock.sleep(0.05)
        return accepted

    assert 15 <= await world.within(10.0, scene()) <= 20
