"""Watching entries in Redis: a subscription first, then a listing, then what changes."""

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from math import inf

from bus.backends.redis.link import RedisLink
from bus.errors import Closed, Unreachable
from bus.keyvalue.protocol import Change, Current, Entry, Snapshot, Wish, Written
from bus.keyvalue.redis_currency import Currency
from bus.keyvalue.redis_feed import Beat, Broken, Feed
from bus.keyvalue.redis_known import Known
from bus.keyvalue.redis_listing import page

_AGAIN_AFTER = 0.25


async def watch(link: RedisLink, prefix: str, check: Callable[[], None]) -> AsyncGenerator[Change]:
    """Changes under `prefix`; see `KeyValue.watch`. `check` raises when the store is closed."""
    async with aclosing(_follow(link, prefix, check, inf, None)) as changes:
        async for change in changes:
            if not isinstance(change, Current):
                yield change


def follow(
    link: RedisLink, prefix: str, check: Callable[[], None], *, every: float, wish: Wish | None
) -> AsyncIterator[Change | Current]:
    """As `watch`, and how current it is; see `KeyValue.follow`."""
    return _follow(link, prefix, check, every, wish)


class _Pace:
    """When a follower sends a beat: some time after the last one it has heard, so that of many that
    wait mostly one does; and only while somebody needs to know."""

    def __init__(self, link: RedisLink, feed: Feed, every: float, wish: Wish | None) -> None:
        self._clock = link.clock
        self._every = every
        self._wish = wish
        if wish is not None:
            wish.heard = feed.wake
        self.beaten()

    def beaten(self) -> None:
        """A beat was sent or heard."""
        self._due = self._clock.monotonic() + self._every * random.uniform(1.0, 1.4)

    def due(self) -> float:
        """When to send the next one, as far as is known now."""
        return self._due if self._wish is None or self._wish.open else inf


async def _follow(
    link: RedisLink, prefix: str, check: Callable[[], None], every: float, wish: Wish | None
) -> AsyncGenerator[Change | Current]:
    while True:
        check()
        if link.closed:
            raise Closed("the connection to Redis was closed")
        feed = Feed(link, prefix, beats=every < inf)
        try:
            await feed.open()
            async with aclosing(_changes(link, prefix, feed, every, wish)) as changes:
                async for change in changes:
                    yield change
        except (Broken, Unreachable):
            await asyncio.sleep(_AGAIN_AFTER)
        finally:
            feed.close()


async def _changes(
    link: RedisLink, prefix: str, feed: Feed, every: float, wish: Wish | None
) -> AsyncGenerator[Change | Current]:
    """A snapshot, then changes; raises `Broken` when something may have been missed."""
    known, pace = Known(link.clock), _Pace(link, feed, every, wish)
    currency = Currency(link.clock)
    yield await _snapshot(link, prefix, feed, known)
    if every < inf:
        await _compare(feed, currency)
    while True:
        item = await feed.next(lambda: min(pace.due(), known.ends()))
        if isinstance(item, Beat):
            at = currency.beat(item.time)
            if at is not None:
                yield at
            if currency.doubtful:
                await _compare(feed, currency)
            pace.beaten()
        elif item is not None:
            change = known.apply(item)
            if change is not None:
                yield change
        elif known.ends() <= link.clock.monotonic():
            await feed.expire()
            known.ask_later()
        else:
            await _compare(feed, currency)
            pace.beaten()


async def _snapshot(link: RedisLink, prefix: str, feed: Feed, known: Known) -> Snapshot:
    """The listing, brought up to the moment after it by what was told meanwhile."""
    entries: dict[str, Entry] = {}
    after: str | None = None
    while found := await page(link, prefix, after):
        for entry, left in found:
            entries[entry.key] = entry
            known.add(entry.key, entry.revision, left)
        after = found[-1].entry.key
    for item in await feed.until_now():
        change = known.apply(item)
        if isinstance(change, Written):
            entries[change.entry.key] = change.entry
        elif change is not None:
            entries.pop(change.key, None)
    return Snapshot(tuple(entries[key] for key in sorted(entries)))


async def _compare(feed: Feed, currency: Currency) -> None:
    before = currency.now()
    currency.compare(before, await feed.beat())
