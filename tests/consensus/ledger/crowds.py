"""A ledger with sessions, for tests that look at one thing."""

from consensus.ledger.answers import Answer, Awarded
from consensus.ledger.commands import (
    Close,
    Command,
    InSession,
    Join,
    Open,
    OpenSession,
    PlaceBid,
)
from consensus.ledger.encoding import Signed
from consensus.ledger.entries import Entry, encode
from consensus.ledger.ledger import Ledger

HASH = bytes(32)


class Crowd:
    """Bidders `w0`, `w1`, … of the role `review`, by number; `now` is what entries are stamped
    with."""

    def __init__(self, bidders: int, slots: int = 1) -> None:
        self.ledger = Ledger()
        self.index = 0
        self.now = 1_000
        self.sessions: list[int] = []
        self.seqs: dict[int, int] = {}
        for number in range(bidders):
            self.lead(OpenSession(number.to_bytes(16, "big"), f"w{number}"))
            self.sessions.append(self.index)
            self.seqs[number] = 0
            self.say(number, Join("review", (), slots))

    def lead(self, command: Command) -> Answer:
        self.index += 1
        return self.ledger.apply(self.index, encode(Entry(self.now, command)))

    def say(self, number: int, command: InSession) -> Answer:
        seq = self.seqs[number]
        self.seqs[number] += 1
        self.index += 1
        entry = Entry(self.now, command, self.sessions[number], seq, seq)
        return self.ledger.apply(self.index, encode(entry))

    def open(self, key: str, *, window: int = 100, lease: int = 1_000) -> Answer:
        return self.say(0, Open(key, "review", window, lease, 3, HASH))

    def bids(self, key: str, parts: bytes = b"") -> None:
        """Everybody who was asked bids."""
        task = self.ledger.state.tasks[key]
        for session in task.roster:
            bid = PlaceBid(key, task.round, Signed(1), 0, parts)
            self.say(self.sessions.index(session), bid)

    def award(self, key: str, parts: bytes = b"") -> Awarded:
        """Open it, bid, close: the award."""
        self.open(key)
        self.bids(key, parts)
        answer = self.lead(Close(key, self.ledger.state.tasks[key].round))
        assert isinstance(answer, Awarded)
        return answer
