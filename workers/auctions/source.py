"""An auctioned role in one process, put together: where a worker's runs come from and end."""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bus.backend import Delivery
from bus.bus import Bus
from bus.errors import BusError
from contracts.clock import Clock
from workers.auctions.awards import AwardEnds, AwardLeases, Awards
from workers.auctions.bidder import Bidder, Desk
from workers.auctions.deeds import RETURNED
from workers.auctions.driving import Driver
from workers.auctions.experience import Experience
from workers.auctions.hearing import Hearing
from workers.auctions.ledger import Ledger, NoLedger
from workers.auctions.offering import Offering, Yard
from workers.auctions.reach import Reach
from workers.auctions.steps import Steps, Terms
from workers.auctions.telling import Teller
from workers.auctions.winning import Winning
from workers.engine.identity import Identity
from workers.engine.keeper import Keeper
from workers.engine.seams import Seams, blame_of
from workers.engine.slots import Slots
from workers.engine.source import Source
from workers.sdk.auctioning import Auctioned
from workers.sdk.role import Role

WAIT = 20.0
"""Seconds a worker waits for an award before it asks again."""

LAST = 5.0
"""Seconds that steps under way have to end when a worker stops; then leases see to the rest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where a role is auctioned: its process, its bus and its ledger. `hearing` is shared by the
    roles of a process, as the session is."""

    role: Role
    terms: Auctioned
    bus: Bus
    keeper: Keeper
    who: Identity
    clock: Clock
    ledger: Ledger
    hearing: Hearing
    rng: random.Random


class AuctionSource:
    """Implements `workers.engine.seams.Pulls`: what it brings are awards, and tasks that run
    without an auction. `lost` is called with the delivery of an award that is lost."""

    def __init__(self, setting: Setting, lost: Callable[[Delivery], None]) -> None:
        it = setting
        self.failed = ""
        self._lose = lost
        self.slots = Slots(it.role.concurrency)
        self.awards, self.experience = Awards(), Experience()
        self._bus, self._role = it.bus, it.role.name
        self._keeper = it.keeper
        self._inner = Source(it.role, it.bus, it.keeper, it.clock, None)
        self.bound = self._inner.bound
        self.reach = Reach(it.role.name)
        self._found: deque[Delivery] = deque()
        self._news, self._more = asyncio.Event(), asyncio.Event()
        self._draining = False
        self._offers: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._clock = it.clock
        steps = Steps(terms_of(it.role, it.terms))
        teller = Teller(it.role.name, it.bus, it.clock)
        self.driver = Driver(it.bus, it.ledger, it.clock, it.who, teller=teller)
        self._winning = Winning(
            self.awards,
            steps,
            self.driver,
            it.ledger,
            it.clock,
            reach=self.reach,
            ready=self._ready,
            lost=self._lost,
            bid_in=self._bid_in,
        )
        self._bidder = self._bidder_of(it)
        self.slots.watchers += [self._more.set, self._bidder.look]
        self.offering = Offering(self._yard(it), steps, self.driver, teller, self.reach)

    def _bidder_of(self, it: Setting) -> Bidder:
        many = (it.role.name, it.role.concurrency, it.terms)
        return Bidder(
            Desk(*many, self.slots, self._free, self.experience),
            it.ledger,
            it.bus,
            it.clock,
            hearing=it.hearing,
            reach=self.reach,
            won=self._winning.won,
            back=self._winning.complete_kept,
        )

    def _yard(self, it: Setting) -> Yard:
        return Yard(
            role=it.role.name,
            bus=it.bus,
            source=self._inner,
            keeper=it.keeper,
            clock=it.clock,
            blame=blame_of(it.role, it.who),
            fallback=it.terms.fallback,
            free=self._free,
            queue=self._queue,
            more=self._more,
        )

    @property
    def errors(self) -> int:
        """Pulls that failed."""
        return self._inner.errors

    @property
    def wait(self) -> float:
        """Seconds the next pull is to wait."""
        return WAIT

    def trouble(self) -> str:
        """Why no task can come here now. May be called from any thread."""
        away = "" if self.reach.here else f"the ledger is away: {self.reach.why}"
        return self._inner.trouble() or away

    async def bind(self) -> None:
        """Bind the role, join, and begin to offer."""
        await self._inner.bind()
        self._bus.stop_view.changed.append(self._on_stops)
        self._bidder.start()
        self._offers = asyncio.create_task(self.offering.run())

    async def pull(
        self, *, free: int, ahead: int, returning: int, wait: float
    ) -> list[Delivery] | None:
        """What was won, as soon as there is some; nothing is read ahead."""
        del ahead, returning
        if not free:
            return []
        if not self._found:
            await self._until_news(wait)
        self._news.clear()
        return [self._found.popleft() for _ in range(min(free, len(self._found)))]

    def drain(self) -> None:
        """Offer nothing more and bid no more; awards that have not started are released."""
        self._draining = True
        if self._offers is not None:
            self._offers.cancel()
        self._leaving = asyncio.create_task(self._bidder.leave())
        self._release_found()

    async def close(self, seconds: float = LAST) -> None:
        """Every run has ended: let their steps end within so many seconds, then hear nothing any
        more."""
        changed = self._bus.stop_view.changed
        changed[:] = [call for call in changed if call != self._on_stops]
        if self._offers is not None:
            self._offers.cancel()
            await asyncio.wait([self._offers])
        await asyncio.gather(*map(self._hand_back, self._found))
        await self.offering.close(seconds)
        await self._winning.close(seconds)
        if self._leaving is not None:
            await asyncio.wait([self._leaving])
        await self._bidder.close()

    def _on_stops(self) -> None:
        """A pause gives back at once what has not started."""
        if self._bus.stop_view.is_paused(self._role):
            self._release_found()

    def _release_found(self) -> None:
        for delivery in list(self._found):
            if self.awards.of(delivery) is not None:
                self._found.remove(delivery)
                self._give_back(delivery)

    def _free(self) -> int:
        """Places that nothing in hand is going to take."""
        return self.slots.free - len(self._found)

    def _bid_in(self, key: str) -> int:
        return self._bidder.bid_in(key)

    def _ready(self, delivery: Delivery) -> None:
        if self._draining:
            self._give_back(delivery)
        else:
            self._queue(delivery)

    def _queue(self, delivery: Delivery) -> None:
        self._found.append(delivery)
        self._news.set()

    def _give_back(self, delivery: Delivery) -> None:
        award = self.awards.of(delivery)
        if award is not None and not award.ended.done():
            award.ended.set_result(RETURNED)

    def _lost(self, delivery: Delivery) -> None:
        if delivery in self._found:
            self._found.remove(delivery)
        else:
            self._lose(delivery)

    async def _hand_back(self, delivery: Delivery) -> None:
        """What was to run without an auction and has not started."""
        try:
            await self._bus.hand_back(delivery, None)
        except BusError as error:
            self.failed = str(error)
        finally:
            self._keeper.release(delivery)

    async def _until_news(self, wait: float) -> None:
        """Return when something was found, after `wait` seconds, or when offering ended, which it
        only does by an error that it raises."""
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._news.wait())]
        waits.append(asyncio.ensure_future(self._clock.sleep(wait)))
        watched = [*waits, *([self._offers] if self._offers is not None else [])]
        try:
            await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waits:
                one.cancel()
        if self._offers is not None and self._offers.done() and not self._draining:
            self._offers.result()


def auctioned(setting: Setting, lost: Callable[[Delivery], None]) -> Seams:
    """How the worker of an auctioned role is joined. `lost`: its `Worker.lose`."""
    source = AuctionSource(setting, lost)
    ends = AwardEnds(source.awards, setting.bus, source.experience, setting.rng)
    leases = AwardLeases(source.awards, setting.keeper)
    return Seams(source, ends, leases, source.slots)


def terms_of(role: Role, terms: Auctioned) -> Terms:
    """The same in milliseconds, as the ledger has it."""
    window, lease = round(terms.window * 1000), round(terms.lease * 1000)
    return Terms(role.name, max(1, window), lease, terms.max_awards)


def needed(ledger: Ledger | None, role: Role) -> Ledger:
    """The ledger that an auctioned role needs. Raises `NoLedger`."""
    if ledger is not None:
        return ledger
    raise NoLedger(
        f"role {role.name} is auctioned, and this worker knows no ledger",
        details=f'{role.file}:{role.line} has assign="auction"',
        actions=("give the worker a ledger", 'or let the role say assign="queue"'),
    )
