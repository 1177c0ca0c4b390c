"""A bridge as a process: until SIGTERM or SIGINT, then it drains."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from workers.bridge.foreign import Foreign, Take
from workers.bridge.showing import Bridge
from workers.fleet.presence import Presence


async def serve(
    bridge: Bridge, foreign: Foreign, shown: Presence, take: Take | None = None
) -> None:
    """Run `bridge` until asked to stop; what arrives at `foreign` goes to `take`. Raises as
    `Bridge.bind` and `Foreign.start`."""
    await bridge.bind()
    await foreign.start(take)
    async with _seen(shown):
        try:
            with _ended_by_signal(bridge.stop):
                await bridge.run()
        finally:
            bridge.stop()
            await foreign.stop()


@asynccontextmanager
async def _seen(shown: Presence) -> AsyncIterator[None]:
    """Others see it inside the block."""
    showing = asyncio.create_task(shown.run())
    try:
        yield
    finally:
        shown.stop()
        await showing


@contextmanager
def _ended_by_signal(stop: Callable[[], None]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
