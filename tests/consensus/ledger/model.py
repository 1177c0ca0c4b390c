"""The ledger a second time, as simply as it can be said: it searches everything and keeps nothing
that could be derived. Only whom a round asks is taken from the real one, and judged.
"""

import hashlib
from dataclasses import dataclass, field
from typing import Any

from consensus.ledger.answers import (
    Alive,
    Answer,
    Awarded,
    Done,
    Finished,
    Joined,
    Left,
    Opened,
    Refused,
    Renewed,
    Reopened,
    SessionOpened,
    Taken,
)
from consensus.ledger.commands import (
    Adopt,
    Cancel,
    Close,
    Complete,
    Dismiss,
    Expire,
    ExpireSessions,
    Join,
    KeepAlive,
    Leave,
    Open,
    OpenSession,
    Pass,
    PlaceBid,
    Release,
    Renew,
    Tick,
)
from consensus.ledger.entries import Entry
from consensus.ledger.ledger import Ledger
from contracts.auctions import Phase, Refusal

HOUR, DAY, LONGEST_PAUSE = 3_600_000, 86_400_000, 30_000


@dataclass
class Client:
    worker: str
    nonce: bytes
    last: int
    joined: int = 0
    acked: int = 0
    answers: dict[int, Answer] = field(default_factory=dict)


@dataclass
class Sale:
    """A task. `winner` is (token, session, worker)."""

    spec: Open
    opened: int
    first_deadline: int
    phase: Phase = Phase.OPEN
    round: int = 0
    deadline: int = 0
    asked: tuple[int, ...] = ()
    bids: dict[int, tuple[int, PlaceBid | Pass]] = field(default_factory=dict)
    declined: bool = False
    pauses: int = 0
    lapsed: int = 0
    lost_by: str = ""
    winner: tuple[int, int, str] | None = None
    until: int = 0
    result: bytes = b""
    ended: int = 0


def digest(key: str, worker: str) -> bytes:
    return hashlib.sha256(f"0\n{key}\n{worker}".encode()).digest()


class Model:
    """What the ledger has to answer. `real` tells whom a round asked."""

    def __init__(self, real: Ledger) -> None:
        self.real = real
        self.clock = 0
        self.index = 0
        self.clients: dict[int, Client] = {}
        self.slots: dict[tuple[int, str], int] = {}
        self.sales: dict[str, Sale] = {}

    def apply(self, index: int, entry: Entry) -> Answer:
        self.index, self.clock = index, max(self.clock, entry.stamp)
        answer = self._dispatch(entry)
        for key in [k for k, s in self.sales.items() if s.ended and s.ended + DAY <= self.clock]:
            del self.sales[key]
        return answer

    def due(self, now: int) -> tuple[set[tuple[str, int]], set[tuple[str, int]], bool]:
        """(key, round) to close but for those that wait for a bidder, (key, token) to expire,
        whether sessions are over."""
        closes = {
            (key, sale.round)
            for key, sale in self.sales.items()
            if sale.phase is Phase.OPEN and (now >= sale.deadline or self._all_answered(sale))
        }
        expires = {
            (key, sale.winner[0])
            for key, sale in self.sales.items()
            if sale.phase is Phase.AWARDED and sale.winner and now >= sale.until
        }
        return closes, expires, any(c.last + HOUR <= now for c in self.clients.values())

    def used(self, session: int, role: str) -> int:
        return sum(
            1
            for sale in self.sales.values()
            if sale.phase is Phase.AWARDED and sale.winner and sale.spec.role == role
            if sale.winner[1] == session
        )

    def eligible(self, role: str) -> list[int]:
        return [s for (s, r), n in self.slots.items() if r == role and self.used(s, r) < n]

    def _dispatch(self, entry: Entry) -> Answer:
        command = entry.command
        name = type(command).__name__
        if isinstance(command, OpenSession | Close | Expire | ExpireSessions | Dismiss | Tick):
            found: Answer = getattr(self, f"_{name}")(command)
            return found
        client = self.clients.get(entry.session)
        if client is None:
            return Refused(Refusal.UNKNOWN_SESSION)
        client.last = self.clock
        client.acked = max(client.acked, entry.acked_below)
        client.answers = {s: a for s, a in client.answers.items() if s >= client.acked}
        if entry.seq in client.answers:
            return client.answers[entry.seq]
        if entry.seq < client.acked:
            return Refused(Refusal.STALE)
        if entry.seq >= client.acked + 64:
            return Refused(Refusal.WINDOW_FULL)
        answer: Answer = getattr(self, f"_{name}")(entry.session, client, command)
        client.answers[entry.seq] = answer
        return answer

    def _OpenSession(self, c: OpenSession) -> Answer:  # noqa: N802 - named as the command
        for id_, client in self.clients.items():
            if client.nonce == c.nonce:
                client.last = self.clock
                return SessionOpened(id_)
        self.clients[self.index] = Client(c.worker, c.nonce, self.clock)
        return SessionOpened(self.index)

    def _KeepAlive(self, id_: int, _client: Client, _: KeepAlive) -> Answer:  # noqa: N802
        return Alive(tuple(sorted(role for session, role in self.slots if session == id_)))

    def _Join(self, id_: int, client: Client, c: Join) -> Answer:  # noqa: N802
        self.slots[id_, c.role], client.joined = c.slots, self.index
        return Joined(self.index)

    def _Leave(self, id_: int, _client: Client, c: Leave) -> Answer:  # noqa: N802
        self.slots.pop((id_, c.role), None)
        return Left()

    def _Dismiss(self, c: Dismiss) -> Answer:  # noqa: N802
        client = self.clients.get(c.session)
        if client is None or client.joined != c.joined or not c.joined:
            return Done(0)
        client.joined = 0
        self.slots = {seat: n for seat, n in self.slots.items() if seat[0] != c.session}
        return Left()

    def _ExpireSessions(self, _: ExpireSessions) -> Answer:  # noqa: N802
        gone = {id_ for id_, client in self.clients.items() if client.last + HOUR <= self.clock}
        self.clients = {id_: c for id_, c in self.clients.items() if id_ not in gone}
        self.slots = {seat: n for seat, n in self.slots.items() if seat[0] not in gone}
        return Done(len(gone))

    def _Tick(self, _: Tick) -> Answer:  # noqa: N802
        return Done(0)

    def _Open(self, _id: int, _client: Client, c: Open) -> Answer:  # noqa: N802
        sale = self.sales.get(c.key)
        if sale is None:
            sale = self.sales[c.key] = Sale(c, self.index, self.clock + c.window_ms)
            self._ask(sale)
        elif sale.spec != c:
            return _refused(Refusal.CONFLICT, sale)
        return Opened(sale.opened, sale.first_deadline)

    def _PlaceBid(self, id_: int, _client: Client, c: PlaceBid | Pass) -> Answer:  # noqa: N802
        sale = self.sales.get(c.key)
        if sale is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        if sale.phase.ended:
            return _refused(Refusal.ENDED, sale)
        if c.round != sale.round:
            return _refused(Refusal.WRONG_ROUND, sale)
        if sale.phase is not Phase.OPEN or not sale.asked or self.clock >= sale.deadline:
            return _refused(Refusal.CLOSED, sale)
        if id_ not in sale.asked or (id_, sale.spec.role) not in self.slots:
            return _refused(Refusal.NOT_INVITED, sale)
        if id_ in sale.bids and sale.bids[id_][1] != c:
            return _refused(Refusal.CONFLICT, sale)
        sale.bids.setdefault(id_, (self.index, c))
        return Taken(c.round)

    _Pass = _PlaceBid

    def _Close(self, c: Close) -> Answer:  # noqa: N802
        sale = self.sales.get(c.key)
        if sale is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        if sale.phase is not Phase.OPEN:
            return _refused(Refusal.CLOSED, sale)
        if c.round != sale.round:
            return _refused(Refusal.WRONG_ROUND, sale)
        wanted = not sale.asked and not sale.declined and self.eligible(sale.spec.role)
        if self.clock < sale.deadline and not self._all_answered(sale) and not wanted:
            return _refused(Refusal.TOO_SOON, sale)
        if not sale.asked:
            return self._ask(sale)
        bids = [(at, id_, bid) for id_, (at, bid) in sale.bids.items() if isinstance(bid, PlaceBid)]
        able = [bid for bid in bids if bid[1] in self.eligible(sale.spec.role)]
        if able:
            return self._award(sale, able)
        return self._ask(sale) if bids else self._pause(sale)

    def _award(self, sale: Sale, able: list[tuple[int, int, PlaceBid]]) -> Answer:
        high = max(bid.score for _, _, bid in able)
        able = [one for one in able if one[2].score == high]
        low = min(bid.cost for _, _, bid in able)
        able = [one for one in able if one[2].cost == low]
        names = {id_: self.clients[id_].worker for _, id_, _ in able}
        able.sort(key=lambda one: (digest(sale.spec.key, names[one[1]]), one[0]))
        winner = able[0][1]
        sale.phase, sale.winner = Phase.AWARDED, (self.index, winner, names[winner])
        sale.until, sale.bids, sale.asked, sale.pauses = self.clock + sale.spec.lease_ms, {}, (), 0
        return Awarded(self.index, winner, names[winner], sale.until)

    def _ask(self, sale: Sale) -> Reopened:
        sale.phase, sale.winner, sale.declined, sale.bids = Phase.OPEN, None, False, {}
        sale.round += 1
        sale.deadline = self.clock + sale.spec.window_ms
        able = self.eligible(sale.spec.role)
        others = [id_ for id_ in able if self.clients[id_].worker != sale.lost_by] or able
        if not others:
            return self._pause(sale, declined=False)
        sale.asked = self.real.state.tasks[sale.spec.key].roster
        assert set(sale.asked) <= set(others), "somebody was asked who may not be"
        assert len(set(sale.asked)) == min(8, len(others)), "too few were asked, or too many"
        sale.lost_by = ""
        return Reopened(sale.round, sale.deadline, len(sale.asked))

    def _pause(self, sale: Sale, *, declined: bool = True) -> Reopened:
        sale.asked, sale.bids, sale.declined = (), {}, declined
        wait = min(sale.spec.window_ms * 2**sale.pauses, LONGEST_PAUSE)
        sale.deadline, sale.pauses = self.clock + wait, sale.pauses + 1
        return Reopened(sale.round, sale.deadline, 0)

    def _Renew(self, id_: int, _client: Client, c: Renew) -> Answer:  # noqa: N802
        sale = self._held(id_, c)
        if isinstance(sale, Refused):
            return sale
        sale.until = self.clock + sale.spec.lease_ms
        return Renewed(sale.until)

    def _Release(self, id_: int, _client: Client, c: Release) -> Answer:  # noqa: N802
        sale = self._held(id_, c)
        if isinstance(sale, Refused):
            return sale
        assert sale.winner
        sale.lost_by = sale.winner[2]
        return self._ask(sale)

    def _Expire(self, c: Expire) -> Answer:  # noqa: N802
        sale = self._held(None, c)
        if isinstance(sale, Refused):
            return sale
        if self.clock < sale.until:
            return _refused(Refusal.TOO_SOON, sale)
        sale.lapsed += 1
        if sale.lapsed == sale.spec.max_awards:
            return self._end(sale, Phase.EXPIRED)
        assert sale.winner
        sale.lost_by = sale.winner[2]
        return self._ask(sale)

    def _Complete(self, id_: int, _client: Client, c: Complete) -> Answer:  # noqa: N802
        return self._done(id_, c)

    def _Adopt(self, _id: int, _client: Client, c: Adopt) -> Answer:  # noqa: N802
        return self._done(None, c)

    def _done(self, id_: int | None, c: Complete | Adopt) -> Answer:
        sale = self.sales.get(c.key)
        if sale is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        if sale.winner is None:
            return _refused(Refusal.ENDED if sale.phase.ended else Refusal.FENCED, sale)
        if c.token != sale.winner[0] or id_ not in {None, sale.winner[1]}:
            return _refused(Refusal.FENCED, sale)
        if sale.phase is Phase.COMPLETED:
            if c.result_hash != sale.result:
                return _refused(Refusal.CONFLICT, sale)
            return Finished(Phase.COMPLETED, c.token)
        if id_ is None and self.clock < sale.until:
            return _refused(Refusal.TOO_SOON, sale)
        sale.result = c.result_hash
        return self._end(sale, Phase.COMPLETED)

    def _Cancel(self, _id: int, _client: Client, c: Cancel) -> Answer:  # noqa: N802
        sale = self.sales.get(c.key)
        if sale is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        if sale.phase is Phase.CANCELLED:
            return Finished(Phase.CANCELLED, 0)
        if sale.phase.ended:
            return _refused(Refusal.ENDED, sale)
        return self._end(sale, Phase.CANCELLED)

    def _end(self, sale: Sale, phase: Phase) -> Finished:
        sale.phase, sale.ended, sale.asked, sale.bids = phase, self.clock, (), {}
        if phase is not Phase.COMPLETED:
            sale.winner = None
        return Finished(phase, sale.winner[0] if sale.winner else 0)

    def _held(self, id_: int | None, c: Any) -> Sale | Refused:
        sale = self.sales.get(c.key)
        if sale is None:
            return _refused(Refusal.UNKNOWN_AUCTION)
        if sale.phase.ended:
            return _refused(Refusal.ENDED, sale)
        if sale.winner is None or sale.winner[0] != c.token:
            return _refused(Refusal.FENCED, sale)
        return sale if id_ in {None, sale.winner[1]} else _refused(Refusal.FENCED, sale)

    def _all_answered(self, sale: Sale) -> bool:
        silent = [id_ for id_ in sale.asked if id_ not in sale.bids]
        return bool(sale.asked) and not any((id_, sale.spec.role) in self.slots for id_ in silent)


def _refused(why: Refusal, sale: Sale | None = None) -> Refused:
    return Refused(why, sale.phase, sale.round) if sale else Refused(why)
