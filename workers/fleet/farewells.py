"""Says good-bye for processes that ended without: a supervisor sees at once that its child died."""

import asyncio

import structlog

from bus.errors import BusError
from bus.keyvalue import keys
from bus.keyvalue.protocol import KeyValue
from contracts.clock import Clock
from workers.fleet.presence import LOOK, RENEW
from workers.fleet.supervised import Said

_log = structlog.get_logger("muster.supervisor")

_GOODBYE = 2.0
"""Seconds in which a supervisor that ends says what is left to say; else it lapses."""


class Farewells:
    """Takes the signs of life of dead processes away. A name is of one process only, so that
    whoever works in its place is not touched. For one event loop."""

    def __init__(self, store: KeyValue, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._saying: set[asyncio.Task[None]] = set()

    def died(self, role: str, said: Said) -> None:
        """A process has died that had said this; one that was not ready has shown nothing."""
        if said.worker:
            task = asyncio.create_task(self._say(keys.alive(role, said.worker)))
            self._saying.add(task)
            task.add_done_callback(self._saying.discard)

    async def close(self) -> None:
        """Finish, or leave the rest to its expiry."""
        if self._saying:
            await asyncio.wait(self._saying, timeout=_GOODBYE)
        for task in list(self._saying):
            task.cancel()

    async def _say(self, key: str) -> None:
        """Twice: what the process wrote last may be on its way. A store that is away is tried again
        until the sign has lapsed by itself."""
        until = self._clock.monotonic() + 3 * RENEW
        said = 0
        while said < 2 and self._clock.monotonic() < until:
            try:
                await self._store.delete(key)
                said += 1
            except BusError as error:
                _log.debug("cannot say good-bye for a process", key=key, error=str(error))
            if said < 2:
                await self._clock.sleep(LOOK)
