"""Follows the work: decides how many processes the roles with a range need.

One supervisor of the fleet does it at a time, whoever has the scaler's seat: an entry with a
time to live, renewed while there is anything to decide.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from bus.backend import Lag
from bus.bus import Bus
from bus.errors import BusError, Conflict, Unroutable
from bus.keyvalue import keys
from bus.keyvalue.protocol import ABSENT, Absent, Entry, Revision
from contracts.clock import Clock
from workers.fleet import orders
from workers.fleet.board import Board
from workers.fleet.demand import Demand, demands
from workers.fleet.orders import Auto
from workers.fleet.presence import Alive, present
from workers.fleet.replicas import Range
from workers.fleet.scaling import DOWN_AFTER, Past, Seen, decide

_log = structlog.get_logger("muster.scaler")

LOOK = 1.0
"""Seconds between two looks while there is something to do."""

IDLE_LOOK = 5.0
IDLE_AFTER = 30.0
"""Seconds between two looks, each a question per lane, once nothing has waited or run for so many
seconds."""

_TELL = 5.0
"""Seconds after which the reason is told anew, if only that has changed."""


@dataclass(slots=True)
class _Course:
    """What the scaler knows of one role."""

    past: Past
    told: Auto


class Scaler:
    """Writes `scale/auto/ROLE` while it has the seat. `down_after`: see `scaling.DOWN_AFTER`.
    Nothing is decided about a role that is paused, or about which the broker cannot say what
    waits. For one event loop."""

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        board: Board,
        name: str,
        *,
        lease: float,
        down_after: float = DOWN_AFTER,
    ) -> None:
        self._bus = bus
        self._clock = clock
        self._board = board
        self._name = name
        self._lease = lease
        self._down_after = down_after
        self._stopping = asyncio.Event()
        self._revision: Revision | None = None
        self._renewed = 0.0
        self._busy_at = self._look_at = clock.monotonic()
        self._courses: dict[str, _Course] = {}

    async def run(self) -> None:
        """Follow the work until `stop`, whenever the seat is ours; then give it up."""
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait(
            {stop, whole := asyncio.create_task(self._board.complete())},
            return_when=asyncio.FIRST_COMPLETED,
        )
        whole.cancel()
        while not stop.done():
            await self._turn()
            pause = asyncio.create_task(self._clock.sleep(min(LOOK, self._lease / 4)))
            await asyncio.wait({stop, pause}, return_when=asyncio.FIRST_COMPLETED)
            pause.cancel()
        if self._revision is not None:
            try:
                await self._bus.store.delete(keys.SCALER, expect=self._revision)
            except BusError as error:
                _log.debug("the seat lapses", error=str(error))

    def stop(self) -> None:
        """Follow no more."""
        self._stopping.set()

    async def _turn(self) -> None:
        """Keep the seat if it is ours, or there is one to take; look when it is time to."""
        demand = demands(self._board.machines(), self._board.wishes())
        ranges = {role: d for role, d in demand.items() if isinstance(d.shared, Range)}
        now = self._clock.monotonic()
        try:
            if not ranges or not await self._is_ours():
                self._courses.clear()
            elif now >= self._look_at:
                if await self._look(ranges):
                    self._busy_at = now
                self._look_at = now + (LOOK if now - self._busy_at < IDLE_AFTER else IDLE_LOOK)
        except BusError as error:
            _log.debug("cannot follow the work; trying again", error=str(error))

    async def _is_ours(self) -> bool:
        """Take the seat if it is free; renew it if it is ours."""
        now, seen = self._clock.monotonic(), self._board.scaler()
        if self._revision is not None and now - self._renewed < self._lease / 4:
            return True
        if self._revision is None and seen is not None:
            return False
        expect: Revision | Absent = ABSENT if self._revision is None else self._revision
        self._revision = None
        try:
            value = self._name.encode()
            self._revision = await self._bus.store.put(
                keys.SCALER, value, ttl=self._lease, expect=expect
            )
        except Conflict:
            return False
        self._board.put(Entry(keys.SCALER, value, self._revision))
        self._renewed = now
        return True

    async def _look(self, ranges: Mapping[str, Demand]) -> bool:
        """Decide about every role; whether there is anything to do in any."""
        alive, paused = await asyncio.gather(present(self._bus.store), self._bus.stops.paused())
        busy = False
        for role, demand in ranges.items():
            limits = demand.shared
            mine = [one for one in alive if one.role == role and not one.draining]
            waiting = await self._waiting(role)
            if role in paused or waiting is None or not isinstance(limits, Range):
                continue
            seen = self._seen(waiting, mine, sum(demand.own.values()))
            busy = busy or bool(seen.waiting or seen.running)
            await self._decide(role, seen, limits, anybody=bool(mine))
        return busy

    async def _waiting(self, role: str) -> int | None:
        try:
            lags = await self._bus.lag(role)
        except Unroutable:
            return 0
        counts = [lag.waiting for lag in lags.values() if isinstance(lag, Lag)]
        known = [count for count in counts if count is not None]
        return sum(known) if len(known) == len(counts) else None

    def _seen(self, waiting: int, alive: Sequence[Alive], own: int) -> Seen:
        """`own`: processes that are there whatever is decided."""
        places = max((one.concurrency for one in alive), default=1)
        running = sum(min(one.running, one.concurrency) for one in alive) - own * places
        means = [one.mean_run for one in alive if one.mean_run is not None]
        return Seen(
            at=self._clock.monotonic(),
            waiting=waiting,
            running=max(0, running),
            concurrency=places,
            mean_run=sum(means) / len(means) if means else None,
        )

    async def _decide(self, role: str, seen: Seen, limits: Range, *, anybody: bool) -> None:
        """Where nobody works yet, one is enough to find out how much there is to do."""
        course = self._course(role, limits)
        if anybody:
            past, why = decide(seen, course.past, limits, down_after=self._down_after)
        else:
            most = max(limits.clip(course.past.wanted), int(seen.waiting > 0))
            past, why = Past(limits.clip(most)), f"{seen.waiting} wait, nobody works yet"
        told = Auto(past.wanted, why, self._clock.wall())
        old = course.told
        if told.wanted != old.wanted or (why != old.why and told.at - old.at >= _TELL):
            if told.wanted != old.wanted:
                _log.info("scaling", role=role, of=old.wanted, to=told.wanted, why=why)
            value = orders.encode(told)
            revision = await self._bus.store.put(keys.auto(role), value)
            self._board.put(Entry(keys.auto(role), value, revision))
            self._board.changed.set()
            course.told = told
        course.past = past
        self._courses[role] = course

    def _course(self, role: str, limits: Range) -> _Course:
        """From where the last scaler left it, or whoever asked for a range anew."""
        told = self._board.wishes().autos.get(role) or Auto(limits.min, "", 0.0)
        known = self._courses.get(role)
        if known is not None and known.told.wanted == told.wanted:
            return known
        return _Course(Past(limits.clip(told.wanted)), told)
