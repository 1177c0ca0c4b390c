"""What becomes of awards: each is made sure, run by the worker's loop while it is renewed, and its
outcome brought to its end."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from bus.backend import Delivery
from bus.errors import BusError
from contracts.auctions import AuctionError, Won
from contracts.clock import Clock
from contracts.errors import DecodeError
from workers.auctions.awards import Award, Awards
from workers.auctions.deeds import Returned
from workers.auctions.driving import Case, Driver
from workers.auctions.ledger import Ledger, LedgerAway
from workers.auctions.reach import Reach
from workers.auctions.steps import Steps

_log = structlog.get_logger("muster.auctions")

RENEWALS = 3
"""Renewals per lease."""

MOST_KEPT = 1000
"""Outcomes that wait here for the ledger; the watch copies find those beyond."""


class Winning:
    """The awards of one role in one process. `ready` is called with the delivery of each that is
    sure, `lost` with that of each that is lost while it waits or runs. `bid_in`: the last round of
    a key that was bid in here, or 0."""

    def __init__(
        self,
        awards: Awards,
        steps: Steps,
        driver: Driver,
        ledger: Ledger,
        clock: Clock,
        *,
        reach: Reach,
        ready: Callable[[Delivery], None],
        lost: Callable[[Delivery], None],
        bid_in: Callable[[str], int],
    ) -> None:
        self._awards = awards
        self._steps = steps
        self._driver = driver
        self._ledger = ledger
        self._clock = clock
        self._reach = reach
        self._ready, self._lost, self._bid_in = ready, lost, bid_in
        self._known: set[int] = set()
        self._kept: dict[int, tuple[Won, bytes, bytes]] = {}
        self._strands: set[asyncio.Task[None]] = set()

    def won(self, won: Won) -> None:
        """An award was told, perhaps not for the first time. One whose outcome is stored already is
        not run again: it is completed."""
        if won.token in self._known:
            return
        self._known.add(won.token)
        if won.token in self._kept:
            self._spawn(self._complete(*self._kept.pop(won.token)))
        else:
            self._spawn(self._follow(won))

    def complete_kept(self) -> None:
        """The ledger answers again: bring to it what waits here."""
        for token in list(self._kept):
            self.won(self._kept[token][0])

    async def close(self, seconds: float) -> None:
        """Let the last steps end, as far as that is quick."""
        if self._strands:
            _, late = await asyncio.wait(self._strands, timeout=seconds)
            for strand in late:
                strand.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _follow(self, won: Won) -> None:
        """Steps 3 and 4 of one award, whatever happens."""
        held: list[Award] = []

        async def run(won: Won, stored: bytes) -> bytes | Returned | None:
            award = Award(won, stored, await self._round(won.key))
            held.append(award)
            return await self._run(award)

        case = Case(run=run)
        accepted = False
        error: Exception | None = None
        try:
            accepted = await self._driver.drive(self._steps.won(won), case)
        except LedgerAway as away:
            error = away
            self._reach.away(away)
            self._keep(won, held, case)
        except (BusError, DecodeError) as other:
            error = other
            _log.warning("an award cannot be followed; it lapses", key=won.key, error=str(other))
        except Exception as other:  # noqa: BLE001 - nobody waits for this task
            error = other
            _log.exception("an award cannot be followed; it lapses", key=won.key)
        finally:
            self._known.discard(won.token)
            for award in held:
                self._awards.remove(award)
                award.close(accepted=accepted, error=error)

    async def _round(self, key: str) -> int:
        """The round that was won: the last one that was bid in here, if that is remembered."""
        round_ = self._bid_in(key)
        if round_:
            return round_
        auction = await self._ledger.read(key)
        return 1 if auction is None else auction.round

    async def _run(self, award: Award) -> bytes | Returned | None:
        """Run it, renewing until its step is over."""
        self._awards.add(award)
        renewing = asyncio.create_task(self._renew(award))
        award.renewing = renewing
        self._ready(award.delivery)
        return await award.ended

    async def _renew(self, award: Award) -> None:
        """What was lost ends; that the ledger is away does not end it."""
        won, lease = award.won, self._steps.terms.lease_ms / 1000
        while award.live:
            await self._clock.sleep(lease / RENEWALS)
            try:
                await self._ledger.renew(won.key, won.token)
            except LedgerAway as away:
                self._reach.away(away)
            except AuctionError as error:
                if not error.retryable and not award.ended.done():
                    _log.warning("an award is lost", key=won.key, error=str(error))
                    self._lost(award.delivery)
                    award.lose()

    def _keep(self, won: Won, held: list[Award], case: Case) -> None:
        """The outcome is stored and the ledger is away: it is completed when that answers, here or
        by the watch copy, and the place is free meanwhile."""
        for award in held:
            outcome = award.ended.result() if award.ended.done() else None
            if isinstance(outcome, bytes) and len(self._kept) < MOST_KEPT:
                self._kept[won.token] = (won, outcome, case.body)

    async def _complete(self, won: Won, outcome: bytes, body: bytes) -> None:
        try:
            step = self._steps.finish(won.key, won.token, outcome)
            await self._driver.drive(step, Case(body=body))
        except LedgerAway as away:
            self._reach.away(away)
            self._kept[won.token] = (won, outcome, body)
        except BusError as error:
            _log.warning("an outcome is left to its watch copy", key=won.key, error=str(error))
        finally:
            self._known.discard(won.token)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        strand = asyncio.create_task(work)
        self._strands.add(strand)
        strand.add_done_callback(self._strands.discard)
