"""Promise 8: delays."""

from collections.abc import Iterable
from dataclasses import replace
from math import inf

from typing_extensions import override

from bus.backend import Message
from bus.backends.memory_broker import MemoryBroker
from bus.backends.memory_group import Group
from tests.bus.sabotage.registry import breaks

_EARLY = 0.2
_LATE = 1.5

MANY = "test_many_that_fall_due_in_a_second_come_within_the_next"
SPREAD = "test_nothing_is_handed_out_before_it_is_due_and_all_within_a_second_after"


@breaks(8, SPREAD)
class DueIgnored(Group):
    """Delayed messages are handed out at once."""

    @override
    def add(self, message: Message, wall: float) -> None:
        super().add(message, inf)


@breaks(8, SPREAD, MANY)
class DueEarly(Group):
    """Delayed messages are handed out a fifth of a second before they are due."""

    @override
    def ripen(self, wall: float, mono: float) -> None:
        super().ripen(wall + _EARLY, mono)

    @override
    def change_in(self, wall: float, mono: float) -> float:
        return super().change_in(wall + _EARLY, mono)


@breaks(8, SPREAD, MANY, "test_then_may_be_delayed")
class DueLate(Group):
    """Delayed messages are handed out a second and a half after they are due."""

    @override
    def add(self, message: Message, wall: float) -> None:
        late = message.due + _LATE if message.due > wall else message.due
        super().add(replace(message, due=late), wall)


@breaks(8, "test_a_delayed_message_is_routed_when_it_is_published")
class RoutedWhenDue(MemoryBroker):
    """Who gets a delayed message is decided when it is due."""

    @override
    def bind(self, name: str, patterns: Iterable[str]) -> None:
        delayed = {
            entry[2].message.id: replace(entry[2].message, group=name)
            for group in self._groups.values()
            for entry in group._delayed
        }
        super().bind(name, tuple(patterns))
        self._accept(delayed.values())


@breaks(8, "test_delays_of_the_same_task_do_not_replace_each_other")
class OneDelayPerTask(Group):
    """A task delayed again takes the place of its earlier delay."""

    @override
    def add(self, message: Message, wall: float) -> None:
        for entry in [e for e in self._delayed if e[2].message.id == message.id]:
            self._delayed.remove(entry)
            self._delayed_in[entry[2].lane] -= 1
        super().add(message, wall)
