"""What lies where: queues are counted by the broker, rows and claims by the bus database."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping

from bus.backend import Lag, Lane
from bus.backends.rabbitmq.counting import Counting
from bus.backends.rabbitmq.feed import Feeds
from bus.backends.rabbitmq.link import RabbitLink
from bus.backends.rabbitmq.names import ALL, Shape, queues_of
from bus.parking.bindings import Binding, Bindings
from bus.parking.heads import slices_of
from bus.parking.parking import Parking


class Lags:
    """Counts the lanes of groups."""

    def __init__(
        self,
        link: RabbitLink,
        feeds: Feeds,
        bindings: Bindings,
        parking: Parking,
        counting: Counting,
    ) -> None:
        self._link = link
        self._feeds = feeds
        self._bindings = bindings
        self._parking = parking
        self._counting = counting

    async def of(self, group: str, *, slices: int, roughly: bool = False) -> Mapping[Lane, Lag]:
        """See `Backend.lag`. `roughly`: without what other processes have prefetched. A message
        moves from its queue to who prefetched it to a claim: counted in this order, none is
        missed."""
        await self._link.ask()
        binding = await self._bindings.of(group)
        lanes = {
            Lane(name, number): self._queues(binding, Lane(name, number), slices)
            for name in ALL
            for number in range(slices)
        }
        every = [queue for queues in lanes.values() for queue in queues]
        waiting = await self._waiting(group, every, roughly=roughly)
        claims = self._parking.lease + 2 * self._link.beat  # by then the broker has it again
        rows = await self._parking.count(binding.gid, claims=claims)
        found = {}
        for lane, queues in lanes.items():
            places = [rows.get((lane.name.value, k), (0, 0, 0)) for k in slices_of(lane, slices)]
            ready, delayed, leased = (sum(column) for column in zip(*places, strict=True))
            found[lane] = Lag(ready + sum(waiting[queue] for queue in queues), delayed, leased)
        return found

    def _queues(self, binding: Binding, lane: Lane, slices: int) -> list[str]:
        shape = Shape.read(binding.facts)
        return queues_of(self._link.exchange, binding.group, lane, shape, slices)

    async def _waiting(self, group: str, queues: Iterable[str], *, roughly: bool) -> Counter[str]:
        """Messages of each queue that nobody was handed."""
        counts = await asyncio.gather(*(self._ready(queue) for queue in queues))
        found = Counter({queue: count for queue, count, _ in counts})
        others = max((others for _, _, others in counts), default=0)
        if others and not roughly:
            found.update(await self._counting.prefetched(group, others))
        return found

    async def _ready(self, queue: str) -> tuple[str, int, int]:
        """Its name, what waits in it or was prefetched here, and how many others consume."""
        pair = await self._link.pair()
        with self._link.errors():
            count, consumers = await self._link.run(pair.waiting(queue))
        mine = self._feeds.consumes(queue)
        return queue, count + self._feeds.buffered(queue), max(0, consumers - mine)

    async def waiting(self, queue: str) -> int:
        """Messages of a queue that nobody was handed, but for what others have prefetched."""
        _, count, _ = await self._ready(queue)
        return count
