"""The Raft core of one node: ticks and messages in; what to save, to send and to apply out.

After every call, or several, its node sends what `take_messages` gives, has storage do what
`ready` asks for, calls `advance` when that is durable and sends what it returns, then applies what
`committed` gives and answers `reads`. No call waits for anything, reads a clock, or keeps a
reference that its caller may change. Calls must not overlap.
"""

from collections.abc import Sequence
from typing import assert_never

from consensus.raft.errors import Busy, ChangeRefused, NoSpace, NotLeader
from consensus.raft.leading import Leading
from consensus.raft.log import OVERHEAD
from consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    SnapChunk,
    SnapReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from consensus.raft.progress import Mode
from consensus.raft.ready import Ready
from consensus.raft.soundness import is_sound
from consensus.raft.types import (
    Change,
    Configuration,
    Entry,
    Index,
    Kind,
    Lost,
    NodeId,
    Promote,
    Role,
    SnapshotMeta,
    Status,
    Term,
)


class Raft(Leading):
    """One node. Its rules are methods of the classes it grows from, one rule each."""

    def tick(self) -> None:
        """A tick of the clock passed."""
        self._outbox.tick()
        if self.role is not Role.LEADER:
            self._tick_election()
            return
        self._tick_leader()
        if self.role is Role.LEADER:
            self._tick_heartbeat()

    def step(self, m: Message) -> None:
        """Take a message of a peer. Never raises for what a peer says: a message that makes no
        sense, or of nobody whom it can be of, is ignored."""
        if not self._is_heard(m):
            return
        if m.term < self.term:
            self._answer_overtaken(m)
        elif m.term == self.term or self._enters_term(m):
            self._act_on(m)

    def _is_heard(self, m: Message) -> bool:
        """It is for this node and possible; an answer is of a member, as no other was asked."""
        if m.to != self.id or m.sender == self.id or not is_sound(m):
            return False
        if isinstance(m, VoteReply | AppendReply | HeartbeatReply | SnapReply):
            return self.members.is_member(m.sender)
        return True

    def _enters_term(self, m: Message) -> bool:
        """Enter the higher term of a message (section 5.1). A pre-vote moves no term; and while
        there is a leader no stranger does, removed nodes among them (section 6)."""
        match m:
            case VoteRequest():
                return self._enters_for_candidate(m)
            case VoteReply(pre=True, granted=True):
                return True
            case VoteReply() | AppendReply() | HeartbeatReply() | SnapReply():
                self._become_follower(m.term, None)
            case _:
                if self._leader_is_recent() and not self.members.is_member(m.sender):
                    return False
                self._become_follower(m.term, m.sender)
        return True

    def _answer_overtaken(self, m: Message) -> None:
        """Tell a leader or candidate of a lower term of the own, so that it steps down: else a
        node that reached a higher term alone would be left out for ever."""
        match m:
            case Append() | Heartbeat() | SnapChunk():
                self._tell(AppendReply(self.id, m.sender, self.term, False, 0, space=self.space))
            case VoteRequest(pre=pre):
                self._tell(VoteReply(self.id, m.sender, self.term, granted=False, pre=pre))

    def _act_on(self, m: Message) -> None:
        match m:
            case Append():
                self._on_append(m)
            case AppendReply():
                self._on_append_reply(m)
            case Heartbeat():
                self._on_heartbeat(m)
            case HeartbeatReply():
                self._on_heartbeat_reply(m)
            case VoteRequest():
                self._on_vote_request(m)
            case VoteReply():
                self._on_vote_reply(m)
            case SnapChunk():
                self._on_chunk(m)
            case SnapReply():
                self._on_snap_reply(m)
            case TimeoutNow():
                self._on_timeout_now(m)
            case _:
                assert_never(m)

    def propose(self, data: bytes) -> tuple[Index, Term]:
        """Append a command of the state machine: it is applied once `committed` gives the entry of
        this index and term, and never if it gives one of another term at this index.

        Raises `NotLeader`; `NoSpace` before anything is written; `Busy` while leadership is being
        transferred and while too much waits for the quorum.
        """
        self._must_lead()
        if self._transferee is not None:
            raise Busy("leadership is being transferred")
        if self._uncommitted_bytes + len(data) + OVERHEAD > self.cfg.max_uncommitted_bytes:
            raise Busy("too much waits for the quorum")
        return self._append_own(Kind.COMMAND, data)

    def _must_lead(self) -> None:
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader)
        if not self.space:
            raise NoSpace

    def propose_config(self, change: Change) -> tuple[Index, Term]:
        """Append a configuration that differs by one member; it holds at once.

        Raises `NotLeader` and `NoSpace`; `ChangeRefused` where the change makes no sense; `Busy`
        before the leader committed in its term, while another change is not committed, during a
        transfer, and for a learner that lacks committed entries.
        """
        self._must_lead()
        for reason in self._changes_wait_for():
            raise Busy(reason)
        after = self.members.changed(change)
        if isinstance(change, Promote) and self.progress[change.id].match < self.log.commit:
            raise Busy(f"node {change.id} lacks committed entries")
        return self._append_own(Kind.CONFIGURATION, after.encode())

    def transfer(self, to: NodeId) -> None:
        """Let another voter lead as soon as it has the whole log. Nothing is accepted meanwhile;
        after an election timeout without success everything goes on here.

        Raises `NotLeader`; `ChangeRefused` for a node that is no other voter; `Busy` for one that
        does not report room on its disk.
        """
        if self.role is not Role.LEADER:
            raise NotLeader(self.leader)
        peer = self.progress.get(to)
        if peer is None or not self.members.is_voter(to):
            raise ChangeRefused(f"node {to} is not another voter")
        if not peer.space:
            raise Busy(f"the disk of node {to} is almost full")
        self._hand_over(to)

    def read_index(self, token: int) -> None:
        """Begin a read: `reads` gives the token with the index up to which the state machine must
        be applied before it is read, or `Lost`."""
        self._reading.add(token)
        if self.role is Role.LEADER:
            self._begin_round()
        else:
            self._reading.lose(self.leader)

    def reads(self) -> list[tuple[int, Index | Lost]]:
        """The reads that are decided, each once."""
        return self._reading.take()

    def compact(self, meta: SnapshotMeta) -> None:
        """Forget the entries up to a snapshot of the own state machine, whose bytes are durable.
        One that is not newer is ignored; `ValueError` for one that was not handed out, is of
        another term, or carries another configuration than `configuration_at` gives."""
        if meta.index > self.log.snapshot.index:
            if meta.configuration != self.configuration_at(meta.index):
                raise ValueError("a snapshot carries the last configuration at or before its index")
            self.log.compact(meta)
            self.members.compact(meta)

    def configuration_at(self, index: Index) -> Configuration:
        """The last configuration at or before `index`, which is not below the last snapshot."""
        return self.members.at(index)

    def campaign(self) -> None:
        """Stand for election now, as if no leader had been heard; for tests and operators."""
        if self.role is not Role.LEADER and self._may_stand():
            self._stand(pre=self.cfg.pre_vote)

    def report_unreachable(self, node: NodeId) -> None:
        """What was sent to a peer may be lost, or the bytes of a chunk cannot be had any more: it
        is asked anew what it has, when it answers a heartbeat."""
        peer = self.progress.get(node)
        if peer is not None and peer.mode is not Mode.PROBE:
            peer.probe(peer.match + 1)
            peer.ask = False

    def report_space(self, *, free: bool) -> None:
        """Whether the own disk has room. Without, nothing is accepted, and leadership goes to a
        peer that has."""
        self.space = free

    def take_messages(self) -> list[Message]:
        """What may leave now, each once; what was proposed since is batched here."""
        if self.role is Role.LEADER:
            self._replicate()
        return self._outbox.take()

    def ready(self) -> Ready | None:
        """What storage is to make durable; None while it does that, and when there is nothing."""
        return self._outbox.ready(self._hard(), self.log)

    def advance(self, seq: int) -> list[Message]:
        """The Ready of this number is durable: what may leave now. Messages of an older term are
        dropped, and entries that a newer leader truncated meanwhile do not count as durable.
        `ValueError` for any other number."""
        free = self._outbox.advance(seq, self.term, self.log)
        if self._outbox.is_clean(self._hard(), self.log):
            free += self._outbox.release(self.term)
        self._count_own_vote()
        if self.role is Role.LEADER:
            self._commit_by_quorum()
        return free

    def committed(self, max_bytes: int) -> Sequence[Entry]:
        """The next entries for the state machine, of every kind, each once in a life: committed
        and durable here, at most `max_bytes` unless the first alone is more."""
        return self.log.hand_out(self._applicable(), max_bytes)

    def _applicable(self) -> Index:
        """What is not durable here is not applied here."""
        return min(self.log.commit, self.log.durable)

    def status(self) -> Status:
        """Where it stands."""
        return Status(
            id=self.id,
            role=self.role,
            term=self.term,
            vote=self.vote,
            leader=self.leader,
            snapshot=self.log.snapshot.index,
            last=self.log.last,
            durable=self.log.durable,
            commit=self.log.commit,
            handed=self.log.handed,
            configuration=self.members.configuration,
            configuration_index=self.members.index,
            transferee=self._transferee,
            space=self.space,
            peers=tuple(
                peer.peer(voter=self.members.is_voter(peer.id)) for peer in self.progress.values()
            ),
        )
