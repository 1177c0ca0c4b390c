"""How soon a waiting pull has what was published, who is called, and what an idle member asks."""

import asyncio
import time
from collections.abc import Callable
from statistics import quantiles

import pytest
from redis.asyncio import Redis

from bus.backend import RETRY, Lane, LaneName, Message
from bus.backends.redis.link import RedisLink
from tests.bus.backends.redis_fleet import LANES, messages, opened, terms
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis

ROUNDS, EACH = 5, 30
WITHIN = 0.002
"""Seconds that a wake may take longer than the raw driver's own delivery (promise 6)."""


async def raw(server: RedisServer, n: int) -> list[float]:
    """Seconds from XADD until a blocked XREADGROUP of another connection has it, `n` times."""
    publisher, reader = Redis.from_url(server.url), Redis.from_url(server.url)
    stream = f"raw:{time.monotonic_ns()}"
    await publisher.xgroup_create(stream, "g", id="0", mkstream=True)
    found: list[float] = []
    for _ in range(n + 1):
        read = asyncio.ensure_future(_read(reader, stream))
        await asyncio.sleep(0.003)
        started = time.perf_counter()
        await publisher.xadd(stream, {"body": b"x" * 500})
        await read
        found.append(time.perf_counter() - started)
    await publisher.delete(stream)
    await publisher.aclose()
    await reader.aclose()
    return found[1:]


async def _read(reader: Redis, stream: str) -> None:
    await reader.xreadgroup("g", "me", {stream: ">"}, 1, block=4000)


async def ours(server: RedisServer, n: int, slices: int) -> list[float]:
    """The same through two connections of the backend, in every slice by turns."""
    lanes = [Lane(name, number) for name in LaneName for number in range(slices)]
    mine = terms(server.url, lease=10.0, slices=slices)
    found: list[float] = []
    async with opened(mine) as (_, publisher), opened(mine) as (_, puller):
        await publisher.bind("g", ["work.#"])
        for number in range(n + 1):
            pull = asyncio.create_task(puller.pull("g", lanes, limit=1, wait=30.0))
            await asyncio.sleep(0.003)
            started = time.perf_counter()
            lane = Lane(LaneName.NORMAL, number % slices)
            await publisher.publish([Message(f"m{number}", 0, "work.a", b"x" * 500, lane=lane)])
            deliveries = await pull
            found.append(time.perf_counter() - started)
            await puller.settle(deliveries)
    return found[1:]


@pytest.mark.promise(6, 7)
@pytest.mark.parametrize("slices", [1, 16])
async def test_a_wake_on_redis_is_within_two_milliseconds_of_the_raw_client(
    redis_server: RedisServer, slices: int
) -> None:
    """6: by turns in one run; their first quartiles, since other work on the machine only adds."""
    raws: list[float] = []
    bus: list[float] = []
    for _ in range(ROUNDS):
        raws += await raw(redis_server, EACH)
        bus += await ours(redis_server, EACH, slices)
    quick_raw, quick_bus = quantiles(raws)[0], quantiles(bus)[0]
    print(f"publish to delivery: raw {quick_raw * 1e3:.2f} ms, bus {quick_bus * 1e3:.2f} ms")
    assert quick_bus - quick_raw <= WITHIN


@pytest.mark.promise(6, 8)
async def test_who_is_cancelled_leaves_what_it_knew_to_others(redis_server: RedisServer) -> None:
    """8: the one that was told when the next message falls due goes; another is there in time,
    long before a lease is over. The same for a bell that it had heard already."""
    mine = terms(redis_server.url, lease=30.0)
    async with opened(mine) as (_, one), opened(mine) as (_, two), opened(mine) as (_, publisher):
        await one.bind("g", ["work.#"])
        for number in range(3):
            first = asyncio.create_task(one.pull("g", LANES, limit=1, wait=30.0))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(two.pull("g", LANES, limit=1, wait=30.0))
            await asyncio.sleep(0.05)
            due = time.time() + 0.6
            late = Message(f"late{number}", 0, "work.a", b"", lane=RETRY, due=due)
            await publisher.publish([late])
            await asyncio.sleep(0.1)
            first.cancel()
            await asyncio.wait([first])
            async with asyncio.timeout(1.5):
                (held,) = await second
            assert due <= time.time() < due + 1.0
            assert await two.settle([held]) == []


@pytest.mark.promise(14)
async def test_a_pull_that_is_cancelled_blames_nobody(redis_server: RedisServer) -> None:
    """What it had taken is there at once, and its hand-over is not counted; also what came to one
    that waited, at any moment of its coming."""
    mine = terms(redis_server.url, lease=30.0)
    async with opened(mine) as (_, backend), opened(mine) as (_, other):
        await backend.bind("g", ["work.#"])
        for number in range(80):
            pull = asyncio.create_task(backend.pull("g", LANES, limit=5, wait=5.0))
            if number % 2:
                await asyncio.sleep(0.01)
            publishing = asyncio.create_task(
                other.publish([Message(f"m{number}", 0, "work.a", b"")])
            )
            if number % 4 > 1:
                await publishing
            for _ in range(number % 13):
                await asyncio.sleep(0)
            pull.cancel()
            await asyncio.wait([pull, publishing])
            held = [] if pull.cancelled() else pull.result()
            async with asyncio.timeout(2.0):
                held = held or await other.pull("g", LANES, limit=5, wait=5.0)
            assert [(d.message.id, d.earlier) for d in held] == [(f"m{number}", 0)]
            assert await other.settle(held) == []


async def asked(link: RedisLink) -> int:
    """Commands that clients have sent, but for these questions; those inside scripts count not."""
    said = await link.ask("INFO", "commandstats", doing="counting")
    count = 0
    for line in said.decode().splitlines():
        name, _, rest = line.partition(":calls=")
        if name in {"cmdstat_evalsha", "cmdstat_eval", "cmdstat_blpop", "cmdstat_client|unblock"}:
            count += int(rest.partition(",")[0])
    return count


@pytest.mark.promise(18)
@pytest.mark.parametrize("slices", [1, 16])
async def test_an_idle_group_asks_redis_next_to_nothing(
    own_redis: Callable[..., RedisServer], slices: int
) -> None:
    """18: pulls in a row that find nothing go on with the read that waits already."""
    server = own_redis()
    lanes = [Lane(name, number) for name in LaneName for number in range(slices)]
    async with opened(terms(server.url, lease=10.0, slices=slices)) as (link, backend):
        await backend.bind("g", ["work.#"])

        async def idle(seconds: float) -> None:
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                assert await backend.pull("g", lanes, limit=8, wait=0.5) == []

        await idle(0.6)
        before = await asked(link)
        await idle(4.0)
        assert await asked(link) - before <= 2


@pytest.mark.promise(7, 22)
async def test_another_number_of_slices_strands_nothing(redis_server: RedisServer) -> None:
    """Processes that are configured differently pull all there is, whoever bound last."""
    fleet = f"t{time.monotonic_ns()}"
    sent: list[str] = []
    for slices in (3, 1, 2):
        async with opened(terms(redis_server.url, fleet=fleet, slices=slices)) as (_, backend):
            await backend.bind("g", ["work.#"])
            for number in range(16):
                sent.append(f"{slices}-{number}")
                lane = Lane(LaneName.NORMAL, number)
                await backend.publish([Message(sent[-1], 0, "work.a", b"", lane=lane)])
    found: list[str] = []
    async with opened(terms(redis_server.url, fleet=fleet)) as (_, backend):
        while held := await backend.pull("g", LANES, limit=10, wait=0.3):
            assert {d.message.lane.slice for d in held} == {0}
            assert await backend.settle(held) == []
            found += [d.message.id for d in held]
    assert sorted(found) == sorted(sent)


async def test_deliveries_of_many_bytes_come_in_parts(redis_server: RedisServer) -> None:
    """One answer never holds all of hundreds of great bodies."""
    async with opened(terms(redis_server.url, lease=20.0)) as (_, backend):
        await backend.bind("g", ["work.#"])
        await backend.publish(messages(200, body=bytes(200_000)))
        found = await backend.pull("g", LANES, limit=200, wait=1)
        assert 20 <= len(found) < 200
        while len(found) < 200:
            found += await backend.pull("g", LANES, limit=200, wait=1)
        assert await backend.settle(found) == []
        assert len({d.message.id for d in found}) == 200
