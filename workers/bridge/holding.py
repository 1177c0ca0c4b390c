"""A bridge's group on the fleet's bus: takes what waits, and keeps it while it is worked on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress

import structlog

from bus.backend import Delivery
from bus.bus import Bus
from bus.errors import BusError, Unroutable
from bus.members import RENEW
from contracts.clock import Clock

_AT_ONCE = 200
_WAIT = 5.0
_AGAIN = 0.5

_log = structlog.get_logger()

Work = Callable[[Delivery], Awaitable[object]]


class Group:
    """The group `name`, bound to `patterns`. `lease`: seconds, that of the fleet."""

    def __init__(
        self, bus: Bus, name: str, patterns: Sequence[str], clock: Clock, lease: float
    ) -> None:
        self.name = name
        self._bus = bus
        self._patterns = patterns
        self._clock = clock
        self._lease = lease
        self._stopping = asyncio.Event()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to end."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """Take nothing more."""
        self._stopping.set()

    async def bind(self) -> None:
        """From now on what is meant for the group is kept for it. Raises as `Bus.join`."""
        await self._bus.join(self.name, self._patterns)

    async def run(self, work: Work) -> None:
        """Give `work` what waits, many at once, until stopped. What it does not settle comes again;
        a bus that is away is waited for."""
        async with _repeated(self._stay, RENEW, self._clock):
            while not self.stopping:
                try:
                    await self._turn(work)
                except BusError as error:
                    _log.warning("waits for the bus", error=str(error))
                    await self.stopped_after(_AGAIN)

    async def stopped_after(self, seconds: float) -> bool:
        """Wait so long, or until stopped: whether it is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self.stopping

    async def _turn(self, work: Work) -> None:
        try:
            found = await self._pulled()
            async with self._held(found):
                await _all_of(map(work, found))
        except Unroutable:  # somebody has retired the group
            await self.bind()

    async def _pulled(self) -> list[Delivery]:
        """What waits; nothing once it is to stop."""
        pulling = asyncio.ensure_future(self._bus.pull(self.name, free=_AT_ONCE, wait=_WAIT))
        stopped = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait([pulling, stopped], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            pulling.cancel()
            await asyncio.wait([pulling, stopped])
        return [] if pulling.cancelled() else pulling.result()

    @asynccontextmanager
    async def _held(self, deliveries: Sequence[Delivery]) -> AsyncIterator[None]:
        """Renew leases four times a lease inside the block. What is lost all the same is done
        twice."""

        async def renew() -> None:
            if deliveries:
                await self._bus.extend(deliveries)

        async with _repeated(renew, self._lease / 4, self._clock):
            yield

    async def _stay(self) -> None:
        await self._bus.stay(self.name, self._patterns)


async def _all_of(works: Iterable[Awaitable[object]]) -> None:
    """Wait for all `works`, then raise the first error among them."""
    ends = await asyncio.gather(*works, return_exceptions=True)
    for end in ends:
        if isinstance(end, BaseException):
            raise end


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
