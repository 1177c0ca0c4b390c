"""The five steps of an auction through the bus, without a bus: what to do next, in which order.

Each step is a generator that yields what is to be done and is sent what came of it; a refusal of
the ledger is thrown into it. It may end anywhere, as a process may: whatever was done stays done,
and nothing else happens.

The order is the proof: the body is stored before the auction is opened; the task's watch copy is
safe before the task is forgotten; an outcome is stored before its award is completed, and published
only after that; what was stored is deleted last.
"""

from dataclasses import dataclass
from hashlib import sha256

from consensus.ledger.commands import Adopt, Cancel, Complete, Open, Release, Renew
from contracts.auctions import Auction, AuctionError, Conflict, Ended, Fenced, Phase, Won
from contracts.outcomes import Reason
from workers.auctions.deeds import (
    RETURNED,
    Bury,
    Delete,
    Forget,
    Get,
    Publish,
    Put,
    PutNew,
    Returned,
    Run,
    Say,
    See,
    Step,
    Stop,
    Sweep,
    Watch,
)

AGAIN_AFTER = 1.0
"""Seconds after which a watch copy looks again, beyond what it waits for."""

AGAIN_AT_MOST = 60.0
"""Seconds between two looks, however long the lease is."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How a role's tasks are auctioned; times in milliseconds."""

    role: str
    window_ms: int
    lease_ms: int
    max_awards: int


def body_at(key: str) -> str:
    """Where a task lies while it is auctioned; one word of a key of the store per part."""
    return f"auction/{_word(key)}"


def outcomes_at(key: str) -> str:
    """Prefix of the outcomes of all its awards."""
    return f"outcome/{_word(key)}/"


def outcome_at(key: str, token: int) -> str:
    """Where the outcome of an award lies until it is published."""
    return f"{outcomes_at(key)}{token}"


def _word(key: str) -> str:
    return key.replace("%", "%25").replace("/", "%2F")


def spec_of(stored: bytes) -> bytes:
    """What tells one task from another under the same key: the hash of its body, which lies behind
    the first line of what is stored."""
    return sha256(stored.partition(b"\n")[2]).digest()


class Steps:
    """The steps, for tasks of one role."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def offer(self, key: str, body: bytes) -> Step:
        """Step 1: the body is stored, the auction is open, and a watch copy is left behind."""
        terms, spec = self.terms, spec_of(body)
        there: bytes | None = yield PutNew(body_at(key), body)
        if there is not None and spec_of(there) != spec:
            yield Bury(Reason.INVALID, f"another task of this id is auctioned as {key}")
            return False
        try:
            terms_ = (terms.role, terms.window_ms, terms.lease_ms, terms.max_awards)
            yield Say(Open(key, *terms_, spec))
        except Conflict:
            if not (yield from self._goes_on(key)):
                return False
        yield Watch(key, terms.window_ms / 1000 + AGAIN_AFTER)
        return True

    def _goes_on(self, key: str) -> Step:
        """An auction under other terms, as before a change of the role, goes on under those."""
        auction: Auction | None = yield See(key)
        if auction is not None and not auction.phase.ended:
            return True
        yield Delete(body_at(key))
        yield Bury(Reason.INVALID, f"another task of this id was auctioned as {key} today")
        return False

    def won(self, won: Won) -> Step:
        """Steps 3 and 4: an award was heard of. It is made sure, run, and its outcome published."""
        try:
            yield Say(Renew(won.key, won.token))
        except AuctionError:
            return False
        body: bytes | None = yield Get(body_at(won.key))
        if body is None:
            return False
        outcome: bytes | Returned | None = yield Run(won, body)
        if outcome is None:
            return False
        if outcome is RETURNED:
            return (yield from self._give_back(won))
        return (yield from self.finish(won.key, won.token, outcome))

    def _give_back(self, won: Won) -> Step:
        try:
            yield Say(Release(won.key, won.token))
        except AuctionError:
            return False
        return True

    def finish(self, key: str, token: int, outcome: bytes) -> Step:
        """Step 4: store, complete, publish, delete. False where the outcome is not accepted."""
        yield Put(outcome_at(key, token), outcome)
        try:
            yield Say(Complete(key, token, sha256(outcome).digest()))
        except (Fenced, Ended):
            yield Delete(outcome_at(key, token))
            return False
        except AuctionError:
            return False
        yield from self.publish(key, token, outcome)
        return True

    def publish(self, key: str, token: int, outcome: bytes) -> Step:
        """The end of step 4, which may be done any number of times."""
        yield Publish(key, outcome)
        yield Delete(body_at(key))
        yield Delete(outcome_at(key, token))
        return True

    def watch(self, key: str, *, stopped: bool = False) -> Step:
        """Step 5: a due watch copy finishes what a crash left, or looks again later. `stopped`:
        somebody has cancelled the task."""
        auction: Auction | None = yield See(key)
        if auction is None:
            yield Delete(body_at(key))
            yield Bury(Reason.EXHAUSTED, f"the ledger does not know its auction {key}: replay it")
        elif auction.phase is Phase.EXPIRED:
            yield Delete(body_at(key))
            yield Sweep(key)
            yield Bury(Reason.EXHAUSTED, "every worker that was to run it let its award lapse")
        elif auction.phase.ended:
            yield from self._ended(auction)
        elif stopped and auction.phase is Phase.OPEN:
            yield from self._cancel(auction)
        else:
            yield from self._look_again(auction)
        return True

    def _cancel(self, auction: Auction) -> Step:
        try:
            yield Say(Cancel(auction.key))
        except AuctionError:
            yield Watch(auction.key, AGAIN_AFTER)
            return False
        yield Delete(body_at(auction.key))
        yield Sweep(auction.key)
        yield Stop()
        return True

    def _look_again(self, auction: Auction) -> Step:
        """An award that has lapsed may have an outcome: then it is adopted."""
        award, key = auction.award, auction.key
        if award is not None and auction.lapsed:
            outcome: bytes | None = yield Get(outcome_at(key, award.token))
            if outcome is not None and (yield from self._adopt(key, award.token, outcome)):
                yield from self.publish(key, award.token, outcome)
                yield Forget()
                return True
        yield Watch(key, _until_next(auction))
        return True

    def _adopt(self, key: str, token: int, outcome: bytes) -> Step:
        try:
            yield Say(Adopt(key, token, sha256(outcome).digest()))
        except AuctionError:
            return False
        return True

    def _ended(self, auction: Auction) -> Step:
        """COMPLETED: publish what is still there, which nobody may have published. CANCELLED:
        nobody runs it. What lapsed awards have left goes last."""
        key, award = auction.key, auction.award
        if auction.phase is Phase.CANCELLED:
            yield Delete(body_at(key))
            yield Sweep(key)
            yield Stop()
            return True
        if award is not None:
            outcome: bytes | None = yield Get(outcome_at(key, award.token))
            if outcome is not None:
                yield from self.publish(key, award.token, outcome)
            if award.number > 1:
                yield Sweep(key)
        yield Delete(body_at(key))
        yield Forget()
        return True


def _until_next(auction: Auction) -> float:
    """Seconds until there can be news: after the round, or the lease; leases are renewed."""
    award = auction.award
    until = auction.deadline if award is None else award.lease_until
    ahead = max(0, until - auction.clock) / 1000
    return min(AGAIN_AT_MOST, ahead + AGAIN_AFTER)
