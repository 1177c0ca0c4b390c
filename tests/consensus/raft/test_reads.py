"""Reads that are not stale (section 8; dissertation, section 6.4)."""

from consensus.raft.core import Raft
from consensus.raft.messages import AppendReply, Heartbeat, HeartbeatReply
from consensus.raft.types import Lost
from tests.consensus.raft.network import Network
from tests.consensus.raft.single import answers, append, flush, lead, node


def leader(core: type[Raft]) -> Raft:
    """A leader that committed in its term."""
    raft = lead(node(core=core), 2)
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 1))
    return raft


def rounds(raft: Raft) -> list[int]:
    """The rounds that were sent to node 2."""
    sent = raft.take_messages()
    return [m.round for m in sent if isinstance(m, Heartbeat) and m.to == 2]


def test_a_read_is_answered_when_a_majority_echoes_its_round(core: type[Raft]) -> None:
    """8: the leader exchanges heartbeats with a majority before it answers a read."""
    raft = leader(core)
    raft.read_index(7)
    assert rounds(raft) == [1]
    assert raft.reads() == []
    raft.step(HeartbeatReply(2, 1, 1, 1))
    assert raft.reads() == [(7, 1)]
    assert raft.reads() == []


def test_an_echo_of_a_round_begun_before_the_read_does_not_count(core: type[Raft]) -> None:
    """6.4: the round must be begun after the read was asked for."""
    raft = leader(core)
    raft.read_index(7)
    raft.read_index(8)
    raft.step(HeartbeatReply(2, 1, 1, 0))
    raft.step(HeartbeatReply(3, 1, 1, 0))
    assert raft.reads() == []
    raft.step(HeartbeatReply(2, 1, 1, 1))
    assert raft.reads() == [(7, 1)]
    raft.step(HeartbeatReply(3, 1, 1, 1))
    assert raft.reads() == []
    assert rounds(raft) == [1, 2]
    raft.step(HeartbeatReply(3, 1, 1, 2))
    assert raft.reads() == [(8, 1)]


def test_no_read_is_answered_before_the_leader_committed_in_its_term(core: type[Raft]) -> None:
    """8: at the start of its term a leader may not know which entries are committed."""
    raft = lead(node(1, 1, core=core), 2)
    flush(raft)
    raft.read_index(7)
    for round_ in (0, 1):
        answers(raft, HeartbeatReply(2, 1, 2, round_), HeartbeatReply(3, 1, 2, round_))
    assert raft.reads() == []
    answers(raft, AppendReply(2, 1, 2, True, 3))
    answers(raft, HeartbeatReply(3, 1, 2, 1))
    assert raft.reads() == [(7, 3)]


def test_a_leader_that_was_replaced_answers_no_read(core: type[Raft]) -> None:
    """8: a server might have been deposed without knowing it."""
    network = Network(core=core)
    network.elect(1)
    network.isolate(1)
    network.elect(2)
    network.propose("a")
    network[1].read_index(7)
    network.settle()
    assert not network[1].reads()
    assert not network.nodes[1].answers
    network.heal()
    network.tick(20)
    assert network.nodes[1].answers == [(7, Lost(network.leader.id))]


def test_a_read_is_lost_with_the_leadership() -> None:
    """Waiting or asked, each token is answered once."""
    raft = leader(Raft)
    raft.read_index(7)
    raft.read_index(8)
    answers(raft, append((0, 0), term=5))
    assert raft.reads() == [(7, Lost(2)), (8, Lost(2))]


def test_a_follower_names_the_leader() -> None:
    raft = node()
    raft.read_index(7)
    raft.step(Heartbeat(2, 1, 1, 0, 0))
    raft.read_index(8)
    assert raft.reads() == [(7, Lost(None)), (8, Lost(2))]


def test_reads_of_a_moment_share_a_round() -> None:
    """6.4: one round of heartbeats for any number of reads that accumulated."""
    raft = leader(Raft)
    for token in range(100):
        raft.read_index(token)
    assert rounds(raft) == [1]
    raft.step(HeartbeatReply(2, 1, 1, 1))
    assert rounds(raft) == [2]
    raft.step(HeartbeatReply(2, 1, 1, 2))
    assert [token for token, _ in raft.reads()] == [*range(100)]


def test_a_lost_round_is_sent_again_with_the_next_heartbeat() -> None:
    raft = leader(Raft)
    raft.read_index(7)
    raft.take_messages()
    for _ in range(raft.cfg.heartbeat_ticks):
        raft.tick()
    assert rounds(raft) == [1]


def test_a_round_that_was_never_begun_is_not_believed() -> None:
    raft = leader(Raft)
    raft.step(HeartbeatReply(2, 1, 1, 99))
    raft.read_index(7)
    assert raft.reads() == []


def test_a_lone_voter_reads_at_once() -> None:
    raft = node(voters=(1,))
    raft.campaign()
    flush(raft)
    raft.read_index(7)
    assert raft.reads() == [(7, 1)]


def test_learners_confirm_no_read() -> None:
    """6.4: a majority of the voters."""
    raft = lead(node(learners=(4, 5)), 2)
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 1))
    raft.read_index(7)
    raft.step(HeartbeatReply(4, 1, 1, 1))
    raft.step(HeartbeatReply(5, 1, 1, 1))
    assert raft.reads() == []
