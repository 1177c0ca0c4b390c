"""One worker process of a fleet in memory: a connection of its own, real leases, one role."""

import asyncio
import random
from collections.abc import Mapping, Sequence
from typing import Any

from bus.backend import Delivery
from bus.backends.memory import MemoryBackend, MemoryBroker
from bus.bus import Bus
from bus.keyvalue.memory import MemoryKeyValue
from workers.engine.identity import Identity
from workers.engine.keeper import Keeper
from workers.engine.opening import NOTHING, Resources
from workers.engine.worker import Worker
from workers.sdk.resources import Resource
from workers.sdk.role import Role


def connect(broker: MemoryBroker, source: str) -> tuple[MemoryBackend, Bus]:
    """A connection to the broker, and a bus over it."""
    backend = MemoryBackend(broker)
    store = MemoryKeyValue(broker.store)
    rng = random.Random(source)  # what a test does is the same each time
    return backend, Bus(backend, store, clock=broker.clock, source=source, rng=rng)


class Process:
    """Works on one role until it is stopped or crashes. Suspects run here too, not in a child.
    `instead`: what stands in for resources of the role."""

    def __init__(
        self,
        broker: MemoryBroker,
        role: Role,
        number: int,
        drain: float,
        *,
        instead: Mapping[Resource[Any], Any] = NOTHING,
    ) -> None:
        name = f"{role.name}-{number}"
        self.role = role
        self._broker = broker
        self._backend, self.bus = connect(broker, f"/muster/worker/{name}")
        self._keeper = Keeper(broker.lease, broker.clock, self._lost)
        who = Identity(name, 0, "memory")
        self._resources = Resources(instead)
        self.worker = Worker(
            role,
            self.bus,
            self._keeper,
            who,
            broker.clock,
            drain=drain,
            resources=self._resources,
        )
        self._tasks = [
            asyncio.create_task(self._keeper.keep(self)),
            asyncio.create_task(self._work()),
        ]

    async def ready(self) -> None:
        """Return when the role is bound; raises what kept the worker from it."""
        bound = asyncio.create_task(self.worker.bound.wait())
        await asyncio.wait({bound, self._tasks[1]}, return_when=asyncio.FIRST_COMPLETED)
        if not bound.done():
            bound.cancel()
            self._tasks[1].result()

    async def _work(self) -> None:
        await self._resources.open([self.role])
        try:
            await self.worker.run()
        finally:
            await self._resources.close()

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """Renew what the worker holds, as the keeper's own connection does."""
        await self.bus.places.renew(self.bus.store)
        return await self._backend.extend(deliveries)

    async def stop(self) -> None:
        """Drain, as at SIGTERM."""
        keeping, running = self._tasks
        self.worker.stop()
        await asyncio.wait([running])
        keeping.cancel()
        await asyncio.wait([keeping])
        await self.bus.close()

    async def crash(self) -> None:
        """Gone at once, as at SIGKILL: what it held comes back by its lease."""
        self._broker.crash(self._backend)
        await self.bus.store.close()
        self.worker.abandon()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        for task in self._tasks:
            if not task.cancelled():
                task.exception()

    async def close(self) -> None:
        """The keeper has no connection of its own."""

    def _lost(self, delivery: Delivery) -> None:
        self.worker.lose(delivery)
