"""How full the broker is: what the fleet's tasks fill of their limit, and the server's memory.

The script that publishes counts the fleet's bytes itself and refuses beyond the limit. What other
users of the server fill is seen here: where it has a `maxmemory`, publishing stops below it, so
that what drains has room; the server itself refuses at it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from bus.backend import Lag, Lane
from bus.backends.redis.errors import out_of_memory
from bus.backends.redis.link import RedisLink
from bus.errors import AccessDenied, Full, Unsafe
from bus.fullness import full

_EVERY = 1.0
"""Seconds after which memory is asked again, while something is published."""

_SOONEST = 0.05
"""The same while it is full, however many try."""

_OVERHEAD = 2
"""A message takes so many times its size, roughly: keys, tokens, hashes."""

_DOING = "asking how full the broker is"

Lags = Callable[[], Awaitable[Mapping[str, Mapping[Lane, Lag]]]]


class Room:
    """Follows the server's memory while this process publishes."""

    def __init__(self, link: RedisLink, lags: Lags) -> None:
        self._link = link
        self._lags = lags
        self._used = 0
        self._most = 0
        self._at = -_EVERY
        self._asking = asyncio.Lock()

    async def admit(self, size: int, share: float) -> None:
        """Return when `size` more bytes leave the server the room it needs, else raise `Full`."""
        if self._age() >= _EVERY or not self._fits(size, share):
            await self._look(_EVERY if self._fits(size, share) else _SOONEST)
        if not self._fits(size, share):
            raise await self.refusal(self._used, size, self._most)
        self._used += _OVERHEAD * size

    async def refusal(self, used: int, size: int, limit: int) -> Full:
        """The error for `size` bytes that do not fit."""
        return full(used, size, limit, await self._lags())

    async def full(self, said: str) -> Full:
        """The error where the server itself has refused."""
        await self._look(_SOONEST)
        error = await self.refusal(self._used, 0, self._most or self._used)
        return Full(
            error.message,
            details=f"{error.details}; {said}",
            actions=out_of_memory("", "").actions,
            retry_after=error.retry_after,
        )

    def _fits(self, size: int, share: float) -> bool:
        return not self._most or self._used + _OVERHEAD * size <= self._most * share

    def _age(self) -> float:
        return self._link.clock.monotonic() - self._at

    async def _look(self, old: float) -> None:
        """Ask, unless another has done so less than `old` seconds ago."""
        async with self._asking:
            if self._age() < old:
                return
            try:
                said = await self._link.ask("INFO", "memory", doing=_DOING)
            except (AccessDenied, Unsafe):
                said = b""  # this user may not know: the server still refuses when it is full
            facts = dict(line.split(b":", 1) for line in said.split(b"\r\n") if b":" in line)
            self._used = int(facts.get(b"used_memory", 0))
            self._most = int(facts.get(b"maxmemory", 0))
            self._at = self._link.clock.monotonic()
