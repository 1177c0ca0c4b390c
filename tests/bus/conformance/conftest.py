"""The implementations the conformance suite runs on."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.brokers import ALONE, IMPLEMENTATIONS, own, shared
from tests.bus.conformance.broker_world import BrokerWorld
from tests.bus.conformance.harness import MemoryWorld, World
from tests.proxy import proxied

ROOM = 400_000
"""Bytes that the tasks of a small fleet may fill."""


def _made(request: pytest.FixtureRequest, *, max_bytes: int | None = None) -> World:
    """A new fleet on what all tests share."""
    if request.param == "memory":
        return MemoryWorld(max_bytes=max_bytes)
    return BrokerWorld(shared(request, request.param), max_bytes=max_bytes)


@pytest.fixture(params=IMPLEMENTATIONS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fleet of the test's own on a broker that other tests use too."""
    made = _made(request)
    yield made
    await made.close()


@pytest.fixture(params=IMPLEMENTATIONS)
async def small(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fleet like `world` whose broker is soon full."""
    made = _made(request, max_bytes=ROOM)
    yield made
    await made.close()


@pytest.fixture
async def another(world: World) -> AsyncIterator[World]:
    """Another fleet on the same broker as `world`."""
    made = world.neighbour()
    yield made
    await made.close()


@pytest.fixture(params=IMPLEMENTATIONS)
async def far(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fleet with a network between it and the broker, which the test may cut."""
    if request.param == "memory":
        made: World = MemoryWorld()
        yield made
        await made.close()
        return
    broker = shared(request, request.param)
    async with AsyncExitStack() as stack:
        urls = [url for url in (broker.url, broker.fallback) if url is not None]
        proxies = [await stack.enter_async_context(proxied(url)) for url in urls]
        made = BrokerWorld(broker, proxies=proxies)
        yield made
        await made.close()


@pytest.fixture(params=IMPLEMENTATIONS)
async def mortal(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fleet on a broker of the test's own, which the test may stop and kill."""
    memory = request.param == "memory"
    made: World = MemoryWorld() if memory else BrokerWorld(own(request, request.param))
    yield made
    await made.close()


@pytest.fixture(params=[param for param in ALONE if param.id in {"rabbitmq", "kafka"}])
async def databased(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fleet like `mortal` on a broker that needs a bus database."""
    made = BrokerWorld(own(request, request.param))
    yield made
    await made.close()
