"""What a node is in its term, and how it becomes something else."""

import random
from collections.abc import Sequence

from consensus.raft.log import Log, size_of
from consensus.raft.membership import Membership
from consensus.raft.messages import Message
from consensus.raft.outbox import Outbox
from consensus.raft.progress import Progress
from consensus.raft.reading import Reading
from consensus.raft.types import (
    BootState,
    Entry,
    HardState,
    Index,
    Kind,
    NodeId,
    RaftConfig,
    Role,
    Term,
)


class Standing:
    """Term, role and log of one node, and its way to send. Rules are in the classes below it."""

    def __init__(self, cfg: RaftConfig, boot: BootState, rng: random.Random) -> None:
        self.cfg = cfg
        self.id = cfg.id
        self.log = Log(boot.snapshot, boot.entries)
        self.members = Membership(boot.snapshot, boot.entries)
        self.term: Term = boot.hard.term
        self.vote: NodeId | None = boot.hard.vote
        if self.term < self.log.last_term:
            raise ValueError("a node has entries of a term that it never entered")
        self.role = Role.FOLLOWER
        self.leader: NodeId | None = None
        self.space = True
        self.progress: dict[NodeId, Progress] = {}
        self._rng = rng
        self._outbox = Outbox(boot.hard)
        self._reading = Reading()
        self._votes: dict[NodeId, bool] = {}
        self._elapsed = 0
        self._since_heartbeat = 0
        self._transferee: NodeId | None = None
        self._transfer_elapsed = 0
        self._uncommitted_bytes = 0
        self._timeout = self._draw_timeout()

    def _draw_timeout(self) -> int:
        """How long a follower waits before it stands: drawn between one and two election timeouts
        (section 5.2), and twice as long with a full disk, so that another stands first."""
        fixed, ticks = self.cfg.timeout_ticks, self.cfg.election_ticks
        drawn = ticks + self._rng.randrange(ticks) if fixed is None else fixed
        return drawn if self.space else 2 * drawn

    def _become(self, role: Role, leader: NodeId | None) -> None:
        """Begin a role anew: what belonged to the one before is over."""
        if self.role is Role.LEADER:
            self._reading.lose(leader)
        self.role, self.leader = role, leader
        self.progress = {}
        self._votes = {}
        self._elapsed = self._since_heartbeat = 0
        self._timeout = self._draw_timeout()
        self._transferee = None

    def _become_follower(self, term: Term, leader: NodeId | None) -> None:
        """Follow `leader`, or nobody yet, in `term`; a higher term has no vote yet (5.1)."""
        if term > self.term:
            self.term, self.vote = term, None
        self._become(Role.FOLLOWER, leader)

    def _lead(self) -> None:
        """Begin to lead: with an entry of the own term, as only those are counted (section 8)."""
        self._become(Role.LEADER, self.id)
        self._uncommitted_bytes = self.log.bytes_between(self.log.commit + 1, self.log.last)
        self._track_members()
        self._append_own(Kind.NOOP, b"")

    def _append_own(self, kind: Kind, data: bytes) -> tuple[Index, Term]:
        """Add an entry of a leader to its own log; it is sent when messages are taken."""
        entry = Entry(self.log.last + 1, self.term, kind, data)
        self._uncommitted_bytes += size_of(entry)
        self._append_entries((entry,))
        return entry.index, entry.term

    def _append_entries(self, entries: Sequence[Entry]) -> None:
        """Add entries to the log; a configuration among them holds at once (dissertation, 4.1)."""
        self.log.append(entries)
        if self.members.append(entries) and self.role is Role.LEADER:
            self._track_members()

    def _track_members(self) -> None:
        """Let a leader know exactly the other members of its configuration."""
        known, next_ = self.progress, self.log.last + 1
        others = [m.id for m in self.members.configuration.members if m.id != self.id]
        self.progress = {node: known.get(node) or Progress(node, next_) for node in others}
        if self._transferee not in self.progress:
            self._transferee = None

    def _hard(self) -> HardState:
        return HardState(self.term, self.vote)

    def _send(self, message: Message) -> None:
        """Of a leader: depends on nothing but its term, which its election made durable."""
        self._outbox.send(message)

    def _tell(self, message: Message) -> None:
        """Send what depends on nothing but the own term: at once where that is durable."""
        if self._outbox.durable.term == self.term:
            self._outbox.send(message)
        else:
            self._outbox.send_after(message)

    def _promise(self, message: Message) -> None:
        """Send what depends on the vote or the log, once both are durable as they are now."""
        if self._outbox.is_clean(self._hard(), self.log):
            self._outbox.send(message)
        else:
            self._outbox.send_after(message)
