"""The NATS JetStream backend: its parts put together."""

import asyncio
from collections.abc import Mapping, Sequence

from bus.backend import Delivery, Lag, Lane, Message, Turn
from bus.backends.nats.bind import Binder
from bus.backends.nats.bindings import Binding, Bindings
from bus.backends.nats.gauge import Gauge
from bus.backends.nats.intake import Intake
from bus.backends.nats.lag import Lags
from bus.backends.nats.link import NatsLink
from bus.backends.nats.publish import Publisher
from bus.backends.nats.pull import Pulls, vanished
from bus.backends.nats.receipts import Receipt
from bus.backends.nats.settle import acknowledge, extend, settle
from bus.backends.nats.streams import (
    Consumers,
    ensure_streams,
    retry_consumers,
    task_consumers,
)
from bus.backends.nats.sweep import Sweeper
from bus.errors import Closed
from bus.keyvalue.nats import NatsKeyValue
from bus.unbound import not_bound
from contracts.errors import InvalidValue

_RETIRE_EVERY = 1.0


class NatsBackend:
    """See `bus.backend.Backend`. The link stays open when the backend is closed: whoever made it
    closes it. The first call makes the streams."""

    def __init__(self, link: NatsLink) -> None:
        self._link = link
        self._keyvalue = NatsKeyValue(link)
        self._bindings = Bindings(self._keyvalue, link.clock)
        self._consumers = Consumers(link)
        self._lags = Lags(link, self._consumers)
        self._sweeper = Sweeper(link, self._keyvalue)
        self._gauge = Gauge(link, self._all_lags, self._sweeper.touch)
        self._publisher = Publisher(link, self._bindings, self._gauge)
        parts = (self._keyvalue, self._bindings, self._consumers, self._lags)
        self._binder = Binder(*parts, slices=link.slices)
        self._pulls: dict[str, Pulls] = {}
        self._opening = asyncio.Lock()
        self._open = False
        self._closed = False
        self._retired: dict[str, float] = {}
        self._bindings.changed.append(self._on_changed)
        link.lost.append(self._bindings.doubt)

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend.bind`."""
        await self._enter()
        await self._binder.bind(group, patterns)

    async def unbind(self, group: str, *, drop: bool = False) -> None:
        """See `Backend.unbind`."""
        await self._enter()
        await self._binder.unbind(group, drop=drop)

    async def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        """See `Backend.publish`."""
        await self._enter()
        await self._publisher.publish(messages, follow_up=follow_up)

    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        """See `Backend.pull`."""
        if limit < 1:
            raise InvalidValue(f"limit is {limit}", details="pull at least one message")
        await self._enter()
        binding = await self._bound(group)
        pulls = self._pulls.get(group)
        if pulls is None:
            pulls = self._pulls[group] = self._new_pulls(group)
        found, gone = await pulls.pull(lanes, limit, wait)
        if gone and not found:
            await self._check_gone(group, gone, pulls)
        if len(binding.generations) > 1 and len(found) < limit:
            await self._retire(group)
        return found

    async def settle(
        self, deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()
    ) -> list[Delivery]:
        """See `Backend.settle`."""
        await self._enter()
        lost = await settle(self._link, self._publisher, deliveries, then)
        if len(lost) < len(deliveries):
            self._sweeper.touch()
        return lost

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """See `Backend.extend`. Needs nothing but the link."""
        if self._closed:
            raise Closed("the backend is closed")
        return await extend(self._link, deliveries)

    async def lag(self, group: str) -> Mapping[Lane, Lag]:
        """See `Backend.lag`."""
        await self._enter()
        return await self._lags.lag(await self._bound(group))

    async def close(self) -> None:
        """See `Backend.close`."""
        if self._closed:
            return
        self._closed = True
        for pulls in self._pulls.values():
            await pulls.close()
        self._link.lost.remove(self._bindings.doubt)
        await self._sweeper.close()
        await self._bindings.close()
        await self._keyvalue.close()

    async def _enter(self) -> None:
        if self._closed:
            raise Closed("the backend is closed")
        await self._link.ready("using the bus")
        if self._open:
            return
        async with self._opening:
            if not self._open:
                await ensure_streams(self._link)
                await self._bindings.open()
                self._open = True

    async def _check_gone(self, group: str, consumer: str, pulls: Pulls) -> None:
        """A consumer of an earlier generation goes when it is drained; another must be there."""
        await self._bindings.refresh()
        last = self._binding(group).generations[-1]
        names = self._link.names
        own = task_consumers(names, group, last) + retry_consumers(names, group, last.division)
        if consumer in own:
            raise vanished(group)
        pulls.skip(consumer)

    async def _bound(self, group: str) -> Binding:
        if self._bindings.get(group) is None or not self._bindings.fresh:
            await self._bindings.refresh()
        return self._binding(group)

    def _binding(self, group: str) -> Binding:
        if self._closed:
            raise Closed("the backend is closed")
        binding = self._bindings.get(group)
        if binding is None:
            raise not_bound(group, self._bindings.groups())
        return binding

    def _new_pulls(self, group: str) -> Pulls:
        async def forget(receipts: Sequence[Receipt]) -> None:
            await acknowledge(self._link, receipts)
            self._sweeper.touch()

        def binding() -> Binding:
            return self._binding(group)

        send, link = self._publisher.send, self._link
        return Pulls(link, Intake(link, group, binding, send, forget))

    async def _all_lags(self) -> Mapping[str, Mapping[Lane, Lag]]:
        groups = dict(self._bindings.groups())
        lags = await asyncio.gather(*map(self._lags.lag, groups.values()))
        return dict(zip(groups, lags, strict=True))

    def _on_changed(self, group: str) -> None:
        pulls = self._pulls.get(group)
        if pulls is not None:
            pulls.wake()

    async def _retire(self, group: str) -> None:
        now = self._link.clock.monotonic()
        if now - self._retired.get(group, 0.0) >= _RETIRE_EVERY:
            self._retired[group] = now
            await self._binder.retire(group)
