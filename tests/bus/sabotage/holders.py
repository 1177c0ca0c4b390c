"""Promise 15: what a holder that lost its message could do to the next one."""

from collections.abc import Sequence

from typing_extensions import override

from bus.backend import Delivery, Message
from bus.backends.memory_broker import MemoryBroker, receipt
from bus.backends.memory_group import Lease
from bus.bus import Bus
from bus.deadletters import DeadLetter
from tests.bus.sabotage.registry import breaks
from workers.engine.keeper import Extender, Keeper, _Held

STALE = "test_a_stale_receipt_does_not_disturb_the_new_holder"


def _taken_over(delivery: Delivery) -> list[Lease]:
    """The leases that others have on the message of a delivery that was lost."""
    old = receipt(delivery)
    leases = list(old.group._leases)
    return [lease for lease in leases if lease.item is old.item and lease is not old]


@breaks(15, STALE)
class StaleSettleTakesItAway(MemoryBroker):
    """A late settle removes the message from under its new holder, as a late ack does."""

    @override
    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        for delivery in deliveries:
            for lease in _taken_over(delivery):
                lease.group.forget(lease)
        return super().settle(deliveries, then)


@breaks(15, STALE)
class StaleExtendTakesItBack(MemoryBroker):
    """A late extend takes the message back from its new holder."""

    @override
    def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        for delivery in deliveries:
            for lease in _taken_over(delivery):
                lease.group._end(lease)
                mine = receipt(delivery)
                lease.group._leases[mine] = None
                lease.group._leased_in[mine.item.lane] += 1
                mine.until = self.clock.monotonic() + self.lease
        return super().extend(deliveries)


@breaks(15, STALE)
class StaleSettleSends(MemoryBroker):
    """A late settle is refused, but what should follow it is sent."""

    @override
    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        with self._lock:
            self._accept(then)
            return super().settle(deliveries, ())


@breaks(15, "test_a_stale_holder_leaves_no_dead_letter_of_a_task_that_goes_on")
class StaleHolderBuries(Bus):
    """A late holder puts its dead letter before it hears that the task is no longer its own."""

    @override
    async def _bury(self, delivery: Delivery, dead: DeadLetter) -> bool:
        await self.dead.put(dead)
        return True


@breaks(15, "test_the_larger_of_the_two_clocks_decides")
class MonotonicOnly(Keeper):
    """The keeper believes the monotonic clock, which stands still while a machine sleeps."""

    @override
    def _age(self, held: _Held) -> float:
        return self._clock.monotonic() - held.monotonic


@breaks(15, "test_a_lost_lease_ends_the_run_and_its_result_is_not_accepted")
class NeverGivesUp(Keeper):
    """The keeper waits for the broker to say that a lease is lost."""

    @override
    def give_up(self) -> None:
        return


@breaks(15, "test_a_renewal_that_hangs_does_not_hide_that_the_lease_is_over")
class WaitsForTheRenewal(Keeper):
    """The keeper looks at its clock only after the broker has answered."""

    @override
    async def keep(self, extender: Extender) -> None:
        while True:
            await self._clock.sleep(self._lease / 4)
            await self.renew(extender)


@breaks(15, "test_a_run_that_outlives_its_lease_unnoticed_is_not_accepted")
class HoldsForEver(Keeper):
    """A run that ends is believed to be ours still, without a look at the clock."""

    @override
    def holds(self, delivery: Delivery) -> bool:
        return True
