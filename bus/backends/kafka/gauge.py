"""How full the fleet is, and the refusal of what does not fit.

Kafka has no limit of its own, so publishers keep one: what waits in the logs, and what rows stand
for. Between two questions a process adds what it sends; what others send meanwhile is not seen.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from bus.backend import Lag, Lane
from bus.backends.kafka import statements
from bus.backends.kafka.bells import Bells
from bus.database.database import BusDatabase
from bus.fullness import MAX_BYTES, fits, full
from contracts.clock import Clock

_EVERY = 1.0
"""Seconds after which the size is asked again, while something is published."""

_SOONEST = 0.05
"""Seconds between two questions when it is full, however many try."""

_COST = 20
"""A question is asked no more often than takes one in so many of a process's seconds: with a
million delayed messages it takes the database a while."""

Lags = Callable[[], Awaitable[Mapping[str, Mapping[Lane, Lag]]]]


class Gauge:
    """Follows the size of the fleet's tasks while somebody publishes."""

    def __init__(self, database: BusDatabase, bells: Bells, lags: Lags, clock: Clock) -> None:
        self._database = database
        self._bells = bells
        self._lags = lags
        self._clock = clock
        self._limit = 0
        self._used = 0
        self._took = 0.0
        self._at = self._counted_at = -_EVERY
        self._counted: Mapping[str, Mapping[Lane, Lag]] = {}
        self._asking = asyncio.Lock()

    async def admit(self, size: int, *, follow_up: bool) -> None:
        """Return when `size` more bytes fit, else raise `Full`."""
        fits_ = self._fits(size, follow_up)
        if not fits_ or self._age() >= max(_EVERY, self._took * _COST):
            await self._look(_EVERY if fits_ else max(_SOONEST, self._took * _COST))
        if not self._fits(size, follow_up):
            raise full(self._used, size, self._limit, await self._waiting())
        self._used += size

    async def look(self) -> tuple[int, int]:
        """Bytes used, and the limit, as of now."""
        await self._bells.counted()
        row = (await self._database.fetch(statements.ROOM, self._database.fleet, sure=False))[0]
        return int(row["used"]), row["max_bytes"] or MAX_BYTES

    def _fits(self, size: int, follow_up: bool) -> bool:
        return fits(self._used, size, self._limit, follow_up=follow_up)

    async def _waiting(self) -> Mapping[str, Mapping[Lane, Lag]]:
        """What waits for each group, asked once a second however many are refused."""
        now = self._clock.monotonic()
        if now - self._counted_at >= _EVERY:
            self._counted, self._counted_at = await self._lags(), now
        return self._counted

    def _age(self) -> float:
        return self._clock.monotonic() - self._at

    async def _look(self, old: float) -> None:
        """Ask, unless another has done so less than `old` seconds ago."""
        async with self._asking:
            if self._age() < old:
                return
            before = self._clock.monotonic()
            self._used, self._limit = await self.look()
            self._at = self._clock.monotonic()
            self._took = self._at - before
