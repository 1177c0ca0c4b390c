"""How full the fleet's part of the broker is: publishers keep the limit.

RabbitMQ tells a client how many messages wait, not how large they are. So each publisher counts
what it sends into the bus database, and takes what waits for as large as what was sent lately.
"""

import asyncio
from collections.abc import Mapping, Sequence

from bus.backend import Lag, Lane, Message
from bus.backends.rabbitmq.lag import Lags
from bus.backends.rabbitmq.link import RabbitLink
from bus.errors import Unroutable
from bus.fullness import MAX_BYTES, fits, full
from bus.parking.bindings import Binding, Bindings
from bus.parking.parking import Parking

_EVERY = 1.0
"""Seconds after which a publisher looks again, at the soonest unless it seems full."""

_SLOW = 10.0
"""Seconds after which it looks again however little it sent."""

_PART = 0.01
"""The part of the limit that may be sent between two looks."""


def size_of(message: Message) -> int:
    """The bytes a message takes."""
    return len(message.body) + sum(len(k) + len(v) for k, v in message.headers.items())


class Gauge:
    """Of one process."""

    def __init__(
        self,
        link: RabbitLink,
        lags: Lags,
        bindings: Bindings,
        parking: Parking,
        max_bytes: int | None,
    ) -> None:
        self._link = link
        self._lags = lags
        self._bindings = bindings
        self._parking = parking
        self._told = max_bytes
        self._looked = -_SLOW
        self._sent: tuple[int, int] = (0, 0)
        self._since = 0
        self._looking: asyncio.Task[Mapping[str, Mapping[Lane, Lag]]] | None = None
        self.used = 0
        self.limit = MAX_BYTES if max_bytes is None else max_bytes

    async def admit(
        self,
        messages: Sequence[Message],
        targets: Sequence[Sequence[Binding]],
        *,
        follow_up: bool,
    ) -> None:
        """Count these as sent. Raises `Full` if they do not fit."""
        size = sum(size_of(m) * max(1, len(to)) for m, to in zip(messages, targets, strict=True))
        if not fits(self.used, size, self.limit, follow_up=follow_up):
            lags = await self.look()
            if not fits(self.used, size, self.limit, follow_up=follow_up):
                raise full(self.used, size, self.limit, lags)
        elif self._due() and (self._looking is None or self._looking.done()):
            self._looking = self._link.spawn(self.look())
        self._since += size
        self.used += size
        copies = sum(max(1, len(to)) for to in targets)
        self._sent = self._sent[0] + copies, self._sent[1] + size

    def _due(self) -> bool:
        past = self._link.clock.monotonic() - self._looked
        return past >= _SLOW or (past >= _EVERY and self._since >= _PART * self.limit)

    async def look(self) -> Mapping[str, Mapping[Lane, Lag]]:
        """Find out what is used, taking what is sent meanwhile for waiting; the lags it follows
        from."""
        self._looked = self._link.clock.monotonic()
        sent, self._sent, self._since = self._sent, (0, 0), 0
        try:
            count, size, limit = await self._parking.room(*sent, self._told)
        except BaseException:
            self._sent = self._sent[0] + sent[0], self._sent[1] + sent[1]
            raise
        self.limit = MAX_BYTES if limit is None else limit
        lags = {}
        for group in await self._bindings.known():
            try:
                lags[group] = await self._lags.of(group, slices=1, roughly=True)
            except Unroutable:
                continue
        counts = [lag for lanes in lags.values() for lag in lanes.values()]
        waiting = sum((c.waiting or 0) + (c.delayed or 0) + (c.leased or 0) for c in counts)
        self.used = waiting * size // max(1, count) + self._since
        return lags
