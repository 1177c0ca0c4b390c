"""Whether the broker answers: how long it has been silent on the connection that pulls."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bus.errors import BusError
from contracts.clock import Clock

BEAT = 0.5
"""Seconds between two looks."""

QUIET = 3.0
"""Seconds of silence after which the broker is asked: its answer is there before a process calls
itself not ready, and one that shows itself every five seconds asks once in between."""

_log = logging.getLogger(__name__)


class Contact:
    """Counts the seconds since the broker last answered, and asks where it is in doubt.

    Whoever gets an answer says so by `heard`. A pull that waits in vain is neither an answer nor
    a sign of anything. While `keep` runs and nothing is heard for `QUIET` seconds, `ask` is
    called; it shall go over the connection that pulls and return when the broker has answered.
    One question is under way at a time: one that hangs does not stop the count.
    """

    def __init__(self, ask: Callable[[], Awaitable[object]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._silence = 0.0

    @property
    def silence(self) -> float:
        """Seconds since the last answer, as far as this process ran meanwhile: time in which it
        was stopped, suspended or blocked says nothing about the broker."""
        return self._silence

    def heard(self) -> None:
        """The broker has just answered."""
        self._silence = 0.0

    async def keep(self) -> None:
        """Count, and ask, for ever; cancel to stop."""
        asking: asyncio.Task[None] | None = None
        try:
            while True:
                before = self._clock.monotonic()
                await self._clock.sleep(BEAT)
                self._silence += min(self._clock.monotonic() - before, 2 * BEAT)
                if self._silence >= QUIET and (asking is None or asking.done()):
                    asking = asyncio.create_task(self._question())
        finally:
            if asking is not None:
                asking.cancel()
                await asyncio.wait([asking])

    async def _question(self) -> None:
        try:
            await self._ask()
        except BusError as error:
            _log.debug("no answer from the broker: %s", error)
        except Exception:  # noqa: BLE001 - whoever stops asking takes the broker for dead
            _log.exception("the broker could not be asked")
        else:
            self.heard()
