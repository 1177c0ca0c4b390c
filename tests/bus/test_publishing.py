"""Ids that hold: published once, however long after."""

import asyncio
from dataclasses import replace

import pytest

from bus.bus import Bus
from bus.errors import Unreachable
from bus.keyvalue import keys
from contracts.clock import ManualClock
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON
from tests.bus.rooms import bus_of, envelope, memory_bus

DAY = 86_400.0
WINDOW = 120.0


async def ids(bus: Bus) -> list[str]:
    """What waits for group `g`, taken and forgotten."""
    found = await bus.pull("g", free=100, wait=0.1)
    for delivery in found:
        await bus.forget(delivery)
    return [delivery.message.id for delivery in found]


@pytest.mark.promise(4)
async def test_an_id_that_holds_is_published_once_whoever_publishes_it(world: World) -> None:
    """Another copy is another message to the broker: only the note can know it."""
    bus, other = await bus_of(world), await bus_of(world)
    assert await world.within(SOON, bus.publish([envelope("a")], hold=DAY)) == frozenset()
    again = [replace(envelope("a"), copy=1), envelope("b")]
    assert await world.within(SOON, other.publish(again, hold=DAY)) == {"a"}
    assert sorted(await world.within(SOON, ids(bus))) == ["a", "b"]
    assert await world.within(SOON, bus.publish(again, hold=DAY)) == {"a", "b"}
    assert await world.within(SOON, ids(other)) == []


@pytest.mark.promise(4)
async def test_an_id_holds_as_long_as_asked_and_no_longer() -> None:
    clock = ManualClock()
    bus, backend, _ = memory_bus(clock)
    await bus.bind("g", ["work.#"])
    await bus.publish([envelope("a")], hold=DAY)
    for passed in (2 * WINDOW, DAY / 2):
        await clock.advance(passed)
        assert await bus.publish([envelope("a")], hold=DAY) == {"a"}
    await clock.advance(DAY / 2)
    assert await bus.publish([envelope("a")], hold=DAY) == frozenset()
    assert [message.id for message in backend.published] == ["a", "a"]


@pytest.mark.promise(4)
async def test_a_publisher_that_dies_before_its_note_has_lost_nothing() -> None:
    """The task is out first: until the note is there, the broker's window knows the key."""
    clock = ManualClock()
    bus, backend, _ = memory_bus(clock)
    await bus.bind("g", ["work.#"])
    backend.failures += [Unreachable("away")] * 10_000
    died = asyncio.create_task(bus.publish([envelope("a")], hold=DAY))
    await clock.advance(1.0)
    died.cancel()
    await asyncio.wait([died])
    assert await bus.store.get(keys.published("a")) is None
    backend.failures.clear()
    assert await bus.publish([envelope("a")], hold=DAY) == frozenset()
    assert [message.id for message in backend.published] == ["a"]


async def test_without_hold_nothing_is_noted() -> None:
    bus, _, _ = memory_bus(ManualClock())
    await bus.bind("g", ["work.#"])
    await bus.publish([envelope("a")])
    assert await bus.store.list("key/") == []
