"""Cores that break one rule each, to show that the tests would notice."""

from collections.abc import Iterator, Sequence

from consensus.raft.core import Raft
from consensus.raft.messages import (
    Append,
    Heartbeat,
    HeartbeatReply,
    Message,
    SnapChunk,
    VoteRequest,
)
from consensus.raft.types import Entry, Index, NodeId, Role, SnapshotMeta


class AcksBeforeSync(Raft):
    def _promise(self, message: Message) -> None:
        self._outbox.send(message)


class VoteIgnoresLog(Raft):
    def _log_is_current(self, m: VoteRequest) -> bool:  # noqa: ARG002
        return True


class VotesTwice(Raft):
    def _may_vote(self, m: VoteRequest) -> bool:  # noqa: ARG002
        return True


class CountsItsVoteAtOnce(Raft):
    def _stand(self, *, pre: bool, transfer: bool = False) -> None:
        super()._stand(pre=pre, transfer=transfer)
        if self.role is Role.CANDIDATE:
            self._count_vote(self.id, granted=True)


class ForgetsRecentLeader(Raft):
    def _leader_is_recent(self) -> bool:
        return False


class TruncatesAlways(Raft):
    def _first_new(self, entries: Sequence[Entry]) -> int:  # noqa: ARG002
        return 0


class ChecksNoMatch(Raft):
    def _matches(self, m: Append) -> bool:
        return m.prev_index <= self.log.last


class CommitsOldTerms(Raft):
    def _counts_for_commit(self, index: Index) -> bool:  # noqa: ARG002
        return True


class CommitsLastIndex(Raft):
    def _verified(self, m: Append) -> Index:  # noqa: ARG002
        return self.log.last


class CountsItselfBeforeDurable(Raft):
    def _own_match(self) -> Index:
        return self.log.last


class AppliesBeforeDurable(Raft):
    def _applicable(self) -> Index:
        return self.log.commit


class CommitsByHeartbeat(Raft):
    def _send_heartbeats(self) -> None:
        for peer in self.progress:
            beat = Heartbeat(self.id, peer, self.term, self.log.commit, self._reading.round)
            self._send(beat)


class ReadsWithoutQuorum(Raft):
    def _round_has_quorum(self) -> bool:
        return True


class ReadsByEarlierRound(Raft):
    def _echoed_round(self, m: HeartbeatReply) -> int:  # noqa: ARG002
        return self._reading.round


class ReadsWithoutOwnEntry(Raft):
    def _may_read(self) -> bool:
        return True


class SnapshotDropsTail(Raft):
    def _has_snapshot(self, meta: SnapshotMeta) -> bool:  # noqa: ARG002
        return False


class BelievesAnySnapshot(Raft):
    def _is_whole(self, m: SnapChunk) -> bool:
        return m.staged == m.meta.size


class ChangesAtOnce(Raft):
    def _changes_wait_for(self) -> Iterator[str]:
        yield from ()


class CountsItselfWhenRemoved(Raft):
    def _voters(self) -> tuple[NodeId, ...]:
        return tuple(sorted({*self.members.voters, self.id}))


class NeverStandsWhenRemoved(Raft):
    def _may_stand(self) -> bool:
        return self.members.is_voter(self.id) and super()._may_stand()


class NeverStepsDown(Raft):
    def _hears_quorum(self) -> bool:
        return True


class IgnoresHungDisk(Raft):
    def _disk_hangs(self) -> bool:
        return False


class AnswersNoOldLeader(Raft):
    def _answer_overtaken(self, m: Message) -> None:
        pass
