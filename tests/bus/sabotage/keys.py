"""Promise 4: what is the same message, and for how long."""

from collections.abc import Sequence

from typing_extensions import override

from bus.backend import Delivery, Message
from bus.backends.memory_broker import MemoryBroker
from tests.bus.sabotage.registry import breaks


@breaks(
    4,
    "test_another_copy_of_the_same_task_is_another_message",
    "test_the_same_task_for_another_group_is_another_message",
)
class DedupeOnIdAlone(MemoryBroker):
    """The dedupe key is the id alone: it swallows every retry."""

    @override
    def _is_new(self, key: str, now: float) -> bool:
        return super()._is_new(key.partition("/")[0], now)


@breaks(4, "test_a_retry_in_one_group_is_not_seen_by_another")
class DedupeIgnoresGroup(MemoryBroker):
    """The dedupe key lacks the group: the retry of one is a repetition to another."""

    @override
    def _is_new(self, key: str, now: float) -> bool:
        id_, _, copy = key.rsplit("/", 2)
        return super()._is_new(f"{id_}//{copy}", now)


@breaks(
    4,
    "test_the_same_key_twice_is_one_message",
    "test_the_same_key_twice_in_then_is_one_message",
)
class NoDedupe(MemoryBroker):
    """Every message is new."""

    @override
    def _is_new(self, key: str, now: float) -> bool:
        return True


@breaks(4, "test_a_key_is_remembered_after_its_message_was_settled")
class KeyForgottenAtSettle(MemoryBroker):
    """A key is known only as long as its message is unsettled."""

    @override
    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        lost = super().settle(deliveries, then)
        self._seen.difference_update(delivery.message.key() for delivery in deliveries)
        return lost
