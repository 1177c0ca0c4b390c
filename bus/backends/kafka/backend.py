"""The Kafka backend: its parts put together."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial

from bus.backend import Delivery, Lag, Lane, Message, Turn
from bus.backends.kafka.bells import Bells
from bus.backends.kafka.bind import Binder
from bus.backends.kafka.claim import Claims
from bus.backends.kafka.gauge import Gauge
from bus.backends.kafka.groups import Groups
from bus.backends.kafka.ingress import Ingress, Rooms
from bus.backends.kafka.lag import Lags
from bus.backends.kafka.link import KafkaLink
from bus.backends.kafka.publish import Publisher
from bus.backends.kafka.pull import Puller
from bus.backends.kafka.settle import Settler
from bus.backends.kafka.sweep import Sweeper
from bus.database.database import BusDatabase
from bus.database.ear import Ear
from bus.errors import BusError, Closed
from contracts.clock import Clock
from contracts.errors import InvalidValue


class KafkaBackend:
    """See `bus.backend.Backend`. The link, the database and the ear stay open when the backend is
    closed: whoever made them closes them. `lease` in seconds; `slices`: into how many each lane is
    cut."""

    def __init__(
        self,
        link: KafkaLink,
        database: BusDatabase,
        ear: Ear,
        *,
        fleet: str,
        lease: float,
        slices: int,
        clock: Clock,
    ) -> None:
        self._link = link
        self._ear = ear
        self._groups = Groups(database)
        self._bells = Bells(database, ear)
        self._lags = Lags(link, database, self._groups)
        self._gauge = Gauge(database, self._bells, self._lags.all, clock)
        terms = (link, database, self._groups, self._bells)
        self._publisher = Publisher(*terms, self._gauge)
        self._settler = Settler(database, self._groups, self._bells, lease=lease, clock=clock)
        self._claims = Claims(link, database, self._settler.give_back, lease=lease, clock=clock)
        binding = (link, database, self._groups, self._lags.lag)
        self._binder = Binder(*binding, slices=slices, fleet=fleet, clock=clock)
        self._sweeper = Sweeper(link, database, clock)
        self._pullers: dict[str, Puller] = {}
        self._new_puller = partial(
            Puller, *terms, self._claims, lease=lease, slices=slices, clock=clock
        )
        rooms = Rooms(self._publisher, self._settler, self._new_puller)
        self._ingress = Ingress(*terms, rooms, fleet=fleet, clock=clock)
        self._closed = False

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend.bind`."""
        async with self._open():
            await self._binder.bind(group, patterns)

    async def unbind(self, group: str, *, drop: bool = False) -> None:
        """See `Backend.unbind`."""
        async with self._open():
            await self._binder.unbind(group, drop=drop)

    async def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        """See `Backend.publish`."""
        async with self._open():
            await self._publisher.publish(messages, follow_up=follow_up)

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`."""
        if limit < 1:
            raise InvalidValue(f"limit is {limit}", details="pull at least one message")
        async with self._open():
            await self._bells.open()
            self._ingress.touch()
            puller = self._pullers.get(group)
            if puller is None:
                puller = self._pullers[group] = self._new_puller()
            return await puller.pull(group, lanes, limit, wait)

    async def settle(
        self, deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()
    ) -> list[Delivery]:
        """See `Backend.settle`."""
        async with self._open():
            if not deliveries:
                if then:
                    await self._publisher.publish(then, owed=False)
                return []
            lost = await self._settler.settle(deliveries, then)
            self._sweeper.touch()
            return lost

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """See `Backend.extend`. Needs the database alone, but for the question whether both are
        there, which extending nothing is."""
        async with self._open():
            if deliveries:
                return await self._settler.extend(deliveries)
            await asyncio.gather(self._link.ping(), self._ear.ask())
            return []

    async def lag(self, group: str) -> Mapping[Lane, Lag]:
        """See `Backend.lag`."""
        async with self._open():
            found = await self._groups.current()
            return await self._lags.lag(found.groups.get(group) or await self._groups.bound(group))

    async def close(self) -> None:
        """See `Backend.close`."""
        if self._closed:
            return
        self._closed = True
        await self._ingress.close()
        await self._bells.close()
        for puller in self._pullers.values():
            await puller.close()
        await self._sweeper.close()
        await self._claims.close()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        """Whatever goes wrong after the backend was closed is `Closed`."""
        self._check()
        try:
            yield
        except BusError as error:
            if self._closed and not isinstance(error, Closed):
                self._check(error)
            raise
        self._check()

    def _check(self, why: BusError | None = None) -> None:
        if self._closed:
            raise Closed("the backend is closed") from why
