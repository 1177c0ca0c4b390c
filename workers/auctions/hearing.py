"""What one session is told, for each role of its process that listens."""

import asyncio
from collections.abc import Callable

import structlog

from contracts.auctions import AuctionError, Opening, Won
from contracts.clock import Clock
from workers.auctions.ledger import Ledger, LedgerAway

_log = structlog.get_logger("muster.auctions")

AGAIN = 1.0
"""Seconds after which is listened again where that ended."""

Ear = Callable[[Opening | Won], None]


class Hearing:
    """The one listener of a session. What is told of a role nobody here listens for is dropped."""

    def __init__(self, ledger: Ledger, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock
        self._ears: dict[str, Ear] = {}
        self._task: asyncio.Task[None] | None = None

    def begin(self, role: str, ear: Ear) -> None:
        """From now on `ear` is called with what is told of `role`."""
        self._ears[role] = ear
        if self._task is None:
            self._task = asyncio.create_task(self._hear_for_ever())

    async def end(self, role: str) -> None:
        """Nobody listens for `role` any more."""
        self._ears.pop(role, None)
        if not self._ears and self._task is not None:
            task, self._task = self._task, None
            task.cancel()
            await asyncio.wait([task])

    async def _hear_for_ever(self) -> None:
        while True:
            try:
                async for told in self._ledger.subscribe():
                    ear = self._ears.get(told.role)
                    if ear is not None:
                        ear(told)
            except (LedgerAway, AuctionError) as error:
                _log.info("hears nothing of the ledger; listening again", error=str(error))
            await self._clock.sleep(AGAIN)
