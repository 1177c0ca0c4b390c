"""What keeps a cluster available: pre-votes, check of the quorum, transfer, disks that hang or are
full (dissertation, sections 3.10, 4.2.3, 6.2, 9.6)."""

import pytest

from consensus.raft.core import Raft
from consensus.raft.errors import Busy, ChangeRefused, NoSpace, NotLeader
from consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from consensus.raft.types import RaftConfig, Role
from tests.consensus.raft.network import Network
from tests.consensus.raft.single import answers, append, flush, lead, node, only, save


def test_a_node_that_is_cut_off_raises_no_term() -> None:
    """9.6: a server that cannot win does not increment its term, so it disturbs nobody later."""
    network = Network()
    network.elect(1)
    network.isolate(3)
    network.tick(100)
    assert (network[3].role, network[3].term) == (Role.PRECANDIDATE, 1)
    network.heal()
    network.tick(20)
    assert (network.leader.id, network.leader.term) == (1, 1)


def test_a_pre_vote_costs_no_vote_and_no_term() -> None:
    """9.6: it only says that a vote would be given."""
    raft = node(1)
    assert only(answers(raft, VoteRequest(2, 1, 2, 1, 1, pre=True))) == VoteReply(
        1, 2, 2, True, pre=True
    )
    assert (raft.term, raft.vote, raft.ready()) == (1, None, None)


def test_a_pre_vote_needs_a_log_that_could_win(core: type[Raft]) -> None:
    """9.6: a pre-vote is given as a vote would be."""
    raft = node(1, 2, core=core)
    assert only(answers(raft, VoteRequest(2, 1, 3, 5, 1, pre=True))) == VoteReply(
        1, 2, 2, False, pre=True
    )


def test_a_node_stands_only_after_a_majority_would_vote_for_it() -> None:
    """9.6: then it increments its term and starts a normal election."""
    raft = node()
    for _ in range(10):
        raft.tick()
    assert flush(raft) == [VoteRequest(1, to, 1, 0, 0, pre=True) for to in (2, 3)]
    assert (raft.role, raft.term) == (Role.PRECANDIDATE, 0)
    asked = answers(raft, VoteReply(2, 1, 1, True, pre=True))
    assert asked == [VoteRequest(1, to, 1, 0, 0) for to in (2, 3)]
    assert (raft.term, raft.vote) == (1, 1)


def test_a_pre_vote_is_no_vote() -> None:
    """9.6: the answer to one question does not answer the other."""
    raft = node()
    raft._stand(pre=False)
    flush(raft)
    answers(raft, VoteReply(2, 1, 2, True, pre=True), VoteReply(2, 1, 1, True, pre=True))
    assert (raft.role, raft.term) == (Role.CANDIDATE, 1)


def test_a_pre_vote_for_another_term_counts_for_nothing() -> None:
    """9.6: late answers of an earlier round elect nobody."""
    raft = node(term=4)
    raft.campaign()
    answers(raft, VoteReply(2, 1, 9, True, pre=True), VoteReply(2, 1, 4, True, pre=True))
    assert (raft.role, raft.term) == (Role.PRECANDIDATE, 4)


@pytest.mark.parametrize("pre", [False, True])
def test_nobody_votes_while_a_leader_is_recent(pre: bool, core: type[Raft]) -> None:
    """6, 4.2.3: a server that hears a current leader does not update its term or grant a vote."""
    raft = node(1, core=core)
    raft.step(Heartbeat(2, 1, 1, 0, 0))
    flush(raft)
    assert answers(raft, VoteRequest(3, 1, 2, 9, 9 - 8, pre=pre)) == []
    assert raft.term == 1
    for _ in range(raft.cfg.election_ticks - 1):
        raft.tick()
    assert answers(raft, VoteRequest(3, 1, 2, 9, 1, pre=pre)) == []
    raft._timeout = 99
    raft.tick()
    assert len(answers(raft, VoteRequest(3, 1, 2, 9, 1, pre=pre))) == 1


def test_a_leader_does_not_vote_for_another_while_it_has_its_quorum() -> None:
    """4.2.3: the leader is recent to itself."""
    raft = lead(node(), 2)
    flush(raft)
    assert answers(raft, VoteRequest(3, 1, 2, 9, 1)) == []
    assert raft.role is Role.LEADER


def test_a_leader_without_a_quorum_steps_down(core: type[Raft]) -> None:
    """6.2: if an election timeout elapses without a round of heartbeats to a majority."""
    network = Network(core=core, options={"timeout_ticks": 25})
    network.elect(1)
    network.isolate(1)
    network.tick(2 * network[1].cfg.election_ticks, 1)
    assert (network[1].role, network[1].leader) == (Role.FOLLOWER, None)


def test_learners_do_not_make_a_quorum() -> None:
    """6.2: only voters do."""
    raft = lead(node(learners=(4, 5)), 2)
    flush(raft)
    for _ in range(2 * raft.cfg.election_ticks):
        raft.tick()
        answers(raft, HeartbeatReply(4, 1, 1, 0), HeartbeatReply(5, 1, 1, 0))
    assert raft.role is not Role.LEADER


def test_a_node_that_was_cut_off_in_a_higher_term_comes_back(core: type[Raft]) -> None:
    """A leader of a lower term is answered with the own term, so that it steps down: else the node
    that won a pre-vote and was cut off is left out for ever."""
    network = Network(core=core)
    network.elect(1)
    network.isolate(3)
    network[3]._stand(pre=False)
    network.settle()
    assert network[3].term == 2
    network.heal()
    network.tick(60)
    assert len({network[n].term for n in (1, 2, 3)}) == 1
    network.propose("a")
    network.tick(4)
    assert network.states() == ["a"] * 3


def test_a_one_way_cut_costs_no_leader() -> None:
    """A node that hears nobody and is heard by all changes nothing (asymmetric partition)."""
    network = Network()
    network.elect(1)
    network.cut((1, 3), (2, 3))
    network.tick(200)
    assert (network.leader.id, network.leader.term) == (1, 1)


def test_a_leader_that_hears_nobody_gives_way(core: type[Raft]) -> None:
    """The other asymmetric partition: its heartbeats arrive and no answer comes back."""
    network = Network(core=core)
    network.elect(1)
    network.cut((2, 1), (3, 1))
    network.tick(60)
    assert network.leader.id != 1


def test_a_leader_whose_disk_hangs_steps_down(core: type[Raft]) -> None:
    """After an election timeout, though its heartbeats still leave and are answered."""
    network = Network(core=core)
    network.elect(1)
    network.nodes[1].hangs = True
    network[1].propose(b"x")
    network.tick(60)
    assert network.leader.id != 1
    network.propose("a")
    network.nodes[1].hangs = False
    network.tick(60)
    assert network.states() == ["x a"] * 3


def test_a_node_whose_disk_hangs_does_not_stand() -> None:
    """It could promise nothing."""
    raft = node()
    raft.step(append((0, 0), term=1))
    assert raft.ready() is not None
    raft._timeout = 30
    for _ in range(50):
        raft.tick()
    raft.campaign()
    assert (raft.role, raft.take_messages()) == (Role.FOLLOWER, [])


def test_a_transfer_gives_the_leadership_to_a_peer_that_has_everything() -> None:
    """3.10: TimeoutNow, once the logs are equal; then the next leader needs no timeout."""
    network = Network()
    network.elect(1)
    network.propose("a")
    network[1].transfer(3)
    network.settle()
    assert (network.leader.id, network.leader.term) == (3, 2)
    network.propose("b")
    network.tick(4)
    assert network.states() == ["a b"] * 3


def test_a_transfer_waits_until_the_peer_has_everything() -> None:
    """3.10: the prior leader fully replicates its log first, and accepts nothing new."""
    raft = lead(node(), 2)
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 1))
    raft.transfer(3)
    assert flush(raft) == []
    with pytest.raises(Busy):
        raft.propose(b"x")
    assert TimeoutNow(1, 3, 1) in answers(raft, AppendReply(3, 1, 1, True, 1))


def test_a_transfer_that_does_not_happen_is_given_up() -> None:
    """3.10: after about an election timeout the prior leader accepts requests again."""
    network = Network()
    network.elect(1)
    network.isolate(3)
    network[1].transfer(3)
    network.tick(network[1].cfg.election_ticks)
    network[1].propose(b"x")
    assert network.leader.id == 1


def test_a_transfer_overrides_the_rule_of_the_recent_leader() -> None:
    """4.2.3: a request that the leader itself caused may disturb it."""
    raft = node(1)
    raft.step(Heartbeat(2, 1, 1, 0, 0))
    flush(raft)
    reply = only(answers(raft, VoteRequest(3, 1, 2, 1, 1, transfer=True)))
    assert reply == VoteReply(1, 3, 2, granted=True)


def test_a_node_stands_at_once_when_its_leader_says_so() -> None:
    """3.10: without a pre-vote, which would be refused."""
    raft = node(1)
    raft.step(Heartbeat(2, 1, 1, 0, 0))
    flush(raft)
    asked = answers(raft, TimeoutNow(2, 1, 1))
    assert asked == [VoteRequest(1, to, 2, 1, 1, transfer=True) for to in (2, 3)]


@pytest.mark.parametrize("m", [TimeoutNow(3, 1, 1), TimeoutNow(2, 1, 0), TimeoutNow(2, 3, 1)])
def test_nobody_else_can_make_a_node_stand(m: TimeoutNow) -> None:
    """Only the leader of the term it is in."""
    raft = node(1)
    raft.step(Heartbeat(2, 1, 1, 0, 0))
    flush(raft)
    assert answers(raft, m) == []
    assert raft.term == 1


def test_leadership_goes_only_to_voters() -> None:
    raft = lead(node(learners=(4,)), 2)
    for to in (1, 4, 9):
        with pytest.raises(ChangeRefused):
            raft.transfer(to)
    with pytest.raises(NotLeader):
        node().transfer(2)


def test_leadership_goes_only_to_a_peer_that_reports_space() -> None:
    raft = lead(node(), 2)
    flush(raft)
    answers(raft, AppendReply(3, 1, 1, True, 1, space=False))
    with pytest.raises(Busy):
        raft.transfer(3)


def test_a_node_without_space_does_not_take_the_leadership() -> None:
    raft = node()
    raft.report_space(free=False)
    raft.step(Heartbeat(2, 1, 1, 0, 0))
    assert answers(raft, TimeoutNow(2, 1, 1)) == [HeartbeatReply(1, 2, 1, 0, space=False)]


def test_a_full_leader_accepts_nothing_and_hands_over() -> None:
    """Before anything is written; to a peer that has room."""
    network = Network()
    network.elect(1)
    network[2].report_space(free=False)
    network.tick(4)
    network[1].report_space(free=False)
    last = network[1].log.last
    with pytest.raises(NoSpace):
        network[1].propose(b"x")
    assert network[1].log.last == last
    network.tick(4)
    assert network.leader.id == 3


def test_where_all_are_full_the_leader_stays() -> None:
    network = Network()
    network.elect(1)
    for raft in (network[1], network[2], network[3]):
        raft.report_space(free=False)
    network.tick(100)
    assert (network.leader.id, network.leader.term) == (1, 1)


def test_a_leader_takes_no_more_than_may_wait_for_the_quorum() -> None:
    raft = lead(node(cfg=RaftConfig(id=1, max_uncommitted_bytes=500)), 2)
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 1))
    raft.propose(b"x" * 400)
    with pytest.raises(Busy):
        raft.propose(b"x" * 100)
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 2))
    raft.propose(b"x" * 100)


def test_a_lone_voter_needs_nobody() -> None:
    network = Network((1,))
    network.tick(25)
    network.propose("a")
    network.tick(100)
    assert (network[1].role, network.states()) == (Role.LEADER, ["a"])


def test_heartbeats_leave_every_so_many_ticks() -> None:
    """5.2: leaders send periodic heartbeats to all followers to keep their authority."""
    raft = lead(node(cfg=RaftConfig(id=1, heartbeat_ticks=3)), 2)
    flush(raft)
    beats = []
    for _ in range(6):
        raft.tick()
        beats.append(len([m for m in raft.take_messages() if isinstance(m, Heartbeat)]))
    assert beats == [0, 0, 2, 0, 0, 2]


def test_an_answer_to_a_heartbeat_does_not_wait_for_entries_on_their_way_to_disk() -> None:
    """It depends on the term only, and that is durable."""
    raft = node(term=1)
    raft.step(append((0, 0), (), term=1))
    save(raft)
    raft.take_messages()
    raft.step(Append(2, 1, 1, 0, 0, (), 0))
    raft.step(Heartbeat(2, 1, 1, 0, 5))
    assert HeartbeatReply(1, 2, 1, 5) in raft.take_messages()
