"""Reading the parts of a task's result while it runs."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

from bus.errors import Unreachable
from bus.outcomes import AGAIN
from bus.parts import Assembly, Batch, Part, Parts
from contracts.clock import Clock
from contracts.results import Result


async def parts_of(
    parts: Parts,
    reply: str,
    task: str,
    ended: Callable[[], Awaitable[Result]],
    clock: Clock,
) -> AsyncGenerator[Part]:
    """Each part of the task's result as it comes, until `ended` returns; see `Part`."""
    assembly = Assembly()
    end = asyncio.ensure_future(ended())
    try:
        async with aclosing(_until(end, _followed(parts, reply, task, clock))) as batches:
            async for batch in batches:
                for part in assembly.take(batch):
                    yield part
        for part in assembly.end(await parts.read(reply, task), end.result()):
            yield part
    finally:
        end.cancel()
        await asyncio.wait([end])


async def _until(
    end: "asyncio.Future[Any]", batches: AsyncGenerator[Batch]
) -> AsyncGenerator[Batch]:
    """`batches` until `end` is there."""
    async with aclosing(batches):
        while True:
            coming = asyncio.ensure_future(anext(batches))
            try:
                await asyncio.wait({coming, end}, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    return
                yield coming.result()
            finally:
                coming.cancel()
                await asyncio.wait([coming])


async def _followed(parts: Parts, reply: str, task: str, clock: Clock) -> AsyncGenerator[Batch]:
    """What is watched; a store that is away is waited for."""
    while True:
        watch: AsyncIterator[Batch] = parts.watch(reply, task)
        try:
            async for batch in watch:
                yield batch
        except Unreachable:
            pass
        await clock.sleep(AGAIN)
