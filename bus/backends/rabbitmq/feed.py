"""Consumers that prefetch only for those who are pulling."""

import asyncio
from collections import Counter, deque
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from bus.backends.rabbitmq.link import Pair, RabbitLink
from bus.backends.rabbitmq.names import is_of
from bus.waking import Bell, new_bell, ring

LINGER = 0.2
"""Seconds a consumer stays after its last pull; what it prefetched then goes back."""

_ARRIVING = 0.2
"""Seconds within which what waited in a queue comes to a new consumer."""


@dataclass(slots=True, eq=False)
class Feed:
    """A consumer of one queue: what it has prefetched, how many of it are being claimed, every tag
    that is not acknowledged, and those whose claim was not answered. `behind`: the broker may have
    more than has come."""

    queue: str
    pair: Pair
    channel: Any
    home: "Feeds"
    consumer: str = ""
    prefetch: int = 0
    missing: int = 0
    behind: bool = False
    claiming: int = 0
    buffer: deque[Any] = field(default_factory=deque)
    open: dict[int, None] = field(default_factory=dict)
    doubted: set[int] = field(default_factory=set)
    answering: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def dead(self) -> bool:
        """Whether all that was delivered here is lost."""
        return self.pair.dead or bool(self.channel.is_closed)

    @property
    def held(self) -> int:
        """How many were delivered and handed out, or are about to be."""
        return len(self.open) - len(self.buffer)

    def serves(self, limit: int) -> bool:
        """Whether it consumes, and may hold so many besides what is held."""
        return bool(self.consumer) and not self.dead and self.held + limit <= self.prefetch

    async def got(self, raw: Any) -> None:
        """A message came."""
        self.open[raw.delivery_tag] = None
        self.buffer.append(raw)
        self.missing -= 1
        self.behind = self.behind or len(self.open) >= self.prefetch
        self.home.ring()

    async def ack(self, tags: Iterable[int]) -> None:
        """In few frames. A tag that is not open would close the channel, so frames leave in the
        order in which tags are taken off."""
        async with self.answering:
            mine = {tag for tag in tags if tag in self.open}
            first, others = 0, list[int]()
            for tag in sorted(mine):
                del self.open[tag]
                if others or next(iter(self.open), tag + 1) < tag:
                    others.append(tag)
                else:
                    first = tag  # nothing before it is open
            with suppress(Exception):  # what is done is dropped when it comes back
                for tag in [first, *others] if first else others:
                    await self.channel.basic_ack(tag, multiple=tag == first, wait=False)

    async def requeue(self, tags: Iterable[int]) -> None:
        """Let others have these."""
        async with self.answering:
            with suppress(Exception):  # a connection that is lost gives back by itself
                for tag in [tag for tag in tags if tag in self.open]:
                    del self.open[tag]
                    await self.channel.basic_nack(tag, wait=False)


class Feeds:
    """The consumers of one process."""

    def __init__(self, link: RabbitLink) -> None:
        self._link = link
        self._feeds: dict[str, Feed] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._pulls: Counter[str] = Counter()
        self._used: dict[str, float] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._bells: set[Bell] = set()
        link.lost.append(self.ring)

    def ring(self) -> None:
        """Let every pull look again."""
        for bell in self._bells:
            ring(bell)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """A task that ends with the connection."""
        if self._link.is_closed:
            work.close()
        else:
            self._link.spawn(work)

    @contextmanager
    def bell(self) -> Iterator[Bell]:
        """Rung when anything comes meanwhile."""
        made = new_bell()
        self._bells.add(made)
        try:
            yield made
        finally:
            self._bells.discard(made)

    @contextmanager
    def pulling(self, queues: Sequence[str]) -> Iterator[None]:
        """Consumers of these queues stay open meanwhile, and a moment longer."""
        self._pulls.update(queues)
        try:
            yield
        finally:
            self._pulls.subtract(queues)
            for queue in queues:
                self.leave(queue)

    def buffered(self, queue: str) -> int:
        """What this process has prefetched of a queue and not handed out."""
        feed = self._feeds.get(queue)
        return 0 if feed is None or feed.dead else len(feed.buffer) + feed.claiming

    def prefetched(self, group: str) -> dict[str, int] | None:
        """The same of each queue of a group; None if this process consumes from none."""
        queues = [q for q in self._feeds if is_of(q, self._link.exchange, group)]
        if not any(self.consumes(queue) for queue in queues):
            return None
        return {queue: count for queue in queues if (count := self.buffered(queue))}

    def consumes(self, queue: str) -> bool:
        """Whether the broker counts a consumer of this process at a queue."""
        feed = self._feeds.get(queue)
        return feed is not None and not feed.dead and bool(feed.consumer)

    async def open(self, queues: Sequence[str], limit: int) -> list[Feed]:
        """A consumer of each; what waited in the queues has come, so that lanes have an order."""
        feeds = [feed for queue in queues if (feed := self._standing(queue, limit)) is not None]
        if len(feeds) < len(queues):
            feeds = await asyncio.gather(*(self._open(queue, limit) for queue in queues))
        await self._arrived(feeds)
        return feeds

    def _standing(self, queue: str, limit: int) -> Feed | None:
        """Its consumer, if that is there and may hold so much more."""
        feed = self._feeds.get(queue)
        return feed if feed is not None and feed.serves(limit) else None

    async def catch_up(self, feeds: Sequence[Feed], limit: int) -> None:
        """Wait for what the broker has of each, up to `limit`."""
        late = [f for f in feeds if f.behind and not f.dead and len(f.buffer) < limit]
        await asyncio.gather(*(self._ask(feed, limit) for feed in late))
        await self._arrived(late)

    async def _ask(self, feed: Feed, limit: int) -> None:
        with self._link.errors():
            waiting, _ = await self._link.run(feed.pair.waiting(feed.queue))
        while not feed.dead and not feed.channel.frames.empty():  # noqa: ASYNC110 - no bell there
            await asyncio.sleep(0)  # what came before the answer
        feed.behind = waiting > 0
        feed.missing = min(waiting, limit - len(feed.buffer))

    async def _arrived(self, feeds: Sequence[Feed]) -> None:
        end = self._link.clock.monotonic() + _ARRIVING
        while any(f.missing > 0 and not f.dead for f in feeds):
            left = end - self._link.clock.monotonic()
            if left <= 0:
                break
            with self.bell() as bell, suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await bell
        for feed in feeds:
            feed.missing = 0  # the rest went to others

    async def _open(self, queue: str, limit: int) -> Feed:
        """A consumer that may hold twice `limit` besides what is held already."""
        async with self._opening.setdefault(queue, asyncio.Lock()):
            feed = self._feeds.get(queue)
            if feed is None or feed.dead:
                pair = await self._link.pair()
                with self._link.errors():
                    channel = await self._link.run(pair.consuming.channel(publisher_confirms=False))
                feed = self._feeds[queue] = Feed(queue, pair, channel, self)
            if not feed.serves(limit):
                with self._link.errors():
                    await self._link.run(self._consume(feed, feed.held, limit))
            return feed

    async def _consume(self, feed: Feed, held: int, limit: int) -> None:
        _, (waiting, _) = await asyncio.gather(
            self._prepare(feed, held, limit), feed.pair.waiting(feed.queue)
        )
        feed.missing = min(waiting, limit)
        feed.behind = waiting > 0
        feed.consumer = (await feed.channel.basic_consume(feed.queue, feed.got)).consumer_tag

    async def _prepare(self, feed: Feed, held: int, limit: int) -> None:
        """What a consumer may prefetch cannot be changed while it consumes."""
        consumer, feed.consumer = feed.consumer, ""
        if consumer:
            await feed.channel.basic_cancel(consumer)
        if held + limit > feed.prefetch:
            feed.prefetch = min(held + 2 * max(limit, 1 << limit.bit_length()), 65_000)
            await feed.channel.basic_qos(prefetch_count=feed.prefetch)

    def leave(self, queue: str) -> None:
        """End its consumer in a moment, unless somebody pulls then."""
        if queue in self._timers:
            self._timers.pop(queue).cancel()
        if not self._pulls[queue] and queue in self._feeds:
            loop = asyncio.get_running_loop()
            self._timers[queue] = loop.call_later(LINGER, self._retire_soon, queue)

    def _retire_soon(self, queue: str) -> None:
        self._timers.pop(queue, None)
        if not self._link.is_closed:
            self._link.spawn(self._retire(queue))

    async def _retire(self, queue: str) -> None:
        """End a consumer nobody pulls from; what it prefetched is for others."""
        async with self._opening.setdefault(queue, asyncio.Lock()):
            feed = self._feeds.get(queue)
            if feed is None or self._pulls[queue]:
                return
            consumer, feed.consumer = feed.consumer, ""
            if consumer and not feed.dead:
                with suppress(Exception):
                    await feed.channel.basic_cancel(consumer)
            if not self._pulls[queue]:
                tags = [r.delivery_tag for r in feed.buffer if r.delivery_tag not in feed.doubted]
                feed.buffer = deque(r for r in feed.buffer if r.delivery_tag in feed.doubted)
                await feed.requeue(tags)
            if feed.dead:
                del self._feeds[queue]
