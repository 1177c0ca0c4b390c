"""A worker as a bidder: it joins with its free places, answers openings, and hears what it won."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from bus.bus import Bus
from bus.errors import BusError
from bus.waking import new_bell, ring, rung
from contracts.auctions import AuctionError, Opening, Won
from contracts.clock import Clock
from contracts.envelope import Envelope, decode
from contracts.errors import DecodeError
from workers.auctions.bidding import Answer, answer_of, default_bid, passed
from workers.auctions.driving import task_body, task_headers
from workers.auctions.experience import Experience
from workers.auctions.hearing import Hearing
from workers.auctions.ledger import Ledger, LedgerAway
from workers.auctions.reach import Reach
from workers.auctions.steps import body_at
from workers.engine.slots import Slots
from workers.sdk.auctioning import Auctioned
from workers.sdk.bids import Situation

_log = structlog.get_logger("muster.auctions")

BEAT = 5.0
"""Seconds between two times that a worker says it is a bidder: one that was taken for gone, or has
other places by now, is right again within that."""

AGAIN = 1.0
"""Seconds after which a ledger that was away is asked again."""


MOST_ROUNDS = 10_000
"""Auctions of which the last round is remembered that was bid in."""


@dataclass(frozen=True, slots=True)
class Desk:
    """What a bidder knows of its own process. `free`: places for more awards."""

    role: str
    concurrency: int
    terms: Auctioned
    slots: Slots
    free: Callable[[], int]
    experience: Experience


class Bidder:
    """One role in one process. `won` is called with each award that is told; `back` when the
    ledger answers again."""

    def __init__(
        self,
        desk: Desk,
        ledger: Ledger,
        bus: Bus,
        clock: Clock,
        *,
        hearing: Hearing,
        reach: Reach,
        won: Callable[[Won], None],
        back: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._ledger = ledger
        self._bus = bus
        self._clock = clock
        self._hearing, self._reach = hearing, reach
        self._won, self._back = won, back
        self._leaving = False
        self._attending: asyncio.Task[None] | None = None
        self._said = 0
        self._rounds: OrderedDict[str, int] = OrderedDict()
        self._news = new_bell()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Listen and join."""
        self._hearing.begin(self._desk.role, self._hear)
        self._attending = self._spawn(self._attend())

    def bid_in(self, key: str) -> int:
        """The last round of an auction that was bid in here; 0 if that is not known."""
        return self._rounds.get(key, 0)

    def look(self) -> None:
        """There may be other places than were said."""
        if self._places() != self._said:
            ring(self._news)

    async def leave(self) -> None:
        """Be no bidder any more; awards are still heard of."""
        self._leaving = True
        if self._attending is not None:
            self._attending.cancel()
            await asyncio.wait([self._attending])
        try:
            await self._ledger.leave(self._desk.role)
        except (LedgerAway, AuctionError) as error:
            _log.info("could not leave; the ledger will notice", error=str(error))

    async def close(self) -> None:
        """Hear nothing any more."""
        await self._hearing.end(self._desk.role)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _attend(self) -> None:
        while not self._leaving:
            try:
                await self._say_so()
            except LedgerAway as error:
                self._reach.away(error)
            except AuctionError as error:
                _log.warning("cannot join", role=self._desk.role, error=str(error))
            else:
                if self._reach.back():
                    self._back()
            await rung(self._news, self._clock, BEAT if self._reach.here else AGAIN)

    async def _say_so(self) -> None:
        """A role that is paused is asked for nothing."""
        desk, self._said = self._desk, self._places()
        self._news = new_bell()
        if self._bus.stop_view.is_paused(desk.role):
            await self._ledger.leave(desk.role)
        else:
            await self._ledger.join(desk.role, skills=desk.terms.skills, slots=self._said)

    def _places(self) -> int:
        """A run that waits for its children holds an award and no place: without another in its
        stead a fleet would wait for itself."""
        desk = self._desk
        most = min(desk.terms.slots or desk.concurrency, desk.slots.size)
        return min(10_000, most + desk.slots.waiting)

    def _hear(self, told: Opening | Won) -> None:
        if isinstance(told, Won):
            self._won(told)
        else:
            self._spawn(self._answer(told))

    async def _answer(self, opening: Opening) -> None:
        """One round trip; what the ledger refuses is over, or was answered before."""
        answer = await self._bid(opening)
        say, key, round_ = self._ledger, opening.key, opening.round
        try:
            if answer.passed:
                await say.pass_(key, round_, parts=answer.parts)
            else:
                self._remember(opening)
                await say.bid(key, round_, score=answer.score, cost=answer.cost, parts=answer.parts)
        except LedgerAway as error:
            self._reach.away(error)
        except AuctionError as error:
            _log.debug("a bid was refused", key=key, error=str(error))

    def _remember(self, opening: Opening) -> None:
        self._rounds.pop(opening.key, None)
        self._rounds[opening.key] = opening.round
        if len(self._rounds) > MOST_ROUNDS:
            self._rounds.popitem(last=False)

    async def _bid(self, opening: Opening) -> Answer:
        terms = self._desk.terms
        if self._leaving:
            return passed("its worker stops")
        if self._bus.stop_view.is_paused(self._desk.role):
            return passed("its role is paused")
        task = None
        if terms.skills or terms.bid is not None:
            task = await self._task(opening.key)
        return answer_of(terms.bid or default_bid, self._situation(opening.key, task))

    def _situation(self, key: str, task: Envelope | None) -> Situation:
        desk = self._desk
        topic = "" if task is None else task.topic
        words = [] if task is None else [*topic.split("."), *task.subjects]
        known = desk.experience.of(topic)
        return Situation(
            role=desk.role,
            key=key,
            topic=topic,
            words=frozenset(word.casefold() for word in words),
            payload=b"" if task is None else task.body,
            skills=desk.terms.skills,
            free=desk.free(),
            slots=desk.slots.size,
            runs=known.runs,
            succeeded=known.succeeded,
            seconds=known.seconds,
            cost=known.cost,
        )

    async def _task(self, key: str) -> Envelope | None:
        """The task, if it can be read now: a bid does not wait for the broker."""
        try:
            entry = await self._bus.store.get(body_at(key))
            if entry is None:
                return None
            return decode(task_headers(entry.value), task_body(entry.value))
        except (BusError, DecodeError) as error:
            _log.debug("cannot read a task to bid for", key=key, error=str(error))
            return None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
