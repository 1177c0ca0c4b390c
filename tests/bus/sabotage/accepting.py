"""Promises 1, 2 and 3: what is accepted, what is refused, and what a batch is."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from typing_extensions import override

from bus.backend import Message
from bus.backends.memory_broker import MemoryBroker
from bus.backends.memory_group import Group
from bus.sizes import check_sizes
from tests.bus.sabotage.registry import breaks


@breaks(1, "test_accepted_messages_survive_a_killed_broker")
class WaitingLostAtKill(MemoryBroker):
    """A broker that was killed has forgotten what was waiting."""

    @override
    def restore(self) -> None:
        super().restore()
        for group in self._groups.values():
            for waiting in group._lanes.values():
                waiting.clear()


@breaks(
    1,
    "test_delayed_messages_survive_a_killed_broker",
    "test_a_broker_that_goes_away_under_load_loses_nothing",
)
class DelayedLostAtKill(MemoryBroker):
    """A broker that was killed has forgotten what was delayed."""

    @override
    def restore(self) -> None:
        super().restore()
        for group in self._groups.values():
            group._delayed.clear()
            group._delayed_in.clear()


@breaks(1, "test_accepted_messages_survive_a_killed_broker")
class OnlyTheFirstGroupIsKept(MemoryBroker):
    """After a kill only one of the groups a message was accepted for still has it."""

    @override
    def restore(self) -> None:
        super().restore()
        for group in list(self._groups.values())[1:]:
            for waiting in group._lanes.values():
                waiting.clear()


@breaks(1, "test_a_returned_bind_is_seen_by_every_later_publish")
class BindSeenLate(MemoryBroker):
    """A topic that was published on before keeps its old route when another group binds."""

    @override
    def bind(self, name: str, patterns: Sequence[str]) -> None:
        routes = dict(self._routes)
        super().bind(name, patterns)
        self._routes.update(routes)


@breaks(1, "test_bodies_and_headers_arrive_as_they_were_sent")
class BodyAsText(MemoryBroker):
    """A body is kept as text, which changes bytes that are none."""

    @override
    def _keep(self, message: Message, groups: Iterable[Group], wall: float) -> None:
        text = message.body.decode("utf-8", "replace")
        super()._keep(replace(message, body=text.encode()), groups, wall)


@breaks(
    2,
    "test_a_topic_nobody_listens_to_is_refused_with_near_matches",
    "test_a_named_group_that_is_not_bound_is_unroutable",
)
class UnroutableSwallowed(MemoryBroker):
    """What nobody listens to is dropped without an error."""

    @override
    def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        super().publish([message for message in messages if self._targets(message)])


@breaks(
    2,
    "test_one_unroutable_message_stops_the_whole_call",
    "test_one_message_over_a_limit_stops_the_whole_call",
)
class CheckedOneByOne(MemoryBroker):
    """Each message is checked when its turn comes: those before a bad one are out."""

    @override
    def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        for message in messages:
            super().publish([message])


@breaks(2, "test_one_message_over_a_limit_stops_the_whole_call", replaces=check_sizes)
def bodies_checked_only(messages: Iterable[Message], *, room: int = 0) -> None:
    """Headers may have any size."""
    check_sizes((replace(message, headers={}) for message in messages), room=room)


@breaks(2, "test_then_over_a_limit_settles_nothing", replaces=check_sizes)
def no_size_refused(messages: Iterable[Message], *, room: int = 0) -> None:
    """Bodies and headers of any size are taken."""


@breaks(3, "test_a_batch_that_is_half_known_is_completed")
class HalfKnownBatchIgnored(MemoryBroker):
    """A batch of which one key is known is taken for a repetition as a whole."""

    @override
    def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        if not any(message.key() in self._seen for message in messages):
            super().publish(messages)


@breaks(3, "test_a_batch_may_be_larger_than_what_a_broker_takes_at_once")
class BatchesAreCut(MemoryBroker):
    """Of a large batch only the first thousand are accepted, and nobody is told."""

    @override
    def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        super().publish(messages[:1000])


@breaks(3, "test_repeating_what_an_outage_left_unknown_loses_and_doubles_nothing")
class KeysLostAtKill(MemoryBroker):
    """A broker that was killed takes what is repeated for new."""

    @override
    def restore(self) -> None:
        super().restore()
        self._seen.clear()
        self._seen_order.clear()
