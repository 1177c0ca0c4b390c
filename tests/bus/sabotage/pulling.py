"""Promises 5, 6 and 16: who gets a message, how a pull waits, and how it outlives an outage."""

import asyncio
from collections.abc import Sequence

from typing_extensions import override

from bus.backend import Delivery, Lane, Message, Turn
from bus.backends.memory import MemoryBackend
from bus.backends.memory_broker import MemoryBroker
from bus.backends.memory_group import Group, Item
from contracts.topics import matches
from tests.bus.sabotage.registry import breaks


@breaks(5, "test_members_of_a_group_share_its_messages")
class TwoHolders(Group):
    """Every message is handed to two members."""

    @override
    def take(self, lanes: Sequence[Lane | Turn], limit: int, until: float) -> list[Delivery]:
        taken = super().take(lanes, limit, until)
        for delivery in taken:
            self._lane(delivery.message.lane).append(Item(delivery.message))
        return taken


@breaks(5, "test_every_group_gets_every_message_that_matches_one_of_its_patterns")
class CountedPerPattern(MemoryBroker):
    """A group gets a message once for each of its patterns that matches."""

    @override
    def _targets(self, message: Message) -> tuple[Group, ...]:
        targets = super()._targets(message)
        if message.group is not None:
            return targets
        return tuple(g for g in targets for p in g.patterns if matches(p, message.topic))


@breaks(5, "test_a_message_for_one_group_reaches_no_other")
class GroupMessageForAll(MemoryBroker):
    """A message for one group is handed to all that are bound to its topic."""

    @override
    def _targets(self, message: Message) -> tuple[Group, ...]:
        targets = super()._targets(message)
        return tuple(self._groups.values()) if message.group and targets else targets


@breaks(5, "test_every_group_gets_every_message_that_matches_one_of_its_patterns")
class FirstGroupOnly(MemoryBroker):
    """All groups compete for a message."""

    @override
    def _targets(self, message: Message) -> tuple[Group, ...]:
        return super()._targets(message)[:1]


@breaks(6, "test_at_most_limit_are_handed_out")
class LimitIgnored(Group):
    """A pull takes all there is."""

    @override
    def take(self, lanes: Sequence[Lane | Turn], limit: int, until: float) -> list[Delivery]:
        return super().take(lanes, 1_000_000, until)


@breaks(6, "test_a_waiting_pull_wakes_when_a_message_arrives")
class NobodyIsWoken(Group):
    """A pull that waits does not hear of new messages."""

    @override
    def call(self) -> None:
        return


@breaks(6, "test_a_wake_takes_no_time")
class LooksNowAndThen(MemoryBackend):
    """A pull that waits looks every ten milliseconds whether there is something."""

    @override
    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        clock = self._broker.clock
        end = clock.monotonic() + wait
        while not (found := await super().pull(group, lanes, limit=limit, wait=0.0)):
            if clock.monotonic() >= end:
                break
            await clock.sleep(0.01)
        return found


@breaks(6, "test_every_waiting_member_is_woken_for_a_share")
class OnlyOneIsWoken(Group):
    """Of those that wait only the first hears of new messages, and passes nothing on."""

    _woken = False

    @override
    def call(self) -> None:
        if self._bells and not self._woken and any(self._lanes.values()):
            self._woken = True
            super().call()


@breaks(6, "test_empty_is_normal_and_comes_after_about_wait")
class WaitIgnored(MemoryBackend):
    """A pull that finds nothing returns at once."""

    @override
    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        return await super().pull(group, lanes, limit=limit, wait=0.0)


@breaks(6, "test_a_cancelled_pull_loses_nothing")
class CancelledPullLoses(MemoryBackend):
    """A pull cancelled between taking messages and returning them has settled them."""

    @override
    async def pull(
        self, group: str, lanes: Sequence[Lane | Turn], *, limit: int, wait: float
    ) -> list[Delivery]:
        taken = await super().pull(group, lanes, limit=limit, wait=wait)
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._broker.settle(taken, ())
            raise
        return taken


@breaks(
    16,
    "test_a_worker_outlives_an_outage_of_the_broker",
    "test_work_goes_on_after_each_restart_of_the_broker",
)
class DeafAfterAnOutage(MemoryBroker):
    """After an outage everything is accepted and nothing is handed out."""

    @override
    def restore(self) -> None:
        super().restore()
        for name, group in self._groups.items():
            self._groups[name] = Deaf(name, group.patterns)
        self._routes.clear()


class Deaf(Group):
    """A group nobody gets anything from."""

    @override
    def take(self, lanes: Sequence[Lane | Turn], limit: int, until: float) -> list[Delivery]:
        return []

    @override
    def call(self) -> None:
        return
