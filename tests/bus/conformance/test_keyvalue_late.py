"""Following what comes late: the follower stood still, or the line to it is slow."""

import asyncio

import pytest

from bus.keyvalue.protocol import Current, Snapshot, Written
from bus.stop_view import EVERY, FRESH, StopView
from bus.stops import Kind
from tests.brokers import Broker
from tests.bus.conformance.broker_world import BrokerWorld
from tests.bus.conformance.process_view import ProcessView
from tests.bus.conformance.steps import SOON
from tests.bus.conformance.test_keyvalue_follow import Follower
from tests.bus.rooms import bus_of
from tests.proxy import Proxy, proxied

SLOW = 1.5
"""Seconds by which what the store says comes late."""


@pytest.mark.promise(23)
@pytest.mark.parametrize("seconds", [FRESH + 0.2, 6.0])
async def test_a_view_that_stood_still_is_fresh_only_with_what_was_put_meanwhile(
    broker: Broker, seconds: float
) -> None:
    """Whatever the store has told before the mark lies there unread when the process goes on; and
    the connection may be given up then."""
    world = BrokerWorld(broker)
    bus, other = await bus_of(world), await ProcessView.start(broker, world.fleet)
    asking = asyncio.create_task(_keep_asking(bus.stop_view))
    try:
        for number in range(3 if seconds < SOON else 1):
            task = f"t{number}"
            await other.expect(task)
            await world.pass_time(number * EVERY / 3)
            other.freeze()
            await world.pass_time(2 * EVERY)
            await bus.stops.put(Kind.TASK, task)
            put = world.clock.monotonic()
            await world.pass_time(seconds)
            other.thaw()
            assert await world.within(2 * SOON, other.trusted()) <= put + FRESH
    finally:
        asking.cancel()
        await other.kill()
        await bus.close()
        await world.close()


async def _keep_asking(view: StopView) -> None:
    """As a process that has tasks to start: where processes tell each other how late it is, they
    tell those that stand still, too."""
    view.start()
    while True:
        await view.until_fresh()
        await asyncio.sleep(EVERY / 4)


@pytest.mark.promise(0)
async def test_what_comes_late_is_not_taken_for_recent(broker: Broker) -> None:
    """A sign of life that was given before an entry was put comes seconds before the entry."""
    async with proxied(broker.database or broker.url) as line:
        world, near = _behind(line, broker), BrokerWorld(broker)
        near.fleet = world.fleet
        follower = Follower(world, await world.keyvalue())
        store = await near.keyvalue()
        put: dict[str, float] = {}
        try:
            await follower.current_at(world.clock.monotonic())
            line.slow(SLOW)
            for number in range(10):
                await store.put(f"a/{number}", b"x")
                put[f"a/{number}"] = world.clock.monotonic()
                await world.pass_time(SLOW / 4)
            await follower.current_at(max(put.values()), 4 * SOON)
        finally:
            line.slow(0.0)
            await follower.end()
            await near.close()
            await world.close()
    known: set[str] = set()
    for change in follower.told:
        if isinstance(change, Snapshot):
            known = {entry.key for entry in change.entries}
        elif isinstance(change, Written):
            known.add(change.entry.key)
        elif isinstance(change, Current):
            assert {key for key, at in put.items() if at < change.monotonic} <= known
    assert known == set(put)


def _behind(line: Proxy, broker: Broker) -> BrokerWorld:
    """A fleet whose store is reached by this line."""
    if broker.database is None:
        return BrokerWorld(broker, proxies=[line])
    return BrokerWorld(broker, database=line.url)
