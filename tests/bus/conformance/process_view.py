"""A view of stops in a process of its own, which looks at each turn of its loop what it knows."""

import asyncio
import sys
from math import inf

from bus.keyvalue.protocol import KeyValue
from bus.stop_view import StopView
from contracts.clock import SystemClock
from tests.bus.conformance.own_process import OwnProcess, obey, opened
from tests.bus.rooms import envelope


class ProcessView(OwnProcess):
    """See `View`."""

    module = __name__

    async def expect(self, task: str) -> None:
        """See `View.expect`."""
        await self._ask("expect", task)

    async def trusted(self) -> float:
        """See `View.trusted`."""
        return float(await self._ask("trusted"))


class View:
    """What such a process does."""

    def __init__(self, store: KeyValue) -> None:
        self._clock = SystemClock()
        self._view = StopView(store, self._clock)
        self._view.start()
        self._looking: asyncio.Task[float] | None = None

    async def expect(self, task: str) -> None:
        """Look from now on, as one that may start it whenever the view is fresh, until it is known
        that the task is stopped."""
        await self._view.until_fresh()
        self._looking = asyncio.create_task(self._look(task))

    async def trusted(self) -> float:
        """Until when by the monotonic clock, which all processes share, the view was fresh and
        did not know that the task is stopped. Returns once it does."""
        assert self._looking is not None
        return await self._looking

    async def close(self) -> None:
        """Follow no longer."""
        await self._view.close()

    async def _look(self, task: str) -> float:
        last = -inf
        while self._view.stopped(envelope(task), "g") is None:
            now = self._clock.monotonic()
            if self._view.fresh:
                last = now
            await asyncio.sleep(0)
        return last


async def _run(arguments: list[str]) -> None:
    async with opened(arguments) as parts:
        view = View(parts.store)
        await obey(view)
        await view.close()


if __name__ == "__main__":
    asyncio.run(_run(sys.argv[1:]))
