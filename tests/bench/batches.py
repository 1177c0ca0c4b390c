"""What the bare clients have in common: the sizes and headers that the backends have, too."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

BATCH = 500
"""Messages in one call of publish."""

PULL = 400
"""Messages in one pull, settled at once."""

REST = 0.01
"""Seconds between two messages whose latency is measured, with the bare client as with `Bus`: who
waits has come to rest by then."""

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "ce-specversion": "1.0",
        "ce-type": "bench.noop",
        "ce-source": "/muster/bench",
        "ce-time": "2026-01-01T00:00:00.000000Z",
        "ce-id": "0199a1b2-0000-7000-8000-000000000000",
        "content-type": "application/json",
        "muster-version": "1",
    }
)


async def two_at_a_time(publish: Callable[[int], Awaitable[None]], n: int) -> float:
    """Messages a second, where `publish` sends the batch that begins at a number below `n`."""
    started = time.perf_counter()
    waiting: list[asyncio.Future[None]] = []
    for first in range(0, n, BATCH):
        waiting.append(asyncio.ensure_future(publish(first)))
        await asyncio.sleep(0)
        if len(waiting) > 1:
            await waiting.pop(0)
    await asyncio.gather(*waiting)
    return n / (time.perf_counter() - started)
