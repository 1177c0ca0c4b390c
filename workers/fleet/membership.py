"""Keeps a worker a member of its group: what its version asks for stays bound while it lives."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog

from bus.bus import Bus
from bus.errors import BusError
from bus.members import RENEW
from contracts.clock import Clock

_log = structlog.get_logger("muster.membership")


class Membership:
    """Renews one role's membership from when `ready` returns until `stop`."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        role: str,
        patterns: Sequence[str],
        *,
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._role = role
        self._patterns = patterns
        self._ready = ready
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Renew until `stop`. A bus that is away is tried again next time."""
        stop = asyncio.create_task(self._stopping.wait())
        work = asyncio.create_task(self._renew_for_ever())
        await asyncio.wait({stop, work}, return_when=asyncio.FIRST_COMPLETED)
        work.cancel()
        stop.cancel()
        await asyncio.gather(work, return_exceptions=True)

    def stop(self) -> None:
        """Renew no more: what only this version asked for expires."""
        self._stopping.set()

    async def _renew_for_ever(self) -> None:
        await self._ready()
        while True:
            await self._clock.sleep(RENEW)
            try:
                await self._bus.stay(self._role, self._patterns)
            except BusError as error:
                _log.debug("membership not renewed", role=self._role, error=str(error))
