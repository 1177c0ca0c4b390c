"""A bridge from streams of a real Redis: what only those have."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from bus.backends.memory import MemoryBroker
from contracts.clock import SystemClock
from tests.redis_server import RedisServer
from workers.bridge.foreign import Foreign
from workers.bridge.inward import Inward, refuses_nothing
from workers.bridge.messages import Arrived
from workers.bridge.places import crossing
from workers.fleet.client import FleetClient
from workers.testing.process import connect

pytestmark = pytest.mark.redis

SECONDS = 10.0


@pytest.fixture
async def outside(redis_server: RedisServer) -> AsyncIterator[Any]:
    """A plain client."""
    client: Any = Redis.from_url(redis_server.url)
    yield client
    await client.aclose()


async def test_entries_become_tasks_and_are_acknowledged(
    redis_server: RedisServer, outside: Any
) -> None:
    """With a field `data`, without one, and an event twice."""
    clock, stream = SystemClock(), f"orders-{secrets.token_hex(4)}"
    _, bus = connect(MemoryBroker(clock), "/muster/test")
    await bus.bind("role", ["a.#"])
    found = crossing(f"{redis_server.url}/0/{stream}", "a.order", "test")
    inward = Inward(found, FleetClient(bus, clock), clock, fleet="demo", check=refuses_nothing)
    foreign = Foreign(found.place, found.group)
    named = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop"}
    await outside.xgroup_create(stream, found.group, id="0", mkstream=True)
    await outside.xadd(stream, {"data": '{"n": 1}'})
    await foreign.start(inward.take)
    await outside.xadd(stream, {"n": "2"})
    for _ in range(2):
        await outside.xadd(stream, {**named, "data": '{"n": 3}'})
    bodies: set[bytes] = set()
    async with asyncio.timeout(SECONDS):
        while len(bodies) < 3:
            bodies |= {each.message.body for each in await bus.pull("role", free=9, wait=1.0)}
    assert bodies == {b'{"n":1}', b'{"n":"2"}', b'{"n":3}'}
    async with asyncio.timeout(SECONDS):
        while (await outside.xpending(stream, found.group))["pending"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    inward.stop()
    await foreign.stop()
    await bus.close()


async def test_a_long_stream_is_taken_in_parts(redis_server: RedisServer, outside: Any) -> None:
    """What lies in a bridge that waits is given to nobody else for a while, and takes memory."""
    stream = f"orders-{secrets.token_hex(4)}"
    found = crossing(f"{redis_server.url}/{stream}", "a.order", "test")
    taken, going_on = asyncio.Event(), asyncio.Event()

    async def take(_: Arrived) -> bool:
        taken.set()
        return await going_on.wait()

    await outside.xgroup_create(stream, found.group, id="0", mkstream=True)
    for _ in range(500):
        await outside.xadd(stream, {"data": "1"})
    foreign = Foreign(found.place, found.group)
    await foreign.start(take)
    async with asyncio.timeout(SECONDS):
        await taken.wait()
    assert (await outside.xpending(stream, found.group))["pending"] == 200
    going_on.set()
    await foreign.stop()
