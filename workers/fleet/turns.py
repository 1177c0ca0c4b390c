"""Processes start by turns: a hundred at once would all be slow, and run into their time limits."""

import asyncio
import os
from typing import Literal

from contracts.clock import Clock

SLOW = 15.0
"""Seconds after which a process that is not ready lets the next one start all the same."""


def at_once() -> int:
    """How many may start at a time: starting is work for a processor, with some waiting in it."""
    return 2 * (os.cpu_count() or 1)


class Turn:
    """Ends once, by whoever says so first."""

    def __init__(self, free: asyncio.Semaphore, clock: Clock) -> None:
        self._free: asyncio.Semaphore | None = free
        self._limit = asyncio.create_task(self._end_when_slow(clock))

    def over(self) -> None:
        """The next one may start."""
        if self._free is not None:
            self._free.release()
            self._free = None
        self._limit.cancel()

    async def _end_when_slow(self, clock: Clock) -> None:
        await clock.sleep(SLOW)
        self.over()


class Turns:
    """At most `count` processes start at a time."""

    def __init__(self, count: int, clock: Clock) -> None:
        self._free = asyncio.Semaphore(count)
        self._clock = clock

    async def take(self, stopping: asyncio.Event) -> Turn | None:
        """A turn, to be ended by `Turn.over`; None if `stopping` is set first."""
        taking = asyncio.create_task(self._free.acquire())
        stop = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({taking, stop}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await _give_up(taking, self._free)
            raise
        finally:
            stop.cancel()
        if stopping.is_set():
            await _give_up(taking, self._free)
            return None
        return Turn(self._free, self._clock)


async def _give_up(taking: "asyncio.Task[Literal[True]]", free: asyncio.Semaphore) -> None:
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    if not taking.cancelled():
        free.release()
