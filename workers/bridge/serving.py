"""A bridge as a process: until SIGTERM or SIGINT, then it drains."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from workers.bridge.foreign import Foreign
from workers.bridge.inward import Inward
from workers.bridge.outward import Outward


async def serve_inward(inward: Inward, foreign: Foreign, ready: Callable[[], None]) -> None:
    """Take what arrives until asked to stop. Raises as `Foreign.start` and `Inward.bind`."""
    await inward.bind()
    await foreign.start(inward.take)
    try:
        with _ended_by_signal(inward.stop):
            ready()
            await inward.run()
    finally:
        inward.stop()
        await foreign.stop()


async def serve_outward(outward: Outward, foreign: Foreign, ready: Callable[[], None]) -> None:
    """Send what leaves until asked to stop. Raises as `Foreign.start` and `Outward.bind`."""
    await outward.bind()
    await foreign.start()
    try:
        with _ended_by_signal(outward.stop):
            ready()
            await outward.run()
    finally:
        await foreign.stop()


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
