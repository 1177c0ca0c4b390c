"""Ids that hold, published once, however long after; and what is told of what is published."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from bus.backend import Message
from bus.bus import Bus
from bus.errors import Unreachable, Unroutable
from bus.keyvalue import keys
from contracts.clock import ManualClock
from contracts.envelope import Priority
from contracts.events import Event, Kind, decode_events
from contracts.topics import EVENTS
from tests.bus.conformance.harness import World
from tests.bus.conformance.steps import SOON
from tests.bus.rooms import NOW, bus_of, envelope, memory_bus

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


@pytest.mark.promise(24)
async def test_what_is_accepted_is_told_with_it(world: World) -> None:
    """24: each task once, with what history has to know of it; not what was held back."""
    bus = await bus_of(world)
    await bus.bind("ear", [EVENTS])
    later = world.clock.wall() + 60.0
    tasks = [envelope(f"t{n}", tenant="acme", correlation="root") for n in range(300)]
    await bus.publish(
        [envelope("a", priority=Priority.HIGH, deadline=later, subjects=("ann",))], hold=DAY
    )
    await bus.publish([envelope("a"), *tasks], hold=DAY)
    await bus.publish([envelope("d")], group="g", due=later)
    told = await world.within(SOON, hear(bus, 302))
    assert sorted(told) == sorted(["a", "d", *(task.id for task in tasks)])
    assert {e.kind for e in told.values()} == {Kind.PUBLISHED}
    assert told["a"].data == {"priority": "high", "deadline": later, "subjects": ["ann"]}
    assert (told["t7"].tenant, told["t7"].correlation, told["t7"].topic) == (
        "acme",
        "root",
        "work.a",
    )
    assert (told["d"].role, told["d"].data) == ("g", {"due": later})
    assert {e.published for e in told.values()} == {NOW}


async def hear(bus: Bus, count: int) -> dict[str, Event]:
    """The first so many events that group `ear` gets, by task."""
    found: list[Event] = []
    while len(found) < count:
        for delivery in await bus.pull("ear", free=100, wait=1.0):
            found += decode_events(delivery.message.body)
            await bus.forget(delivery)
    assert len(found) == count
    return {event.task: event for event in found}


@pytest.mark.promise(24)
async def test_a_task_is_told_in_the_very_call_that_publishes_it() -> None:
    """24: a publisher that dies between two calls would have a task that nobody can find. What
    leaves together is told together; what is refused is not told."""
    bus, backend, _ = memory_bus(ManualClock())
    await bus.bind("g", ["work.#"])
    await bus.bind("ear", [EVENTS])
    calls: list[list[str]] = []
    publish = backend.publish

    async def noted(messages: Sequence[Message], *, follow_up: bool = False) -> None:
        calls.append([message.topic for message in messages])
        await publish(messages, follow_up=follow_up)

    backend.publish = noted  # type: ignore[method-assign]
    refused = bus.publish([envelope("x", topic="elsewhere")])
    sent = [bus.publish([envelope(f"t{n}")]) for n in range(20)]
    ends = await asyncio.gather(refused, *sent, return_exceptions=True)
    assert [type(end) for end in ends[:1]] == [Unroutable]
    assert {topics[-1] for topics in calls} == {EVENTS}
    assert all(topics.count(EVENTS) == 1 for topics in calls)
    assert set(await hear(bus, 20)) == {f"t{n}" for n in range(20)}


async def test_without_hold_nothing_is_noted() -> None:
    bus, _, _ = memory_bus(ManualClock())
    await bus.bind("g", ["work.#"])
    await bus.publish([envelope("a")])
    assert await bus.store.list("key/") == []
