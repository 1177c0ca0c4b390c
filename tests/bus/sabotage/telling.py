"""Promise 24: what is told of tasks is as safe as they are."""

from collections.abc import Sequence

from typing_extensions import override

from bus.announcing import Announcer
from bus.backend import Message, is_owed
from bus.backends.memory_broker import MemoryBroker
from bus.publishing import Publishing
from bus.replays import telling
from contracts.deeds import Deed
from contracts.events import TERMINAL, Event
from contracts.topics import EVENTS
from tests.bus.sabotage.registry import breaks

HEARD = "test_what_muster_tells_is_for_whoever_listens"
TOLD = "test_what_is_accepted_is_told_with_it"
SAME_CALL = "test_a_task_is_told_in_the_very_call_that_publishes_it"
ENDS = "test_many_settles_at_once_are_one_call_and_one_message_of_events"


@breaks(24, HEARD, replaces=is_owed)
def everything_is_owed(message: Message) -> bool:
    """Where nobody listens to what is told, nothing can be published."""
    return True


@breaks(24, HEARD, TOLD)
class NeverTold(MemoryBroker):
    """What is told reaches nobody, whoever listens."""

    @override
    def publish(self, messages: Sequence[Message], *, follow_up: bool = False) -> None:
        kept = [m for m in messages if m.topic != EVENTS]
        super().publish(kept, follow_up=follow_up)


@breaks(24, TOLD, SAME_CALL)
class ToldLater(Publishing):
    """What is told of a task leaves in a call of its own: a publisher may die before."""

    @override
    async def _send(self, sent: Sequence[object]) -> Sequence[None]:
        *tasks, _ = self._messages(sent)  # type: ignore[arg-type]
        await self._backend.publish(tasks)
        return [None] * len(sent)


@breaks(24, "test_a_replay_is_told_in_the_very_call_that_sends_the_task", replaces=telling)
def replays_untold(message: Message, *, now: float) -> list[Event]:
    """Nobody hears that a dead letter was given back: it looks dead until it ends again."""
    return []


@breaks(24, "test_what_muster_tells_survives_a_killed_broker")
class ToldUntilKilled(MemoryBroker):
    """A broker that was killed has forgotten what was told."""

    @override
    def restore(self) -> None:
        super().restore()
        for name, group in self._groups.items():
            if name == "ear":
                for waiting in group._lanes.values():
                    waiting.clear()


@breaks(24, ENDS)
class EndsAreNotTold(Announcer):
    """That a task has ended is told to nobody."""

    @override
    def messages(self, events: Sequence[Event], deeds: Sequence[Deed] = ()) -> list[Message]:
        return super().messages([e for e in events if e.kind not in TERMINAL], deeds)
