"""The checker of histories: right ones pass, each kind of wrong one is found."""

import pytest

from consensus.ledger.answers import (
    Finished,
    Opened,
    Refused,
    Renewed,
    Reopened,
    Taken,
)
from consensus.ledger.commands import Cancel, Complete, Open, PlaceBid, Release, Renew
from consensus.ledger.encoding import Signed
from contracts.auctions import Auction, AwardShown, Phase, Refusal
from tests.sim.linearizable import Operation, linearizable

OPEN = Open("k", "r", 10, 10, 3, bytes(32))
OPENED = Opened(5, 10)
HASH = bytes(32)


def op(begin: int, end: int | None, command: object = None, answer: object = None) -> Operation:
    """A command, or a read, from `begin` to `end`."""
    return Operation("k", command, begin, end, answer)


def seen(phase: Phase, round_: int = 1, token: int = 0) -> Auction:
    """What a read showed."""
    award = AwardShown(token, "w", 1, 9, 1) if token else None
    return Auction("k", "r", phase, round_, 0, 0, (), award, None, b"")


def bid(round_: int) -> PlaceBid:
    """A bid of this round."""
    return PlaceBid("k", round_, Signed(0), 0, b"")


RIGHT = {
    "nothing": [],
    "read before open": [op(1, 2, None, None), op(3, 4, OPEN, OPENED)],
    "open, bid, win, complete": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, bid(1), Taken(1)),
        op(5, 6, Renew("k", 7), Renewed(9)),
        op(7, 8, Complete("k", 7, HASH), Finished(Phase.COMPLETED, 7)),
        op(9, 10, None, seen(Phase.COMPLETED, 1, 7)),
    ],
    "two reads at once in any order": [
        op(1, 2, OPEN, OPENED),
        op(3, 8, None, seen(Phase.AWARDED, 1, 7)),
        op(4, 7, None, seen(Phase.OPEN, 1)),
    ],
    "a command without an answer that was done": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, Renew("k", 7), Renewed(9)),
        op(5, None, Complete("k", 7, HASH)),
        op(6, 7, None, seen(Phase.COMPLETED, 1, 7)),
    ],
    "a command without an answer that was never done": [
        op(1, 2, OPEN, OPENED),
        op(3, None, Cancel("k")),
        op(4, 5, Renew("k", 7), Renewed(9)),
    ],
    "a lapse and another award": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, Renew("k", 7), Renewed(9)),
        op(5, 6, None, seen(Phase.OPEN, 2)),
        op(7, 8, Renew("k", 9), Renewed(12)),
        op(9, 10, Complete("k", 7, HASH), Refused(Refusal.FENCED, Phase.AWARDED, 2)),
    ],
    "given back": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, Release("k", 7), Reopened(2, 9, 1)),
        op(5, 6, bid(2), Taken(2)),
    ],
    "a refusal that tells of an award, then its token": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, bid(1), Refused(Refusal.CLOSED, Phase.AWARDED, 1)),
        op(5, 6, Renew("k", 7), Renewed(9)),
        op(7, 8, None, seen(Phase.AWARDED, 1, 7)),
    ],
}

WRONG = {
    "a read that does not see what was opened": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, None, None),
    ],
    "a read of what nobody opened": [op(1, 2, None, seen(Phase.OPEN))],
    "a read that goes back from completed": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, Complete("k", 7, HASH), Finished(Phase.COMPLETED, 7)),
        op(5, 6, None, seen(Phase.AWARDED, 1, 7)),
    ],
    "two reads one after the other, the later one older": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, None, seen(Phase.OPEN, 2)),
        op(5, 6, None, seen(Phase.OPEN, 1)),
    ],
    "an old token that is good again": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, Renew("k", 9), Renewed(9)),
        op(5, 6, Renew("k", 7), Renewed(12)),
    ],
    "completed under two tokens": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, Complete("k", 7, HASH), Finished(Phase.COMPLETED, 7)),
        op(5, 6, Complete("k", 9, HASH), Finished(Phase.COMPLETED, 9)),
    ],
    "completed and cancelled": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, Complete("k", 7, HASH), Finished(Phase.COMPLETED, 7)),
        op(5, 6, Cancel("k"), Finished(Phase.CANCELLED, 0)),
    ],
    "completed though nobody said so": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, None, seen(Phase.COMPLETED, 1, 7)),
    ],
    "a bid taken in a round that is over": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, None, seen(Phase.OPEN, 2)),
        op(5, 6, bid(1), Taken(1)),
    ],
    "a command without an answer, seen before it was sent": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, None, seen(Phase.COMPLETED, 1, 7)),
        op(5, None, Complete("k", 7, HASH)),
    ],
    "an award in a round before": [
        op(1, 2, OPEN, OPENED),
        op(3, 4, None, seen(Phase.AWARDED, 3, 7)),
        op(5, 6, None, seen(Phase.AWARDED, 2, 9)),
    ],
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_history_that_could_have_happened_passes(name: str) -> None:
    assert linearizable(RIGHT[name])


@pytest.mark.parametrize("name", WRONG)
def test_a_history_that_could_not_have_happened_is_found(name: str) -> None:
    assert not linearizable(WRONG[name])
