"""Who leads: votes, pre-votes and transfers.

Sections 5.2, 5.4.1 and 6; Ongaro's dissertation (2014), sections 3.10, 4.2.3, 6.2 and 9.6.
"""

from consensus.raft.membership import has_quorum
from consensus.raft.messages import TimeoutNow, VoteReply, VoteRequest
from consensus.raft.standing import Standing
from consensus.raft.types import NodeId, Role


class Elections(Standing):
    """A node that stands for election, votes and steps down."""

    def _tick_election(self) -> None:
        """Stand when no leader was heard for the drawn time."""
        self._elapsed += 1
        if self._elapsed >= self._timeout:
            self.leader = None
            if self._may_stand():
                self._stand(pre=self.cfg.pre_vote)

    def _tick_leader(self) -> None:
        """Step down without a quorum or a disk; give up a transfer that does not happen."""
        self._elapsed += 1
        self._transfer_elapsed += 1
        if self._transfer_elapsed >= self.cfg.election_ticks:
            self._transferee = None
        if self._disk_hangs():
            self._become_follower(self.term, None)
        elif self._elapsed >= self.cfg.election_ticks:
            self._elapsed = 0
            if self.cfg.check_quorum and not self._hears_quorum():
                self._become_follower(self.term, None)

    def _disk_hangs(self) -> bool:
        """Storage has been at work for longer than the longest election timeout."""
        return self._outbox.stalled > 2 * self.cfg.election_ticks

    def _hears_quorum(self) -> bool:
        """Whether a majority was heard since this was last asked (dissertation, 6.2)."""
        heard = [p.id for p in self.progress.values() if p.active and self.members.is_voter(p.id)]
        for peer in self.progress.values():
            peer.active = False
        own = self.members.is_voter(self.id)
        return has_quorum(len(heard) + own, len(self.members.voters))

    def _may_stand(self) -> bool:
        """Only a voter leads, or one that is needed to commit its own removal; and only one whose
        disk works. Its own vote counts only if it is a voter."""
        return self.members.may_lead(self.id, self.log.commit) and not self._disk_hangs()

    def _stand(self, *, pre: bool, transfer: bool = False) -> None:
        """Ask every voter for its vote, in the next term; with `pre` only whether it would."""
        self._become(Role.PRECANDIDATE if pre else Role.CANDIDATE, None)
        if not pre:
            self.term, self.vote = self.term + 1, self.id
        term = self.term + 1 if pre else self.term
        last, last_term = self.log.last, self.log.last_term
        send = self._tell if pre else self._promise
        for node in self.members.voters:
            if node != self.id:
                send(VoteRequest(self.id, node, term, last, last_term, pre, transfer))
        if pre:
            self._count_vote(self.id, granted=True)

    def _count_own_vote(self) -> None:
        """A candidate's vote for itself counts when it is durable."""
        if self.role is Role.CANDIDATE and self._outbox.durable == self._hard():
            self._count_vote(self.id, granted=True)

    def _count_vote(self, node: NodeId, *, granted: bool) -> None:
        """Count the first answer of a voter; a majority of either kind decides."""
        if not self.members.is_voter(node):
            return
        self._votes.setdefault(node, granted)
        given, voters = sum(self._votes.values()), len(self.members.voters)
        if has_quorum(given, voters):
            self._win()
        elif has_quorum(len(self._votes) - given, voters):
            self._become_follower(self.term, None)

    def _win(self) -> None:
        if self.role is Role.PRECANDIDATE:
            self._stand(pre=False)
        else:
            self._lead()

    def _leader_is_recent(self) -> bool:
        """Whether a leader was heard within the shortest election timeout (section 6)."""
        recent = self.leader is not None and self._elapsed < self.cfg.election_ticks
        return recent and self.cfg.check_quorum

    def _log_is_current(self, m: VoteRequest) -> bool:
        """Whether the candidate's log is at least as up to date as the own (section 5.4.1)."""
        return (m.last_term, m.last_index) >= (self.log.last_term, self.log.last)

    def _may_vote(self, m: VoteRequest) -> bool:
        """Whether the vote of this term is still free, or the candidate's already."""
        if m.pre and m.term > self.term:
            return True
        return self.vote == m.sender or (self.vote is None and self.leader is None)

    def _enters_for_candidate(self, m: VoteRequest) -> bool:
        """Whether a request of a higher term is heard at all. Not while there is a leader, unless
        it wants this election; and a stranger moves the term only where it could win."""
        if self._leader_is_recent() and not m.transfer:
            return False
        if m.pre:
            return True
        if not self.members.is_member(m.sender) and not self._log_is_current(m):
            return False
        self._become_follower(m.term, None)
        return True

    def _on_vote_request(self, m: VoteRequest) -> None:
        granted = self._may_vote(m) and self._log_is_current(m)
        if m.pre:
            term = m.term if granted else self.term
            self._tell(VoteReply(self.id, m.sender, term, granted, pre=True))
        elif granted:
            self.vote, self._elapsed = m.sender, 0
            self._promise(VoteReply(self.id, m.sender, self.term, granted=True))
        else:
            self._tell(VoteReply(self.id, m.sender, self.term, granted=False))

    def _on_vote_reply(self, m: VoteReply) -> None:
        if m.pre:
            asked = self.term + 1 if m.granted else self.term
            counts = self.role is Role.PRECANDIDATE and m.term == asked
        else:
            counts = self.role is Role.CANDIDATE
        if counts:
            self._count_vote(m.sender, granted=m.granted)

    def _on_timeout_now(self, m: TimeoutNow) -> None:
        """Stand at once, without asking first: the leader itself gives way (section 3.10)."""
        by_leader = self.role is not Role.LEADER and self.leader in {None, m.sender}
        if by_leader and self.space and self._may_stand():
            self._stand(pre=False, transfer=True)

    def _hand_over(self, to: NodeId) -> None:
        """Let a peer stand as soon as it has the whole log and room on its disk."""
        self._transferee, self._transfer_elapsed = to, 0
        self._finish_transfer()

    def _finish_transfer(self) -> None:
        """Tell the next leader to stand, once it has everything."""
        peer = self.progress.get(self._transferee or 0)
        if peer is not None and peer.space and peer.match == self.log.last:
            self._send(TimeoutNow(self.id, peer.id, self.term))

    def _heir(self) -> NodeId | None:
        """Who should lead next: of the voters that answer and have room on their disks the one
        with most of the log; None if there is none."""
        peers = [p for p in self.progress.values() if self.members.is_voter(p.id)]
        able = [peer for peer in peers if peer.active and peer.space]
        return max(able, key=lambda peer: peer.match).id if able else None
