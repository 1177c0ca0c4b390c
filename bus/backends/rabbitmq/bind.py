"""Binding and unbinding groups: queues first, then the row that publishers see."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiormq.exceptions import ChannelNotFoundEntity

from bus.backends.rabbitmq.lag import Lags
from bus.backends.rabbitmq.link import RabbitLink
from bus.backends.rabbitmq.names import Shape, bound_queues
from bus.errors import Conflict
from bus.parking.bindings import Binding, Bindings
from bus.parking.parking import Parking

SETTLED = 1.0
"""Seconds after which a new quorum queue survives a broker that is killed [tried on 3.10]."""

_NEVER = 2**31 - 1
"""Deliveries after which a queue drops a message. From 3.10 on a quorum queue without such a limit
puts what is given back behind everything that waits, and from 4 on its limit is 20 unless told:
https://www.rabbitmq.com/docs/quorum-queues#repeated-requeues."""


class Binder:
    """Changes what groups are bound to."""

    def __init__(
        self, link: RabbitLink, bindings: Bindings, parking: Parking, lags: Lags, slices: int
    ) -> None:
        self._link = link
        self._bindings = bindings
        self._parking = parking
        self._lags = lags
        self._cut = slices > 1

    async def bind(self, group: str, patterns: Sequence[str]) -> None:
        """See `Backend.bind`."""
        await self._link.ask()
        wanted = sorted({*patterns})
        if self._fits((await self._bindings.now()).get(group), wanted):
            return
        async with self._bindings.changing(group) as link:
            old = (await self._bindings.now()).get(group)
            if self._fits(old, wanted):
                return
            before = Shape(False, False) if old is None else Shape.read(old.facts)
            shape = self._shape(before)
            if await self._declare(group, wanted, cut=shape.cut):
                await self._link.clock.sleep(SETTLED)
            if old is not None:
                await self._clear(group, old, before, {*wanted}, shape)
            await self._bindings.bind(link, group, wanted, shape.facts())

    def _fits(self, old: Binding | None, wanted: Sequence[str]) -> bool:
        """Whether there is nothing to change."""
        if old is None:
            return False
        before = Shape.read(old.facts)
        return before == self._shape(before) and sorted(old.patterns) == wanted

    def _shape(self, before: Shape) -> Shape:
        return Shape(before.whole or not self._cut, before.cut or self._cut)

    async def unbind(self, group: str, *, drop: bool) -> None:
        """See `Backend.unbind`."""
        await self._link.ask()
        async with self._bindings.changing(group) as link:
            old = (await self._bindings.now()).get(group)
            if old is None:
                return
            queues = self.queues(old)
            async with self._link.channel() as channel:
                if not drop:
                    await self._check_empty(group)
                await self._bindings.unbind(link, group)
                for queue in queues:
                    with self._link.errors(), suppress(ChannelNotFoundEntity):
                        await self._link.run(channel.queue_delete(queue))
            await self._parking.sweep()

    def queues(self, binding: Binding) -> list[str]:
        """Every queue of a group."""
        kinds = _kinds(Shape.read(binding.facts))
        return [queue for cut in kinds for queue, _ in self._queues(binding.group, (), cut=cut)]

    async def _check_empty(self, group: str) -> None:
        lags = (await self._lags.of(group, slices=1)).values()
        counts = [n for lag in lags for n in (lag.waiting, lag.delayed, lag.leased)]
        waiting = sum(n or 0 for n in counts)
        if waiting:
            raise Conflict(
                f"{waiting} messages wait for {group!r} or are in somebody's hands",
                details="unbinding would lose them",
                actions=("let workers of that role finish them", "or unbind with drop"),
            )

    def _queues(
        self, group: str, patterns: Sequence[str], *, cut: bool
    ) -> list[tuple[str, list[str]]]:
        return [*bound_queues(self._link.exchange, group, patterns, cut=cut)]

    async def _declare(self, group: str, patterns: Sequence[str], *, cut: bool) -> bool:
        """Have the queues that publishers are to use from now on; whether any is new."""
        new = False
        async with self._link.channel() as channel:
            for queue, keys in self._queues(group, patterns, cut=cut):
                known = await self._exist(queue)
                with self._link.errors():
                    if not known:
                        await self._link.run(self._make(channel, queue))
                        new = True
                    for key in keys:
                        bind = channel.queue_bind(queue, self._link.exchange, key)
                        await self._link.run(bind)
        return new

    async def _exist(self, queue: str) -> bool:
        """A queue that exists is used as it is, with whatever arguments it was made."""
        async with self._link.channel() as channel:
            with suppress(ChannelNotFoundEntity):
                await self._link.run(channel.queue_declare(queue, passive=True))
                return True
        return False

    async def _make(self, channel: Any, queue: str) -> None:
        arguments = {"x-queue-type": "quorum", "x-delivery-limit": _NEVER}
        await channel.queue_declare(queue, durable=True, arguments=arguments)

    async def _clear(
        self, group: str, old: Binding, before: Shape, wanted: set[str], shape: Shape
    ) -> None:
        """Route no more by what is not wanted; what waits stays."""
        async with self._link.channel() as channel:
            for cut in _kinds(before):
                stays = wanted if cut == shape.cut else set()
                gone = [p for p in old.patterns if p not in stays]
                for queue, keys in self._queues(group, gone, cut=cut):
                    for key in keys:
                        with self._link.errors():
                            unbind = channel.queue_unbind(queue, self._link.exchange, key)
                            await self._link.run(unbind)


def _kinds(shape: Shape) -> list[bool]:
    return [kind for kind, there in ((False, shape.whole), (True, shape.cut)) if there]
