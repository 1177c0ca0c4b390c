"""Terms, votes and elections (Ongaro & Ousterhout 2014, figure 2 and sections 5.1, 5.2, 5.4.1)."""

import random

import pytest

from consensus.raft.core import Raft
from consensus.raft.errors import NotLeader
from consensus.raft.messages import Append, AppendReply, Heartbeat, VoteReply, VoteRequest
from consensus.raft.types import BootState, Entry, HardState, Kind, RaftConfig, Role
from tests.consensus.raft.network import Network, new_cluster
from tests.consensus.raft.single import answers, append, entries, flush, lead, node, only, save

PLAIN = RaftConfig(id=1, pre_vote=False, timeout_ticks=10)


def test_a_node_begins_as_a_follower_without_a_leader() -> None:
    """5.2: when servers start up, they begin as followers."""
    raft = node()
    assert (raft.role, raft.leader, raft.term) == (Role.FOLLOWER, None, 0)


def test_a_follower_remains_one_while_a_leader_is_heard() -> None:
    """5.2: a server remains in follower state as long as it receives valid messages."""
    raft = node(cfg=PLAIN)
    for _ in range(100):
        raft.tick()
        raft.step(Heartbeat(2, 1, 1, 0, 0))
    assert (raft.role, raft.leader, raft.term) == (Role.FOLLOWER, 2, 1)


def test_a_follower_that_hears_nothing_stands_in_the_next_term() -> None:
    """5.2: it increments its term, votes for itself and asks all others."""
    raft = node(1, 1, cfg=PLAIN)
    for _ in range(10):
        raft.tick()
    asked = flush(raft)
    assert asked == [VoteRequest(1, 2, 2, 2, 1), VoteRequest(1, 3, 2, 2, 1)]
    assert (raft.role, raft.term, raft.vote) == (Role.CANDIDATE, 2, 1)


def test_a_candidate_asks_only_after_its_own_vote_is_durable() -> None:
    """5.2, figure 2: persistent state is updated on stable storage before responding."""
    raft = node(cfg=PLAIN)
    raft.campaign()
    assert raft.take_messages() == []
    ready = raft.ready()
    assert ready is not None
    assert ready.hard == HardState(1, 1)
    assert raft.take_messages() == []
    assert len(raft.advance(ready.seq)) == 2


@pytest.mark.parametrize(("voters", "needed"), [(1, 0), (2, 1), (3, 1), (4, 2), (5, 2), (7, 3)])
def test_a_candidate_wins_by_the_votes_of_a_majority(voters: int, needed: int) -> None:
    """5.2: a candidate wins if it receives votes from a majority of the full cluster."""
    raft = node(voters=range(1, voters + 1), cfg=PLAIN)
    raft.campaign()
    for voter in range(2, 2 + needed):
        assert raft.role is Role.CANDIDATE
        raft.step(VoteReply(voter, 1, 1, granted=True))
        raft.step(VoteReply(voter, 1, 1, granted=True))
        flush(raft)
    flush(raft)
    assert raft.status().role is Role.LEADER


def test_the_own_vote_counts_only_when_it_is_durable(core: type[Raft]) -> None:
    """5.2: a vote that a crash forgets elects nobody."""
    raft = node(cfg=PLAIN, core=core)
    raft.campaign()
    raft.step(VoteReply(2, 1, 1, granted=True))
    assert raft.status().role is Role.CANDIDATE
    save(raft)
    assert raft.status().role is Role.LEADER


def test_a_vote_counts_once_and_only_from_a_voter() -> None:
    """5.2: each server votes for at most one candidate; learners and strangers for none."""
    raft = node(voters=range(1, 6), learners=(6,), cfg=PLAIN)
    raft.campaign()
    flush(raft)
    for voter in (2, 2, 6, 9):
        raft.step(VoteReply(voter, 1, 1, granted=True))
    assert raft.role is Role.CANDIDATE


def test_a_candidate_that_is_refused_by_a_majority_follows_again() -> None:
    """5.2: then nobody waits for votes that will not come."""
    raft = node(cfg=PLAIN)
    raft.campaign()
    flush(raft)
    answers(raft, VoteReply(2, 1, 1, granted=False), VoteReply(3, 1, 1, granted=False))
    assert (raft.role, raft.term, raft.vote) == (Role.FOLLOWER, 1, 1)


@pytest.mark.parametrize("pre", [False, True])
def test_a_candidate_follows_a_leader_of_its_term(pre: bool) -> None:
    """5.2: if the leader's term is at least as large, the candidate recognizes it."""
    raft = node(cfg=RaftConfig(id=1, pre_vote=pre), term=4)
    raft.campaign()
    flush(raft)
    raft.step(Append(2, 1, raft.term, 0, 0, (), 0))
    assert (raft.role, raft.leader) == (Role.FOLLOWER, 2)


@pytest.mark.parametrize("m", [append((0, 0), term=3), Heartbeat(2, 1, 3, 0, 0)])
def test_a_candidate_goes_on_where_the_leader_is_of_an_older_term(
    m: Append | Heartbeat,
) -> None:
    """5.2: if the term is smaller, the candidate rejects it and continues."""
    raft = node(term=4, cfg=PLAIN)
    raft.campaign()
    flush(raft)
    assert only(answers(raft, m)) == AppendReply(1, 2, 5, False, 0)
    assert (raft.role, raft.term) == (Role.CANDIDATE, 5)


def test_a_candidate_stands_again_after_a_split_vote() -> None:
    """5.2: each candidate will time out and start a new election in a new term."""
    raft = node(cfg=PLAIN)
    for _ in range(20):
        raft.tick()
        flush(raft)
    assert (raft.role, raft.term) == (Role.CANDIDATE, 2)


def test_election_timeouts_are_spread_over_a_fixed_interval() -> None:
    """5.2: randomized election timeouts, here from one to two times `election_ticks`."""
    raft = Raft(RaftConfig(id=1, election_ticks=10), new_cluster((1, 2, 3)), random.Random(7))
    drawn = {raft._draw_timeout() for _ in range(1000)}
    assert drawn == set(range(10, 20))


@pytest.mark.parametrize("role", [Role.FOLLOWER, Role.CANDIDATE, Role.LEADER])
def test_any_role_follows_a_higher_term(role: Role) -> None:
    """5.1: if a candidate or leader discovers that its term is out of date, it reverts."""
    raft = node(voters=(1, 2, 3), cfg=PLAIN)
    if role is not Role.FOLLOWER:
        raft.campaign()
        flush(raft)
    if role is Role.LEADER:
        raft.step(VoteReply(3, 1, 1, granted=True))
    answers(raft, AppendReply(2, 1, 7, False, 0))
    assert (raft.role, raft.term, raft.vote, raft.leader) == (Role.FOLLOWER, 7, None, None)


def test_only_a_leader_takes_commands() -> None:
    """5.1: clients are redirected to the leader."""
    raft = node()
    raft.step(Heartbeat(2, 1, 1, 0, 0))
    with pytest.raises(NotLeader) as refused:
        raft.propose(b"x")
    assert refused.value.leader == 2


def test_a_request_of_an_older_term_gets_no_vote(core: type[Raft]) -> None:
    """5.1, figure 2: reply false if term < currentTerm, with the current term."""
    raft = node(term=4, core=core)
    assert only(answers(raft, VoteRequest(2, 1, 3, 9, 2))) == VoteReply(1, 2, 4, granted=False)
    assert raft.vote is None


def test_a_node_votes_once_in_a_term(core: type[Raft]) -> None:
    """5.2: each server will vote for at most one candidate, first-come-first-served."""
    raft = node(core=core)
    assert only(answers(raft, VoteRequest(2, 1, 1, 0, 0))) == VoteReply(1, 2, 1, granted=True)
    assert only(answers(raft, VoteRequest(3, 1, 1, 0, 0))) == VoteReply(1, 3, 1, granted=False)
    assert only(answers(raft, VoteRequest(2, 1, 1, 0, 0))) == VoteReply(1, 2, 1, granted=True)
    assert only(answers(raft, VoteRequest(3, 1, 2, 0, 0))) == VoteReply(1, 3, 2, granted=True)


def test_a_vote_leaves_only_when_it_is_durable(core: type[Raft]) -> None:
    """5.2, figure 2: votedFor is on stable storage before the answer."""
    raft = node(core=core)
    raft.step(VoteRequest(2, 1, 1, 0, 0))
    assert raft.take_messages() == []
    ready = raft.ready()
    assert ready is not None
    assert ready.hard == HardState(1, 2)
    assert raft.advance(ready.seq) == [VoteReply(1, 2, 1, granted=True)]


def test_a_vote_outlives_a_restart(core: type[Raft]) -> None:
    """5.1: a server that restarts does not vote twice in a term."""
    network = Network(core=core)
    network.nodes[1].step(VoteRequest(2, 1, 1, 0, 0))
    network.work(network.nodes[1])
    network.crash(1)
    network.restart(1)
    assert only(answers(network[1], VoteRequest(3, 1, 1, 0, 0))) == VoteReply(1, 3, 1, False)
    assert network[1].vote == 2


def test_a_term_that_is_overtaken_lets_its_vote_go_nowhere() -> None:
    """5.1: an answer of an older term that waited for the disk is dropped."""
    raft = node()
    raft.step(VoteRequest(2, 1, 1, 0, 0))
    ready = raft.ready()
    assert ready is not None
    raft.step(VoteRequest(3, 1, 2, 0, 0))
    assert raft.advance(ready.seq) == []
    assert flush(raft) == [VoteReply(1, 3, 2, granted=True)]


@pytest.mark.parametrize(
    ("last", "granted"),
    [((3, 2), True), ((2, 3), True), ((4, 2), True), ((2, 2), False), ((9, 1), False)],
)
def test_a_vote_is_given_only_to_a_log_at_least_as_up_to_date(
    last: tuple[int, int], granted: bool, core: type[Raft]
) -> None:
    """5.4.1: the later last term wins; of the same last term the longer log."""
    raft = node(1, 2, 2, core=core)
    index, term = last
    reply = only(answers(raft, VoteRequest(2, 1, 5, index, term)))
    assert reply == VoteReply(1, 2, 5, granted=granted)


def test_a_vote_lets_the_voter_wait_anew() -> None:
    """Figure 2: a follower stands if it neither heard a leader nor granted a vote."""
    raft = node(cfg=PLAIN)
    for _ in range(9):
        raft.tick()
    answers(raft, VoteRequest(2, 1, 1, 0, 0))
    for _ in range(9):
        raft.tick()
    assert raft.role is Role.FOLLOWER


def test_an_answer_of_an_older_election_counts_for_nothing() -> None:
    """5.1: a stale reply is ignored."""
    raft = node(cfg=PLAIN, term=1)
    raft.campaign()
    flush(raft)
    answers(raft, VoteReply(2, 1, 1, granted=True))
    assert (raft.role, raft.term) == (Role.CANDIDATE, 2)


def test_a_leader_begins_its_term_with_an_entry_that_means_nothing() -> None:
    """8: each leader commits a blank no-op entry at the start of its term."""
    raft = lead(node(1, 1), 2)
    noop = Entry(3, 2, Kind.NOOP)
    assert raft.take_messages() == [Append(1, to, 2, 2, 1, (noop,), 0) for to in (2, 3)]


def test_a_term_has_one_leader_through_many_elections() -> None:
    """5.2, figure 3: election safety, with every node standing in turn."""
    network = Network((1, 2, 3, 4, 5))
    seen: dict[int, int] = {}
    for turn in range(20):
        leader = network.elect(1 + turn % 5)
        assert seen.setdefault(leader.term, leader.id) == leader.id


def test_a_node_refuses_a_log_of_terms_it_never_entered() -> None:
    """Figure 2: the current term is never below a term of the log."""
    with pytest.raises(ValueError, match="never entered"):
        node(1, 2, term=1)


def test_a_node_refuses_a_log_with_a_gap() -> None:
    """Figure 2: the first index is 1, or follows the snapshot."""
    boot = BootState(HardState(3), new_cluster((1,)).snapshot, entries(1, after=4))
    with pytest.raises(ValueError, match="does not follow"):
        Raft(RaftConfig(id=1), boot, random.Random(1))
