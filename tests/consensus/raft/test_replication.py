"""Log replication and commit (figure 2, sections 5.3, 5.4.2)."""

import pytest

from consensus.raft.core import Raft
from consensus.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from consensus.raft.types import Kind, RaftConfig, Role
from tests.consensus.raft.network import Network
from tests.consensus.raft.single import (
    answers,
    append,
    entries,
    flush,
    lead,
    log_terms,
    node,
    only,
    save,
)

EVERYTHING = 1 << 30


def test_an_append_of_an_older_term_is_rejected_with_the_own() -> None:
    """Figure 2, AppendEntries 1: reply false if term < currentTerm."""
    raft = node(1, term=3)
    assert only(answers(raft, append((1, 1), entries(2, after=1), term=2))) == AppendReply(
        1, 2, 3, False, 0
    )
    assert log_terms(raft) == [1]


@pytest.mark.parametrize("prev", [(3, 2), (2, 2), (9, 1)])
def test_an_append_that_does_not_match_is_rejected(prev: tuple[int, int], core: type[Raft]) -> None:
    """Figure 2, AppendEntries 2: reply false if there is no entry at prevLogIndex whose term
    matches prevLogTerm."""
    raft = node(1, 1, term=2, core=core)
    new = entries(2, after=prev[0])
    reply = only(answers(raft, append(prev, new, term=2, commit=9)))
    assert isinstance(reply, AppendReply)
    assert not reply.accepted
    assert (reply.rejected, log_terms(raft), raft.log.commit) == (prev[0], [1, 1], 0)


def test_a_conflicting_entry_and_all_that_follow_are_deleted() -> None:
    """Figure 2, AppendEntries 3."""
    raft = node(1, 2, 2, 2, term=3)
    assert only(answers(raft, append((1, 1), entries(3, after=1), term=3))) == AppendReply(
        1, 2, 3, True, 2
    )
    assert log_terms(raft) == [1, 3]


def test_entries_that_are_there_already_are_left_alone(core: type[Raft]) -> None:
    """Figure 2, AppendEntries 3 and 4: a short or late append deletes nothing after it, as those
    entries may be on the majority that committed them."""
    raft = node(1, 1, 1, 1, term=1, core=core)
    answers(raft, append((0, 0), entries(1, 1), term=1))
    assert log_terms(raft) == [1, 1, 1, 1]


def test_entries_that_are_new_are_appended() -> None:
    """Figure 2, AppendEntries 4."""
    raft = node(1, term=1)
    answers(raft, append((1, 1), entries(1, 1, after=1), term=1))
    assert log_terms(raft) == [1, 1, 1]


@pytest.mark.parametrize(("commit", "follows"), [(1, 1), (2, 2), (4, 2), (9, 2)])
def test_a_follower_commits_no_further_than_what_was_verified(
    commit: int, follows: int, core: type[Raft]
) -> None:
    """Figure 2, AppendEntries 5: min(leaderCommit, index of last new entry). What it has beyond
    may be of another leader."""
    raft = node(1, 1, 1, 1, term=2, core=core)
    answers(raft, append((1, 1), entries(1, after=1), term=2, commit=commit))
    assert raft.log.commit == follows


def test_an_acknowledgement_leaves_only_when_the_entries_are_durable(
    core: type[Raft],
) -> None:
    """Figure 2: the log is on stable storage before the answer."""
    raft = node(core=core)
    raft.step(append((0, 0), entries(1, 1), term=1))
    assert raft.take_messages() == []
    ready = raft.ready()
    assert ready is not None
    assert [entry.index for entry in ready.entries] == [1, 2]
    assert raft.take_messages() == []
    assert raft.advance(ready.seq) == [AppendReply(1, 2, 1, True, 2)]


def test_what_is_not_durable_here_is_not_applied_here(core: type[Raft]) -> None:
    """5.3, figure 2: a node that crashes comes back with all that it applied."""
    raft = node(core=core)
    raft.step(append((0, 0), entries(1, 1), term=1, commit=2))
    assert raft.committed(EVERYTHING) == ()
    save(raft)
    assert [entry.index for entry in raft.committed(EVERYTHING)] == [1, 2]
    assert raft.committed(EVERYTHING) == ()


def test_committed_entries_come_in_portions() -> None:
    """The caller bounds what it gets, at least one entry at a time."""
    raft = node(1, 1, 1, term=1)
    answers(raft, append((3, 1), term=1, commit=3))
    assert [[e.index for e in raft.committed(1)] for _ in range(4)] == [[1], [2], [3], []]


def test_a_leader_never_overwrites_its_own_log() -> None:
    """5.3, figure 3: leader append-only: even a message in its own term changes nothing."""
    raft = lead(node(1, 1), 2)
    flush(raft)
    answers(raft, Append(2, 1, raft.term, 0, 0, entries(2), 0))
    assert (log_terms(raft), raft.role) == ([1, 1, 2], Role.LEADER)


def test_a_leader_commits_what_a_majority_has_durable() -> None:
    """5.3, figure 2: if a majority of matchIndex[i] >= N, set commitIndex = N."""
    raft = lead(node(voters=range(1, 6)), 2, 3)
    raft.propose(b"a")
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 2))
    assert raft.log.commit == 0
    answers(raft, AppendReply(3, 1, 1, True, 1))
    assert raft.log.commit == 1
    answers(raft, AppendReply(4, 1, 1, True, 2))
    assert raft.log.commit == 2


def test_the_own_log_counts_only_as_far_as_it_is_durable(core: type[Raft]) -> None:
    """Dissertation, 10.2.1: a leader may write beside its followers, and counts itself after."""
    raft = lead(node(core=core), 2)
    raft.step(AppendReply(2, 1, 1, True, 1))
    assert raft.log.commit == 0
    save(raft)
    assert raft.log.commit == 1


def test_a_majority_commits_before_the_leaders_own_disk() -> None:
    """Dissertation, 10.2.1: it may even commit before its own disk has it, but not apply."""
    raft = lead(node(), 2)
    raft.step(AppendReply(2, 1, 1, True, 1))
    raft.step(AppendReply(3, 1, 1, True, 1))
    assert raft.log.commit == 1
    assert raft.committed(EVERYTHING) == ()


def test_a_learner_counts_for_no_commit() -> None:
    """Dissertation, 4.2.1: a new server that catches up is counted for nothing."""
    raft = lead(node(learners=(4, 5)), 2)
    flush(raft)
    answers(raft, AppendReply(4, 1, 1, True, 1), AppendReply(5, 1, 1, True, 1))
    assert raft.log.commit == 0


def test_entries_of_earlier_terms_are_committed_only_with_one_of_the_own(
    core: type[Raft],
) -> None:
    """5.4.2: only entries from the leader's current term are committed by counting replicas."""
    raft = lead(node(1, 1, core=core), 2)
    flush(raft)
    answers(raft, AppendReply(2, 1, 2, True, 2))
    assert raft.log.commit == 0
    answers(raft, AppendReply(2, 1, 2, True, 3))
    assert raft.log.commit == 3


def test_many_commands_travel_in_one_message() -> None:
    """5.3, dissertation 10.2.2: what was proposed meanwhile is batched for each peer."""
    raft = lead(node(), 2)
    answers(raft, AppendReply(2, 1, 1, True, 1), AppendReply(3, 1, 1, True, 1))
    for number in range(10):
        raft.propose(b"%d" % number)
    sent = raft.take_messages()
    assert [len(m.entries) for m in sent if isinstance(m, Append)] == [10, 10]


def test_a_rejection_lets_the_leader_ask_further_down() -> None:
    """5.3: nextIndex is decremented until the logs match; here by terms, not by entries."""
    raft = lead(node(1, 1, 1, 5, 5, 6), 2)
    raft.take_messages()
    # The follower has 1 1 1 2 2 2 and says that at 5 it has an entry of term 2.
    raft.step(AppendReply(3, 1, 7, False, 5, rejected=6, hint_term=2))
    asked = [m for m in raft.take_messages() if m.to == 3]
    assert [(m.prev_index, m.prev_term) for m in asked if isinstance(m, Append)] == [(3, 1)]


def test_a_follower_hints_at_the_last_entry_that_may_match() -> None:
    """5.3, the note on fewer rejections: all entries of newer terms are passed over at once."""
    raft = node(1, 1, 4, 4, 4, term=6)
    assert only(answers(raft, append((5, 2), term=6))) == AppendReply(1, 2, 6, False, 2, 5, 1)
    assert only(answers(raft, append((9, 6), term=6))) == AppendReply(1, 2, 6, False, 5, 9, 4)


def test_a_stale_rejection_changes_nothing() -> None:
    """5.3: answers may be late, doubled and out of order."""
    raft = lead(node(1, 1, 1), 2)
    answers(raft, AppendReply(2, 1, 2, True, 4))
    before = raft.status().peers
    answers(raft, AppendReply(2, 1, 2, False, 1, rejected=2, hint_term=1))
    assert raft.status().peers == before


def test_an_answer_about_entries_that_do_not_exist_is_not_believed() -> None:
    """A match beyond the log would commit what nobody has."""
    raft = lead(node(), 2)
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 99))
    assert (raft.log.commit, raft.status().peers[0].match) == (0, 0)


def test_a_heartbeat_commits_only_what_the_receiver_is_known_to_have(core: type[Raft]) -> None:
    """5.3: a heartbeat says min(commit, match), as it verifies nothing."""
    raft = lead(node(core=core), 2)
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 1))
    raft.take_messages()
    for _ in range(raft.cfg.heartbeat_ticks):
        raft.tick()
    beats = {m.to: m.commit for m in raft.take_messages() if isinstance(m, Heartbeat)}
    assert beats == {2: 1, 3: 0}


def test_a_heartbeat_beyond_the_log_commits_only_the_log() -> None:
    """5.3: no index is believed that is not there."""
    raft = node(1, 1, term=1)
    answers(raft, Heartbeat(2, 1, 1, 99, 0))
    assert raft.log.commit == 2


def test_a_leader_brings_every_follower_to_its_own_log() -> None:
    """5.3: lost messages are made up for, whoever lost them."""
    network = Network()
    network.elect(1)
    network.isolate(3)
    network.propose("a", "b", "c")
    network.heal()
    network.tick(4)
    assert network.states() == ["a b c"] * 3


def test_a_lost_last_append_is_sent_again() -> None:
    """5.3: the leader retries indefinitely, even where nothing follows that would show a gap."""
    network = Network()
    network.elect(1)
    network.lost = lambda m: isinstance(m, Append) and m.to == 3
    network.propose("a")
    network.heal()
    network.tick(8)
    assert network.states() == ["a"] * 3


def test_a_lost_answer_is_made_up_for() -> None:
    """5.3: entries that are there already are answered again."""
    network = Network()
    network.elect(1)
    network.lost = lambda m: isinstance(m, AppendReply)
    network.propose("a")
    network.heal()
    network.tick(8)
    assert network.states() == ["a"] * 3


def test_a_truncation_during_a_write_leaves_no_false_durability() -> None:
    """What a newer leader deleted while it was written does not count as durable; the next
    transaction deletes it from the disk."""
    raft = node(term=1)
    raft.step(append((0, 0), entries(1, 1, 1), term=1))
    ready = raft.ready()
    assert ready is not None
    raft.step(Append(3, 1, 2, 1, 1, entries(2, after=1), 0))
    assert raft.advance(ready.seq) == []
    assert raft.log.durable == 1
    second = raft.ready()
    assert second is not None
    assert (second.truncate_from, [e.index for e in second.entries]) == (2, [2])
    assert raft.advance(second.seq) == [AppendReply(1, 3, 2, True, 2)]


def test_one_write_is_in_flight_at_a_time() -> None:
    """What comes meanwhile is one group for the next write."""
    raft = lead(node(voters=(1,)))
    raft.propose(b"first")
    first = raft.ready()
    assert first is not None
    for number in range(5):
        raft.propose(b"%d" % number)
    assert raft.ready() is None
    with pytest.raises(ValueError, match="in flight"):
        raft.advance(first.seq + 1)
    raft.advance(first.seq)
    second = raft.ready()
    assert second is not None
    assert [entry.kind for entry in second.entries] == [Kind.COMMAND] * 5


def test_no_more_is_under_way_than_the_limits_allow() -> None:
    """Dissertation, 10.2.2: pipelining is bounded, in messages and bytes."""
    cfg = RaftConfig(id=1, max_inflight=3, max_append_bytes=30)
    raft = lead(node(cfg=cfg), 2)
    answers(raft, AppendReply(2, 1, 1, True, 1))
    for number in range(10):
        raft.propose(b"%d" % number)
    sent = [m for m in raft.take_messages() if isinstance(m, Append) and m.to == 2]
    assert [len(m.entries) for m in sent] == [1, 1, 1]
    raft.step(AppendReply(2, 1, 1, True, 2))
    more = [m for m in raft.take_messages() if isinstance(m, Append) and m.to == 2]
    assert [m.entries[0].index for m in more] == [5]


def test_a_follower_is_probed_by_one_message_at_a_time() -> None:
    """Until it is known where the logs match nothing is sent in vain."""
    raft = lead(node(), 2)
    assert len([m for m in raft.take_messages() if m.to == 3]) == 1
    raft.propose(b"x")
    assert [m for m in raft.take_messages() if m.to == 3] == []
    raft.step(HeartbeatReply(3, 1, 1, 0))
    assert len([m for m in raft.take_messages() if m.to == 3]) == 1


def test_a_peer_that_cannot_be_reached_is_asked_anew_when_it_answers() -> None:
    """What was lost with a connection is sent again."""
    raft = lead(node(), 2)
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 1))
    raft.propose(b"x")
    raft.take_messages()
    raft.report_unreachable(2)
    assert raft.take_messages() == []
    raft.step(HeartbeatReply(2, 1, 1, 0))
    again = only(raft.take_messages())
    assert isinstance(again, Append)
    assert (again.to, again.prev_index, len(again.entries)) == (2, 1, 1)
