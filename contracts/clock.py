"""The one way to read a clock: it is handed in, so that tests can hold time still."""

import asyncio
import heapq
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for people and due dates, monotonic time for leases, and sleep for both."""

    def wall(self) -> float:
        """Seconds since the UTC epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean something."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of this clock; at once when not positive."""
        ...


class SystemClock:
    """The machine's clock."""

    wall = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class ManualClock:
    """A clock that moves only when told to; for one event loop.

    `advance` wakes the sleepers whose time has come in order of their time, and lets the loop
    run between them, so that what they start can sleep again inside the same advance.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def wall(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, self._count, future))
        await future

    async def advance(self, seconds: float) -> None:
        """Move time forward by `seconds`, waking sleepers on the way."""
        end = self._now + seconds
        await self._settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            when, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, when)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self._now = end
        await self._settle()

    async def _settle(self) -> None:
        """Let everything that can run now run: until nothing is left, where the loop tells what is;
        thirty turns are more than any chain here."""
        waiting = getattr(asyncio.get_running_loop(), "_ready", None)
        for _ in range(30):
            await asyncio.sleep(0)
            if waiting is not None and not waiting:
                return
