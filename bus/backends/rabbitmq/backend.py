"""A fleet's backend on RabbitMQ and the bus database; see `bus.backend.Backend`."""

from collections.abc import Mapping, Sequence

from bus.backend import Delivery, Lag, Lane, Message, Turn
from bus.backends.rabbitmq.bind import Binder
from bus.backends.rabbitmq.counting import ASKED, Counting
from bus.backends.rabbitmq.errors import closed
from bus.backends.rabbitmq.feed import Feeds
from bus.backends.rabbitmq.forgetting import Forgetting
from bus.backends.rabbitmq.gauge import Gauge
from bus.backends.rabbitmq.held import Holding
from bus.backends.rabbitmq.lag import Lags
from bus.backends.rabbitmq.link import RabbitLink
from bus.backends.rabbitmq.publish import Publisher, parted
from bus.backends.rabbitmq.pull import Puller
from bus.backends.rabbitmq.settle import Settler
from bus.database.database import BusDatabase
from bus.database.ear import Ear, Listener
from bus.opening import Terms
from bus.parking.bindings import Bindings, channel_of
from bus.parking.parking import Parking
from bus.sizes import check_sizes


class RabbitBackend:
    """One process's connections."""

    def __init__(self, link: RabbitLink, database: BusDatabase, ear: Ear, terms: Terms) -> None:
        self._link = link
        self._ear = ear
        self._slices = terms.slices
        self.lease = terms.lease
        self._bindings = Bindings(database)
        self._parking = Parking(database, terms.lease)
        feeds = Feeds(link)
        holding = Holding(link, self._parking, terms.lease)
        self._puller = Puller(link, feeds, self._bindings, holding, terms.slices)
        self._publisher = Publisher(link, self._bindings)
        self._settler = Settler(link, self._publisher, self._parking, holding)
        self._counting = Counting(link, feeds, database, ear)
        self._lags = Lags(link, feeds, self._bindings, self._parking, self._counting)
        self._binder = Binder(link, self._bindings, self._parking, self._lags, terms.slices)
        self.gauge = Gauge(link, self._lags, self._bindings, self._parking, terms.max_bytes)
        forgetting = Forgetting(link, self._lags, self._bindings, self._parking)
        link.spawn(forgetting.keep())
        channel = channel_of(database.fleet)
        self._listener = Listener(channel, self._told, self._missed, self._missed)

    async def start(self) -> None:
        """Hear what others tell. Raises `Unreachable`."""
        await self._ear.listen(self._listener)

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend.bind`."""
        self._check_open()
        await self._binder.bind(group, patterns)

    async def unbind(self, group: str, *, drop: bool = False) -> None:
        """See `Backend.unbind`."""
        self._check_open()
        await self._binder.unbind(group, drop=drop)

    async def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        """See `Backend.publish`."""
        check_sizes(messages)
        self._check_open()
        await self._link.pair()
        targets = await self._publisher.targets(messages, strict=True)
        rows, puts = parted(messages, targets)
        if messages:
            await self.gauge.admit(messages, targets, follow_up=follow_up)
        if rows:
            await self._parking.settle([], rows)
        await self._publisher.send(puts, strict=True)

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`."""
        self._check_open()
        return await self._puller.pull(group, lanes, limit, wait)

    async def settle(
        self, deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()
    ) -> list[Delivery]:
        """See `Backend.settle`."""
        check_sizes(then)
        self._check_open()
        return await self._settler.settle(deliveries, then)

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """See `Backend.extend`."""
        self._check_open()
        return await self._settler.extend(deliveries)

    async def lag(self, group: str) -> Mapping[Lane, Lag]:
        """See `Backend.lag`."""
        self._check_open()
        return await self._lags.of(group, slices=self._slices)

    async def close(self) -> None:
        """See `Backend.close`."""
        self._ear.leave(self._listener)
        self._counting.close()
        await self._link.close()

    async def queues(self) -> list[str]:
        """Every queue of the fleet's groups."""
        known = (await self._bindings.now()).values()
        return [queue for each in known for queue in self._binder.queues(each)]

    def _check_open(self) -> None:
        if self._link.is_closed:
            raise closed()

    def _told(self, notice: str) -> None:
        if notice == "bound":
            self._bindings.stale()
        elif notice.startswith(ASKED):
            self._counting.told(notice)
        else:
            self._puller.told(int(notice))

    def _missed(self) -> None:
        self._bindings.stale()
        self._puller.told(None)
