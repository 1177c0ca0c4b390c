"""Settling and extending: the bus database says whose it is, then the broker may forget it."""

from collections import defaultdict
from collections.abc import Sequence

from bus.backend import Delivery, Message
from bus.backends.rabbitmq.feed import Feed
from bus.backends.rabbitmq.held import Held, Holding, receipts
from bus.backends.rabbitmq.link import RabbitLink
from bus.backends.rabbitmq.publish import Publisher, parted
from bus.parking.parking import Parking


class Settler:
    """Ends or renews what was handed out."""

    def __init__(
        self, link: RabbitLink, publisher: Publisher, parking: Parking, holding: Holding
    ) -> None:
        self._link = link
        self._publisher = publisher
        self._parking = parking
        self._holding = holding

    async def settle(
        self, deliveries: Sequence[Delivery], then: Sequence[Message]
    ) -> list[Delivery]:
        """See `Backend.settle`. What replaces the deliveries goes out first; what of it lies in
        the bus database is kept and they are forgotten in one statement."""
        now = self._link.clock.monotonic()
        mine = [held for held in receipts(deliveries) if held.ours(now)]
        if deliveries and not mine:
            return [*deliveries]
        rows, puts = parted(then, await self._publisher.targets(then, strict=False))
        if puts:
            await self._publisher.send(puts, strict=False)
        gone: set[Held] = set()
        if mine or rows:
            sure = any(held.feed is None for held in mine)
            task = self._link.spawn(
                self._parking.settle([held.mark for held in mine], rows, sure=sure)
            )
            names = await self._link.whole(task)
            gone = {held for held in mine if held.mark.name in names}
            self._forget(gone)
        return [d for d in deliveries if d.receipt not in gone]

    def _forget(self, gone: set[Held]) -> None:
        """They are done: should the broker hand them out again, that is a repetition."""
        tags: dict[Feed, list[int]] = defaultdict(list)
        for held in gone:
            held.until = 0.0
            self._holding.drop(held)
            if held.feed is not None:
                tags[held.feed].append(held.tag)
        for feed, each in tags.items():
            self._link.spawn(feed.ack(each))

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """See `Backend.extend`. After a heartbeat a delivery becomes a row, which anybody can
        renew, whatever becomes of the connection that it came by."""
        now = self._link.clock.monotonic()
        mine = [held for held in receipts(deliveries) if held.ours(now)]
        if not mine or any(held.feed is not None for held in mine):
            await self._link.ask()  # rows do not need the broker
            mine = [held for held in mine if held.ours(now)]
        fresh = [h for h in mine if h.feed is not None and now - h.born <= self._link.beat]
        old = [h for h in mine if h.feed is not None and now - h.born > self._link.beat]
        rows = [h for h in mine if h.feed is None]
        names: set[tuple[int, str]] = set()
        if rows:
            names |= await self._parking.renew([h.mark for h in rows])
        if old:
            held = await self._parking.hold([(h.mark, h.message) for h in old])
            names |= held
            self._moved([h for h in old if h.mark.name in held])
        kept = {*fresh, *(h for h in (*rows, *old) if h.mark.name in names)}
        for each in mine:
            each.until = now + self._holding.lease if each in kept and each.until else 0.0
        return [d for d in deliveries if d.receipt not in kept]

    def _moved(self, moved: Sequence[Held]) -> None:
        """Rows from now on; their connection, maybe of another thread, lets the broker forget."""
        for held in moved:
            feed, tag, held.feed = held.feed, held.tag, None
            if feed is not None:
                held.loop.call_soon_threadsafe(_ack_soon, feed, tag)


def _ack_soon(feed: Feed, tag: int) -> None:
    feed.home.spawn(feed.ack([tag]))
