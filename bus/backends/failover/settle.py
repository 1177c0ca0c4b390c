"""Settling and extending on the bus a delivery came from, and beside it while it is away.

A bus knows who has its messages for as long as it answers. When it does not, the bus database keeps
them for their holders: nobody is handed them when the bus comes back, and they can be settled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress

from bus.backend import Delivery, Message
from bus.backends.failover.hand_overs import HandOvers, Mark
from bus.backends.failover.receipts import Receipt, inner, receipt_of
from bus.backends.failover.side import Side
from bus.batching import Batcher
from bus.errors import BusError, DatabaseUnreachable, Unreachable
from bus.sizes import check_sizes

Send = Callable[[Sequence[Message]], Awaitable[None]]


class Settling:
    """`send` makes messages safe on either bus. `lease`: seconds."""

    def __init__(
        self, sides: Sequence[Side], hand_overs: HandOvers, send: Send, lease: float
    ) -> None:
        self._sides = {side.number: side for side in sides}
        self._hand_overs = hand_overs
        self._send = send
        self._lease = lease
        self._batcher: Batcher[Mark, None] = Batcher(self._note)

    async def settle(
        self, deliveries: Sequence[Delivery], then: Sequence[Message]
    ) -> list[Delivery]:
        """See `Backend.settle`."""
        check_sizes(then)
        if not deliveries:
            await self._send(then)
        lost: set[Delivery] = set()
        left = then
        for side, kept, part in self._parts(deliveries):
            settle = self._by_database if kept else self._by_bus
            gone = await settle(side, part, left)
            if len(gone) < len(part):
                left = ()
            lost.update(gone)
        return [delivery for delivery in deliveries if delivery in lost]

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """See `Backend.extend`; given something."""
        parts = [
            self._extend(self._sides[number], part) for number, part in _by_bus(deliveries).items()
        ]
        lost = {each for gone in await asyncio.gather(*parts) for each in gone}
        return [delivery for delivery in deliveries if delivery in lost]

    async def close(self) -> None:
        """Note what was settled."""
        await self._batcher.close()

    def _parts(self, deliveries: Sequence[Delivery]) -> list[tuple[Side, bool, list[Delivery]]]:
        """What can be settled together: of one bus, kept by the database or not."""
        return [
            (self._sides[number], kept, part)
            for number, of_bus in _by_bus(deliveries).items()
            for kept in (False, True)
            if (part := [each for each in of_bus if receipt_of(each).kept is kept])
        ]

    async def _by_bus(
        self, side: Side, part: Sequence[Delivery], then: Sequence[Message]
    ) -> list[Delivery]:
        """Those that were no longer ours. The bus decides; the database is told later, for what
        may come again: at most that runs again."""
        gone: set[Delivery] = set()
        try:
            gone = set(await side.run(lambda bus: bus.settle(inner(part), then=then)))
            await _confirmed(side, gone)
        except DatabaseUnreachable:
            raise
        except Unreachable:
            left = _those(part, gone) or part
            if any(receipt_of(each).mark is None for each in left):
                raise
            lost = await self._by_database(side, left, then if len(left) == len(part) else ())
        else:
            lost = left = _those(part, gone)
        for mark in _marks([each for each in part if each not in left]):
            self._batcher.ask_one(mark)
        return lost

    async def _by_database(
        self, side: Side, part: Sequence[Delivery], then: Sequence[Message]
    ) -> list[Delivery]:
        """Those that were no longer ours. What their bus hands out again will be dropped."""
        kept = any(receipt_of(each).kept for each in part)
        ours = await self._hand_overs.keep(_marks(part), away=not kept)
        mine = [each for each in part if _name(each) in ours]
        if mine:
            await self._send(then)
            done = await self._hand_overs.done(_marks(mine), sure=True)
            mine = [each for each in mine if _name(each) in done]
        if mine and not side.away:
            with suppress(BusError):
                await side.run(lambda bus: bus.settle(inner(mine)))
        return [each for each in part if each not in mine]

    async def _extend(self, side: Side, part: Sequence[Delivery]) -> list[Delivery]:
        """Those that are no longer ours."""
        gone, away = await self._asked(side, part)
        doubtful = _those(part, gone)
        if not doubtful:
            return []
        kept: set[tuple[str, str]] = set()
        if marks := _marks([each for each in doubtful if away or receipt_of(each).kept]):
            kept = await self._hand_overs.keep(marks, away=away)
        for each in doubtful:
            receipt_of(each).kept = _name(each) in kept
        return [each for each in doubtful if not receipt_of(each).kept]

    async def _asked(self, side: Side, part: Sequence[Delivery]) -> tuple[set[Delivery], bool]:
        """Which ones the bus does not renew, and whether that is for it being away: an answer has
        to come long before the lease ends."""
        asked = inner(part)
        try:
            async with asyncio.timeout(self._lease / 4):
                gone = set(await side.run(lambda bus: bus.extend(asked)))
                await _confirmed(side, gone)
                return gone, False
        except DatabaseUnreachable:
            raise
        except (Unreachable, TimeoutError):
            if any(receipt_of(each).mark is None for each in part):
                raise side.why from None
            return set(asked), True

    async def _note(self, marks: Sequence[Mark]) -> Sequence[None]:
        with suppress(BusError):
            await self._hand_overs.done(marks, sure=False)
        return [None] * len(marks)


async def _confirmed(side: Side, gone: Collection[Delivery]) -> None:
    """Return when the bus answers: it does know who has what. One whose connection has just ended
    may call everything lost that came by it. Raises `Unreachable`."""
    if gone:
        await side.run(lambda bus: bus.extend(()))


def _those(part: Sequence[Delivery], inner_ones: Collection[Delivery]) -> list[Delivery]:
    """The deliveries that stand for these of their bus."""
    return [each for each in part if receipt_of(each).delivery in inner_ones]


def _by_bus(deliveries: Sequence[Delivery]) -> dict[int, list[Delivery]]:
    parts: dict[int, list[Delivery]] = {}
    for each in deliveries:
        parts.setdefault(receipt_of(each).bus, []).append(each)
    return parts


def _marks(deliveries: Sequence[Delivery]) -> list[Mark]:
    found = (receipt_of(each).mark for each in deliveries)
    return [mark for mark in found if mark is not None]


def _name(delivery: Delivery) -> tuple[str, str] | None:
    receipt: Receipt = receipt_of(delivery)
    return receipt.mark.name if receipt.mark is not None else None
