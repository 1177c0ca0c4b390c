"""Promise 4: what is the same message, and for how long."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from typing_extensions import override

from bus.backend import Delivery, Message
from bus.backends.memory_broker import MemoryBroker
from bus.publishing import Publishing
from contracts.envelope import Envelope
from tests.bus.sabotage.registry import breaks
from workers.engine.published import Published


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


@breaks(4, "test_a_delayed_message_repeated_after_it_fell_due_is_the_same_message")
class DueNamesTheKey(MemoryBroker):
    """A delayed message that is repeated when its time has come has another key than before."""

    @override
    def _accept(self, messages: Iterable[Message]) -> None:
        now = self.clock.wall()
        super()._accept(replace(m, due=m.due if m.due > now else 0.0) for m in messages)


@breaks(4, "test_a_key_is_remembered_after_its_message_was_settled")
class KeyForgottenAtSettle(MemoryBroker):
    """A key is known only as long as its message is unsettled."""

    @override
    def settle(self, deliveries: Sequence[Delivery], then: Sequence[Message]) -> list[Delivery]:
        lost = super().settle(deliveries, then)
        self._seen.difference_update(delivery.message.key() for delivery in deliveries)
        return lost


@breaks(
    4,
    "test_an_id_that_holds_is_published_once_whoever_publishes_it",
    "test_an_id_holds_as_long_as_asked_and_no_longer",
    "test_a_key_names_one_task_for_as_long_as_it_holds",
)
class KeysHoldForTheWindowOnly(Publishing):
    """An idempotency key holds no longer than the broker's own window."""

    @override
    async def hold(self, ids: Iterable[str], seconds: float) -> None:
        return


@breaks(4, "test_a_publisher_that_dies_before_its_note_has_lost_nothing")
class NotedBeforeItIsOut(Publishing):
    """The note of a key comes first: who dies in between has lost the task."""

    @override
    async def publish(
        self,
        tasks: Sequence[Envelope],
        *,
        group: str | None,
        due: float,
        hold: float,
        follow_up: bool,
    ) -> frozenset[str]:
        held = await self._held(tasks)
        await self.hold((task.id for task in tasks), hold)
        new = [task for task in tasks if task.id not in held]
        await super().publish(new, group=group, due=due, hold=0.0, follow_up=follow_up)
        return held


@breaks(4, "test_an_id_holds_as_long_as_asked_and_no_longer")
class KeysHoldForEver(Publishing):
    """An idempotency key holds much longer than was asked for."""

    @override
    async def hold(self, ids: Iterable[str], seconds: float) -> None:
        await super().hold(ids, 10.0 * seconds)


@breaks(4, "test_an_unfinished_child_is_not_published_again_however_late_its_parent_comes_back")
class RunsForgetWhatTheyPublished(Published):
    """A run that takes the place of another publishes its children again."""

    @override
    async def _note(self) -> None:
        return
