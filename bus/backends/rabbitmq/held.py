"""What this process holds: receipts, and the clock that gives back what was not extended in time.

The broker knows no lease: what was delivered is ours for as long as the connection lives. So our
own clock ends a lease. Claims and rows in the bus database settle what two processes think of
the same message.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from bus.backend import Delivery, Message
from bus.backends.rabbitmq.feed import Feed
from bus.backends.rabbitmq.link import RabbitLink
from bus.errors import BusError
from bus.parking.parking import Mark, Parking
from bus.waking import Bell, new_bell, ring, rung


@dataclass(slots=True, eq=False)
class Held:
    """A receipt: of a message that lies at `tag` of `feed`, or of a row when `feed` is None.

    `earlier`: hand-overs before this one that nobody answered. `born`: when it was handed out;
    `until`: when its lease ends, 0 once it is settled. Both by the clock of this process. `loop`:
    where its connection lives.
    """

    mark: Mark
    message: Message
    born: float
    until: float
    loop: asyncio.AbstractEventLoop
    feed: Feed | None = None
    tag: int = 0
    earlier: int = 0

    def ours(self, now: float) -> bool:
        """Whether nobody else can have got it, as far as this process can tell."""
        return self.until > now and not (self.feed is not None and self.feed.dead)


@dataclass(slots=True)
class Holding:
    """Everything that was handed out and is not settled."""

    link: RabbitLink
    parking: Parking
    lease: float
    _held: dict[Held, None] = field(default_factory=dict)
    _bell: Bell | None = None
    _task: "asyncio.Task[None] | None" = None

    def add(self, found: Iterable[Held]) -> None:
        """Count their leases from now on."""
        self._held |= dict.fromkeys(each for each in found if each.feed is not None)
        if self._held and (self._task is None or self._task.done()):
            self._task = self.link.spawn(self._keep())
        elif self._bell is not None:
            ring(self._bell)

    def drop(self, held: Held) -> None:
        """It is settled, or a row."""
        self._held.pop(held, None)

    async def _keep(self) -> None:
        clock = self.link.clock
        while self._held:
            now = clock.monotonic()
            late = [each for each in self._held if each.until <= now or each.feed is None]
            for each in late:
                del self._held[each]
            if late:
                self.link.spawn(self._give_back(late))
            end = min((each.until for each in self._held), default=now)
            if self._held:
                self._bell = new_bell()
                await rung(self._bell, clock, max(0.01, end - clock.monotonic()))

    async def _give_back(self, late: Sequence[Held]) -> None:
        """To the broker, which hands them to others at once."""
        kept = [each for each in late if each.feed is not None and not each.feed.dead]
        if kept:
            with suppress(BusError):
                await self.parking.lost([each.mark for each in kept])
        for feed in {each.feed for each in kept}:
            if feed is not None:
                await feed.requeue([each.tag for each in kept if each.feed is feed])


def receipts(deliveries: Sequence[Delivery]) -> list[Held]:
    """Those of deliveries of this backend."""
    found = []
    for delivery in deliveries:
        assert isinstance(delivery.receipt, Held)  # noqa: S101 - for the types
        found.append(delivery.receipt)
    return found
