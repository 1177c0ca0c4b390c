"""One recorder at work: from the bus into history, batch after batch."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import structlog

from bus.backend import Delivery
from bus.bus import Bus
from bus.errors import BusError, Unroutable
from contracts.clock import Clock
from contracts.deeds import Told, decode_told
from contracts.errors import DecodeError, MusterError
from contracts.topics import RECORDER
from knowledge.history.history import History
from knowledge.history.records import Recorded
from workers.engine.halting import end_all
from workers.history.marks import Marks

_log = structlog.get_logger("muster.recorder")

MOST = 200
"""Messages of one pull: each holds up to 400 events."""

WAIT = 20.0
"""Seconds a pull waits: with nothing to record the recorder is quiet."""

MARK_EVERY = 1.0
"""Seconds between two marks while there is something to record."""

RETAIN_EVERY = 3 * 3600.0
"""Seconds between two looks at what is too old; partitions are made three days ahead."""

_SURELY = 2.0
"""Seconds beyond the lease after which what somebody held has come back."""


@dataclass(slots=True)
class Counts:
    """Events and deeds recorded, those that no table can hold, and messages that are neither."""

    recorded: int = 0
    refused: int = 0
    unreadable: int = 0


@dataclass(frozen=True, slots=True)
class Setting:
    """Who records, from where to where. `wait_out` is called with what is being done, the error
    and how often it happened in a row; it waits, or raises what waiting does not mend. `works`
    is called when it works again."""

    bus: Bus
    history: History
    clock: Clock
    name: str
    lease: float
    counts: Counts
    wait_out: Callable[[str, MusterError, int], Awaitable[None]]
    works: Callable[[str], None]


class Recording:
    """What the active recorder does. An event is recorded before the bus forgets it; while one
    batch is written the next is pulled, and what is pulled keeps its lease."""

    def __init__(self, setting: Setting) -> None:
        self._it = setting
        self._marks = Marks(setting.name)
        self._sure_from = 0.0
        self._asked = asyncio.Event()
        self._held: set[Delivery] = set()

    async def run(self, lost: asyncio.Event) -> None:
        """Record until `lost` is set, or this is cancelled; then give back what is held."""
        self._doubt()
        parts = [lost.wait(), self._record(), self._keep_leases(), self._mark(), self._hear()]
        parts.append(self._retain())
        tasks: list[asyncio.Task[object]] = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await end_all(*tasks)
            await self._give_back()

    async def _record(self) -> None:
        ahead = asyncio.create_task(self._pull())
        try:
            while True:
                batch = await ahead
                ahead = asyncio.create_task(self._pull())
                await self._write(batch)
        finally:
            await end_all(ahead)

    async def _pull(self) -> list[Delivery]:
        tries = 0
        while True:
            try:
                found = await self._it.bus.pull(RECORDER, free=MOST, wait=WAIT)
            except Unroutable:
                raise
            except BusError as error:
                await self._it.wait_out("pulling", error, tries)
                tries += 1
                continue
            self._it.works("pulling")
            if found:
                self._held.update(found)
                return found

    async def _write(self, batch: Sequence[Delivery]) -> None:
        """Record what the batch tells, then forget it."""
        told = [self._read(delivery) for delivery in batch]
        events = [event for each in told for event in each.events]
        deeds = [deed for each in told for deed in each.deeds]
        found = await self._persist(Told(events, deeds), self._marks.back(batch))
        self._it.counts.recorded += found.events - found.refused
        self._it.counts.refused += found.refused
        if found.refused:
            _log.error("events that cannot be kept", count=found.refused, some=found.named)
        await self._forget(batch)

    async def _persist(self, told: Told, upto: float | None) -> Recorded:
        tries = 0
        while True:
            try:
                found = await self._it.history.record(told.events, upto, done=told.deeds)
            except MusterError as error:
                await self._it.wait_out("recording", error, tries)
                tries += 1
            else:
                self._it.works("recording")
                return found

    def _read(self, delivery: Delivery) -> Told:
        try:
            return decode_told(delivery.message.body)
        except DecodeError as error:
            self._it.counts.unreadable += 1
            message = delivery.message.id
            _log.error("not a batch of events; dropped", message=message, error=str(error))
            return Told((), ())

    async def _forget(self, batch: Sequence[Delivery]) -> None:
        """What could not be forgotten comes again, and is recorded once nevertheless."""
        try:
            lost = await self._it.bus.forget_all(batch)
        except BusError as error:
            _log.warning("recorded, but not settled: it comes again", error=str(error))
            lost = list(batch)
        self._held.difference_update(batch)
        if lost:
            self._doubt()

    async def _keep_leases(self) -> None:
        while True:
            await self._it.clock.sleep(self._it.lease / 3)
            try:
                lost = await self._it.bus.extend(list(self._held)) if self._held else []
            except BusError:
                continue
            if lost:
                self._held.difference_update(lost)
                self._doubt()

    async def _mark(self) -> None:
        """Send a mark every second in which something was recorded, and whenever somebody asks
        how far history reaches."""
        clock, marked = self._it.clock, self._it.counts.recorded
        while True:
            asked = asyncio.create_task(self._asked.wait())
            pause = asyncio.create_task(clock.sleep(MARK_EVERY))
            await asyncio.wait({asked, pause}, return_when=asyncio.FIRST_COMPLETED)
            await end_all(asked, pause)
            busy, marked = self._it.counts.recorded != marked, self._it.counts.recorded
            if self._asked.is_set() or busy:
                await clock.sleep(max(0.0, self._sure_from - clock.monotonic()))
                self._asked.clear()
                await self._send_mark()

    async def _send_mark(self) -> None:
        try:
            moment = (await self._it.history.watermark()).now
            await self._it.bus.mark(self._marks.new(moment))
        except MusterError as error:
            _log.debug("no mark sent", error=str(error))

    async def _retain(self) -> None:
        """Make room for what comes and drop what is old, now and every few hours. A reader may be
        in the way: it is tried again."""
        tries = 0
        while True:
            try:
                found = await self._it.history.retain(self._it.clock.wall())
            except MusterError as error:
                await self._it.wait_out("retaining", error, tries)
                tries += 1
                continue
            self._it.works("retaining")
            tries = 0
            if found.dropped or found.deleted:
                dropped = ", ".join(found.dropped)
                _log.info("old history is dropped", partitions=dropped, rows=found.deleted)
            await self._it.clock.sleep(RETAIN_EVERY)

    async def _hear(self) -> None:
        """Hear that somebody asks."""
        tries = 0
        while True:
            try:
                async for _ in self._it.history.asks():
                    tries = 0
                    self._asked.set()
            except MusterError as error:
                await self._it.wait_out("hearing", error, tries)
                tries += 1

    async def _give_back(self) -> None:
        held, self._held = self._held, set()
        backs = (self._it.bus.hand_back(delivery, None) for delivery in held)
        for end in await asyncio.gather(*backs, return_exceptions=True):
            if isinstance(end, BaseException):
                _log.warning("could not hand back; it comes back by its lease", error=str(end))

    def _doubt(self) -> None:
        """From now on until a lease has passed, others may hold what was told before."""
        self._marks.doubt()
        self._sure_from = self._it.clock.monotonic() + self._it.lease + _SURELY
