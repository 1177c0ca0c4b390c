"""A bridge to and from each kind of broker, real and of somebody else's; the fleet is in memory."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import pytest

from bus.backend import Delivery
from bus.backends.memory import MemoryBroker
from bus.bus import Bus
from contracts.clock import SystemClock
from tests.bridge.outside import SECONDS, Outside, outside
from tests.bridge.test_outward import bridge, event
from tests.brokers import Broker
from workers.bridge.foreign import Foreign, Take
from workers.bridge.inward import Inward, refuses_nothing
from workers.bridge.messages import Arrived
from workers.bridge.places import Crossing, crossing
from workers.fleet.client import FleetClient
from workers.testing.process import connect

RESTART = 60.0
"""Seconds in which a broker that was killed and its clients find together again, at most."""

EVENT = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop", "ce-type": "order"}
STRUCTURED = {"content-type": "application/cloudevents+json"}


@pytest.fixture
async def place(broker: Broker) -> AsyncIterator[Outside]:
    """A place on each broker by turns."""
    async with outside(broker.url) as made:
        yield made


@asynccontextmanager
async def taking(found: Crossing, take: Take) -> AsyncIterator[None]:
    """The foreign side of a bridge, which gives `take` what it has."""
    foreign = Foreign(found.place, found.group)
    await foreign.start(take)
    try:
        yield
    finally:
        await foreign.stop()


@asynccontextmanager
async def inward(found: Crossing) -> AsyncIterator[tuple[Inward, Bus]]:
    """A bridge into a fleet where `role` listens to `a.#`."""
    clock = SystemClock()
    _, bus = connect(MemoryBroker(clock), "/muster/test")
    await bus.bind("role", ["a.#"])
    made = Inward(found, FleetClient(bus, clock), clock, fleet="demo", check=refuses_nothing)
    await made.bind()
    try:
        async with taking(found, made.take):
            yield made, bus
    finally:
        made.stop()
        await bus.close()


async def bodies(bus: Bus, count: int, seconds: float = SECONDS) -> list[bytes]:
    """So many tasks, done, and no more for the moment."""
    found: list[Delivery] = []
    async with asyncio.timeout(seconds):
        while len(found) < count:
            found += await pulled(bus, 1.0)
    found += await pulled(bus, 0.2)
    return sorted(each.message.body for each in found)


async def pulled(bus: Bus, wait: float) -> list[Delivery]:
    """What there is, done."""
    found = await bus.pull("role", free=500, wait=wait)
    await bus.forget_all(found)
    return found


async def until_left(place: Outside, group: str, wanted: int, seconds: float = SECONDS) -> None:
    """Wait until the broker has so many that nobody has answered for."""
    async with asyncio.timeout(seconds):
        while await place.left(group) != wanted:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.05)


async def test_what_fits_is_a_task_and_what_does_not_is_a_dead_letter(place: Outside) -> None:
    """Plain JSON, an event in both modes, the first of them twice, no JSON, half an event."""
    found = crossing(place.place, "a.order", "test")
    structured = {"specversion": "1.0", "id": "8", "source": "/shop", "type": "o", "data": {"n": 3}}
    await place.put(b'{"n": 1}')
    for _ in range(2):
        await place.put(b'{"n": 2}', EVENT)
    await place.put(json.dumps(structured).encode(), STRUCTURED)
    await place.put(b"no JSON")
    await place.put(b"{}", {"ce-specversion": "1.0", "ce-id": "9"})
    async with inward(found) as (made, bus):
        assert await bodies(bus, 3) == [b'{"n":%d}' % number for number in (1, 2, 3)]
        async with asyncio.timeout(SECONDS):
            while made.refused < 2:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.02)
        letters = [letter async for letter in bus.dead.all(found.group)]
        assert sorted(letter.body for letter in letters) == [b"no JSON", b"{}"]
    await until_left(place, found.group, 0)


async def test_what_was_not_taken_comes_again(place: Outside) -> None:
    """To a bridge that says no, or is cut off in the middle; then to one that takes it."""
    found = crossing(place.place, "a.order", "test")
    seen: list[Arrived] = []
    enough = asyncio.Event()

    async def refuse(arrived: Arrived) -> bool:
        seen.append(arrived)
        if len(seen) >= 2:
            enough.set()
        return False

    for number in range(3):
        await place.put(b"%d" % number)
    async with taking(found, refuse), asyncio.timeout(SECONDS):
        await enough.wait()
    async with inward(found) as (_, bus):
        assert await bodies(bus, 3) == [b"0", b"1", b"2"]
    await until_left(place, found.group, 0)


async def test_ends_of_tasks_leave_in_both_modes(place: Outside) -> None:
    async with bridge(place.place) as (_, bus, _found):
        bus.tell(event(1))
        ((headers, body),) = await place.heard(1)
    assert (json.loads(body), headers["ce-subject"]) == ({"number": 1}, "t1")
    assert headers["ce-type"] == "muster.task.succeeded"
    assert headers["content-type"] == "application/json"


async def test_they_leave_as_one_body_where_that_is_asked_for(place: Outside) -> None:
    async with bridge(place.place, structured=True) as (_, bus, _found):
        bus.tell(event(1))
        ((headers, body),) = await place.heard(1)
    told = json.loads(body)
    assert headers["content-type"] == "application/cloudevents+json"
    assert (told["subject"], told["data"]) == ("t1", {"number": 1})


async def test_what_ends_while_the_broker_is_away_leaves_when_it_is_back(
    own_broker: Callable[[], Broker],
) -> None:
    server = own_broker()
    async with outside(server.url) as before, bridge(before.place) as (outward, bus, found):
        bus.tell(event(1))
        assert subjects(await before.heard(1)) == {"t1"}
        server.kill()
        bus.tell(event(2))
        server.start()
        async with asyncio.timeout(RESTART):
            while outward.sent < 2:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.05)
        assert [letter async for letter in bus.dead.all(found.group)] == []
        assert outward.refused == 0


async def test_a_bridge_hears_again_when_the_broker_is_back(
    own_broker: Callable[[], Broker],
) -> None:
    """What was put in before and after it was killed."""
    server = own_broker()
    async with outside(server.url) as place:
        found = crossing(place.place, "a.order", "test")
        async with inward(found) as (_, bus):
            await place.put(b"1")
            assert await bodies(bus, 1) == [b"1"]
            server.kill()
            server.start()
            async with outside(server.url, again=place) as after:
                await after.put(b"2")
            assert b"2" in await bodies(bus, 1, RESTART)


def subjects(told: Iterable[tuple[dict[str, str], bytes]]) -> set[str]:
    """The tasks that events are about."""
    return {headers["ce-subject"] for headers, _ in told}
