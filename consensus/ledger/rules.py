"""The commands of auctions: what each checks, and what it does.

Fencing is what all of it is for (Kleppmann 2016, "How to do distributed locking"): of two awards
of a key the later has the higher token, at most one is live, and only its own session can use it.
"""

from consensus.ledger.answers import Answer, Finished, Opened, Refused, Renewed, Taken
from consensus.ledger.commands import (
    Adopt,
    Cancel,
    Close,
    Complete,
    Expire,
    Open,
    Pass,
    PlaceBid,
    Release,
    Renew,
)
from consensus.ledger.encoding import Signed
from consensus.ledger.rounds import Rounds
from consensus.ledger.state import Award, Bid, Session, Task
from contracts.auctions import Phase, Refusal


class Rules(Rounds):
    """What may be done to an auction, by whom and when."""

    def open(self, _: Session, c: Open) -> Answer:
        """The same task again gets the same answer; another under its key is a conflict."""
        task = self.state.tasks.get(c.key)
        if task is None:
            task = Task(
                key=c.key,
                role=c.role,
                window_ms=c.window_ms,
                lease_ms=c.lease_ms,
                max_awards=c.max_awards,
                spec_hash=c.spec_hash,
                opened=self.state.applied,
                first_deadline=0,
            )
            self.start(task)
        elif not _is_same(task, c):
            return _refused(Refusal.CONFLICT, task)
        return Opened(task.opened, task.first_deadline)

    def bid(self, session: Session, c: PlaceBid) -> Answer:
        """One answer for each on the roster, in its round and before the deadline."""
        return self._answer(session, c, passed=False)

    def decline(self, session: Session, c: Pass) -> Answer:
        """The same, without wanting the task."""
        return self._answer(session, c, passed=True)

    def close(self, c: Close) -> Answer:
        """Decide the round, if it is this one and it may be decided."""
        task = self.state.tasks.get(c.key)
        if task is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        if task.phase is not Phase.OPEN:
            return _refused(Refusal.CLOSED, task)
        if not self._is_in_round(task, c.round):
            return _refused(Refusal.WRONG_ROUND, task)
        if not self._may_close(task):
            return _refused(Refusal.TOO_SOON, task)
        return self.decide(task)

    def renew(self, session: Session, c: Renew) -> Answer:
        """Also past the lease, as long as nobody has taken the award back."""
        held = self._holding(c.key, c.token, session)
        if isinstance(held, Refused):
            return held
        task, award = held
        until = max(award.lease_until, self.state.clock + task.lease_ms)
        task.award = Award(award.token, award.session, award.worker, until, award.number)
        return Renewed(until)

    def complete(self, session: Session, c: Complete) -> Answer:
        """Once; the same result again gets the same answer."""
        task = self.state.tasks.get(c.key)
        if task is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        if task.award is not None and not self._is_holder(task.award, c.token, session):
            return _refused(Refusal.FENCED, task)
        return self._complete(task, c)

    def adopt(self, _: Session, c: Adopt) -> Answer:
        """Anyone, for a winner that is past its lease; the token must be that of its award."""
        task = self.state.tasks.get(c.key)
        if task is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        award = task.award
        if award is not None and not self._is_token(award, c.token):
            return _refused(Refusal.FENCED, task)
        if award is not None and not task.phase.ended and not self._has_lapsed(award):
            return _refused(Refusal.TOO_SOON, task)
        return self._complete(task, c)

    def release(self, session: Session, c: Release) -> Answer:
        """Somebody else may have it, at once."""
        held = self._holding(c.key, c.token, session)
        if isinstance(held, Refused):
            return held
        task, award = held
        return self.give_back(task, award)

    def cancel(self, _: Session, c: Cancel) -> Answer:
        """Whatever its award; what has another end keeps it."""
        task = self.state.tasks.get(c.key)
        if task is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        if task.phase is Phase.CANCELLED:
            return Finished(Phase.CANCELLED, 0)
        if task.phase.ended:
            return _refused(Refusal.ENDED, task)
        return self.end(task, Phase.CANCELLED)

    def expire(self, c: Expire) -> Answer:
        """Take the award back, if it is still this one and still past its lease."""
        task = self.state.tasks.get(c.key)
        if task is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        award = task.award
        if award is None or task.phase is not Phase.AWARDED:
            return _refused(Refusal.ENDED if task.phase.ended else Refusal.FENCED, task)
        if why := self._why_not_expire(award, c.token):
            return _refused(why, task)
        return self.lapse(task, award)

    def _answer(self, session: Session, c: PlaceBid | Pass, *, passed: bool) -> Answer:
        task = self.state.tasks.get(c.key)
        if task is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        if why := self._why_not_answer(task, session, c.round):
            return _refused(why, task)
        score, cost = (Signed(0), 0) if isinstance(c, Pass) else (c.score, c.cost)
        before = task.bids.get(session.id)
        at = before.index if before else self.state.applied
        bid = Bid(at, session.id, session.worker, passed, score, cost, c.parts)
        if before is None:
            task.bids[session.id] = bid
            self.index.note_answers(task)
        elif before != bid:
            return _refused(Refusal.CONFLICT, task)
        return Taken(c.round)

    def _why_not_answer(self, task: Task, session: Session, round_: int) -> Refusal | None:
        if task.phase.ended:
            return Refusal.ENDED
        if not self._is_in_round(task, round_):
            return Refusal.WRONG_ROUND
        if task.phase is not Phase.OPEN or not task.roster or not self._is_in_time(task):
            return Refusal.CLOSED
        if session.id not in task.roster or not self._is_bidder(task, session):
            return Refusal.NOT_INVITED
        return None

    def _complete(self, task: Task, c: Complete | Adopt) -> Answer:
        """The token was checked, if there is an award."""
        award = task.award
        if award is None:
            return _refused(Refusal.ENDED if task.phase.ended else Refusal.FENCED, task)
        if not task.phase.ended:
            return self.end(task, Phase.COMPLETED, c.result_hash)
        if c.result_hash != task.result_hash:
            return _refused(Refusal.CONFLICT, task)
        return Finished(Phase.COMPLETED, award.token)

    def _holding(self, key: str, token: int, session: Session) -> tuple[Task, Award] | Refused:
        """The task and its live award, if they are this session's under this token."""
        task = self.state.tasks.get(key)
        if task is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        if task.phase.ended:
            return _refused(Refusal.ENDED, task)
        if task.award is None or not self._is_holder(task.award, token, session):
            return _refused(Refusal.FENCED, task)
        return task, task.award

    def _is_in_round(self, task: Task, round_: int) -> bool:
        return task.round == round_

    def _is_in_time(self, task: Task) -> bool:
        """Bids come before the deadline: at it, the round may be decided."""
        return self.state.clock < task.deadline

    def _is_bidder(self, task: Task, session: Session) -> bool:
        return session.id in self.state.bidders.get(task.role, {})

    def _may_close(self, task: Task) -> bool:
        """Past the deadline, or all have answered or left, or nobody was there and now is."""
        if self.state.clock >= task.deadline or self.index.has_answered(task):
            return True
        return not task.roster and not task.declined and bool(self.index.room.get(task.role))

    def _is_holder(self, award: Award, token: int, session: Session) -> bool:
        return self._is_token(award, token) and award.session == session.id

    def _is_token(self, award: Award, token: int) -> bool:
        return award.token == token

    def _has_lapsed(self, award: Award) -> bool:
        """A lease of so many ms has passed when the clock shows its end."""
        return self.state.clock >= award.lease_until

    def _why_not_expire(self, award: Award, token: int) -> Refusal | None:
        if not self._is_token(award, token):
            return Refusal.FENCED
        return None if self._has_lapsed(award) else Refusal.TOO_SOON


def _is_same(task: Task, c: Open) -> bool:
    said = (c.role, c.window_ms, c.lease_ms, c.max_awards, c.spec_hash)
    known = (task.role, task.window_ms, task.lease_ms, task.max_awards, task.spec_hash)
    return said == known


def _refused(why: Refusal, task: Task | None = None) -> Refused:
    return Refused(why, task.phase, task.round) if task else Refused(why)
