"""The implementations the conformance suite runs on."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.bus.conformance.harness import MemoryWorld, World
from tests.proxy import proxied
from tests.servers import NatsServer

IMPLEMENTATIONS = [
    pytest.param("memory", id="memory"),
    pytest.param("nats", id="nats", marks=pytest.mark.nats),
]


ROOM = 400_000
"""Bytes that the tasks of a small fleet may fill."""


def _make(name: str, server: Callable[[], NatsServer], *, max_bytes: int | None = None) -> World:
    """A new fleet; what a broker needs is imported when its turn comes."""
    if name == "memory":
        return MemoryWorld(max_bytes=max_bytes)
    from tests.bus.conformance.nats_world import NatsWorld

    return NatsWorld(server(), max_bytes=max_bytes)


@pytest.fixture(params=IMPLEMENTATIONS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fleet of the test's own on a broker that other tests use too."""
    made = _make(request.param, lambda: request.getfixturevalue("nats_server"))
    yield made
    await made.close()


@pytest.fixture(params=IMPLEMENTATIONS)
async def small(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fleet like `world` whose broker is soon full."""
    made = _make(request.param, lambda: request.getfixturevalue("nats_server"), max_bytes=ROOM)
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
    from tests.bus.conformance.nats_world import NatsWorld

    server = request.getfixturevalue("nats_server")
    async with proxied(server.url) as proxy:
        made = NatsWorld(server, proxy=proxy)
        yield made
        await made.close()


@pytest.fixture(params=IMPLEMENTATIONS)
async def mortal(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fleet on a broker of the test's own, which the test may stop and kill."""
    made = _make(request.param, request.getfixturevalue("own_nats"))
    yield made
    await made.close()
