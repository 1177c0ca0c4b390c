"""Promise 21: what a full broker refuses, and what it must not."""

from collections.abc import Mapping, Sequence

from typing_extensions import override

from bus.backend import Delivery, Lag, Lane, Message
from bus.backends.memory_broker import MemoryBroker
from bus.backends.memory_group import Group, Lease
from bus.errors import Full
from bus.fullness import full
from tests.bus.sabotage.registry import breaks

REFUSES = "test_what_is_full_refuses_to_publish_and_names_the_slowest_group"
SETTLES = "test_what_is_full_settles_extends_and_hands_back"
DRAINS = "test_what_was_full_drains_to_zero_and_accepts_again"
UNDER_WAY = "test_runs_under_way_may_publish_a_little_longer"


@breaks(21, REFUSES, SETTLES, DRAINS)
class NeverFull(MemoryBroker):
    """Everything is taken, until the disk is full."""

    @override
    def _admit(self, messages: Sequence[Message], follow_up: bool) -> None:
        return


@breaks(21, REFUSES)
class DroppedWhenFull(MemoryBroker):
    """What does not fit makes room: the oldest are dropped, and nobody is told."""

    @override
    def _admit(self, messages: Sequence[Message], follow_up: bool) -> None:
        try:
            super()._admit(messages, follow_up)
        except Full:
            waiting = self._groups["g"]._lanes
            for lane in waiting.values():
                for _ in range(min(10, len(lane))):
                    lane.popleft()
            raise


@breaks(21, SETTLES, UNDER_WAY)
class SettlesAreRefusedToo(MemoryBroker):
    """What a settle leaves behind needs the same room as what is published."""

    @override
    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        self._admit(then, follow_up=False)
        return super().settle(deliveries, then)


@breaks(21, DRAINS)
class StaysFull(Group):
    """What was settled counts as if it were there."""

    @override
    def forget(self, lease: Lease) -> None:
        used = self.bytes
        super().forget(lease)
        self.bytes = used


@breaks(21, UNDER_WAY)
class FollowUpsWaitForRoom(MemoryBroker):
    """What runs publish needs the same room as what clients publish."""

    @override
    def _admit(self, messages: Sequence[Message], follow_up: bool) -> None:
        super()._admit(messages, follow_up=False)


@breaks(21, UNDER_WAY)
class FollowUpsHaveNoLimit(MemoryBroker):
    """What runs publish is taken, until the disk is full."""

    @override
    def _admit(self, messages: Sequence[Message], follow_up: bool) -> None:
        if not follow_up:
            super()._admit(messages, follow_up)


@breaks(21, REFUSES, replaces=full)
def names_nobody(used: int, size: int, limit: int, lags: Mapping[str, Mapping[Lane, Lag]]) -> Full:
    """Nobody is told for whom most waits."""
    return full(used, size, limit, {})
