"""What a leader does: replicate, commit, answer reads, send snapshots.

Sections 5.3, 5.4.2, 7 and 8; Ongaro's dissertation (2014), sections 4.2 and 6.4.
"""

from collections.abc import Iterator

from consensus.raft.following import Following
from consensus.raft.membership import has_quorum, quorum_value
from consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    SnapChunk,
    SnapReply,
)
from consensus.raft.progress import Mode, Progress
from consensus.raft.types import Index, NodeId, Role


class Leading(Following):
    """A node that brings its log to all members and commits what a majority has."""

    def _tick_heartbeat(self) -> None:
        self._since_heartbeat += 1
        if self._since_heartbeat < self.cfg.heartbeat_ticks:
            return
        for peer in self.progress.values():
            peer.wait(self._since_heartbeat, self.cfg.election_ticks)
        self._since_heartbeat = 0
        self._send_heartbeats()
        if not self.space and self._transferee is None and (heir := self._heir()):
            self._hand_over(heir)

    def _send_heartbeats(self) -> None:
        for peer in self.progress.values():
            commit = min(self.log.commit, peer.match)
            self._send(Heartbeat(self.id, peer.id, self.term, commit, self._reading.round))

    def _replicate(self) -> None:
        """Queue all that may be sent to each member now, many entries in one message."""
        limits = self.cfg.max_inflight, self.cfg.max_inflight_bytes
        for peer in self.progress.values():
            while peer.ask or peer.may_send(self.log.last, *limits):
                if not self._send_append(peer):
                    break
            if peer.chunk_due and peer.snapshot is not None:
                self._send_chunk(peer)

    def _send_append(self, peer: Progress) -> bool:
        """One Append; False where only a snapshot helps."""
        prev_term = self.log.term_at(peer.next - 1)
        if prev_term is None:
            if peer.active:
                peer.send_snapshot(self.log.snapshot)
            return False
        entries = self.log.entries(peer.next, self.log.last, self.cfg.max_append_bytes)
        prev, commit = peer.next - 1, self.log.commit
        self._send(Append(self.id, peer.id, self.term, prev, prev_term, tuple(entries), commit))
        last = prev + len(entries)
        peer.sent(last, self.log.bytes_between(peer.next, last))
        return True

    def _send_chunk(self, peer: Progress) -> None:
        meta, offset = peer.snapshot, peer.offset
        if meta is not None:
            length = min(self.cfg.chunk_bytes, meta.size - offset)
            self._send(SnapChunk(self.id, peer.id, self.term, meta, offset, length))
            peer.chunk_due = False

    def _heard(self, m: AppendReply | HeartbeatReply | SnapReply) -> Progress | None:
        """The member of this leader that answers; None where there is none."""
        peer = self.progress.get(m.sender)
        if self.role is not Role.LEADER or peer is None:
            return None
        peer.active = True
        return peer

    def _on_append_reply(self, m: AppendReply) -> None:
        peer = self._heard(m)
        if peer is None or m.index > self.log.last:
            return
        peer.space = m.space
        if not m.accepted:
            self._back_off(peer, m)
            return
        news = peer.accepted(m.index)
        if self._knows_match(peer, m.index):
            peer.replicate()
        if news:
            self._commit_by_quorum()
            self._finish_transfer()

    @staticmethod
    def _knows_match(peer: Progress, index: Index) -> bool:
        """Whether an accepted `index` ends a probe, or a snapshot."""
        if peer.snapshot is not None:
            return index >= peer.snapshot.index
        return peer.mode is Mode.PROBE and index == peer.match

    def _back_off(self, peer: Progress, m: AppendReply) -> None:
        """Ask again where the logs may match: at the last entry whose term is not above the
        follower's there."""
        if peer.rejection_counts(m.rejected):
            index, _ = self.log.last_of_term(min(m.index, m.rejected - 1), m.hint_term)
            if m.index < self.log.snapshot.index:
                index = m.index
            peer.probe(max(index, peer.match) + 1)

    def _commit_by_quorum(self) -> None:
        """Commit what a majority has durable, by counting entries of the own term only."""
        values = [self._match_of(node) for node in self._voters()]
        index = quorum_value(values)
        if index > self.log.commit and self._counts_for_commit(index):
            self._uncommitted_bytes -= self.log.bytes_between(self.log.commit + 1, index)
            self._commit_to(index)
            self._after_commit()

    def _voters(self) -> tuple[NodeId, ...]:
        """Those that count; a leader that removes itself does not (dissertation, 4.2.2)."""
        return self.members.voters

    def _match_of(self, node: NodeId) -> Index:
        return self._own_match() if node == self.id else self.progress[node].match

    def _own_match(self) -> Index:
        """The own log counts as far as it is durable."""
        return self.log.durable

    def _counts_for_commit(self, index: Index) -> bool:
        """An entry of an earlier term is never committed by counting (section 5.4.2)."""
        return self._is_of_own_term(index)

    def _is_of_own_term(self, index: Index) -> bool:
        return self.log.term_at(index) == self.term

    def _after_commit(self) -> None:
        """Reads may begin now; a leader that removed itself is done (dissertation, 4.2.2)."""
        self._begin_round()
        removed = not self.members.is_member(self.id)
        if removed and self.members.index <= self.log.commit:
            if heir := self._heir():
                self._hand_over(heir)
            self._become_follower(self.term, None)

    def _may_read(self) -> bool:
        """A leader knows what is committed only by an entry of its own term (section 8)."""
        return self._is_of_own_term(self.log.commit)

    def _begin_round(self) -> None:
        """Ask the members whether this is still the leader, for the reads that wait."""
        if self._reading.may_begin and self._may_read():
            self._reading.begin(self.log.commit)
            self._send_heartbeats()
            self._end_round()

    def _end_round(self) -> None:
        if self._reading.open and self._round_has_quorum():
            self._reading.end()
            self._begin_round()

    def _round_has_quorum(self) -> bool:
        """Whether a majority echoed the open round; the leader itself is one of them."""
        voters = self._voters()
        echoed = [node for node in voters if self._round_of(node) >= self._reading.round]
        return has_quorum(len(echoed), len(voters))

    def _round_of(self, node: NodeId) -> int:
        return self._reading.round if node == self.id else self.progress[node].round

    def _echoed_round(self, m: HeartbeatReply) -> int:
        """The round that a reply counts for: the one it echoes."""
        return m.round

    def _on_heartbeat_reply(self, m: HeartbeatReply) -> None:
        peer = self._heard(m)
        if peer is None or m.round > self._reading.round:
            return
        peer.space = m.space
        peer.round = max(peer.round, self._echoed_round(m))
        peer.heartbeat_echoed(self.log.last)
        self._end_round()

    def _on_snap_reply(self, m: SnapReply) -> None:
        peer = self._heard(m)
        if peer is not None and peer.snapshot is not None and peer.snapshot.index == m.index:
            peer.staged(m.staged)

    def _changes_wait_for(self) -> Iterator[str]:
        """What must happen before the members may change (dissertation, chapter 4)."""
        if not self._is_of_own_term(self.log.commit):
            yield "this leader has not committed an entry of its term yet"
        if self.members.index > self.log.commit:
            yield "another change of members is not committed yet"
        if self._transferee is not None:
            yield "leadership is being transferred"
