"""Promises 9, 10 and 11: settling, what follows from it, and handing back."""

from collections.abc import Sequence
from dataclasses import replace

from typing_extensions import override

from bus.backend import Delivery, Message
from bus.backends.memory import MemoryBackend
from bus.backends.memory_broker import MemoryBroker
from bus.backends.memory_group import Group, Item, Lease
from tests.bus.sabotage.registry import breaks

HAND_BACK = "test_a_hand_back_is_available_at_once_and_thirty_are_harmless"
LOADED = "test_a_broker_that_goes_away_under_load_loses_nothing"


@breaks(9, "test_what_was_settled_is_never_handed_out_again")
class SettledComesAgain(Group):
    """A settle forgets nothing: the message comes again by its lease."""

    @override
    def forget(self, lease: Lease) -> None:
        return


@breaks(9, "test_what_was_settled_is_never_handed_out_again", LOADED)
class SettledComesAgainAfterRestart(MemoryBroker):
    """A settle is not on the disk: after a clean restart the message is there again."""

    @override
    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        settled = vars(self).setdefault("settled", [])
        settled += [(self._groups[d.group], d.message) for d in deliveries]
        return super().settle(deliveries, then)

    @override
    def restore(self) -> None:
        super().restore()
        for group, message in vars(self).get("settled", ()):
            group._lane(message.lane).append(Item(message))


@breaks(9, "test_settling_twice_reports_the_second_as_no_longer_ours")
class SettledIsStillOurs(MemoryBroker):
    """A delivery stays ours after it was settled, as long as its lease would have lasted."""

    @override
    def _owned(self, lease: Lease, now: float) -> bool:
        return lease.until > now


@breaks(9, "test_a_closed_connection_gives_up_what_it_did_not_settle")
class OneSettlesAll(MemoryBroker):
    """Settling one delivery settles everything its group holds, as a cumulative ack does."""

    @override
    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        lost = super().settle(deliveries, then)
        for delivery in deliveries:
            group = self._groups[delivery.group]
            for lease in list(group._leases):
                group.forget(lease)
        return lost


@breaks(10, "test_a_killed_holder_loses_neither_input_nor_then")
class ThenAfterTheInput(MemoryBackend):
    """The input is forgotten first: a crash in between loses what should have followed."""

    @override
    async def settle(
        self, deliveries: Sequence[Delivery], *, then: Sequence[Message] = ()
    ) -> list[Delivery]:
        lost = await super().settle(deliveries)
        if not deliveries or len(lost) < len(deliveries):
            await super().settle((), then=then)
        return lost


@breaks(
    10,
    "test_then_is_routed_to_every_group",
    "test_settling_nothing_sends_then",
    LOADED,
)
class ThenDropped(MemoryBroker):
    """What should follow is never sent."""

    @override
    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        return super().settle(deliveries, ())


@breaks(10, "test_settling_twice_reports_the_second_as_no_longer_ours")
class ThenOfLostInputsSent(MemoryBroker):
    """What should follow is sent though nothing of the input was ours any more."""

    @override
    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        with self._lock:
            self._accept(then)
            return super().settle(deliveries, ())


@breaks(10, "test_settling_twice_reports_the_second_as_no_longer_ours")
class ThenNeedsEveryInput(MemoryBroker):
    """What should follow is not sent when one of several inputs was lost."""

    @override
    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        return super().settle(deliveries, () if self._lost(deliveries) else then)


@breaks(11, HAND_BACK)
class HandBackCounts(Group):
    """A message handed back counts as handed over in vain, as a nak does."""

    @override
    def add(self, message: Message, wall: float) -> None:
        super().add(message, wall)
        for waiting in self._lanes.values():
            for item in waiting:
                item.handed = item.message.copy


@breaks(11, HAND_BACK)
class HandBackWaits(Group):
    """A message handed back is available only after a pause."""

    @override
    def add(self, message: Message, wall: float) -> None:
        waits = message.copy > 0 and not message.due
        super().add(replace(message, due=wall + 1.2) if waits else message, wall)


@breaks(11, HAND_BACK)
class DeliveryLimit(Group):
    """The broker drops what was handed back twenty times, as RabbitMQ 4 does by itself."""

    @override
    def add(self, message: Message, wall: float) -> None:
        if message.copy <= 20:
            super().add(message, wall)
