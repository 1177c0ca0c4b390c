"""The five steps of an auction through the bus, without a bus: what to do next, and in which order.

Each step is a generator that yields what is to be done and is sent what came of it. It may end
anywhere, as a process may: whatever was done stays done, and nothing else happens. The engine of
workers is to run these very steps; until it does they are at home beside the test that proves them.

The order is the proof: the body is stored before the auction is opened; the task's watch copy is
safe before the task is forgotten; an outcome is stored before its award is completed, and published
only after that; what was stored is deleted last.
"""

import hashlib
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from bus.backend import Delivery, Message
from bus.errors import Unreachable
from consensus.ledger.answers import Answer, Finished, Refused, Renewed
from consensus.ledger.commands import Adopt, Complete, Open, Release, Renew
from contracts.auctions import Auction, Phase, Refusal, Won
from tests.sim.deeds import (
    GIVEN_BACK,
    Bury,
    Deed,
    Delete,
    Get,
    IsAway,
    Publish,
    Put,
    Run,
    RunQueued,
    Say,
    See,
    Settle,
    SettleQueued,
)

AUCTION = "auction"
"""The header with the key under which a task is auctioned."""

WATCH = "auction-watch"
"""The header of a watch copy."""

RESULTS = "results"
"""The topic of what came of a task."""

AGAIN_AFTER = 1.0
"""Seconds between two looks of a watch copy."""


Step = Generator[Deed, Any, None]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a role's tasks are auctioned. `fallback`: they may run without while the ledger is
    away."""

    role: str
    window_ms: int
    lease_ms: int
    max_awards: int
    fallback: bool = False


def body_at(key: str) -> str:
    """Where the body of a task lies while it is auctioned."""
    return f"auction/{key}"


def outcome_at(key: str, token: int) -> str:
    """Where the outcome of an award lies until it is published."""
    return f"outcome/{key}/{token}"


def result_of(key: str, value: bytes) -> Message:
    """The message that tells what came of a task: whoever publishes it, it is the same one."""
    return Message(f"{key}.result", 0, RESULTS, value)


class Steps:
    """The steps, for tasks of one role."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms

    def pulled(self, delivery: Delivery) -> Step:
        """A task of the role, or its watch copy, was pulled: steps 1 and 5."""
        watched = WATCH in delivery.message.headers
        return self.watch(delivery) if watched else self.offer(delivery)

    def offer(self, delivery: Delivery) -> Step:
        """Step 1: the body is stored, the auction is open, and a watch copy is left behind."""
        if self.terms.fallback and self._is_first(delivery):
            away: bool = yield IsAway()
            if away:
                yield from self.queue(delivery)
                return
        message, terms = delivery.message, self.terms
        key, spec = message.headers[AUCTION], hashlib.sha256(message.body).digest()
        yield Put(body_at(key), message.body)
        yield Say(Open(key, terms.role, terms.window_ms, terms.lease_ms, terms.max_awards, spec))
        due = terms.window_ms / 1000 + AGAIN_AFTER
        yield Settle(delivery, self._watch_copy(delivery), due)

    def _is_first(self, delivery: Delivery) -> bool:
        """Whether nobody can have opened an auction for it: a first copy, handed over once."""
        return delivery.message.copy == 0 and delivery.earlier == 0

    def queue(self, delivery: Delivery) -> Step:
        """The ledger is away: as if the task was not auctioned; it never comes to the ledger."""
        value: bytes = yield RunQueued(delivery)
        yield SettleQueued(delivery, result_of(delivery.message.headers[AUCTION], value))

    def won(self, won: Won) -> Step:
        """Steps 3 and 4: an award was heard of. It is made sure, run, and its outcome published."""
        answer: Answer = yield Say(Renew(won.key, won.token))
        if not isinstance(answer, Renewed):
            return
        try:
            body: bytes | None = yield Get(body_at(won.key))
        except Unreachable:
            yield from self.give_back(won)
            return
        if body is None:
            return
        value: bytes | None = yield Run(won, self.terms.lease_ms, body)
        if value == GIVEN_BACK:
            yield from self.give_back(won)
        elif value is not None:
            yield from self.finish(won.key, won.token, value)

    def give_back(self, won: Won) -> Step:
        """A worker that ends, or cannot even begin, does not let others wait for its lease. Once an
        outcome may be stored nothing is given back: the watch copy finds it."""
        yield Say(Release(won.key, won.token))

    def finish(self, key: str, token: int, value: bytes) -> Step:
        """Step 4: store, complete, publish, delete."""
        yield Put(outcome_at(key, token), value)
        answer: Answer = yield Say(Complete(key, token, hashlib.sha256(value).digest()))
        if isinstance(answer, Finished):
            yield from self.publish(key, token, value)
        elif isinstance(answer, Refused) and answer.why in {Refusal.FENCED, Refusal.ENDED}:
            yield Delete(outcome_at(key, token))

    def publish(self, key: str, token: int, value: bytes) -> Step:
        """The end of step 4, which may be done any number of times."""
        yield Publish(key, token, result_of(key, value))
        yield Delete(body_at(key))
        yield Delete(outcome_at(key, token))

    def watch(self, delivery: Delivery) -> Step:
        """Step 5: a due watch copy finishes what a crash left, or looks again later."""
        key = delivery.message.headers[AUCTION]
        auction: Auction | None = yield See(key)
        if auction is None:
            yield Bury(delivery, "the ledger does not know this auction")
        elif auction.phase is Phase.EXPIRED:
            yield Bury(delivery, "exhausted")
            yield Delete(body_at(key))
        elif auction.phase in {Phase.OPEN, Phase.AWARDED}:
            yield from self._look_again(delivery, auction)
        else:
            yield from self._ended(delivery, auction)

    def _look_again(self, delivery: Delivery, auction: Auction) -> Step:
        """An award that has lapsed may have an outcome: then it is adopted."""
        award, key = auction.award, auction.key
        if award is not None and auction.lapsed:
            value: bytes | None = yield Get(outcome_at(key, award.token))
            if value is not None:
                digest = hashlib.sha256(value).digest()
                answer: Answer = yield Say(Adopt(key, award.token, digest))
                if isinstance(answer, Finished):
                    yield from self.publish(key, award.token, value)
                    yield Settle(delivery, None)
                    return
        yield Settle(delivery, self._watch_copy(delivery), AGAIN_AFTER)

    def _ended(self, delivery: Delivery, auction: Auction) -> Step:
        """COMPLETED: publish what is still there, which nobody may have published. CANCELLED:
        nothing is owed."""
        if auction.phase is Phase.COMPLETED and auction.award is not None:
            token = auction.award.token
            value: bytes | None = yield Get(outcome_at(auction.key, token))
            if value is not None:
                yield from self.publish(auction.key, token, value)
        yield Delete(body_at(auction.key))
        yield Settle(delivery, None)

    def _watch_copy(self, delivery: Delivery) -> Message | None:
        """The whole task again, to be looked at later."""
        m = delivery.message
        headers = {**m.headers, WATCH: "1"}
        return Message(m.id, m.copy + 1, m.topic, m.body, headers, m.lane, 0.0, delivery.group)


class PublishesBeforeComplete(Steps):
    """Breaks a rule on purpose."""

    def finish(self, key: str, token: int, value: bytes) -> Step:
        yield Put(outcome_at(key, token), value)
        yield Publish(key, token, result_of(key, value))
        yield Say(Complete(key, token, hashlib.sha256(value).digest()))


class CompletesBeforePut(Steps):
    """Breaks a rule on purpose."""

    def finish(self, key: str, token: int, value: bytes) -> Step:
        answer: Answer = yield Say(Complete(key, token, hashlib.sha256(value).digest()))
        if isinstance(answer, Finished):
            yield Put(outcome_at(key, token), value)
            yield from self.publish(key, token, value)


class KeepsItsAwards(Steps):
    """Breaks a rule on purpose."""

    def give_back(self, won: Won) -> Step:  # noqa: ARG002
        yield from ()


class QueuesAnyCopy(Steps):
    """Breaks a rule on purpose."""

    def _is_first(self, delivery: Delivery) -> bool:  # noqa: ARG002
        return True


class LeavesNoWatchCopy(Steps):
    """Breaks a rule on purpose."""

    def _watch_copy(self, delivery: Delivery) -> Message | None:  # noqa: ARG002
        return None
