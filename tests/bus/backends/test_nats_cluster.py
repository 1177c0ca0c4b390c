"""A cluster of three real NATS servers: where the streams lie is the operator's to say."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.backends.choice import open_parts
from bus.backends.nats.connect import connect
from bus.errors import BusError
from bus.opening import Parts, Terms
from contracts.clock import SystemClock
from deploy import ports
from tests.bus.conformance.steps import ORDER, ids, task
from tests.servers import NatsServer

pytestmark = pytest.mark.nats

CLOCK = SystemClock()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[str]:
    """The address of one of the three."""
    routes = [f"{ports.LOOPBACK}:{ports.free()}" for _ in range(3)]
    known = ", ".join(f"nats://{route}" for route in routes)
    servers = [
        NatsServer(
            tmp_path / f"nats-{number}",
            more=f"server_name: n{number}\n"
            f'cluster {{ name: c, listen: "{route}", routes: [{known}] }}\n',
        )
        for number, route in enumerate(routes)
    ]
    for server in servers:
        server.start()
    yield servers[0].url
    for server in servers:
        server.stop()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Parts]:
    """A connection to the fleet, as soon as the cluster has a leader."""
    async with asyncio.timeout(60.0):
        while (parts := await ready(url)) is None:
            await CLOCK.sleep(0.2)
    yield parts
    await parts.backend.close()
    await parts.store.close()
    await parts.close()


async def ready(url: str) -> Parts | None:
    """The fleet with a group; None while nobody leads."""
    try:
        parts = await open_parts(Terms(url=url, fleet="t", clock=CLOCK, patience=2.0))
    except BusError:
        return None
    try:
        await parts.store.put("a", b"")
        await parts.backend.bind("g", ["work.#"])
    except BusError:
        await parts.close()
        return None
    return parts


async def edited(url: str, stream: str) -> None:
    """What `nats stream edit STREAM --replicas 3` does."""
    link = await connect(url, fleet="t", clock=CLOCK)
    config = (await link.api(f"STREAM.INFO.{stream}", doing="asking"))["config"]
    more = {**config, "num_replicas": 3}
    await link.api(f"STREAM.UPDATE.{stream}", more, doing="editing")
    await link.close()


@pytest.mark.slow
@pytest.mark.promise(1)
async def test_streams_on_one_server_of_a_cluster_are_named_and_stay_as_they_are_edited(
    cluster: str,
) -> None:
    """1: who opens the fleet later does not take the copies back, and tasks go through."""
    streams = ["MUSTER_t_TASKS", "MUSTER_t_LATER", "KV_MUSTER_t"]
    async with opened(cluster) as parts:
        found = (await parts.examine()).dangers
        assert [danger.do for danger in found] == [
            f"`nats stream edit {stream} --replicas 3`" for stream in streams
        ]
        for stream in streams:
            await edited(cluster, stream)
        async with asyncio.timeout(30.0):
            while (await parts.examine()).dangers:
                await CLOCK.sleep(0.1)
    async with opened(cluster) as parts:
        await parts.backend.publish([task("a")])
        held = await parts.backend.pull("g", ORDER, limit=1, wait=10.0)
        assert ids(held) == ["a"]
        assert await parts.backend.settle(held) == []
        assert (await parts.examine()).dangers == []
