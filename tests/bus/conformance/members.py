"""A member of a group in another process: it holds deliveries, extends them, and may die."""

import asyncio
from dataclasses import replace
from typing import Protocol

from bus.backend import HIGH, LOW, NORMAL, RETRY, Backend, Delivery
from contracts.clock import Clock

LANES = (HIGH, RETRY, NORMAL, LOW)


class Member:
    """What such a process does; on memory it runs in the process of the test."""

    def __init__(self, backend: Backend, clock: Clock, lease: float) -> None:
        self.backend = backend
        self._clock = clock
        self._lease = lease
        self._held: list[Delivery] = []
        self._busy: list[asyncio.Task[None]] = []

    async def hold(self, group: str, count: int) -> list[str]:
        """Pull `count` messages, keep extending them from now on; their ids."""
        while len(self._held) < count:
            missing = count - len(self._held)
            self._held += await self.backend.pull(group, LANES, limit=missing, wait=1.0)
        self.resume()
        return [delivery.message.id for delivery in self._held]

    async def settle(self) -> int:
        """Settle what is held; how many of it were no longer ours."""
        return len(await self.backend.settle(self._held))

    async def churn(self, group: str) -> None:
        """From now on replace each first copy by a second one, as a retry does."""
        self._busy.append(asyncio.create_task(self._churn(group)))

    def resume(self) -> None:
        """Go on extending."""
        self._busy.append(asyncio.create_task(self._keep()))

    def halt(self) -> None:
        """Do nothing more, as a process that hangs."""
        for task in self._busy:
            task.cancel()
        self._busy.clear()

    async def _keep(self) -> None:
        while True:
            await self._clock.sleep(self._lease / 4)
            await self.backend.extend(self._held)

    async def _churn(self, group: str) -> None:
        while True:
            for delivery in await self.backend.pull(group, LANES[2:], limit=4, wait=1.0):
                again = replace(delivery.message, copy=1, group=group)
                await self.backend.settle([delivery], then=[again])


class Remote(Protocol):
    """A `Member` somewhere else."""

    async def hold(self, group: str, count: int) -> list[str]:
        """See `Member.hold`."""
        ...

    async def settle(self) -> int:
        """See `Member.settle`."""
        ...

    async def churn(self, group: str) -> None:
        """See `Member.churn`."""
        ...

    async def kill(self) -> None:
        """Its process is gone at once."""
        ...

    def freeze(self) -> None:
        """Its process stands still; its connections stay open."""
        ...

    def thaw(self) -> None:
        """Its process goes on."""
        ...
