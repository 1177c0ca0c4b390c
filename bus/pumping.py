"""Work that goes on beside pulls for as long as a backend is open, such as reading its ingress."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from bus.errors import AccessDenied, BusError, Closed, Unsafe
from contracts.clock import Clock

_AGAIN = 1.0
"""Seconds until what failed is tried again."""

_LAST = 1.0
"""Seconds in which what is under way has to be done when it is closed."""

_log = logging.getLogger(__name__)


class Pump:
    """Calls `work` again and again: what it raises is tried anew, but for what no time mends. What
    may not be cut off is done while `busy` is held. `doing`: what is not done, as a log says it."""

    def __init__(self, work: Callable[[], Awaitable[None]], doing: str, clock: Clock) -> None:
        self.busy = asyncio.Lock()
        self._work = work
        self._doing = doing
        self._clock = clock
        self._task: asyncio.Task[None] | None = None

    def touch(self) -> None:
        """See that it runs."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Finish what is under way, if it can be in a second, and end."""
        if self._task is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST), self.busy:
                self._task.cancel()
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                await self._work()
            except Closed:
                return
            except (AccessDenied, Unsafe) as error:
                _log.warning("%s is not done: %s", self._doing, error)
                return
            except BusError as error:
                _log.debug("%s is tried again soon: %s", self._doing, error)
            await self._clock.sleep(_AGAIN)
