"""Moves what is told of tasks from the bus into history."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence

import structlog

from bus.backoff import Backoff
from bus.bus import Bus
from bus.errors import Unroutable
from contracts.clock import Clock
from contracts.errors import MusterError
from contracts.topics import EVENTS, RECORDER
from knowledge.history.history import History
from workers.engine.halting import end_all
from workers.history.recording import Counts, Recording, Setting

_log = structlog.get_logger("muster.recorder")

_AGAIN = Backoff(base=0.2, cap=5.0)


class Recorder:
    """Records every event of a fleet, once. One is active; others stand by and take over when its
    database session ends.

    While history is away, what was pulled is held with its lease and the rest waits on the bus:
    no task waits for history. An event that comes twice is recorded once. `connect` opens the
    history; it is asked again for as long as its error is one that waiting may mend.
    """

    def __init__(
        self,
        bus: Bus,
        connect: Callable[[], Awaitable[History]],
        clock: Clock,
        *,
        name: str,
        lease: float,
    ) -> None:
        self.counts = Counts()
        self.stopping = False
        self.active = False
        self._bus = bus
        self._connect = connect
        self._clock = clock
        self._name = name
        self._lease = lease
        self._stop = asyncio.Event()
        self._bound = asyncio.Event()
        self._rng = random.Random()
        self._troubles: dict[str, str] = {}

    @property
    def keeps(self) -> bool:
        """Leases are kept on the event loop: there is no thread that could end."""
        return True

    def unbound(self) -> Sequence[str]:
        """Its group until it is bound."""
        return [] if self._bound.is_set() else [RECORDER]

    def troubles(self) -> Mapping[str, str]:
        """What does not work at this moment, and why."""
        return self._troubles.copy()

    async def ready(self) -> None:
        """Return when its group is bound: what is told from then on is kept for it."""
        await self._bound.wait()

    def stop(self) -> None:
        """End: what was not recorded yet is given back."""
        self.stopping = True
        self._stop.set()

    async def run(self) -> None:
        """Record until `stop`. Raises what does not get better by waiting."""
        stop = asyncio.create_task(self._stop.wait())
        work = asyncio.create_task(self._work())
        try:
            await asyncio.wait({stop, work}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_all(stop, work)

    async def _work(self) -> None:
        tries = 0
        while True:
            try:
                await self._bus.join(RECORDER, [EVENTS])
                self._bound.set()
                history = await self._connect()
                try:
                    tries = 0
                    await self._stand_by(history)
                finally:
                    await history.close()
            except Unroutable:
                self._bound.clear()
            except MusterError as error:
                await self._wait_out("recording", error, tries)
                tries += 1

    async def _stand_by(self, history: History) -> None:
        """Wait to be the active one, then record as long as that lasts."""
        setting = Setting(
            bus=self._bus,
            history=history,
            clock=self._clock,
            name=self._name,
            lease=self._lease,
            counts=self.counts,
            wait_out=self._wait_out,
            works=self._works,
        )
        async with history.recorder() as lock:
            self.active = True
            try:
                await Recording(setting).run(lock.lost)
            finally:
                self.active = False

    async def _wait_out(self, what: str, error: MusterError, tries: int) -> None:
        if not error.retryable:
            raise error
        if what not in self._troubles:
            _log.warning("history has to wait", doing=what, error=str(error))
        self._troubles[what] = str(error)
        await self._clock.sleep(_AGAIN.delay(tries, self._rng))

    def _works(self, what: str) -> None:
        if self._troubles.pop(what, None):
            _log.info("works again", doing=what)
