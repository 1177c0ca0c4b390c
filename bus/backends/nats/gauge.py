"""How full the fleet's two streams are, and the refusal of what does not fit.

The server could keep a limit itself, but would then also refuse what a settle leaves behind, or,
in a stream with schedules, drop its oldest messages. So publishers keep it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from bus.backend import Lag, Lane
from bus.backends.nats.link import NatsLink
from bus.fullness import fits, full

LIMIT = "muster-max-bytes"
"""The key in the stream's metadata under which all processes of a fleet find the limit."""

_EVERY = 1.0
"""Seconds after which the size is asked again, while something is published."""

_SOONEST = 0.05
"""Seconds between two questions when it is full, however many try."""

_DOING = "asking how full the broker is"

Lags = Callable[[], Awaitable[Mapping[str, Mapping[Lane, Lag]]]]


class Gauge:
    """Follows the size of both streams while somebody publishes.

    Between two questions it adds what this process sends. What others send meanwhile is not seen:
    together they may pass the limit by what they send in a second.
    """

    def __init__(self, link: NatsLink, lags: Lags, sweep: Callable[[], None]) -> None:
        self._link = link
        self._lags = lags
        self._sweep = sweep
        self._limit = 0
        self._used = 0
        self._at = self._counted_at = -_EVERY
        self._counted: Mapping[str, Mapping[Lane, Lag]] = {}
        self._asking = asyncio.Lock()

    async def admit(self, size: int, *, follow_up: bool) -> None:
        """Return when `size` more bytes fit, else raise `Full`; then a sweep is under way."""
        if self._age() >= _EVERY or not self._fits(size, follow_up):
            await self._look(_EVERY if self._fits(size, follow_up) else _SOONEST)
        if not self._fits(size, follow_up):
            self._sweep()
            raise full(self._used, size, self._limit, await self._waiting())
        self._used += size

    def _fits(self, size: int, follow_up: bool) -> bool:
        return fits(self._used, size, self._limit, follow_up=follow_up)

    async def _waiting(self) -> Mapping[str, Mapping[Lane, Lag]]:
        """What waits for each group, asked once a second however many are refused."""
        now = self._link.clock.monotonic()
        if now - self._counted_at >= _EVERY:
            self._counted, self._counted_at = await self._lags(), now
        return self._counted

    def _age(self) -> float:
        return self._link.clock.monotonic() - self._at

    async def _look(self, old: float) -> None:
        """Ask, unless another has done so less than `old` seconds ago."""
        async with self._asking:
            if self._age() < old:
                return
            names = self._link.names
            tasks, later = await asyncio.gather(
                self._link.api(f"STREAM.INFO.{names.tasks}", doing=_DOING),
                self._link.api(f"STREAM.INFO.{names.later}", doing=_DOING),
            )
            self._limit = int(tasks["config"]["metadata"][LIMIT])
            self._used = int(tasks["state"]["bytes"]) + int(later["state"]["bytes"])
            self._at = self._link.clock.monotonic()
