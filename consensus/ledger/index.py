"""Ways to find things in the state without searching it. Everything here follows from the state:
it is built anew after a restore, and belongs to no snapshot and no hash.

Heaps keep entries that no longer hold; whoever takes one out asks the state again.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Hashable
from typing import TypeVar

from consensus.ledger.state import Session, State, Task
from contracts.auctions import Phase

N = TypeVar("N", bound=Hashable)


class Index:
    """The derived part of a ledger.

    `held`: live awards by session; `live` counts them by session and role. `invited`: open rounds
    by each session on a roster. `ready`: keys whose roster has answered. `lonely`: by role, keys
    that nobody could be asked for. `room`: by role, bidders with free slots and
    what their workers are called. `nonces`: sessions by nonce.
    """

    def __init__(self, state: State) -> None:
        self.state = state
        self.held: dict[int, dict[str, None]] = {}
        self.live: Counter[tuple[int, str]] = Counter()
        self.invited: dict[int, dict[str, None]] = {}
        self.ready: dict[str, None] = {}
        self.lonely: dict[str, dict[str, None]] = {}
        self.room: defaultdict[str, dict[int, str]] = defaultdict(dict)
        self.nonces: dict[bytes, int] = {}
        self.leases: Counter[int] = Counter()
        self.deadlines: list[tuple[int, str, int]] = []
        self.lapses: list[tuple[int, str, int]] = []
        self.quiet: list[tuple[int, int]] = []
        self.finished: list[tuple[int, str]] = []
        self.shelved: list[tuple[int, str]] = []
        self.kept_bytes = 0
        for key in sorted(state.tasks):
            self.add(state.tasks[key])
        for id_ in sorted(state.sessions):
            self.add_session(state.sessions[id_])
        for role in sorted(state.bidders):
            for session in sorted(state.bidders[role]):
                self.measure(session, role)

    def add(self, task: Task) -> None:
        """The task has come into this phase or round."""
        if task.phase.ended:
            self._shelve(task)
            return
        self.leases[task.lease_ms] += 1
        if task.award is not None:
            session = task.award.session
            self.held.setdefault(session, {})[task.key] = None
            self.live[session, task.role] += 1
            self.measure(session, task.role)
            heapq.heappush(self.lapses, (task.award.lease_until, task.key, task.award.token))
            return
        heapq.heappush(self.deadlines, (task.deadline, task.key, task.round))
        for session in task.roster:
            self.invited.setdefault(session, {})[task.key] = None
        if not task.roster and not task.declined:
            self.lonely.setdefault(task.role, {})[task.key] = None
        self.note_answers(task)

    def remove(self, task: Task) -> None:
        """The task, which has not ended, is about to leave its phase or round."""
        _uncount(self.leases, task.lease_ms)
        if task.award is not None:
            session = task.award.session
            _discard(self.held, session, task.key)
            _uncount(self.live, (session, task.role))
            self.measure(session, task.role)
            return
        for session in task.roster:
            _discard(self.invited, session, task.key)
        _discard(self.lonely, task.role, task.key)
        self.ready.pop(task.key, None)

    def _shelve(self, task: Task) -> None:
        heapq.heappush(self.finished, (task.ended, task.key))
        if size := task.kept_bytes:
            heapq.heappush(self.shelved, (task.ended, task.key))
            self.kept_bytes += size

    def has_answered(self, task: Task) -> bool:
        """Whether there is a roster, and each on it has answered the round or left."""
        bidders = self.state.bidders.get(task.role, {})
        return bool(task.roster) and all(
            session in task.bids or session not in bidders for session in task.roster
        )

    def note_answers(self, task: Task) -> None:
        """Somebody on the roster answered, or left."""
        if task.phase is Phase.OPEN and self.has_answered(task):
            self.ready[task.key] = None

    def measure(self, session: int, role: str) -> None:
        """The bidder joined, left, or has one award more or less."""
        bidder = self.state.bidders.get(role, {}).get(session)
        if bidder is not None and self.live[session, role] < bidder.slots:
            self.room[role][session] = self.state.sessions[session].worker
        else:
            self.room[role].pop(session, None)

    def add_session(self, session: Session) -> None:
        """The session is new."""
        self.nonces[session.nonce] = session.id
        heapq.heappush(self.quiet, (session.last, session.id))


def _discard(found: dict[N, dict[str, None]], name: N, key: str) -> None:
    keys = found.get(name)
    if keys is not None:
        keys.pop(key, None)
        if not keys:
            del found[name]


def _uncount(counter: Counter[N], name: N) -> None:
    counter[name] -= 1
    if not counter[name]:
        del counter[name]
