"""What the leader's node does of its own accord: time, what is due, silent bidders, versions."""

import asyncio
import logging
from collections.abc import Callable, Iterable

from consensus.ledger.answers import Answer, Refused
from consensus.ledger.clock import LeaderClock
from consensus.ledger.commands import Attest, OfLeader, RaiseVersion
from consensus.ledger.entries import Entry, encode
from consensus.node.compacting import Around
from consensus.node.machine import Packed
from consensus.node.proposals import Proposals
from consensus.raft.errors import Busy, NoSpace, NotLeader
from consensus.raft.types import Index, Role, Term

_log = logging.getLogger(__name__)


class Leading:
    """Whether this node leads, and its duties while it does.

    It takes commands once the first entry of its term is applied: only then it knows every command
    that was acknowledged before, and what time the ledger has. `ready` is done then; it is a new
    future after each loss of leadership.
    """

    def __init__(
        self,
        around: Around,
        proposals: Proposals,
        versions: Callable[[], Iterable[int]],
        silent: Callable[[int, float], list[int]],
    ) -> None:
        self.clock: LeaderClock | None = None
        self.term: Term | None = None
        self._a = around
        self._proposals = proposals
        self._versions = versions
        self._silent = silent
        self._ready: asyncio.Future[LeaderClock] | None = None
        self._first: Index = 0
        self._last_ms = 0
        self._since = 0.0
        self._under_way = 0

    async def ready(self) -> LeaderClock:
        """The clock to stamp commands with. `NotLeader` where this node does not lead, or stopped
        before it was ready."""
        if self.clock is not None:
            return self.clock
        if self._ready is None:
            raise NotLeader(self._a.core.leader)
        return await asyncio.shield(self._ready)

    def stood(self) -> bool:
        """Look at where the core stands; whether that has changed."""
        core = self._a.core
        term = core.term if core.role is Role.LEADER else None
        changed = term != self.term
        if changed:
            self._lose()
            self.term = term
            if term is not None:
                self._win()
        if term is not None and self.clock is None and self._a.machine.applied >= self._first:
            self._begin()
        return changed

    def applied(self) -> None:
        """Entries were applied: something may be due because of them."""
        if self.clock is not None and not self._under_way:
            self._ask(self.clock)

    def tick(self) -> None:
        """A tick passed."""
        if self.clock is None:
            return
        now = self._now_ms()
        elapsed, self._last_ms = now - self._last_ms, now
        self.clock.pass_time(elapsed)
        if not self._under_way:
            self._ask(self.clock)

    def tend(self) -> None:
        """Now and then: silent bidders leave, and the version rises that all members follow."""
        a = self._a
        if self.clock is None:
            return
        lease = a.machine.ledger.agenda.shortest_lease() or 0
        for session in self._silent(max(lease, a.settings.silence_ms), self._since):
            dismissal = a.machine.ledger.agenda.dismissal(session)
            if dismissal is not None and self._propose(dismissal, self.clock):
                a.counters.dismissed += 1
        version = min([a.settings.newest, *self._versions()])
        if version > a.machine.ledger.state.version:
            self._propose(RaiseVersion(version), self.clock)

    def attest(self, packed: Packed) -> None:
        """Let the other members compare their state with what this leader's was."""
        if self.clock is not None:
            self._propose(Attest(packed.index, packed.digest), self.clock)

    def end(self) -> None:
        """Lead no more."""
        self._lose()

    def _win(self) -> None:
        core = self._a.core
        self._a.counters.elections_won += 1
        self._first = core.log.last
        self._ready = asyncio.get_running_loop().create_future()
        _log.info("node %d leads term %d", core.id, core.term)

    def _begin(self) -> None:
        a = self._a
        self.clock = LeaderClock(a.machine.ledger.state.clock, a.settings.tick_ms)
        self._last_ms = self._now_ms()
        self._since = asyncio.get_running_loop().time()
        self._under_way = 0
        if self._ready is not None:
            self._ready.set_result(self.clock)

    def _lose(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_exception(NotLeader(self._a.core.leader))
            self._ready.exception()  # nobody need have asked
        if self.term is not None:
            self._proposals.lost()
            _log.info("node %d leads no more", self._a.core.id)
        self.clock, self.term, self._ready, self._under_way = None, None, None, 0

    def _ask(self, clock: LeaderClock) -> None:
        """Propose all that is due; ask again when it was applied, or failed."""
        for command in self._a.machine.ledger.agenda.due(clock.now):
            if not self._propose(command, clock):
                return

    def _propose(self, command: OfLeader, clock: LeaderClock) -> bool:
        a = self._a
        try:
            index, term = a.core.propose(encode(Entry(clock.now, command)))
        except (NotLeader, Busy, NoSpace):
            return False
        a.counters.due += 1
        self._under_way += 1
        self._proposals.add(index, term).add_done_callback(self._done)
        a.wake()
        return True

    def _done(self, future: "asyncio.Future[Answer | None]") -> None:
        """Ask on, but not at once for what was refused: it would be again."""
        self._under_way = max(0, self._under_way - 1)
        done = not future.cancelled() and future.exception() is None
        refused = not done or isinstance(future.result(), Refused)
        if not self._under_way and self.clock is not None and not refused:
            self._ask(self.clock)

    def _now_ms(self) -> int:
        return int(self._a.clock.monotonic() * 1000)
