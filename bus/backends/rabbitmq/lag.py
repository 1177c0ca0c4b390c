"""What lies where: queues are counted by the broker, rows and claims by the bus database."""

import asyncio
from collections.abc import Mapping

from bus.backend import RETRY, Lag, Lane
from bus.backends.rabbitmq.feed import Feeds
from bus.backends.rabbitmq.link import RabbitLink
from bus.backends.rabbitmq.names import ALL, Shape, queues_of
from bus.parking.bindings import Binding, Bindings
from bus.parking.heads import slices_of
from bus.parking.parking import Parking


class Lags:
    """Counts the lanes of groups."""

    def __init__(
        self, link: RabbitLink, feeds: Feeds, bindings: Bindings, parking: Parking
    ) -> None:
        self._link = link
        self._feeds = feeds
        self._bindings = bindings
        self._parking = parking

    async def of(self, group: str, *, slices: int, lease: float) -> Mapping[Lane, Lag]:
        """See `Backend.lag`. What another process has prefetched and not handed out is missing,
        for as long as its consumers linger."""
        await self._link.ask()
        binding = await self._bindings.of(group)
        claims = lease + self._link.beat
        rows = await self._parking.count(binding.gid, claims=claims)
        lanes = [Lane(name, number) for name in ALL for number in range(slices)]
        ready = await asyncio.gather(*(self._ready(binding, lane, slices) for lane in lanes))
        found = {}
        for lane, count in zip(lanes, ready, strict=True):
            places = [rows.get((lane.name.value, k), (0, 0, 0)) for k in slices_of(lane, slices)]
            waiting, delayed, leased = (sum(column) for column in zip(*places, strict=True))
            found[lane] = Lag(waiting + count, delayed, leased)
        return found

    async def _ready(self, binding: Binding, lane: Lane, slices: int) -> int:
        if lane.name is RETRY.name:
            return 0
        shape = Shape.read(binding.facts)
        queues = queues_of(self._link.exchange, binding.group, lane, shape, slices)
        return sum([await self.waiting(queue) for queue in queues])

    async def waiting(self, queue: str) -> int:
        """Messages of a queue that nobody was handed."""
        pair = await self._link.pair()
        with self._link.errors():
            count = await self._link.run(pair.waiting(queue))
        return count + self._feeds.buffered(queue)
