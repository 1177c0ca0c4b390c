"""A fleet of its own on a Redis server, for tests of that backend alone."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bus.backend import HIGH, LOW, NORMAL, RETRY, Delivery, Message
from bus.backends.redis.backend import RedisBackend
from bus.backends.redis.connect import connect
from bus.backends.redis.link import RedisLink
from bus.opening import Terms
from contracts.clock import SystemClock

LANES = (HIGH, RETRY, NORMAL, LOW)


def terms(url: str, *, fleet: str = "", lease: float = 2.0, slices: int = 1) -> Terms:
    """What a process brings to the server."""
    name = fleet or f"t{uuid.uuid4().hex[:12]}"
    return Terms(url=url, fleet=name, lease=lease, slices=slices, clock=SystemClock())


@asynccontextmanager
async def linked(with_: Terms) -> AsyncIterator[RedisLink]:
    """A link, closed after the block."""
    link = await connect(with_)
    try:
        yield link
    finally:
        await link.close()


@asynccontextmanager
async def opened(with_: Terms) -> AsyncIterator[tuple[RedisLink, RedisBackend]]:
    """A link and a backend on it, both closed after the block."""
    async with linked(with_) as link:
        backend = RedisBackend(link)
        try:
            yield link, backend
        finally:
            await backend.close()


def messages(count: int, prefix: str = "m", *, body: bytes = b"{}") -> list[Message]:
    """So many on the topic `work.a`."""
    return [Message(f"{prefix}{number}", 0, "work.a", body) for number in range(count)]


async def drained(backend: RedisBackend, *, group: str = "g", wait: float = 0.5) -> list[Delivery]:
    """All there is, settled."""
    found: list[Delivery] = []
    while part := await backend.pull(group, LANES, limit=200, wait=wait):
        assert await backend.settle(part) == []
        found += part
    return found
