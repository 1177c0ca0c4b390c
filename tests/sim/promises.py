"""What must hold of the ledger, judged from what was committed and what was answered."""

from dataclasses import dataclass, field

from consensus.ledger.answers import (
    Answer,
    Awarded,
    Finished,
    Opened,
    Renewed,
    Reopened,
    SessionOpened,
    Taken,
)
from consensus.ledger.commands import Close, Expire, InSession, Open, PlaceBid, Release, Renew
from consensus.ledger.entries import Entry
from contracts.auctions import Phase
from tests.consensus.ledger.watch import Watch
from tests.consensus.raft.invariants import must


@dataclass
class AuctionWatch(Watch):
    """Beside what `Watch` looks at: rounds, bids and leases."""

    clock: int = 0
    rounds: dict[str, int] = field(default_factory=dict)
    bids: dict[str, set[int]] = field(default_factory=dict)
    leases: dict[str, int] = field(default_factory=dict)

    def saw(self, index: int, entry: Entry, answer: Answer) -> None:
        """The entry at `index` was applied for the first time anywhere."""
        self.clock = max(self.clock, entry.stamp)
        in_session = isinstance(entry.command, InSession)
        if not in_session or (entry.session, entry.seq) not in self.answered:
            self._look(index, entry, answer)
        super().saw(index, entry, answer)

    def _look(self, index: int, entry: Entry, answer: Answer) -> None:
        command = entry.command
        match command, answer:
            case Open(key=key), Opened(index=opened) if opened == index:
                self.rounds[key], self.bids[key] = 1, set()
            case PlaceBid(key=key, round=round_), Taken():
                must(round_ == self.rounds[key], "stale-round", command, self.rounds[key])
                self.bids[key].add(entry.session)
            case Close(), Awarded() | Reopened():
                self._closed(command, answer)
            case Renew(key=key), Renewed(lease_until=until):
                must(until >= self.leases[key], "lease-grows", command, until)
                self.leases[key] = until
            case Expire(key=key), Reopened() | Finished(phase=Phase.EXPIRED):
                until = self.leases[key]
                must(self.clock >= until, "lapsed-early", command, self.clock, until)
                self._again(key, answer)
            case Release(key=key), Reopened():
                self._again(key, answer)
            case _:
                pass

    def _closed(self, command: Close, answer: Answer) -> None:
        key, round_ = command.key, command.round
        must(round_ == self.rounds[key], "stale-close", command, self.rounds[key])
        if isinstance(answer, Awarded):
            must(answer.session in self.bids[key], "winner-bid", command, answer)
            self.leases[key] = answer.lease_until
        else:
            self._again(key, answer)

    def _again(self, key: str, answer: Answer) -> None:
        """Another round, or a pause: earlier bids count for nothing."""
        self.bids[key] = set()
        if isinstance(answer, Reopened):
            must(answer.round >= self.rounds[key], "rounds-rise", key, answer)
            self.rounds[key] = answer.round


@dataclass
class Acknowledged:
    """What was answered is what was done, and stays done."""

    done: dict[tuple[int, int], tuple[int, Answer]] = field(default_factory=dict)
    answers: dict[int, Answer] = field(default_factory=dict)
    count: int = 0

    def applied(self, index: int, answer: Answer) -> None:
        """The entry at `index` was applied for the first time anywhere."""
        self.answers[index] = answer

    def acked(self, session: int, seq: int, index: int, answer: Answer) -> None:
        """A client heard this answer: it was given for an entry that is applied, and a client
        never hears two."""
        self.count += 1
        must(self.answers.get(index) == answer, "acked-applied", session, seq, index, answer)
        if not isinstance(answer, SessionOpened):
            first = self.done.setdefault((session, seq), (index, answer))
            must(first[1] == answer, "acked-once", session, seq, first, index, answer)
