"""Settling and extending: one statement of the database each. Kafka plays no part in them, so they
work while it is away.

What carries no `then` does not wait for the disk: what a killed machine of the database forgets is
handed out again, which promise 9 allows.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bus.backend import Delivery, Message
from bus.backends.kafka import statements
from bus.backends.kafka.bells import Bells
from bus.backends.kafka.groups import Bindings, Groups
from bus.backends.kafka.publish import columns
from bus.backends.kafka.receipts import Owned, Receipt, named, receipt, terms
from bus.backends.kafka.records import to_meta
from bus.database.database import BusDatabase
from bus.errors import Unroutable
from bus.sizes import check_sizes
from contracts.clock import Clock

if TYPE_CHECKING:
    from bus.database.links import Row

CARRY_AFTER = 60.0
"""Seconds after which the row of a delivery that is still held takes its message along: it would
keep the log from being deleted."""


class Settler:
    """Ends and renews hand-overs."""

    def __init__(
        self,
        database: BusDatabase,
        groups: Groups,
        bells: Bells,
        *,
        lease: float,
        clock: Clock,
    ) -> None:
        self._database = database
        self._groups = groups
        self._bells = bells
        self._lease = lease
        self._clock = clock

    async def settle(
        self, deliveries: Sequence[Delivery], then: Sequence[Message]
    ) -> list[Delivery]:
        """See `Backend.settle`; there is at least one delivery."""
        check_sizes(then)
        given = named(map(receipt, deliveries))
        if not then:
            ours = await self._database.fetchval(statements.SETTLE, *terms(given), sure=False)
            return _others(deliveries, given, ours)
        bindings = self._groups.known
        while True:
            found = await self._settle(given, then, bindings)
            if found["known"]:
                return _others(deliveries, given, found["ours"])
            bindings = await self._groups.current()

    async def _settle(
        self, given: Sequence[Owned], then: Sequence[Message], bindings: Bindings
    ) -> "Row":
        """Settle and keep what follows, if these are the bindings."""
        try:
            routed = bindings.route(then, owed=False)
        except Unroutable:
            bindings = await self._groups.current()
            routed = bindings.route(then, owed=False)
        kept = [(group, m) for (group, _), found in routed.logged.items() for m in found]
        kept += routed.rows
        asked = (*terms(given), *columns(kept), self._database.fleet, bindings.version)
        found = (await self._database.fetch(statements.SETTLE_THEN, *asked))[0]
        if found["ours"] and kept:
            self._bells.tell_rows({group.gid for group, _ in kept})
        return found

    async def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        """See `Backend.extend`; there is at least one delivery."""
        given = named(map(receipt, deliveries))
        asked = (*terms(given), self._lease)
        ours = await self._database.fetchval(statements.EXTEND, *asked, sure=False)
        lost = _others(deliveries, given, ours)
        now = self._clock.monotonic()
        gone = {id(d) for d in lost}
        held = [d for d in deliveries if id(d) not in gone and _holds_back(receipt(d), now)]
        if held:
            await self._carry(held)
        return lost

    async def give_back(self, receipts: Sequence[Receipt]) -> None:
        """Let others take these at once, as if they had never been handed over."""
        await self._database.fetch(statements.GIVE_BACK, *terms(named(receipts)), sure=False)
        self._bells.tell_rows({each.gid for each in receipts})

    async def _carry(self, held: Sequence[Delivery]) -> None:
        rows = sorted((*receipt(d).row, to_meta(d.message), d.message.body) for d in held)
        await self._database.fetch(statements.CARRY, *zip(*rows, strict=True), sure=True)
        for each in held:
            receipt(each).carried = True


def _holds_back(each: Receipt, now: float) -> bool:
    return not each.carried and now - each.since >= CARRY_AFTER


def _others(
    deliveries: Sequence[Delivery], given: Sequence[Owned], ours: Sequence[int] | None
) -> list[Delivery]:
    """Those that are not among the rows `given`, counted from 1, which were ours."""
    if ours is not None and len(ours) == len(given):
        return []
    found = {given[n - 1] for n in ours or ()}
    return [d for d in deliveries if receipt(d).row not in found]
