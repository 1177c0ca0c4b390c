"""Letting go of claims of dedupe keys that no repetition can meet any more."""

import random
from contextlib import suppress
from math import inf

from bus.backend import Lane, LaneName
from bus.backends.rabbitmq.lag import Lags
from bus.backends.rabbitmq.link import RabbitLink
from bus.backends.rabbitmq.names import QUEUED, Shape, queue_of
from bus.errors import BusError
from bus.parking.bindings import Binding, Bindings
from bus.parking.parking import Parking

EVERY = 60.0
"""Seconds between two looks; the process that comes first does it for all."""

_SLACK = 60.0
"""Seconds by which the clocks of publishers may differ."""


class Forgetting:
    """What was published two minutes after a claim's message may be a repetition of it. Queues are
    first in, first out: when a message has been handed out, those published before it have been,
    but for what came back, which is claimed already."""

    def __init__(self, link: RabbitLink, lags: Lags, bindings: Bindings, parking: Parking) -> None:
        self._link = link
        self._lags = lags
        self._bindings = bindings
        self._parking = parking

    async def keep(self) -> None:
        """Until cancelled."""
        rng = random.Random()
        while True:
            await self._link.clock.sleep(rng.uniform(0.5, 1.5) * EVERY)
            with suppress(BusError):
                if not await self._parking.my_turn(EVERY):
                    continue
                for binding in (await self._bindings.known()).values():
                    await self.forget(binding)
                await self._parking.sweep()

    async def forget(self, binding: Binding) -> None:
        """Forget claims of one group."""
        upto = self._link.clock.wall()
        waiting = [name.value for name in QUEUED if await self._waiting(binding, name)]
        newest = await self._parking.newest(binding.gid) if waiting else {}
        for lane in waiting:
            sent = [at for (name, _), at in newest.items() if name == lane]
            upto = min(upto, min(sent, default=-inf))
        if upto > -inf:
            idle = [name.value for name in QUEUED if name.value not in waiting]
            await self._parking.forget(binding.gid, upto - _SLACK, idle=idle)

    async def _waiting(self, binding: Binding, name: LaneName) -> int:
        shape = Shape.read(binding.facts)
        exchange = self._link.exchange
        queues = {
            queue_of(exchange, binding.group, Lane(name, k), Shape(not cut, cut))
            for cut, there in ((False, shape.whole), (True, shape.cut))
            for k in range(16)
            if there
        }
        return sum([await self._lags.waiting(queue) for queue in queues])
