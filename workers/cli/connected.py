"""A command's connection to the fleet, for as long as it runs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from workers.cli.options import Given

if TYPE_CHECKING:
    from bus.bus import Bus

T = TypeVar("T")


def with_bus(given: Given, main: "Callable[[Bus], Coroutine[Any, Any, T]]") -> T:
    """What `main` returns, given the fleet's bus."""

    async def run() -> T:
        async with opened(given) as bus:
            return await main(bus)

    return asyncio.run(run())


@asynccontextmanager
async def opened(given: Given) -> "AsyncIterator[Bus]":
    """The fleet's bus, closed at the end of the block."""
    from workers.wiring import open_bus

    bus = await open_bus(given.loaded())
    try:
        yield bus
    finally:
        await bus.close()
