"""Redis killed, frozen, or behind a network that swallows everything."""

import asyncio
import time
from collections.abc import Callable

import pytest

from bus.backend import Delivery, Message
from bus.backends.redis.backend import RedisBackend
from bus.errors import Unreachable
from tests.bus.backends.redis_fleet import LANES, linked, messages, opened, terms
from tests.proxy import proxied
from tests.redis_server import RedisServer

pytestmark = pytest.mark.redis


async def collect(backend: RedisBackend, seconds: float) -> list[Delivery]:
    """All that comes in this time, settled."""
    found: list[Delivery] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        part = await backend.pull("g", LANES, limit=200, wait=0.1)
        assert await backend.settle(part) == []
        found += part
    return found


@pytest.mark.promise(9)
async def test_of_what_was_settled_nothing_comes_again_after_kill_9(
    own_redis: Callable[..., RedisServer], happened: Callable[[str], None]
) -> None:
    """9: of what was not, everything does; killed right after the answer, three times."""
    server = own_redis()
    seen = 0
    for turn in range(3):
        mine = terms(server.url, lease=1.0)
        async with opened(mine) as (_, backend):
            await backend.bind("g", ["work.#"])
            await backend.publish(messages(400))
            held = [d for _ in "12" for d in await backend.pull("g", LANES, limit=200, wait=1)]
            assert await backend.settle(held[:300]) == []
            await asyncio.to_thread(server.kill)
        await asyncio.to_thread(server.start)
        async with opened(mine) as (_, again):
            found = {d.message.id for d in await collect(again, 2.0)}
        assert found >= {d.message.id for d in held[300:]}, turn
        seen += len(found & {d.message.id for d in held[:300]})
    happened(f"{seen} of 900 settled messages came again after kill -9 of Redis")
    assert seen == 0


@pytest.mark.promise(16)
async def test_a_server_frozen_for_three_seconds_is_only_late(
    own_redis: Callable[..., RedisServer],
) -> None:
    """16: what was asked meanwhile is answered, what waited goes on waiting, nothing is lost."""
    server = own_redis()
    mine = terms(server.url, lease=8.0)
    async with opened(mine) as (_, backend), opened(mine) as (_, publisher):
        await backend.bind("g", ["work.#"])
        waiting = asyncio.create_task(backend.pull("g", LANES, limit=5, wait=30))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(server.freeze)
        publishing = asyncio.create_task(publisher.publish(messages(5)))
        await asyncio.sleep(3.0)
        assert not waiting.done()
        assert not publishing.done()
        await asyncio.to_thread(server.thaw)
        async with asyncio.timeout(2):
            await publishing
            held = await waiting
        assert len(held) == 5
        assert await backend.settle(held) == []


@pytest.mark.slow
@pytest.mark.promise(1, 16)
async def test_a_server_frozen_for_ten_seconds_is_noticed_and_loses_nothing(
    own_redis: Callable[..., RedisServer],
) -> None:
    """16: whoever asks and whoever waits hear of it within five seconds; when it runs again all
    goes on at once. What was accepted before is there, what was asked meanwhile comes once."""
    server = own_redis()
    mine = terms(server.url, lease=2.0)
    async with opened(mine) as (_, backend), opened(mine) as (_, publisher):
        await backend.bind("g", ["work.#"])
        await backend.bind("idle", ["nothing.#"])
        await publisher.publish(messages(20, "before"))
        held = await backend.pull("g", LANES, limit=10, wait=1)
        waiting = asyncio.create_task(backend.pull("idle", LANES, limit=5, wait=30))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(server.freeze)
        frozen = time.monotonic()
        calls = publisher.publish(messages(20, "meanwhile")), backend.settle(held), waiting
        ends = await asyncio.gather(*calls, return_exceptions=True)
        noticed = time.monotonic() - frozen
        while time.monotonic() < frozen + 10.0:
            with pytest.raises(Unreachable):
                await publisher.publish(messages(20, "meanwhile"))
        await asyncio.to_thread(server.thaw)
        thawed = time.monotonic()
        await publisher.publish(messages(20, "meanwhile"))
        found = [d.message.id for d in await collect(backend, 4.0)]
    assert [type(end) for end in ends] == [Unreachable] * 3
    assert noticed < 5.5
    assert time.monotonic() - thawed < 9.0
    known = {m.id for m in (*messages(20, "before"), *messages(20, "meanwhile"))}
    assert set(found) | {d.message.id for d in held} == known, "the settle may have come through"
    assert len(found) == len(set(found)), "nothing twice"


@pytest.mark.promise(10, 15)
async def test_a_settle_that_was_kept_and_not_answered_is_no_longer_ours_and_left_its_then(
    own_redis: Callable[..., RedisServer],
) -> None:
    """10: asked again, it neither brings the input back nor sends anything twice."""
    server = own_redis()
    async with opened(terms(server.url, lease=20.0)) as (_, backend):
        await backend.bind("g", ["work.#"])
        await backend.bind("told", ["ends.#"])
        await backend.publish(messages(21))
        held = await backend.pull("g", LANES, limit=21, wait=1)
        assert await backend.settle(held[:1]) == [], "the server knows the script now"
        end = [Message("end", 0, "ends.a", b"{}")]
        await asyncio.to_thread(server.freeze)
        with pytest.raises(Unreachable):
            await backend.settle(held[1:], then=end)
        await asyncio.to_thread(server.thaw)
        assert await backend.settle(held[1:], then=end) == held[1:]
        told = await backend.pull("told", LANES, limit=5, wait=1)
        assert [d.message.id for d in told] == ["end"]
        lags = (await backend.lag("g")).values()
        assert not any(lag.waiting or lag.leased or lag.delayed for lag in lags)


@pytest.mark.promise(16)
async def test_a_network_that_swallows_everything_is_noticed_on_redis(
    redis_server: RedisServer,
) -> None:
    """16: by whoever asks, and then by who only waits; afterwards all goes on."""
    async with (
        proxied(redis_server.url) as proxy,
        opened(terms(proxy.url, lease=30.0)) as (_, backend),
    ):
        await backend.bind("g", ["work.#"])
        waiting = asyncio.create_task(backend.pull("g", LANES, limit=1, wait=60))
        await asyncio.sleep(0.2)
        proxy.hang()
        started = time.monotonic()
        with pytest.raises(Unreachable):
            await backend.extend([])
        assert 3.0 < time.monotonic() - started < 5.5
        async with asyncio.timeout(1):
            with pytest.raises(Unreachable):
                await waiting
        await proxy.mend()
        async with asyncio.timeout(3):
            await backend.publish(messages(1))
            assert len(await backend.pull("g", LANES, limit=1, wait=1)) == 1


@pytest.mark.promise(16)
async def test_a_server_that_hangs_from_the_first_is_unreachable_within_the_patience(
    redis_server: RedisServer,
) -> None:
    async with proxied(redis_server.url) as proxy:
        proxy.hang()
        started = time.monotonic()
        with pytest.raises(Unreachable):
            async with linked(terms(proxy.url)):
                pass
        assert time.monotonic() - started < 5.5


async def test_a_process_that_stood_still_drops_no_connection(redis_server: RedisServer) -> None:
    """What came meanwhile is read first; the silence was our own."""
    async with linked(terms(redis_server.url)) as link:
        lost: list[None] = []
        link.lost.append(lambda: lost.append(None))
        for _ in range(3):
            asked = asyncio.create_task(link.ask("PING", doing="asking"))
            await asyncio.sleep(0)
            time.sleep(2.0)  # noqa: ASYNC251 - this is what is tested
            assert await asked == b"PONG"
        assert lost == []


async def test_a_server_that_forgot_the_scripts_is_told_them_again(
    own_redis: Callable[..., RedisServer],
) -> None:
    server = own_redis()
    async with opened(terms(server.url)) as (link, backend):
        await backend.bind("g", ["work.#"])
        await backend.publish(messages(1))
        await link.ask("SCRIPT", "FLUSH", doing="forgetting")
        await backend.publish(messages(1, "other"))
        assert len(await backend.pull("g", LANES, limit=5, wait=1)) == 2
