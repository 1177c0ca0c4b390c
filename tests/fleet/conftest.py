"""Stores that several machines share, in real time."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bus.keyvalue.memory import MemoryKeyValue, MemoryStore
from bus.keyvalue.protocol import KeyValue
from contracts.clock import SystemClock
from tests.brokers import IMPLEMENTATIONS, shared
from tests.bus.conformance.broker_world import BrokerWorld

Connect = Callable[[], Awaitable[KeyValue]]


@pytest.fixture(params=IMPLEMENTATIONS)
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """Makes connections to one store, each as of another process."""
    if request.param == "memory":
        store = MemoryStore(SystemClock())

        async def memory() -> KeyValue:
            return MemoryKeyValue(store)

        yield memory
        return
    world = BrokerWorld(shared(request, request.param))
    yield world.keyvalue
    await world.close()
