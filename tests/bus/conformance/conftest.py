"""The implementations the conformance suite runs on."""

from collections.abc import AsyncIterator, Callable

import pytest

from tests.bus.conformance.harness import MemoryWorld, NatsWorld, World
from tests.servers import NatsServer

IMPLEMENTATIONS = [
    pytest.param("memory", id="memory"),
    pytest.param("nats", id="nats", marks=pytest.mark.nats),
]


@pytest.fixture(params=IMPLEMENTATIONS)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fleet of the test's own on a broker that other tests use too."""
    if request.param == "memory":
        made: World = MemoryWorld()
    else:
        server: NatsServer = request.getfixturevalue("nats_server")
        made = NatsWorld(server)
    yield made
    await made.close()


@pytest.fixture
async def another(world: World) -> AsyncIterator[World]:
    """Another fleet on the same broker as `world`."""
    made = world.neighbour()
    yield made
    await made.close()


@pytest.fixture(params=IMPLEMENTATIONS)
async def mortal(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    """A fleet on a broker of the test's own, which the test may stop and kill."""
    if request.param == "memory":
        made: World = MemoryWorld()
    else:
        make: Callable[[], NatsServer] = request.getfixturevalue("own_nats")
        made = NatsWorld(make())
    yield made
    await made.close()
