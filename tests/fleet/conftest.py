"""Stores that several machines share, in real time."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bus.keyvalue.memory import MemoryKeyValue, MemoryStore
from bus.keyvalue.protocol import KeyValue
from contracts.clock import SystemClock

Connect = Callable[[], Awaitable[KeyValue]]


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.nats)])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Makes connections to one store, each as of another process."""
    if request.param == "memory":
        store = MemoryStore(SystemClock())

        async def memory() -> KeyValue:
            return MemoryKeyValue(store)

        yield memory
        return
    from tests.bus.conformance.nats_world import NatsWorld

    world = NatsWorld(request.getfixturevalue("nats_server"))
    yield world.keyvalue
    await world.close()
