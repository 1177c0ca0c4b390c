"""Promises 12 and 13: a message leaves a holder that is gone and stays with one that is not."""

from collections.abc import Sequence
from math import inf

from typing_extensions import override

from bus.backend import Delivery, Lane, Turn
from bus.backends.memory_broker import MemoryBroker
from bus.backends.memory_group import Group, Lease
from tests.bus.sabotage.registry import breaks
from workers.engine.keeper import Extender, Keeper

KILLED = "test_what_a_killed_holder_held_goes_to_another_within_the_lease"
EXTENDED = "test_extend_keeps_a_delivery_for_as_long_as_it_is_called"


@breaks(12, KILLED, "test_what_a_frozen_holder_held_goes_to_another_and_stays_there")
class LeaseNeverEnds(Group):
    """What a dead holder held stays with it for ever."""

    @override
    def ripen(self, wall: float, mono: float) -> None:
        super().ripen(wall, -inf)

    @override
    def change_in(self, wall: float, mono: float) -> float:
        return max(0.05, super().change_in(wall, mono))


@breaks(12, KILLED)
class LeaseEndsLate(Group):
    """What a dead holder held goes to another a second and a half after its lease."""

    @override
    def ripen(self, wall: float, mono: float) -> None:
        super().ripen(wall, mono - 1.5)

    @override
    def change_in(self, wall: float, mono: float) -> float:
        return max(0.05, super().change_in(wall, mono))


@breaks(12, KILLED, "test_a_closed_connection_gives_up_what_it_did_not_settle")
class LostMessagesVanish(Group):
    """What a dead holder held is forgotten."""

    @override
    def ripen(self, wall: float, mono: float) -> None:
        for lease in [lease for lease in self._leases if lease.until <= mono]:
            self._end(lease)
        super().ripen(wall, mono)


@breaks(12, "test_a_dead_reclaimer_blocks_nobody")
class ReclaimerHoldsLong(Group):
    """Who takes over from a dead holder gets a longer lease, and blocks all when it dies too."""

    @override
    def take(self, lanes: Sequence[Lane | Turn], limit: int, until: float) -> list[Delivery]:
        again = any(item.handed for waiting in self._lanes.values() for item in waiting)
        return super().take(lanes, limit, until + 4.0 if again else until)


@breaks(13, EXTENDED)
class ExtendDoesNothing(MemoryBroker):
    """A lease ends at its first time, however often it is renewed."""

    @override
    def extend(self, deliveries: Sequence[Delivery]) -> list[Delivery]:
        return self._lost(deliveries)


@breaks(13, EXTENDED)
class ExtendedFiveTimes(Group):
    """A lease can be renewed five times, like a time limit of the broker."""

    @override
    def renew(self, lease: Lease, until: float) -> None:
        renewals = vars(self).setdefault("renewals", {})
        renewals[lease] = renewals.get(lease, 0) + 1
        if renewals[lease] <= 5:
            super().renew(lease, until)


@breaks(13, "test_a_run_of_many_leases_is_run_once")
class KeeperSleeps(Keeper):
    """The keeper of a worker renews nothing."""

    @override
    async def renew(self, extender: Extender) -> None:
        return
