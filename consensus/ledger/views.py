"""What can be read of a ledger. Whoever must not read the past asks for a read index first."""

from collections.abc import Iterator, Sequence

from consensus.ledger.index import Index
from consensus.ledger.state import Award, Bid, ClosedRound, State, Task
from contracts.auctions import (
    Auction,
    AwardShown,
    BidShown,
    Opening,
    Phase,
    RoundShown,
    Won,
)


class Views:
    """Questions that change nothing."""

    def __init__(self, state: State, index: Index) -> None:
        self._state = state
        self._index = index

    def auction(self, key: str) -> Auction | None:
        """One auction; None if the ledger does not know it, or no more."""
        task = self._state.tasks.get(key)
        return self._shown(task) if task else None

    def auctions(self, after: str = "", limit: int = 100) -> list[Auction]:
        """Auctions in the order of their keys, those behind `after`. Goes over all of them."""
        keys = sorted(key for key in self._state.tasks if key > after)[:limit]
        return [self._shown(self._state.tasks[key]) for key in keys]

    def openings(self, key: str) -> list[Opening]:
        """The open round of `key`, once for each who was asked and has not answered."""
        task = self._state.tasks.get(key)
        if task is None or task.phase is not Phase.OPEN:
            return []
        asked = [session for session in task.roster if session not in task.bids]
        return [_opening(session, task) for session in asked]

    def waiting_for(self, session: int) -> list[Opening | Won]:
        """What a bidder that connects again has to hear: rounds it has not answered, and its live
        awards."""
        tasks = self._state.tasks
        invited = [tasks[key] for key in sorted(self._index.invited.get(session, ()))]
        found: list[Opening | Won] = [
            _opening(session, task) for task in invited if session not in task.bids
        ]
        held = [tasks[key] for key in sorted(self._index.held.get(session, ()))]
        return found + [_won(task, task.award) for task in held if task.award]

    def session_of(self, nonce: bytes) -> int | None:
        """The session that was opened with `nonce`, which only its client knows."""
        return self._index.nonces.get(nonce)

    def lonely(self) -> dict[str, int]:
        """Roles with auctions that wait because nobody can be asked, and how many each."""
        return {role: len(self._index.lonely[role]) for role in sorted(self._index.lonely)}

    def live_awards(self, session: int, role: str) -> int:
        """How many slots of a role a session has in use."""
        return self._index.live[session, role]

    def _shown(self, task: Task) -> Auction:
        return Auction(
            key=task.key,
            role=task.role,
            phase=task.phase,
            round=task.round,
            deadline=task.deadline,
            clock=self._state.clock,
            asked=tuple(self._names(task.roster)),
            award=_award(task),
            last_round=_round(task.closed) if task.closed else None,
            result_hash=task.result_hash,
        )

    def _names(self, sessions: Sequence[int]) -> Iterator[str]:
        for id_ in sessions:
            session = self._state.sessions.get(id_)
            if session is not None:
                yield session.worker


def _opening(session: int, task: Task) -> Opening:
    return Opening(session, task.key, task.role, task.round, task.deadline)


def _won(task: Task, award: Award) -> Won:
    return Won(award.session, task.key, task.role, award.token, award.lease_until)


def _award(task: Task) -> AwardShown | None:
    a = task.award
    return AwardShown(a.token, a.worker, a.session, a.lease_until, a.number) if a else None


def _round(closed: ClosedRound) -> RoundShown:
    bids = tuple(_bid(bid) for bid in closed.bids)
    return RoundShown(closed.round, closed.at, closed.asked, bids, closed.token)


def _bid(bid: Bid) -> BidShown:
    return BidShown(bid.worker, bid.passed, bid.score, bid.cost, bid.parts)
