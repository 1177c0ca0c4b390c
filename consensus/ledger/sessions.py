"""Sessions: a command that is sent again is answered again, not done again.

Ongaro and Ousterhout 2014, section 8; Ongaro's dissertation, section 6.3. A session has several
commands on the way at a time, which may arrive in any order: so a command counts as known only if
its own answer is stored, never because a later one came first.
"""

import heapq

from consensus.ledger.answers import (
    Alive,
    Answer,
    Done,
    Joined,
    Left,
    Refused,
    SessionOpened,
)
from consensus.ledger.commands import (
    Dismiss,
    ExpireSessions,
    Join,
    KeepAlive,
    Leave,
    OpenSession,
)
from consensus.ledger.entries import Entry
from consensus.ledger.index import Index
from consensus.ledger.state import Bidder, Session, State
from contracts.auctions import Refusal

WINDOW = 64
"""Commands of one session that are not acknowledged."""

SESSION_MS = 3_600_000
"""A session that sent nothing for so long is forgotten."""


class Sessions:
    """Who speaks, and who bids."""

    def __init__(self, state: State, index: Index) -> None:
        self.state = state
        self.index = index

    def open(self, c: OpenSession) -> Answer:
        """A new session, or the one that this nonce opened before."""
        known = self.index.nonces.get(c.nonce)
        if known is not None:
            self.state.sessions[known].last = self.state.clock
            return SessionOpened(known)
        session = Session(self.state.applied, c.nonce, c.worker, self.state.clock)
        self.state.sessions[session.id] = session
        self.index.add_session(session)
        return SessionOpened(session.id)

    def admit(self, entry: Entry) -> Session | Answer:
        """The session, if the command is to be done now; else what to answer."""
        session = self.state.sessions.get(entry.session)
        if session is None:
            return Refused(Refusal.UNKNOWN_SESSION)
        session.last = self.state.clock
        self._acknowledge(session, entry.acked_below)
        stored = self._stored(session, entry.seq)
        if stored is not None:
            return stored
        if entry.seq < session.acked_below:
            return Refused(Refusal.STALE)
        if entry.seq >= session.acked_below + WINDOW:
            return Refused(Refusal.WINDOW_FULL)
        return session

    def keep(self, session: Session, seq: int, answer: Answer) -> None:
        """Store what a repetition is answered."""
        session.answers[seq] = answer

    def keep_alive(self, session: Session, _: KeepAlive) -> Answer:
        """The roles it bids for, so that one who was taken for gone joins again."""
        bidders = self.state.bidders
        return Alive(tuple(sorted(role for role in bidders if session.id in bidders[role])))

    def join(self, session: Session, c: Join) -> Answer:
        """A bidder from here on; said again, with what it says now."""
        index = self.state.applied
        bidder = Bidder(index, session.id, c.role, c.slots, c.skills)
        self.state.bidders.setdefault(c.role, {})[session.id] = bidder
        session.joined = index
        self.index.measure(session.id, c.role)
        return Joined(index)

    def leave(self, session: Session, c: Leave) -> Answer:
        """No bidder of this role."""
        self._leave(session.id, [c.role])
        return Left()

    def dismiss(self, c: Dismiss) -> Answer:
        """No bidder of any role, unless it joined again since."""
        session = self.state.sessions.get(c.session)
        if session is None or not session.joined or session.joined != c.joined:
            return Done(0)
        session.joined = 0
        self._leave(session.id, sorted(self.state.bidders))
        return Left()

    def expire(self, _: ExpireSessions) -> Answer:
        """Forget those that are past their life by the clock of now. Their awards stay until they
        lapse."""
        gone = []
        quiet = self.index.quiet
        while quiet and self._is_over(quiet[0][0]):
            _last, id_ = heapq.heappop(quiet)
            session = self.state.sessions.get(id_)
            if session is None:
                continue
            if self._is_over(session.last):
                gone.append(session)
            else:
                heapq.heappush(quiet, (session.last, id_))
        for session in gone:
            del self.state.sessions[session.id]
            del self.index.nonces[session.nonce]
            self._leave(session.id, sorted(self.state.bidders))
        return Done(len(gone))

    def _is_over(self, last: int) -> bool:
        return last + SESSION_MS <= self.state.clock

    def _stored(self, session: Session, seq: int) -> Answer | None:
        """The answer to this very command."""
        return session.answers.get(seq)

    def _acknowledge(self, session: Session, below: int) -> None:
        if below <= session.acked_below:
            return
        session.acked_below = below
        for seq in [seq for seq in session.answers if seq < below]:
            del session.answers[seq]

    def _leave(self, session: int, roles: list[str]) -> None:
        for role in roles:
            bidders = self.state.bidders.get(role, {})
            if bidders.pop(session, None) is not None and not bidders:
                del self.state.bidders[role]
            self.index.measure(session, role)
        for key in self.index.invited.get(session, {}):
            self.index.note_answers(self.state.tasks[key])
