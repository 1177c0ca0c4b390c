"""What the leader's node should propose now. A question, not a rule: every rule is checked again
when the command is applied, so asking twice, or late, or as a leader of the past, does no harm.
"""

import heapq
from collections.abc import Iterator
from itertools import islice

from consensus.ledger.commands import Close, Dismiss, Expire, ExpireSessions, OfLeader, Tick
from consensus.ledger.index import Index
from consensus.ledger.sessions import SESSION_MS
from consensus.ledger.state import Session, State, Task
from contracts.auctions import Phase

MIN_TICK_MS = 1_000
"""An idle leader appends a tick at most so often."""

DUE = 256
"""Commands of one question: more than a batch of the log takes, less than a stall."""


class Agenda:
    """What is due in a ledger, found without searching it."""

    def __init__(self, state: State, index: Index) -> None:
        self._state = state
        self._index = index

    def due(self, now: int, limit: int = DUE) -> list[OfLeader]:
        """At most `limit` commands that would be done at `now`, in ms; the same ones again until
        they are applied. A tick only where nothing else moves the clock."""
        found = list(islice(self._due(now), limit))
        if not found and self._needs_tick(now):
            return [Tick()]
        return found

    def dismissal(self, session: int) -> Dismiss | None:
        """What to propose for a session whose connection is silent; None if it bids for nothing."""
        known = self._state.sessions.get(session)
        return Dismiss(session, known.joined) if known and self._bids(known) else None

    def shortest_lease(self) -> int | None:
        """Of the auctions that have not ended, in ms; None if there are none."""
        return min(self._index.leases, default=None)

    def _due(self, now: int) -> Iterator[OfLeader]:
        closes = self._answered() | self._past_deadline(now) | self._wanted()
        for key in closes:
            yield Close(key, self._state.tasks[key].round)
        yield from self._past_lease(now)
        if self._has_quiet(now):
            yield ExpireSessions()

    def _answered(self) -> dict[str, None]:
        """Rounds that everybody has answered; one whose bidder came back is open again."""
        tasks, ready = self._state.tasks, self._index.ready
        return {key: None for key in ready if self._index.has_answered(tasks[key])}

    def _past_deadline(self, now: int) -> dict[str, None]:
        heap, tasks = self._index.deadlines, self._state.tasks
        due: list[tuple[int, str, int]] = []
        while heap and heap[0][0] <= now and len(due) < DUE:
            entry = heapq.heappop(heap)
            task = tasks.get(entry[1])
            if task is not None and _is_open(task, entry):
                due.append(entry)
        for entry in due:
            heapq.heappush(heap, entry)
        return {key: None for _, key, _ in due}

    def _wanted(self) -> dict[str, None]:
        """Rounds that nobody could be asked for, as many of a role as bidders have room now."""
        return {
            key: None
            for role, keys in self._index.lonely.items()
            for key in islice(keys, len(self._index.room.get(role, ())))
        }

    def _past_lease(self, now: int) -> list[OfLeader]:
        """Awards whose lease is over; the place of one that was renewed is put right."""
        heap, tasks = self._index.lapses, self._state.tasks
        due: list[tuple[int, str, int]] = []
        while heap and heap[0][0] <= now and len(due) < DUE:
            until, key, token = heapq.heappop(heap)
            task = tasks.get(key)
            if task is None or task.phase is not Phase.AWARDED or task.award is None:
                continue
            if task.award.token == token and task.award.lease_until > until:
                heapq.heappush(heap, (task.award.lease_until, key, token))
            elif task.award.token == token:
                due.append((until, key, token))
        for entry in due:
            heapq.heappush(heap, entry)
        return [Expire(key, token) for _, key, token in due]

    def _has_quiet(self, now: int) -> bool:
        """Whether the session that was quiet for longest has been so for its life."""
        heap, sessions = self._index.quiet, self._state.sessions
        while heap and heap[0][0] + SESSION_MS <= now:
            session = sessions.get(heap[0][1])
            if session is not None and session.last + SESSION_MS <= now:
                return True
            _, id_ = heapq.heappop(heap)
            if session is not None:
                heapq.heappush(heap, (session.last, id_))
        return False

    def _needs_tick(self, now: int) -> bool:
        """The next leader begins with the clock of the log, so that must not lag behind leases."""
        lease = self.shortest_lease()
        return lease is not None and now - self._state.clock >= max(MIN_TICK_MS, lease // 4)

    def _bids(self, session: Session) -> bool:
        return any(session.id in bidders for bidders in self._state.bidders.values())


def _is_open(task: Task, entry: tuple[int, str, int]) -> bool:
    return task.phase is Phase.OPEN and (task.deadline, task.round) == (entry[0], entry[2])
