"""Trying again: while the broker is away or full, and while others change what we change."""

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from bus.backoff import Backoff
from bus.errors import Conflict, Full, Unreachable
from contracts.clock import Clock

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds a call waits under back-pressure before it raises its retryable error."""

_AGAIN = Backoff(base=0.05, cap=1.0)
_CONTESTED = Backoff(base=0.002, cap=0.1)


class Patience:
    """Repeats calls that are safe to repeat."""

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng

    async def persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat `call` while the broker is away or full, for `PATIENCE` seconds at most."""
        until = self._clock.monotonic() + PATIENCE
        tries = 0
        while True:
            try:
                return await call()
            except (Unreachable, Full):
                wait = _AGAIN.delay(tries, self._rng)
                if self._clock.monotonic() + wait > until:
                    raise
            tries += 1
            await self._clock.sleep(wait)


async def contested(
    attempt: Callable[[], Awaitable[T]], clock: Clock, rng: random.Random, *, eager: bool = False
) -> T:
    """Repeat `attempt`, which reads an entry and writes it by compare-and-set, until nobody else
    was quicker. The waits in between have full jitter; `eager`: the first one is none."""
    tries = 0
    while True:
        try:
            return await attempt()
        except Conflict:
            await clock.sleep(0.0 if eager and not tries else _CONTESTED.delay(tries, rng))
        tries += 1
