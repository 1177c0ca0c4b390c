"""Takes deliveries, and keeps them while they are worked on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

from bus.backend import Delivery
from bus.bus import Bus
from bus.errors import BusError
from bus.members import RENEW
from contracts.clock import Clock

_AT_ONCE = 200
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
    """Renew the leases of `deliveries` four times a lease inside the block. What is lost all the
    same is done twice."""

    async def renew() -> None:
        if deliveries:
            await bus.extend(deliveries)

    async with _repeated(renew, lease / 4, clock):
        yield


@asynccontextmanager
async def staying(
    bus: Bus, group: str, patterns: Sequence[str], clock: Clock
) -> AsyncIterator[None]:
    """Be a member of `group` inside the block, once it has been joined."""

    async def stay() -> None:
        await bus.stay(group, patterns)

    async with _repeated(stay, RENEW, clock):
        yield


@asynccontextmanager
async def _repeated(
    call: Callable[[], Awaitable[None]], every: float, clock: Clock
) -> AsyncIterator[None]:
    """Call again and again inside the block; a bus that is away is tried again next time."""

    async def repeat() -> None:
        while True:
            await clock.sleep(every)
            with suppress(BusError):
                await call()

    repeating = asyncio.create_task(repeat())
    try:
        yield
    finally:
        repeating.cancel()
        await asyncio.wait([repeating])
