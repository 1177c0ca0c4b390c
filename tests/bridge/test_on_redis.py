"""A bridge to and from streams of a real Redis, of somebody else's."""

import asyncio
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisAway

from bus.backends.memory import MemoryBroker
from contracts.clock import SystemClock
from deploy import ports
from tests.bridge.test_outward import bridge, event
from tests.servers import missing
from workers.bridge.foreign import Foreign
from workers.bridge.inward import Inward, refuses_nothing
from workers.bridge.places import crossing
from workers.fleet.client import FleetClient
from workers.testing.process import connect

SECONDS = 10.0


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A Redis of this test's own."""
    program = shutil.which("redis-server")
    if program is None:
        missing("redis", "there is no redis-server on this machine")
    port = ports.free()
    command = [program, "--port", str(port), "--bind", ports.LOOPBACK, "--dir", str(tmp_path)]
    with subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL) as process:
        yield f"redis://{ports.LOOPBACK}:{port}"
        process.terminate()


async def client_of(url: str) -> Any:
    """A client, once the server answers."""
    client: Any = Redis.from_url(url)
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            await client.ping()
            return client
        except RedisAway:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


async def test_entries_become_tasks_and_are_acknowledged(redis_url: str) -> None:
    """With a field `data`, without one, and an event twice."""
    client, clock = await client_of(redis_url), SystemClock()
    _, bus = connect(MemoryBroker(clock), "/muster/test")
    await bus.bind("role", ["a.#"])
    found = crossing(f"{redis_url}/0/orders", "a.order", "test")
    inward = Inward(found, FleetClient(bus, clock), clock, fleet="demo", check=refuses_nothing)
    foreign = Foreign(found.place, found.group)
    named = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop"}
    await client.xgroup_create("orders", found.group, id="0", mkstream=True)
    await client.xadd("orders", {"data": '{"n": 1}'})
    await foreign.start(inward.take)
    await client.xadd("orders", {"n": "2"})
    for _ in range(2):
        await client.xadd("orders", {**named, "data": '{"n": 3}'})
    bodies: set[bytes] = set()
    async with asyncio.timeout(SECONDS):
        while len(bodies) < 3:
            bodies |= {each.message.body for each in await bus.pull("role", free=9, wait=1.0)}
    assert bodies == {b'{"n":1}', b'{"n":"2"}', b'{"n":3}'}
    async with asyncio.timeout(SECONDS):
        while (await client.xpending("orders", found.group))["pending"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    inward.stop()
    await foreign.stop()
    await bus.close()
    await client.aclose()


async def test_ends_of_tasks_become_entries(redis_url: str) -> None:
    client = await client_of(redis_url)
    async with bridge(f"{redis_url}/ended") as (_, bus, _found):
        bus.tell(event(1))
        ((_, entries),) = await client.xread({"ended": "0"}, block=int(SECONDS * 1000))
    ((_, fields),) = entries
    assert (fields[b"data"], fields[b"ce-subject"]) == (b'{"number": 1}', b"t1")
    assert fields[b"ce-type"] == b"muster.task.succeeded"
    await client.aclose()
