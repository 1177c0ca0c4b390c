"""Publishes what the clock says: any number of schedulers, each tick once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from bus.bus import Bus
from contracts.clock import Clock
from contracts.envelope import Envelope, Priority
from contracts.errors import MusterError
from contracts.ids import tick_id
from knowledge.database.errors import DatabaseError
from knowledge.schedules.rows import Moved, PutOff, Schedule
from knowledge.schedules.store import Schedules
from knowledge.schedules.ticks import plan
from workers.fleet.options import DAY

LOOK = 1.0
"""Seconds after which a change of the schedules by somebody else is seen."""

_SOON = 0.05
"""Seconds between two looks at what another scheduler holds: it may have died just now."""

_AT_ONCE = 100
"""Schedules claimed together: their tasks leave in one batch."""

_PATIENCE = 5.0
"""Seconds a claim waits for the broker: no other scheduler can take it meanwhile."""

_AGAIN = 5.0
"""Seconds after which a tick that could not be published is tried again."""

_log = structlog.get_logger("muster.scheduler")


class Scheduler:
    """Claims due schedules, publishes their tasks, and only then lets them move on.

    The id of a task is made of schedule and tick, and holds for a day: whoever takes over from a
    scheduler that was killed, or could not write down what it did, publishes the same task again,
    which adds nothing. `open_schedules` is tried until it succeeds. `fired`: tasks published so
    far; `put_off`: how often a tick could not be.
    """

    def __init__(
        self, bus: Bus, open_schedules: Callable[[], Awaitable[Schedules]], clock: Clock
    ) -> None:
        self.stopping = False
        self.fired = 0
        self.put_off = 0
        self._bus = bus
        self._open = open_schedules
        self._clock = clock
        self._stop = asyncio.Event()
        self._schedules: Schedules | None = None
        self._trouble = "it has not looked at its schedules yet"

    @property
    def keeps(self) -> bool:
        """See `workers.health.watch.Works`: it holds no leases."""
        return True

    def unbound(self) -> Sequence[str]:
        """See `workers.health.watch.Works`: it listens to nothing."""
        return ()

    def troubles(self) -> Mapping[str, str]:
        """Why schedules cannot be read or moved on, if they cannot."""
        return {"schedules": self._trouble} if self._trouble else {}

    async def run(self) -> None:
        """Schedule until `stop`. A database that is away is waited for."""
        try:
            await self._schedule()
        finally:
            if self._schedules is not None:
                with suppress(DatabaseError):
                    await self._schedules.close()

    async def _schedule(self) -> None:
        while not self.stopping:
            try:
                wait = await self._turn()
                self._trouble = ""
            except DatabaseError as error:
                if self._trouble != str(error):
                    _log.error("no schedules", error=error.message, why=error.details)
                self._trouble, wait = str(error), LOOK
            await self._pause(wait)

    def stop(self) -> None:
        """End when what is claimed has been published."""
        self.stopping = True
        self._stop.set()

    async def _turn(self) -> float:
        """Fire what is due; the seconds until the next look."""
        if self._schedules is None:
            self._schedules = await self._open()
        due = await self._schedules.due()
        if due is not None and due <= self._clock.wall():
            await self._fire_due(self._schedules, self._clock.wall())
            due = await self._schedules.due()
        return LOOK if due is None else min(LOOK, max(_SOON, due - self._clock.wall()))

    async def _fire_due(self, schedules: Schedules, now: float) -> None:
        async with schedules.claim(now, limit=_AT_ONCE) as claim:
            fired = (self._fire(schedule, now) for schedule in claim.schedules)
            decided = await asyncio.gather(*fired)
            await claim.settle(decided)
        self.fired += sum(each.fired for each in decided if isinstance(each, Moved))
        self.put_off += sum(isinstance(each, PutOff) for each in decided)

    async def _fire(self, schedule: Schedule, now: float) -> Moved | PutOff:
        """Publish the tasks of a schedule that is due, and say what becomes of it."""
        if schedule.next is None:
            return Moved(schedule.name, None, None, 0)
        todo = plan(schedule.timing, schedule.next, schedule.misfire, now)
        if todo.missed:
            _log.warning("ticks missed", schedule=schedule.name, late=now - schedule.next)
        tasks = [_task(schedule, tick, now) for tick in todo.fire]
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._bus.publish(tasks, hold=DAY)
        except (MusterError, TimeoutError) as error:
            why = str(error) or f"the broker has not taken it within {_PATIENCE:g} s"
            _log.error("tick not published", schedule=schedule.name, error=why)
            return PutOff(schedule.name, now + _AGAIN, why)
        return Moved(schedule.name, todo.next, max(todo.fire, default=None), len(tasks))

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until `stop`."""
        sleeping = asyncio.create_task(self._clock.sleep(seconds))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({sleeping, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleeping, stopping):
                task.cancel()
            await asyncio.gather(sleeping, stopping, return_exceptions=True)


def _task(schedule: Schedule, tick: float, now: float) -> Envelope:
    return Envelope(
        id=tick_id(schedule.name, tick),
        topic=schedule.topic,
        source="/muster/scheduler",
        time=now,
        body=schedule.payload.encode(),
        tenant=schedule.tenant,
        priority=Priority(schedule.priority),
        deadline=None if schedule.deadline is None else now + schedule.deadline,
        budget=schedule.budget,
        correlation=f"schedule/{schedule.name}",
    )
