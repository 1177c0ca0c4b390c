"""How many commands a second the ledger applies in one process, and what a live task takes.

    python -m tests.bench.ledger [AUCTIONS]

An auction here is one `open`, an answer of each on its roster, `close`, two renewals and
`complete`. Entries are encoded outside the time and decoded in it. Times are of the
processor, so that what else runs on the machine counts little.
"""

import sys
import time
import tracemalloc

from consensus.ledger.answers import Awarded
from consensus.ledger.commands import (
    Close,
    Command,
    Complete,
    Join,
    Open,
    OpenSession,
    PlaceBid,
    Renew,
)
from consensus.ledger.encoding import Signed
from consensus.ledger.entries import Entry, encode
from consensus.ledger.ledger import Ledger

_HASH = bytes(32)
_PARTS = b'{"skills":40,"past":31,"slots":10,"cost":-3}'


class Crowd:
    """Bidders of one role, and a ledger that they all speak to. What is timed is `apply`."""

    def __init__(self, bidders: int, slots: int) -> None:
        self.ledger = Ledger()
        self.index = self.applied = 0
        self.seconds = self.asking = 0.0
        self.seqs: dict[int, int] = {}
        self.bidders: list[int] = []
        for number in range(bidders):
            nonce = number.to_bytes(16, "big")
            self._apply(Entry(0, OpenSession(nonce, f"worker-{number}")))
            self.seqs[self.index] = 0
            self.bidders.append(self.index)
            self.say(self.index, Join("review", ("code", "python"), slots))

    def say(self, session: int, command: Command) -> object:
        seq = self.seqs[session]
        self.seqs[session] = seq + 1
        return self._apply(Entry(self.index, command, session, seq, seq))

    def lead(self, command: Command) -> object:
        return self._apply(Entry(self.index, command))

    def auction(self, number: int, *, complete: bool = True) -> None:
        key = f"01a1b2c3-d4e5-7000-8000-{number:012d}:0"
        opener = self.bidders[number % len(self.bidders)]
        self.say(opener, Open(key, "review", 5_000, 3_600_000, 3, _HASH))
        for place, session in enumerate(self.ledger.state.tasks[key].roster):
            self.say(session, PlaceBid(key, 1, Signed(70 - place), 1_000, _PARTS))
        award = self.lead(Close(key, 1))
        assert isinstance(award, Awarded)
        if complete:
            for _ in range(2):
                self.say(award.session, Renew(key, award.token))
            self.say(award.session, Complete(key, award.token, _HASH))

    def _apply(self, entry: Entry) -> object:
        self.index += 1
        data = encode(entry)
        start = time.process_time()
        answer = self.ledger.apply(self.index, data)
        self.ledger.take_told()
        applied = time.process_time()
        self.ledger.agenda.due(self.index)
        self.seconds += applied - start
        self.asking += time.process_time() - applied
        self.applied += 1
        return answer


def _rate(bidders: int, auctions: int) -> None:
    crowd = Crowd(bidders, 100)
    crowd.applied, crowd.seconds, crowd.asking = 0, 0.0, 0.0
    for number in range(auctions):
        crowd.auction(number)
    each = crowd.seconds / crowd.applied
    print(
        f"{bidders:4} bidders: {1 / each:8,.0f} applies/s ({each * 1e6:.1f} µs each), "
        f"{auctions / crowd.seconds:6,.0f} auctions/s; "
        f"what is due: {crowd.asking / crowd.applied * 1e6:.1f} µs a question"
    )
    start = time.process_time()
    data = crowd.ledger.snapshot()
    packed = time.process_time()
    Ledger().restore(data)
    print(
        f"     snapshot of {auctions:,} finished: {len(data) / auctions:,.0f} bytes each, "
        f"{packed - start:.3f} s to make, {time.process_time() - packed:.3f} s to restore"
    )


def _memory(auctions: int) -> None:
    crowd = Crowd(5, 10_000)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(auctions):
        crowd.auction(number, complete=False)
    taken = tracemalloc.get_traced_memory()[0] - before
    print(f"     a live award with five bids takes {taken / auctions:,.0f} bytes")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 5_000
    for size in (5, 100, 1_000):
        _rate(size, count if size < 1_000 else count // 5)
    _memory(min(count, 2_000))
