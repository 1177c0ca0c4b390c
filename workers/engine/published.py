"""What a run publishes: a run that takes its place must not publish it again."""

import asyncio

import structlog

from bus.bus import Bus
from bus.errors import BusError
from bus.keyvalue.keys import OUTCOME_TTL
from contracts.clock import Clock
from contracts.envelope import Envelope

NOTE_AFTER = 60.0
"""Seconds a run may go on before what it has published is noted: half the window within which
the broker itself knows a repetition. Most runs end before, and cost no note."""

HOLD = OUTCOME_TTL
"""Seconds such an id holds: no longer than the outcome of what it names is kept."""

_log = structlog.get_logger("muster.worker")


class Published:
    """The follow-ups and children of one run. `again`: there may have been a run before it."""

    def __init__(self, bus: Bus, clock: Clock, *, again: bool) -> None:
        self._bus = bus
        self._clock = clock
        self._again = again
        self._unnoted: list[str] = []
        self._noting: asyncio.Task[None] | None = None

    async def send(self, task: Envelope, *, group: str | None = None, due: float = 0.0) -> None:
        """Publish `task`, unless a run before this one has. Raises what `Bus.publish` raises."""
        hold = HOLD if self._again else 0.0
        await self._bus.publish([task], group=group, due=due, hold=hold, follow_up=True)
        if not hold:
            self._unnoted.append(task.id)
            if self._noting is None:
                self._noting = asyncio.create_task(self._note_in_time())

    async def close(self, *, done: bool) -> None:
        """The run has ended; unless it is `done`, another may take its place."""
        if self._noting is not None:
            self._noting.cancel()
            await asyncio.wait([self._noting])
        if not done:
            await self._note()

    async def _note_in_time(self) -> None:
        while True:
            await self._clock.sleep(NOTE_AFTER)
            await self._note()

    async def _note(self) -> None:
        ids, self._unnoted = self._unnoted, []
        try:
            await self._bus.hold(ids, HOLD)
        except BusError as error:
            self._unnoted += ids
            _log.info("could not note what a run has published", error=str(error))
