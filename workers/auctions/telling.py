"""What is told of auctions: to history, and to whoever reads the logs of a worker."""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import structlog
from pydantic_core import from_json, to_json

from bus.bus import Bus
from contracts.auctions import Auction, BidShown, Phase, RoundShown
from contracts.clock import Clock
from contracts.envelope import Envelope
from contracts.events import Event, Kind
from contracts.headers import rfc3339
from workers.auctions.marks import BLOCK

_log = structlog.get_logger("muster.auctions")

MOST_TOLD = 10_000
"""Rounds that are remembered as told; one that is told twice is recorded once."""

LONELY_AFTER = 30.0
"""Seconds without a bidder after which it is said, and said again."""


class Teller:
    """Of one role in one process. Every word of an event follows from the ledger, so that whoever
    tells it tells the same."""

    def __init__(self, role: str, bus: Bus, clock: Clock) -> None:
        self._role = role
        self._bus = bus
        self._clock = clock
        self._told: OrderedDict[tuple[str, int], None] = OrderedDict()
        self._since: float | None = None
        self._warned = 0.0

    def opened(self, key: str, task: Envelope) -> None:
        """The task was offered."""
        self._tell(task, Kind.AUCTION_OPENED, "", 0, {"key": key})

    def seen(self, auction: Auction, task: Envelope) -> None:
        """The auction was read, for whatever reason: its last round is told, once."""
        found = auction.last_round
        if found is not None and self._is_new(auction.key, found.round):
            self._tell_round(auction, found, task)
        if auction.phase is Phase.OPEN and not _wanted(found):
            self._is_lonely(found)
        else:
            self._since = None

    def _tell_round(self, auction: Auction, found: RoundShown, task: Envelope) -> None:
        data: dict[str, Any] = {"key": auction.key, "round": found.round, "asked": found.asked}
        data["bids"] = to_json([_shown(bid) for bid in found.bids]).decode()
        award = auction.award
        if not found.token:
            self._tell(task, Kind.AUCTION_CLOSED, "", found.round, data)
        elif award is not None and award.token == found.token:
            data |= {"token": award.token, "award": award.number}
            self._tell(task, Kind.AUCTION_AWARDED, award.worker, award.token, data)

    def _is_new(self, key: str, round_: int) -> bool:
        if (key, round_) in self._told:
            return False
        self._told[key, round_] = None
        if len(self._told) > MOST_TOLD:
            self._told.popitem(last=False)
        return True

    def _is_lonely(self, found: RoundShown | None) -> None:
        """A warning where nobody bids for long, with what the last ones who were asked said."""
        now = self._clock.wall()
        if self._since is None:
            self._since = self._warned = now
        if now - self._warned < LONELY_AFTER:
            return
        self._warned = now
        why = {bid.worker: _parts(bid.parts) for bid in found.bids} if found is not None else {}
        since = rfc3339(round(self._since))
        _log.warning(f"no bidder for {self._role} since {since}", role=self._role, why=why)

    def _tell(
        self, task: Envelope, kind: Kind, worker: str, number: int, data: Mapping[str, Any]
    ) -> None:
        event = Event(
            kind=kind,
            at=self._clock.wall(),
            task=task.id,
            topic=task.topic,
            role=self._role,
            copy=task.copy // BLOCK * BLOCK,
            attempt=task.attempt + 1,
            worker=worker,
            pid=0,
            published=task.time,
            tenant=task.tenant,
            correlation=task.correlation,
            number=number,
            data=data,
        )
        self._bus.tell(event)


def _wanted(found: RoundShown | None) -> bool:
    """Whether somebody wanted the task in its last round."""
    return found is not None and any(not bid.passed for bid in found.bids)


def _shown(bid: BidShown) -> Mapping[str, Any]:
    shown = {"worker": bid.worker, "passed": bid.passed, "parts": _parts(bid.parts)}
    return shown if bid.passed else {**shown, "score": bid.score, "cost": bid.cost}


def _parts(parts: bytes) -> object:
    """What a bid says of itself; whatever is no JSON is shown as it is."""
    try:
        found: object = from_json(parts)
    except ValueError:
        return parts.decode(errors="replace")
    return found
