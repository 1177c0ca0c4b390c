"""Takes deliveries, and keeps them while they are worked on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from bus.backend import Delivery
from bus.bus import Bus
from bus.errors import BusError
from contracts.clock import Clock

_AT_ONCE = 50
_WAIT = 5.0


async def pulled(bus: Bus, group: str, stopping: asyncio.Event) -> list[Delivery]:
    """What waits for `group`; nothing once it is to stop. Raises as `Bus.pull`."""
    pulling = asyncio.ensure_future(bus.pull(group, free=_AT_ONCE, wait=_WAIT))
    stopped = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait([pulling, stopped], return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        pulling.cancel()
        await asyncio.wait([pulling, stopped])
    return [] if pulling.cancelled() else pulling.result()


async def all_of(works: Iterable[Awaitable[object]]) -> None:
    """Wait for all `works`, then raise the first error among them."""
    ends = await asyncio.gather(*works, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


@asynccontextmanager
async def held(
    bus: Bus, deliveries: Sequence[Delivery], lease: float, clock: Clock
) -> AsyncIterator[None]:
    """Renew the leases of `deliveries` four times a lease inside the block."""
    renewing = asyncio.create_task(_renew(bus, deliveries, lease / 4, clock))
    try:
        yield
    finally:
        renewing.cancel()
        await asyncio.wait([renewing])


async def _renew(bus: Bus, deliveries: Sequence[Delivery], every: float, clock: Clock) -> None:
    while deliveries:
        await clock.sleep(every)
        with suppress(BusError):  # tried again, and what is lost meanwhile is done twice
            await bus.extend(deliveries)
