"""What a follower does with what a leader sends (sections 5.3, 7)."""

from collections.abc import Sequence

from consensus.raft.elections import Elections
from consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    SnapChunk,
    SnapReply,
)
from consensus.raft.types import Entry, Index, NodeId, Role, SnapshotMeta


class Following(Elections):
    """A node that takes the log of its leader."""

    def _follow(self, leader: NodeId) -> bool:
        """A message of this term's leader: follow it, and wait anew. False where there is
        another already, as no term has two."""
        if self.role is Role.LEADER or (self.leader is not None and self.leader != leader):
            return False
        if self.role is not Role.FOLLOWER or self.leader is None:
            self._become_follower(self.term, leader)
        self._elapsed = 0
        return True

    def _on_append(self, m: Append) -> None:
        if not self._follow(m.sender):
            return
        if m.prev_index < self.log.commit:
            self._accept(m.sender, self.log.commit)
        elif not self._matches(m):
            self._reject(m)
        else:
            self._take(m)

    def _matches(self, m: Append) -> bool:
        """The log has the entry before the new ones, of the same term (section 5.3)."""
        return self.log.term_at(m.prev_index) == m.prev_term

    def _take(self, m: Append) -> None:
        """Append what is new, after truncating what conflicts; an entry that is committed cannot
        conflict, so a message that says so is not of a leader."""
        new = self._first_new(m.entries)
        if new < len(m.entries):
            index = m.entries[new].index
            if index <= self.log.commit:
                return
            if index <= self.log.last:
                self.log.truncate(index)
                self.members.truncate(index)
            self._append_entries(m.entries[new:])
        self._commit_to(min(m.commit, self._verified(m)))
        self._accept(m.sender, m.prev_index + len(m.entries))

    def _first_new(self, entries: Sequence[Entry]) -> int:
        """The place of the first entry that the log does not have, index and term (section 5.3).
        Those before it are the same, and what follows them in the log stays."""
        last = self.log.last
        for place, entry in enumerate(entries):
            if entry.index > last or self.log.term_at(entry.index) != entry.term:
                return place
        return len(entries)

    def _verified(self, m: Append) -> Index:
        """Up to where this message shows the log to be the leader's (figure 2, "last new")."""
        return m.prev_index + len(m.entries)

    def _accept(self, leader: NodeId, index: Index) -> None:
        reply = AppendReply(self.id, leader, self.term, True, index, space=self.space)
        self._promise(reply)

    def _reject(self, m: Append) -> None:
        """Say where the logs may match: not above the last entry whose term is not newer."""
        index, term = self.log.last_of_term(min(m.prev_index - 1, self.log.last), m.prev_term)
        reply = AppendReply(
            self.id, m.sender, self.term, False, index, m.prev_index, term, self.space
        )
        self._tell(reply)

    def _on_heartbeat(self, m: Heartbeat) -> None:
        if self._follow(m.sender):
            self._commit_to(min(m.commit, self.log.last))
            self._tell(HeartbeatReply(self.id, m.sender, self.term, m.round, self.space))

    def _commit_to(self, index: Index) -> None:
        """Never back."""
        self.log.commit = max(self.log.commit, index)

    def _on_chunk(self, m: SnapChunk) -> None:
        if not self._follow(m.sender):
            return
        meta = m.meta
        if meta.index <= self.log.commit:
            self._accept(m.sender, self.log.commit)
        elif self._has_snapshot(meta):
            self._commit_to(meta.index)
            self._accept(m.sender, meta.index)
        elif self._is_whole(m):
            self.log.install(meta)
            self.members.install(meta)
            self._accept(m.sender, meta.index)
        else:
            staged = m.staged if m.staged < meta.size else 0
            self._tell(SnapReply(self.id, m.sender, self.term, meta.index, staged))

    def _is_whole(self, m: SnapChunk) -> bool:
        """Whether all bytes are staged and are those of the snapshot."""
        return m.staged == m.meta.size and m.staged_crc == m.meta.crc

    def _has_snapshot(self, meta: SnapshotMeta) -> bool:
        """Whether the log holds what the snapshot replaces: then all up to there is committed, and
        the entries after it stay (section 7)."""
        return self.log.term_at(meta.index) == meta.term
