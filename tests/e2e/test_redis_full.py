"""A Redis at its `maxmemory` and a worker: publishing is refused, and all that waits is done."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import cycle
from pathlib import Path

import pytest
import redis.asyncio
from redis.exceptions import OutOfMemoryError

from bus.backend import Backend, Lag, Message
from bus.errors import Full
from contracts.clock import SystemClock
from tests.beside import beside
from tests.e2e.fleets import bound, fleet_and_events
from tests.pains.journal import Runs, sleepers
from tests.processes import worker_processes
from tests.redis_server import RedisServer
from workers.settings import load
from workers.wiring import Fleet, open_parts

ROOM = "maxmemory 16mb"
LEASE = 2.0
BODY = 40_000
TASK = {"seconds": 0.1, "more": "x" * BODY}
NOTHING = Lag(waiting=0, delayed=0, leased=0)


@asynccontextmanager
async def hogged(server: RedisServer) -> AsyncIterator[None]:
    """Others use the same server meanwhile, and fill what is left and whatever becomes free."""
    stop = asyncio.Event()
    async with redis.asyncio.Redis.from_url(server.url) as client:
        hogging = asyncio.create_task(_hog(client, stop))
        try:
            yield
        finally:
            stop.set()  # this client loses a cancellation now and then
            await hogging
            await client.delete(*[key async for key in client.scan_iter("hog:*")])


async def _hog(client: redis.asyncio.Redis, stop: asyncio.Event) -> None:
    for size in cycle((50_000, 1000, 10)):
        with suppress(OutOfMemoryError):
            for _ in range(100):
                if stop.is_set():
                    return
                await client.set(f"hog:{secrets.token_hex(8)}", bytes(size))


@asynccontextmanager
async def asking(url: str, fleet: str, folder: Path) -> AsyncIterator[Backend]:
    """A connection that hears of a refusal at once, and has a group of its own."""
    loaded = load(folder, flags={"bus.url": url, "fleet.name": fleet, "fleet.lease": LEASE})
    parts = await open_parts(loaded, SystemClock(), "test")
    await parts.backend.bind("other", ["other.#"])
    try:
        yield parts.backend
    finally:
        await parts.backend.close()
        await parts.store.close()
        await parts.close()


async def refused(backend: Backend) -> Full:
    """What publishing as much as one call of tasks ends with, sooner or later."""
    while True:
        try:
            await backend.publish([Message(secrets.token_hex(8), 0, "other.x", bytes(5 * BODY))])
        except Full as error:
            return error
        await asyncio.sleep(0.1)


async def drained(backend: Backend) -> None:
    """Return when nothing of the role is left."""
    clock = SystemClock()
    while any(lag != NOTHING for lag in (await backend.lag("sleeper")).values()):
        await clock.sleep(0.05)


async def published(fleet: Fleet, accepted: list[str]) -> None:
    """Publish on and on; a call that finds no room waits for it."""
    while True:
        accepted += [task.id for task in await fleet.publish_many([("nap.x", TASK)] * 5)]


@pytest.mark.redis
@pytest.mark.slow
@pytest.mark.promise(21)
async def test_a_worker_drains_a_redis_that_others_have_filled(
    own_redis: Callable[..., RedisServer], tmp_path: Path, happened: Callable[[str], None]
) -> None:
    """21: tasks fill it until they are refused, others take all that is left and whatever becomes
    free. Each task that was accepted ends in the worker; when the others go, more are accepted."""
    server, name, roles = own_redis(ROOM), f"full-{secrets.token_hex(4)}", sleepers(tmp_path)
    arguments, runs, accepted = (server.url, name, tmp_path), Runs(roles), list[str]()
    with worker_processes(*arguments, lease=LEASE, roles=str(roles)) as workers:
        workers.start("sleeper")
        async with (
            asyncio.timeout(90),
            fleet_and_events(*arguments) as (fleet, _),
            asking(*arguments) as backend,
        ):
            await bound(fleet, "sleeper")
            async with beside(published(fleet, accepted)):
                await refused(backend)
            async with hogged(server):
                left = len(accepted) - len(runs.look().ended)
                error = await refused(backend)
                await runs.until(lambda: set(accepted) <= set(runs.ended))
                await drained(backend)
                await refused(backend)
            letters = [letter async for letter in fleet.bus.dead.all()]
            await (await fleet.publish("nap.x", TASK)).result(20)
    happened(f"{len(accepted)} accepted, {left} of them waiting when it was full: {error.details}")
    assert left > 50
    assert letters == []
    assert runs.again == 0
