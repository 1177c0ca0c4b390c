"""Who is asked, and who wins: pure choices, the same on every replica.

Rosters are drawn by highest random weight (Thaler and Ravishankar 1998, "Using name-based mappings
to increase hit rates"): each worker's hash with the key and the round orders them, so that work
spreads evenly and no draw depends on another.
"""

import hashlib
import heapq
from collections.abc import Iterable, Sequence

from consensus.ledger.state import Bid
from contracts.auctions import ROSTER


def weight(key: str, worker: str, round_: int = 0) -> bytes:
    """A stable hash (SHA-256) of the three; lower comes first."""
    return hashlib.sha256(_before(key, round_) + worker.encode()).digest()


def roster(key: str, round_: int, candidates: Sequence[tuple[int, str]]) -> tuple[int, ...]:
    """At most `ROSTER` of the candidates, (session, worker) each, in the order of their hashes."""
    sha256, before = hashlib.sha256, _before(key, round_)
    weighed = [(sha256(before + worker.encode()).digest(), id_) for id_, worker in candidates]
    return tuple(id_ for _, id_ in heapq.nsmallest(ROSTER, weighed))


def _before(key: str, round_: int) -> bytes:
    return f"{round_}\n{key}\n".encode()


def best(key: str, bids: Iterable[Bid]) -> Bid | None:
    """The highest score; of equals the lowest cost, the lower hash of key and worker, the first."""
    return min(bids, key=lambda bid: _rank(key, bid), default=None)


def _rank(key: str, bid: Bid) -> tuple[int, int, bytes, int]:
    return -bid.score, bid.cost, weight(key, bid.worker), bid.index
