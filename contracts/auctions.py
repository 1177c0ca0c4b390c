"""The words of an auction: its phases, what bidders are told, what people read, its errors.

Times are integer milliseconds of the ledger's clock, which never goes back and stands still while
nobody leads: only differences mean something, and they are at least as long in real time.
Scores and costs are integers, costs in micro-dollars: replicas must agree to the last bit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import ClassVar

from contracts.errors import MusterError

ROSTER = 8
"""At most so many workers are asked in one round: each bid is an entry of the log."""

MAX_PARTS = 512
"""Bytes that a bid may carry to say what its score is made of."""


class Phase(IntEnum):
    """Where an auction stands; the last three are ends."""

    OPEN = 1
    AWARDED = 2
    COMPLETED = 3
    CANCELLED = 4
    EXPIRED = 5

    @property
    def ended(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self >= Phase.COMPLETED


@dataclass(frozen=True, slots=True)
class Opening:
    """A round that this session may answer before `deadline`."""

    session: int
    key: str
    role: str
    round: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Won:
    """An award of this session. It is not safe to begin before a `renew` of it succeeded."""

    session: int
    key: str
    role: str
    token: int
    lease_until: int


@dataclass(frozen=True, slots=True)
class BidShown:
    """One answer to a round. `passed`: it did not want the task; `parts` says why, either way."""

    worker: str
    passed: bool
    score: int
    cost: int
    parts: bytes


@dataclass(frozen=True, slots=True)
class RoundShown:
    """A round that is closed: who was asked, the answers as they came, the award's token or 0."""

    round: int
    closed: int
    asked: int
    bids: tuple[BidShown, ...]
    token: int


@dataclass(frozen=True, slots=True)
class AwardShown:
    """Who may do the task. `token` fences: of two awards the later has the higher one. `number`
    counts the awards of this key that lapsed, and this one."""

    token: int
    worker: str
    session: int
    lease_until: int
    number: int


@dataclass(frozen=True, slots=True)
class Auction:
    """One auction as it can be read. `clock` is the time of the ledger it was read at; `asked`
    are the names of those whom the open round asked and who are still there."""

    key: str
    role: str
    phase: Phase
    round: int
    deadline: int
    clock: int
    asked: tuple[str, ...]
    award: AwardShown | None
    last_round: RoundShown | None
    result_hash: bytes

    @property
    def lapsed(self) -> bool:
        """Whether its award is past its lease, and nobody has taken it back yet."""
        award = self.award
        return self.phase is Phase.AWARDED and award is not None and award.lease_until <= self.clock


class Refusal(IntEnum):
    """Why the ledger did not do a command. Part of what is stored: numbers never change."""

    INVALID = 1
    UNKNOWN_SESSION = 2
    STALE = 3
    WINDOW_FULL = 4
    UNKNOWN_AUCTION = 5
    CONFLICT = 6
    WRONG_ROUND = 7
    CLOSED = 8
    NOT_INVITED = 9
    FENCED = 10
    ENDED = 11
    TOO_SOON = 12


class AuctionError(MusterError):
    """The root of what the ledger refuses; `refusal` is what it answered."""

    refusal: ClassVar[Refusal] = Refusal.INVALID
    """A field outside its range, here and where no other class says more."""


class UnknownSession(AuctionError):
    """The ledger knows no such session: it expired, or never was. Whether earlier commands were
    done cannot be told by asking again; open a session and read the auction."""

    refusal = Refusal.UNKNOWN_SESSION


class Stale(AuctionError):
    """The answer to this command was acknowledged, and is kept no longer."""

    refusal = Refusal.STALE


class WindowFull(AuctionError):
    """Too many commands of this session are not acknowledged. Nothing was done."""

    refusal = Refusal.WINDOW_FULL
    retryable = True


class UnknownAuction(AuctionError):
    """The ledger knows no such key: never opened, or ended more than a day ago."""

    refusal = Refusal.UNKNOWN_AUCTION


class Conflict(AuctionError):
    """The same thing was said before, and differently: another task under the key, another bid in
    the round, another result of the award."""

    refusal = Refusal.CONFLICT


class WrongRound(AuctionError):
    """The auction is in another round."""

    refusal = Refusal.WRONG_ROUND


class Closed(AuctionError):
    """The round takes no more answers."""

    refusal = Refusal.CLOSED


class NotInvited(AuctionError):
    """The session is not on the roster of this round, or no longer a bidder."""

    refusal = Refusal.NOT_INVITED


class Fenced(AuctionError):
    """The token is not that of the live award, or the award is another session's. Whoever gets
    this has lost the task: it stops, and what it made is not published."""

    refusal = Refusal.FENCED


class Ended(AuctionError):
    """The auction is completed, cancelled or expired."""

    refusal = Refusal.ENDED


class TooSoon(AuctionError):
    """Not yet: a deadline or a lease has not run out by the clock of the ledger."""

    refusal = Refusal.TOO_SOON
    retryable = True


ERRORS: Mapping[Refusal, type[AuctionError]] = MappingProxyType(
    {
        error.refusal: error
        for error in (
            AuctionError,
            UnknownSession,
            Stale,
            WindowFull,
            UnknownAuction,
            Conflict,
            WrongRound,
            Closed,
            NotInvited,
            Fenced,
            Ended,
            TooSoon,
        )
    }
)
"""The error that a client raises for each refusal."""
