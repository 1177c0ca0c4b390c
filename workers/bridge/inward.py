"""From outside into the fleet: each foreign message becomes a task, or a dead letter of the bridge.

The foreign broker is told only afterwards, so that a message is never lost. What is told twice is
one task: its key is what the CloudEvent or the foreign broker calls it.
"""

from collections.abc import Callable

import structlog

from bus.backend import Delivery
from bus.bus import Bus
from bus.errors import BusError, Unreachable, Unroutable
from contracts.clock import Clock
from contracts.errors import MusterError
from contracts.outcomes import Reason
from workers.bridge.errors import NotFit
from workers.bridge.holding import Group
from workers.bridge.letters import arrived_of, letter_of
from workers.bridge.messages import Arrived, Incoming, read
from workers.bridge.places import Crossing
from workers.bridge.showing import Counts
from workers.fleet.client import FleetClient
from workers.sdk.errors import InvalidPayload

UNROUTABLE = 60.0
"""Seconds that a topic without a role is waited for: its role may be on its way up."""

_AGAIN = 0.5

_log = structlog.get_logger()


class Inward:
    """Publishes what arrives at `crossing.place` on its topic. `check`: raises `InvalidPayload` for
    a payload no role that is known here would take. `fleet`: the name of this one."""

    def __init__(
        self,
        crossing: Crossing,
        client: FleetClient,
        clock: Clock,
        *,
        fleet: str,
        check: Callable[[object], None],
        lease: float = 10.0,
        patience: float = UNROUTABLE,
    ) -> None:
        self._crossing = crossing
        self._client = client
        self._bus: Bus = client.bus
        self._clock = clock
        self._fleet = fleet
        self._check = check
        self._absence = Absence(clock, patience)
        self.group = Group(self._bus, crossing.group, (), clock, lease)
        self.published = 0
        self.refused = 0

    async def bind(self) -> None:
        """Be reachable for dead letters that come back."""
        await self.group.bind()

    def stop(self) -> None:
        """What cannot be published at once is left to the foreign broker from now on."""
        self.group.stop()

    @property
    def counts(self) -> Counts:
        """What it has done."""
        return Counts(done=self.published, refused=self.refused)

    async def take(self, arrived: Arrived) -> bool:
        """Whether the foreign broker may forget `arrived`: it is a task or a dead letter, safe on
        the bus. Cancelled or False, it is to be delivered again."""
        return await self._take(arrived, None)

    async def run(self) -> None:
        """Take back what is replayed from the dead letters, until stopped."""
        await self.group.run(self._take_back)

    async def _take_back(self, delivery: Delivery) -> None:
        arrived = arrived_of(delivery.message)
        if arrived is None:
            cut = Arrived(body=delivery.message.body, headers={})
            error = "it was cut when it was kept: give it a whole body with `muster dlq edit`"
            done = await self._bury(cut, delivery, Reason.INVALID, error)
        else:
            done = await self._take(arrived, delivery)
        if done:
            await self._bus.forget(delivery)
        else:
            await self._bus.hand_back(delivery, None)

    async def _take(self, arrived: Arrived, back: Delivery | None) -> bool:
        while True:
            try:
                await self._publish(arrived)
                self.published += 1
                self._absence.over()
                return True
            except Unroutable as error:
                if self._absence.too_long():
                    return await self._bury(arrived, back, Reason.REJECTED, str(error))
            except MusterError as error:
                if not error.retryable:
                    reason = Reason.REJECTED if isinstance(error, BusError) else Reason.INVALID
                    return await self._bury(arrived, back, reason, str(error))
                _log.warning("waits for the bus", error=str(error))
            if await self.group.stopped_after(_AGAIN):
                return False

    async def _publish(self, arrived: Arrived) -> None:
        incoming = read(arrived)
        self._check_origin(incoming)
        self._check(incoming.payload)
        topic = self._crossing.topic
        await self._client.publish(topic, incoming.payload, key=incoming.key, reply=False)

    def _check_origin(self, incoming: Incoming) -> None:
        if incoming.fleet == self._fleet:
            raise NotFit(
                "the event was sent by this very fleet",
                details=f"taking it back in would go round in circles ({self._fleet})",
                actions=("let two bridges not meet at one place",),
            )

    async def _bury(
        self, arrived: Arrived, back: Delivery | None, reason: Reason, error: str
    ) -> bool:
        letter = letter_of(
            self._crossing,
            arrived,
            reason=reason,
            error=error,
            now=self._clock.wall(),
            worker=self._crossing.group,
            back=back.message if back else None,
        )
        while True:
            try:
                await self._bus.dead.put(letter)
            except Unreachable:
                if await self.group.stopped_after(_AGAIN):
                    return False
                continue
            self.refused += 1
            _log.warning("refused", dead_letter=letter.id, reason=reason.value, error=error)
            return True


class Absence:
    """How long the topic has had no role. Each message that waits notes that it has none; those
    that come after `patience` seconds of it wait no more, unless nobody has asked for as long: the
    role may have come and gone meanwhile."""

    def __init__(self, clock: Clock, patience: float) -> None:
        self._clock = clock
        self._patience = patience
        self._since: float | None = None
        self._noted = 0.0

    def over(self) -> None:
        """There is a role."""
        self._since = None

    def too_long(self) -> bool:
        """There is none now: whether that is so for longer than one waits."""
        now = self._clock.monotonic()
        if self._since is None or now - self._noted > max(self._patience, 2 * _AGAIN):
            self._since = now
        self._noted = now
        return now - self._since >= self._patience


def refuses_nothing(_payload: object) -> None:
    """A check where no role is known."""


def check_by(readers: "list[Callable[[bytes], object]]") -> Callable[[object], None]:
    """Refuses a payload that none of `readers` takes; takes all where there is none."""
    from pydantic_core import to_json

    def check(payload: object) -> None:
        refused: InvalidPayload | None = None
        for reader in readers:
            try:
                reader(to_json(payload))
            except InvalidPayload as error:
                refused = refused or error
            else:
                return
        if refused is not None:
            raise refused

    return check
