"""How current a Redis watch is said to be: by the clock's hand, and on frozen servers."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from bus.backends.redis.dial import address_of
from bus.keyvalue.protocol import Change, Current, Wish, Written
from bus.keyvalue.redis import RedisKeyValue
from bus.keyvalue.redis_currency import OLD, Currency
from bus.keyvalue.redis_feed import Broken, Feed
from contracts.clock import ManualClock, SystemClock
from tests.bus.backends.redis_fleet import linked, terms
from tests.proxy import proxied
from tests.redis_server import RedisServer

EVERY = 0.4
START = 5_000_000
"""A time of the server, in milliseconds."""


def compared(clock: ManualClock) -> Currency:
    """The server has just told its time."""
    currency = Currency(clock)
    currency.compare(currency.now(), START)
    return currency


async def test_beats_that_waited_while_it_stood_still_are_as_old_as_they_are() -> None:
    clock = ManualClock()
    currency, start = compared(clock), clock.monotonic()
    await clock.advance(15.0)
    for number in range(1, 11):
        at = currency.beat(START + number * 400)
        assert at is not None
        assert start + number * 0.4 - 0.1 < at.monotonic <= start + number * 0.4
    assert currency.doubtful


async def test_a_server_whose_clock_is_set_forward_is_not_believed() -> None:
    clock = ManualClock()
    currency = compared(clock)
    await clock.advance(1.0)
    assert currency.beat(START + 3_600_000) is None
    assert currency.doubtful


async def test_a_server_whose_clock_is_set_back_is_compared_again() -> None:
    clock = ManualClock()
    currency = compared(clock)
    await clock.advance(2.0)
    first = currency.beat(START + 2_000)
    await clock.advance(2.0)
    assert currency.beat(START - 60_000) == first, "what was known is not unlearned"
    assert currency.doubtful


async def test_clocks_are_compared_again_now_and_then() -> None:
    clock = ManualClock()
    currency = compared(clock)
    for number in range(1, 60):
        await clock.advance(EVERY)
        currency.beat(START + number * 400)
        assert currency.doubtful == (number * EVERY > OLD)


@pytest.mark.redis
async def test_a_server_that_hangs_makes_it_old_and_many_followers_send_few_beats(
    own_redis: Callable[..., RedisServer],
) -> None:
    """18: of many that follow, one sends a beat for all."""
    server, clock = own_redis(), SystemClock()
    mine = terms(server.url, lease=5.0)
    told: list[Change | Current] = []
    news = asyncio.Event()

    async def follow(store: RedisKeyValue, *, heard: bool) -> None:
        async for change in store.follow("a/", every=EVERY):
            if heard:
                told.append(change)
                news.set()

    async def current_at(moment: float) -> None:
        async with asyncio.timeout(10):
            while not (told and isinstance(told[-1], Current) and told[-1].monotonic >= moment):
                news.clear()
                await news.wait()

    async def beats() -> int:
        said = await link.ask("INFO", "commandstats", doing="counting")
        line = next(found for found in said.splitlines() if found.startswith(b"cmdstat_evalsha:"))
        return int(line.partition(b"calls=")[2].partition(b",")[0])

    async with linked(mine) as link:
        following = [
            asyncio.create_task(follow(RedisKeyValue(link), heard=number == 0))
            for number in range(10)
        ]
        await current_at(clock.monotonic() + 1.0)
        before = await beats()
        await current_at(clock.monotonic() + 3.0)
        sent = await beats() - before
        await asyncio.to_thread(server.freeze)
        frozen = clock.monotonic()
        await asyncio.sleep(1.5)
        latest = max(c.monotonic for c in told if isinstance(c, Current))
        await asyncio.to_thread(server.thaw)
        await current_at(clock.monotonic())
        for task in following:
            task.cancel()
        await asyncio.wait(following)
    print(f"beats for ten followers in three idle seconds: {sent}")
    assert sent <= 15
    assert latest <= frozen


@pytest.mark.redis
async def test_a_follower_asks_only_while_somebody_needs_to_know(redis_server: RedisServer) -> None:
    """18: else it is silent, and hears of changes all the same; it tells at once when asked."""
    clock, wish = SystemClock(), Wish()
    told: list[Change | Current] = []
    news = asyncio.Event()

    async def follow(store: RedisKeyValue) -> None:
        async for change in store.follow("a/", every=EVERY, wish=wish):
            told.append(change)
            news.set()

    async def last(kind: type) -> Change | Current:
        async with asyncio.timeout(5):
            while not (told and isinstance(told[-1], kind)):
                news.clear()
                await news.wait()
        return told[-1]

    async with linked(terms(redis_server.url)) as link:
        store = RedisKeyValue(link)
        following = asyncio.create_task(follow(store))
        await last(Current)
        told.clear()
        await asyncio.sleep(4 * EVERY)
        assert told == [], "nobody has asked"
        await store.put("a/1", b"x")
        await last(Written)
        asked = clock.monotonic()
        wish.make()
        current = await last(Current)
        assert clock.monotonic() - asked < EVERY, "at once: the last time was long ago"
        assert isinstance(current, Current)
        assert current.monotonic > asked - 0.1
        following.cancel()
        await asyncio.wait([following])


@pytest.mark.redis
async def test_a_watch_that_hears_nothing_any_more_begins_anew(redis_server: RedisServer) -> None:
    """Its connection swallows everything, that for commands stands: it is noticed when an entry
    should have ended, and there is a snapshot again; the server is not asked again and again."""
    mine = terms(redis_server.url)
    async with linked(mine) as writing, proxied(redis_server.url) as proxy:
        store = RedisKeyValue(writing)
        await store.put("a/1", b"x", ttl=1)
        far = replace(mine, url=proxy.url)
        async with linked(far) as link:
            feed = Feed(link, "a/", beats=False)
            await feed.open()
            proxy.hang()
            link._address = address_of(mine.url, "t")
            link._wire = None
            started = time.monotonic()
            with pytest.raises(Broken):
                await feed.expire()
            assert 4.0 < time.monotonic() - started < 6.5
            feed.close()
            await proxy.mend()
