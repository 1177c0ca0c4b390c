"""Out of the fleet: how tasks of a topic ended, or the tasks themselves, as CloudEvents.

Each leaves at least once: the fleet forgets it when the foreign broker has answered. The id of the
event is the same each time.
"""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Protocol

import structlog

from bus.backend import Delivery, Message
from bus.bus import Bus
from bus.deadletters import DeadLetter
from bus.replays import replays_in
from contracts.clock import Clock
from contracts.errors import DecodeError
from contracts.ids import content_id
from contracts.outcomes import Reason
from contracts.topics import EVENTS
from workers.bridge.holding import Group
from workers.bridge.leaving import ended, task_out
from workers.bridge.messages import Leaving
from workers.bridge.places import Crossing
from workers.bridge.showing import Counts

REFUSALS = 5
"""Times a broker that is there refuses one message before it is a dead letter."""

_FIRST_WAIT, _LONGEST_WAIT = 0.1, 5.0

_log = structlog.get_logger()


class Target(Protocol):
    """The foreign side, to send to."""

    async def send(self, leaving: Leaving) -> None:
        """Return when it is safe there. Raises whatever the client raises."""
        ...

    async def alive(self) -> bool:
        """Whether the broker answers."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """One CloudEvent of a message, and the message that would be sent again for it alone."""

    leaving: Leaving
    _: KW_ONLY
    message: Message


class Outward:
    """Sends what `crossing.topic` says to its place. `tasks`: the tasks, else how they ended."""

    def __init__(
        self,
        crossing: Crossing,
        bus: Bus,
        target: Target,
        clock: Clock,
        *,
        fleet: str,
        tasks: bool = False,
        lease: float = 10.0,
    ) -> None:
        self._crossing = crossing
        self._bus = bus
        self._target = target
        self._clock = clock
        self._fleet = fleet
        self._tasks = tasks
        self.group = Group(
            bus, crossing.group, [crossing.topic] if tasks else [EVENTS], clock, lease
        )
        self.sent = 0
        self.refused = 0

    async def bind(self) -> None:
        """From now on everything is kept for the bridge, whether or not it runs."""
        await self.group.bind()

    def stop(self) -> None:
        """Finish what is being sent, and give back the rest."""
        self.group.stop()

    @property
    def counts(self) -> Counts:
        """What it has done."""
        return Counts(done=self.sent, refused=self.refused)

    async def run(self) -> None:
        """Send until stopped."""
        await self.group.run(self._send_all)

    async def _send_all(self, delivery: Delivery) -> None:
        try:
            parts = self._parts(delivery.message)
        except DecodeError as error:
            await self._bury(delivery.message, Reason.INVALID, str(error))
            parts = []
        for part in parts:
            if not await self._send(part):
                await self._bus.hand_back(delivery, None)
                return
        await self._bus.forget(delivery)

    def _parts(self, message: Message) -> Sequence[Part]:
        if self._tasks:
            return [Part(task_out(message, self._fleet), message=message)]
        found = ended(message.body, self._crossing.topic, self._fleet)
        return [
            Part(leaving, message=replace(message, body=body, id=leaving.attributes["id"]))
            for leaving, body in found
        ]

    async def _send(self, part: Part) -> bool:
        """Whether it is out or a dead letter; False when there was no time left for it."""
        wait, refusals = _FIRST_WAIT, 0
        while True:
            try:
                await self._target.send(part.leaving)
            except Exception as error:  # noqa: BLE001 - each broker's client has its own
                refusals += await self._target.alive()
                _log.warning("not sent", id=part.leaving.attributes["id"], error=repr(error))
                if refusals >= REFUSALS:
                    return await self._bury(part.message, Reason.REJECTED, repr(error))
            else:
                self.sent += 1
                return True
            if await self.group.stopped_after(wait):
                return False
            wait = min(2 * wait, _LONGEST_WAIT)

    async def _bury(self, message: Message, reason: Reason, error: str) -> bool:
        """A dead letter that is sent again when it is replayed."""
        letter = DeadLetter(
            id=message.id or content_id(dict(message.headers), message.body),
            group=self._crossing.group,
            topic=message.topic,
            reason=reason,
            error=error,
            attempts=REFUSALS,
            copy=message.copy,
            worker=self._crossing.group,
            died=self._clock.wall(),
            replays=replays_in(message.headers),
            headers=dict(message.headers),
            body=message.body,
        )
        await self._bus.dead.put(letter)
        self.refused += 1
        return True
