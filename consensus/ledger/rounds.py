"""How an auction goes from phase to phase: rounds, pauses, awards, ends.

Each rule is a method, so that a test can break one at a time.
"""

import heapq

from consensus.ledger import draw
from consensus.ledger.answers import Answer, Awarded, Finished, Reopened
from consensus.ledger.index import Index
from consensus.ledger.state import Award, Bid, ClosedRound, State, Task
from contracts.auctions import Phase, Won

MAX_PAUSE_MS = 30_000
"""Between two rounds that nobody wants lie min(window · 2^k, this)."""

KEPT_MS = 24 * 3_600_000
"""A task that has ended leaves the state after so long."""

KEPT_BYTES = 16 << 20
"""The bids of ended tasks take at most so much together: the oldest go first."""

_RETIRED_AT_ONCE = 64
"""Tasks that leave the state with one entry: what a quiet night left must not stop a node."""


class Rounds:
    """The turns of auctions. `index` is the entry being applied."""

    def __init__(self, state: State, index: Index) -> None:
        self.state = state
        self.index = index
        self.won: list[Won] = []
        self.begun: list[str] = []

    def start(self, task: Task) -> None:
        """A new auction, with its first round."""
        self.state.tasks[task.key] = task
        self._ask(task)
        task.first_deadline = self.state.clock + task.window_ms

    def begin(self, task: Task) -> Reopened:
        """The next round: new roster, new deadline, no bids."""
        self.index.remove(task)
        self._ask(task)
        return Reopened(task.round, task.deadline, len(task.roster))

    def decide(self, task: Task) -> Answer:
        """What the bids of the round come to."""
        if not task.roster:
            return self.begin(task)
        bids = [bid for bid in task.bids.values() if not bid.passed]
        winner = draw.best(task.key, [bid for bid in bids if self._can_win(task, bid)])
        self.file_bids(task, self.state.applied if winner else 0)
        if winner is not None:
            return self._award(task, winner)
        if bids:
            return self.begin(task)
        return self._pause(task)

    def lapse(self, task: Task, award: Award) -> Answer:
        """The winner let its lease run out: somebody else, or the end."""
        if award.number >= task.max_awards:
            return self.end(task, Phase.EXPIRED)
        return self._take_back(task, award, award.number)

    def give_back(self, task: Task, award: Award) -> Answer:
        """The winner does not want it any more: somebody else."""
        return self._take_back(task, award, award.number - 1)

    def end(self, task: Task, phase: Phase, result_hash: bytes = b"") -> Finished:
        """Nothing happens to the task any more."""
        if task.roster:
            self.file_bids(task, 0)
        self.index.remove(task)
        task.phase, task.result_hash, task.ended = phase, result_hash, self.state.clock
        task.roster, task.left_out, task.deadline = (), "", 0
        task.declined, task.pauses = False, 0
        self._forget_bids(task)
        if phase is not Phase.COMPLETED:
            task.award = None
        self.index.add(task)
        self._trim()
        return Finished(phase, task.award.token if task.award else 0)

    def file_bids(self, task: Task, token: int) -> None:
        """Keep what was answered, for people."""
        answers = tuple(sorted(task.bids.values(), key=lambda bid: bid.index))
        asked = len(task.roster)
        task.closed = ClosedRound(task.round, self.state.clock, asked, token, answers)

    def retire(self) -> None:
        """Forget tasks that ended a day ago."""
        finished, tasks = self.index.finished, self.state.tasks
        for _ in range(_RETIRED_AT_ONCE):
            if not finished or finished[0][0] + KEPT_MS > self.state.clock:
                return
            task = tasks.pop(heapq.heappop(finished)[1])
            self.index.kept_bytes -= task.kept_bytes

    def _trim(self) -> None:
        """Forget the oldest bids of ended tasks where all of them take too much."""
        shelved = self.index.shelved
        while shelved and self.index.kept_bytes > KEPT_BYTES:
            ended, key = heapq.heappop(shelved)
            task = self.state.tasks.get(key)
            if task is not None and task.phase.ended and task.ended == ended:
                self.index.kept_bytes -= task.kept_bytes
                task.closed = None

    def _ask(self, task: Task) -> None:
        """Draw who may answer; where there is nobody, wait for somebody."""
        task.phase, task.award, task.declined = Phase.OPEN, None, False
        task.round += 1
        self._forget_bids(task)
        task.roster = draw.roster(task.key, task.round, self._candidates(task))
        if task.roster:
            task.left_out = ""
            task.deadline = self.state.clock + task.window_ms
            self.begun.append(task.key)
        else:
            self._put_off(task)
        self.index.add(task)

    def _pause(self, task: Task) -> Reopened:
        """Those who were asked do not want it now."""
        self.index.remove(task)
        self._forget_bids(task)
        task.roster, task.declined = (), True
        self._put_off(task)
        self.index.add(task)
        return Reopened(task.round, task.deadline, 0)

    def _put_off(self, task: Task) -> None:
        """Longer each time in a row."""
        wait = min(task.window_ms << min(task.pauses, 20), MAX_PAUSE_MS)
        task.deadline = self.state.clock + wait
        task.pauses += 1

    def _award(self, task: Task, bid: Bid) -> Awarded:
        self.index.remove(task)
        token, until = self.state.applied, self.state.clock + task.lease_ms
        task.phase, task.roster, task.pauses = Phase.AWARDED, (), 0
        self._forget_bids(task)
        task.award = Award(token, bid.session, bid.worker, until, task.lapsed + 1)
        self.index.add(task)
        self.won.append(Won(bid.session, task.key, task.role, token, until))
        return Awarded(token, bid.session, bid.worker, until)

    def _take_back(self, task: Task, award: Award, lapsed: int) -> Reopened:
        self.index.remove(task)
        task.lapsed, task.left_out, task.award = lapsed, award.worker, None
        self._ask(task)
        return Reopened(task.round, task.deadline, len(task.roster))

    def _forget_bids(self, task: Task) -> None:
        """No bid outlives its round."""
        task.bids = {}

    def _can_win(self, task: Task, bid: Bid) -> bool:
        """Whether the bidder is still one, and has a free slot now."""
        bidder = self.state.bidders.get(task.role, {}).get(bid.session)
        return bidder is not None and self.index.live[bid.session, task.role] < bidder.slots

    def _candidates(self, task: Task) -> list[tuple[int, str]]:
        """Bidders with free slots, without the worker that lost the task last if others have."""
        found = list(self.index.room.get(task.role, {}).items())
        if not task.left_out:
            return found
        others = [one for one in found if one[1] != task.left_out]
        return others or found
