"""The ledger with one rule broken at a time, and the scenario that must notice.

`BREAKS` names for each mutant what is broken and the scenario that may not come out as written.
The simulation of whole clusters uses the same classes.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from consensus.ledger.answers import Answer, Done
from consensus.ledger.commands import RaiseVersion, Release
from consensus.ledger.entries import Entry
from consensus.ledger.ledger import Ledger
from consensus.ledger.rules import Rules
from consensus.ledger.sessions import Sessions
from consensus.ledger.state import Award, Bid, Session, Task
from contracts.auctions import Refusal


class AwardWithoutFencing(Rules):
    def _is_token(self, award: Award, token: int) -> bool:  # noqa: ARG002
        return True


class AnySessionHolds(Rules):
    def _is_holder(self, award: Award, token: int, session: Session) -> bool:  # noqa: ARG002
        return self._is_token(award, token)


class ReopenKeepsBids(Rules):
    def _forget_bids(self, task: Task) -> None:
        pass


class StaleRoundClose(Rules):
    def _is_in_round(self, task: Task, round_: int) -> bool:
        return round_ <= task.round


class ExpireWithoutReCheck(Rules):
    def _why_not_expire(self, award: Award, token: int) -> Refusal | None:
        return None if self._is_token(award, token) else Refusal.FENCED


class ExpireOfAnyAward(Rules):
    def _why_not_expire(self, award: Award, token: int) -> Refusal | None:  # noqa: ARG002
        return None if self._has_lapsed(award) else Refusal.TOO_SOON


class LapsesALittleLate(Rules):
    def _has_lapsed(self, award: Award) -> bool:
        return self.state.clock > award.lease_until


class BidAtTheDeadline(Rules):
    def _is_in_time(self, task: Task) -> bool:
        return self.state.clock <= task.deadline


class CloseAtAnyTime(Rules):
    def _may_close(self, task: Task) -> bool:  # noqa: ARG002
        return True


class EmptyRosterHasAnswered(Rules):
    def _may_close(self, task: Task) -> bool:
        return not task.roster or super()._may_close(task)


class SlotsNotCounted(Rules):
    def _can_win(self, task: Task, bid: Bid) -> bool:
        return bid.session in self.state.bidders.get(task.role, {})


class WhoLeftCanWin(Rules):
    def _can_win(self, task: Task, bid: Bid) -> bool:
        return bid.session in task.bids


class NobodyLeftOut(Rules):
    def _candidates(self, task: Task) -> list[tuple[int, str]]:
        return list(self.index.room.get(task.role, {}).items())


class LeftOutEvenIfAlone(Rules):
    def _candidates(self, task: Task) -> list[tuple[int, str]]:
        return [one for one in super()._candidates(task) if one[1] != task.left_out]


class EmptyRoundsWithoutPause(Rules):
    def _put_off(self, task: Task) -> None:
        task.deadline = self.state.clock


class PausesNeverEndToGrow(Rules):
    def _put_off(self, task: Task) -> None:
        task.deadline = self.state.clock + (task.window_ms << task.pauses)
        task.pauses += 1


class ReleaseCounts(Rules):
    def release(self, session: Session, c: Release) -> Answer:
        task = self.state.tasks.get(c.key)
        if task is not None and task.award is not None and task.award.session == session.id:
            return self.lapse(task, task.award)
        return super().release(session, c)


class NeverForgets(Rules):
    def retire(self) -> None:
        pass


class DedupeBySeqUpToLast(Sessions):
    def _stored(self, session: Session, seq: int) -> Answer | None:
        last = max(session.answers, default=-1)
        return session.answers.get(seq, session.answers[last]) if seq <= last else None


class NoDedupe(Sessions):
    def _stored(self, session: Session, seq: int) -> Answer | None:  # noqa: ARG002
        return None


class RefusalsNotStored(Sessions):
    def keep(self, session: Session, seq: int, answer: Answer) -> None:
        if not hasattr(answer, "why"):
            super().keep(session, seq, answer)


class KnownIfAcknowledged(Sessions):
    def admit(self, entry: Entry) -> Session | Answer:
        session = self.state.sessions.get(entry.session)
        if session is not None and entry.seq < session.acked_below:
            return session
        return super().admit(entry)


class SessionsNotRefreshed(Sessions):
    def admit(self, entry: Entry) -> Session | Answer:
        session = self.state.sessions.get(entry.session)
        last = session.last if session is not None else 0
        answer = super().admit(entry)
        if session is not None:
            session.last = last
        return answer


class SessionsExpireUnchecked(Sessions):
    def _is_over(self, last: int) -> bool:
        return last < self.state.clock


class ClockGoesBack(Ledger):
    def _advanced(self, clock: int, stamp: int) -> int:  # noqa: ARG002
        return stamp


class VersionGoesBack(Ledger):
    def _raise_version(self, c: RaiseVersion) -> Answer:
        self.state.version = c.version
        return Done(1)


Make = Callable[[], Ledger]


def _rules(cls: type[Rules]) -> Make:
    return lambda: Ledger(rules=cls)


def _sessions(cls: type[Sessions]) -> Make:
    return lambda: Ledger(sessions=cls)


BREAKS: Mapping[str, tuple[Make, str]] = MappingProxyType(
    {
        "award without fencing": (_rules(AwardWithoutFencing), "03-fencing"),
        "any session holds the award": (_rules(AnySessionHolds), "03-fencing"),
        "reopen keeps bids": (_rules(ReopenKeepsBids), "07-lapse-starts-over"),
        "stale-round close": (_rules(StaleRoundClose), "28-stale-commands-of-leaders"),
        "expire without re-check": (_rules(ExpireWithoutReCheck), "06-lease"),
        "expire of any award": (_rules(ExpireOfAnyAward), "28-stale-commands-of-leaders"),
        "lapses a little late": (_rules(LapsesALittleLate), "09-max-awards"),
        "bid at the deadline": (_rules(BidAtTheDeadline), "05-deadline"),
        "close at any time": (_rules(CloseAtAnyTime), "05-deadline"),
        "empty roster has answered": (_rules(EmptyRosterHasAnswered), "12-nobody-there"),
        "slots not counted": (_rules(SlotsNotCounted), "16-last-slot"),
        "who left can win": (_rules(WhoLeftCanWin), "14-everybody-left"),
        "nobody left out": (_rules(NobodyLeftOut), "07-lapse-starts-over"),
        "left out even if alone": (_rules(LeftOutEvenIfAlone), "08-lapsed-worker-alone"),
        "empty rounds without pause": (_rules(EmptyRoundsWithoutPause), "11-nobody-wants-it"),
        "pauses never end to grow": (
            _rules(PausesNeverEndToGrow),
            "13-nobody-there-at-the-deadline",
        ),
        "release counts": (_rules(ReleaseCounts), "10-release"),
        "never forgets": (_rules(NeverForgets), "30-forgotten-after-a-day"),
        "dedupe by seq up to last": (_sessions(DedupeBySeqUpToLast), "19-repeated-commands"),
        "no dedupe": (_sessions(NoDedupe), "19-repeated-commands"),
        "refusals not stored": (_sessions(RefusalsNotStored), "19-repeated-commands"),
        "known if acknowledged": (_sessions(KnownIfAcknowledged), "19-repeated-commands"),
        "sessions not refreshed": (_sessions(SessionsNotRefreshed), "22-session-expires"),
        "sessions expire unchecked": (_sessions(SessionsExpireUnchecked), "22-session-expires"),
        "clock goes back": (ClockGoesBack, "25-clock"),
        "version goes back": (VersionGoesBack, "33-version"),
    }
)
