"""How much that was told nobody has read yet, and what is left untold because of it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from types import MappingProxyType

from bus.errors import BusError
from contracts.clock import Clock
from contracts.events import Kind

LIMIT = 1 << 30
"""Bytes of unread events past which progress is not told any more."""

STARTS = 1.5
"""Past so many times the limit, starts are not told either. Ends always are."""

_MOST: Mapping[Kind, float] = MappingProxyType({Kind.PROGRESS: 1.0, Kind.STARTED: STARTS})

LOOK_EVERY = 10.0
"""Seconds between two looks at the group that reads, while something is told."""


class Unread:
    """Estimates the bytes of events that wait for history: messages that wait, times the mean size
    of those this process has sent.

    `waiting` asks how many messages wait, which is found out by those who tell what may be left
    out: who only publishes asks nothing. `dropped` counts what was not told.
    """

    def __init__(
        self, waiting: Callable[[], Awaitable[int]], clock: Clock, *, limit: int = LIMIT
    ) -> None:
        self.dropped = 0
        self._waiting = waiting
        self._clock = clock
        self._limit = limit
        self._size = 0.0
        self._bytes = 0.0
        self._looked = -LOOK_EVERY
        self._looking: asyncio.Task[None] | None = None

    def admits(self, kind: Kind) -> bool:
        """Whether an event of this kind is to be told; counted if it is not."""
        if not self._bytes or self._bytes <= _MOST.get(kind, inf) * self._limit:
            return True
        self.dropped += 1
        self.look()
        return False

    def sent(self, size: int) -> None:
        """A message of `size` bytes was made."""
        self._size = size if not self._size else 0.9 * self._size + 0.1 * size

    def look(self) -> None:
        """See what waits, unless that was just done."""
        now = self._clock.monotonic()
        if now - self._looked >= LOOK_EVERY and (self._looking is None or self._looking.done()):
            self._looked = now
            self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    async def _look(self) -> None:
        try:
            self._bytes = await self._waiting() * self._size
        except BusError:
            return
