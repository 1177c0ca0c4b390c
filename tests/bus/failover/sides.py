"""The steps these tests are made of."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.backend import Backend
from bus.backends import choice
from bus.errors import Unreachable
from bus.examined import Route
from bus.opening import Parts, Terms
from contracts.clock import SystemClock
from tests.brokers import Broker
from tests.bus.conformance.broker_world import BrokerWorld
from tests.bus.conformance.steps import ORDER, eventually, task


@asynccontextmanager
async def alone(world: BrokerWorld, broker: Broker) -> AsyncIterator[Backend]:
    """A connection to one broker of the pair: what a fleet of one bus would see there."""
    terms = Terms(
        url=broker.url,
        fleet=world.fleet,
        lease=world.lease,
        clock=SystemClock(),
        database=broker.database,
    )
    parts = await choice.open_parts(terms)
    try:
        yield parts.backend
    finally:
        await parts.store.close()
        await parts.backend.close()
        await parts.close()


async def route(parts: Parts) -> Route:
    """Which bus is in use."""
    found = (await parts.examine()).route
    assert found is not None
    return found


class Load:
    """A publisher that publishes one task after the other, and a worker that is done with each at
    once. `accepted`: those whose publish returned; `done` counts settles that were ours;
    `longest`: seconds a publish took at most."""

    def __init__(self, world: BrokerWorld, publisher: Backend, worker: Backend) -> None:
        self.accepted: list[str] = []
        self.started: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.longest = 0.0
        self._world = world
        self._publisher, self._worker = publisher, worker
        self._stop = asyncio.Event()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block runs."""
        publishing = asyncio.create_task(self._publish())
        working = asyncio.create_task(self._work())
        try:
            yield
            self._stop.set()
            await publishing
            await eventually(self._world, 20.0, self._all_done)
        finally:
            publishing.cancel()
            working.cancel()
            ends = await asyncio.gather(publishing, working, return_exceptions=True)
            errors = [e for e in ends if isinstance(e, Exception)]
            assert errors == []

    async def some_more(self, count: int) -> None:
        """Return when so many more were accepted."""
        wanted = len(self.accepted) + count

        async def there() -> bool:
            return len(self.accepted) >= wanted

        await eventually(self._world, 30.0, there)

    async def _all_done(self) -> bool:
        return set(self.accepted) <= set(self.done)

    async def _publish(self) -> None:
        """No error may come while one bus is there."""
        number = 0
        while not self._stop.is_set():
            began = self._world.clock.monotonic()
            names = [f"t{number + n}" for n in range(5)]
            await self._publisher.publish([task(name) for name in names])
            self.longest = max(self.longest, self._world.clock.monotonic() - began)
            self.accepted += names
            number += 5
            await asyncio.sleep(0.005)

    async def _work(self) -> None:
        while True:
            try:
                found = await self._worker.pull("g", ORDER, limit=20, wait=1.0)
                self.started.update(d.message.id for d in found)
                lost = await self._worker.settle(found)
            except Unreachable:
                await asyncio.sleep(0.05)
                continue
            self.done.update(d.message.id for d in found if d not in lost)
