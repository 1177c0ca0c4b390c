"""Pulls the tasks of an auctioned role, offers them, and looks after their watch copies."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from bus.backend import Delivery
from bus.bus import Bus
from bus.errors import BusError
from bus.suspects import Blame
from contracts.auctions import Phase
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.errors import MusterError
from contracts.outcomes import Reject
from workers.auctions.deeds import See, Stop
from workers.auctions.driving import Case, Driver, stored
from workers.auctions.ledger import LedgerAway
from workers.auctions.marks import (
    Mark,
    is_untouched,
    key_of,
    mark_of,
    marked,
    unauctioned,
    without_auction,
)
from workers.auctions.reach import Reach
from workers.auctions.steps import Steps
from workers.auctions.telling import Teller
from workers.engine import steps as reading
from workers.engine.halting import end_all
from workers.engine.keeper import Keeper
from workers.engine.source import Source
from workers.sdk.auctioning import Fallback

_log = structlog.get_logger("muster.auctions")

AWAY_AFTER = 5.0
"""Seconds after which a copy that was pulled while the ledger went away is looked at again."""

FOLLOWED = 30.0
"""Seconds that a task which was offered here counts as open: one that nobody wants must not keep
this worker from offering others."""

LOOK = 0.05
"""Seconds beyond a round after which is asked what came of it; later four times as long each."""


@dataclass(frozen=True, slots=True)
class Yard:
    """What offering has of its process. `free`: places for more runs. `queue` takes what runs
    without an auction. `more` is awaited while there is no place."""

    role: str
    bus: Bus
    source: Source
    keeper: Keeper
    clock: Clock
    blame: Blame
    fallback: Fallback
    free: Callable[[], int]
    queue: Callable[[Delivery], None]
    more: asyncio.Event


class Offering:
    """One role in one process."""

    def __init__(
        self, yard: Yard, steps: Steps, driver: Driver, teller: Teller, reach: Reach
    ) -> None:
        self._yard = yard
        self._steps = steps
        self._driver = driver
        self._teller = teller
        self._reach = reach
        self._open: dict[str, None] = {}
        self._strands: set[asyncio.Task[None]] = set()
        self._followers: set[asyncio.Task[None]] = set()
        self._under_way = 0

    @property
    def open(self) -> int:
        """Tasks that were offered here and are not awarded yet, as far as is known."""
        return len(self._open)

    async def run(self) -> None:
        """Pull for ever: as many as there are places for, once what was offered is counted in."""
        view = self._yard.bus.stop_view
        view.changed.append(self._yard.more.set)
        try:
            while True:
                self._yard.more.clear()
                self._reach.changed.clear()
                if self._may_pull():
                    await self._pull(self._room())
                else:
                    await self._changes()
        finally:
            view.changed.remove(self._yard.more.set)

    async def close(self, seconds: float) -> None:
        """Let what is under way end, as far as that is quick; the rest comes back by its lease."""
        for one in self._followers:
            one.cancel()
        await asyncio.gather(*self._followers, return_exceptions=True)
        if self._strands:
            _, late = await asyncio.wait(self._strands, timeout=seconds)
            for strand in late:
                strand.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _may_pull(self) -> bool:
        view = self._yard.bus.stop_view
        reachable = self._reach.here or self._yard.fallback == "queue"
        paused = view.is_paused(self._yard.role)
        return reachable and not paused and self._room() > 0

    def _room(self) -> int:
        return self._yard.free() - self._under_way - len(self._open)

    async def _changes(self, *others: "asyncio.Future[Any]") -> None:
        """Return when there may be a reason to pull, or none any more, or others are done."""
        waits = (self._yard.more.wait(), self._reach.changed.wait())
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait([*tasks, *others], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()

    async def _pull(self, count: int) -> None:
        """Pull once; a ledger that goes away, or a pause, ends the wait."""
        source = self._yard.source
        pull = asyncio.create_task(source.pull(free=count, ahead=0, returning=0, wait=source.wait))
        try:
            while not pull.done() and self._may_pull():
                await self._changes(pull)
                self._yard.more.clear()
                self._reach.changed.clear()
        finally:
            try:
                await end_all(pull)
            finally:
                self._take_all(pull)

    def _take_all(self, pull: "asyncio.Task[list[Delivery] | None]") -> None:
        """Also what came in the moment in which the pull was cut off: it is held already."""
        if pull.done() and not pull.cancelled() and pull.exception() is None:
            for delivery in pull.result() or ():
                self._take(delivery)

    def _take(self, delivery: Delivery) -> None:
        """What becomes of one delivery. None is ever a suspect: no handler runs in it."""
        task = reading.read(delivery.message)
        if isinstance(task, Reject):
            self._yard.queue(delivery)  # its executor buries what it cannot read
        elif unauctioned(task):
            for one in self._yard.bus.crashes.sift([delivery], self._yard.blame):
                self._yard.queue(one)
        else:
            _spawn(self._strands, self._handle(delivery, task))

    async def _handle(self, delivery: Delivery, task: Envelope) -> None:
        """Offer it, look after it, or give it back; its lease is kept meanwhile."""
        self._under_way += 1
        mark = mark_of(task) or Mark(key_of(task, self._yard.role), opened=False)
        try:
            if self._reach.here:
                await self._auction(delivery, task, mark)
            else:
                await self._without_ledger(delivery, task, mark)
        except LedgerAway as away:
            self._reach.away(away)
            await self._put_off(delivery, task, mark)
        except MusterError as error:
            _log.warning("a copy comes back by its lease", key=mark.key, error=str(error))
        finally:
            self._under_way -= 1
            self._yard.keeper.release(delivery)
            self._yard.more.set()

    async def _auction(self, delivery: Delivery, task: Envelope, mark: Mark) -> None:
        case = Case(delivery, task, task.body)
        stopped = self._is_over(task)
        if mark.opened:
            await self._driver.drive(self._steps.watch(mark.key, stopped=stopped), case)
        elif stopped and mark_of(task) is None and not delivery.earlier:
            await self._driver.do(Stop(), case)
        elif await self._driver.drive(self._steps.offer(mark.key, stored(delivery.message)), case):
            self._open[mark.key] = None
            self._teller.opened(mark.key, task)
            _spawn(self._followers, self._follow(mark.key, task))

    def _is_over(self, task: Envelope) -> bool:
        """Whether nobody wants it any more."""
        view, now = self._yard.bus.stop_view, self._yard.clock.wall()
        return bool(view.stopped(task, self._yard.role) or reading.allowed(task, now))

    async def _without_ledger(self, delivery: Delivery, task: Envelope, mark: Mark) -> None:
        """A task that nobody can have offered may run without an auction, then and ever after; that
        is safe before anything runs. Anything else waits."""
        message = delivery.message
        untouched = is_untouched(message.headers, task.copy, delivery.earlier)
        if self._yard.fallback == "queue" and untouched:
            await self._yard.bus.hand_back(delivery, without_auction(task))
        else:
            await self._put_off(delivery, task, mark)

    async def _put_off(self, delivery: Delivery, task: Envelope, mark: Mark) -> None:
        due = self._yard.clock.wall() + AWAY_AFTER
        try:
            await self._yard.bus.hand_back(delivery, marked(task, mark), due=due)
        except BusError as error:
            _log.warning("a copy comes back by its lease", key=mark.key, error=str(error))

    async def _follow(self, key: str, task: Envelope) -> None:
        """Count it as open until it is awarded."""
        clock, wait = self._yard.clock, self._steps.terms.window_ms / 1000 + LOOK
        until = clock.monotonic() + FOLLOWED
        try:
            while clock.monotonic() < until:
                await clock.sleep(wait)
                wait = min(4 * wait, FOLLOWED / 4)
                auction = await self._driver.do(See(key), Case(task=task))
                if auction is None or auction.phase is not Phase.OPEN:
                    return
        except LedgerAway as away:
            self._reach.away(away)
        finally:
            self._open.pop(key, None)
            self._yard.more.set()


def _spawn(among: set[asyncio.Task[None]], work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.create_task(work)
    among.add(task)
    task.add_done_callback(among.discard)
