"""Changes of members, one at a time (section 6; dissertation, chapter 4)."""

import itertools

import pytest

from consensus.raft.core import Raft
from consensus.raft.errors import Busy, ChangeRefused, NotLeader
from consensus.raft.membership import Membership, has_quorum, quorum_value
from consensus.raft.messages import Append, AppendReply, Heartbeat, VoteReply, VoteRequest
from consensus.raft.types import (
    AddLearner,
    Change,
    Configuration,
    Entry,
    Kind,
    Member,
    Promote,
    Remove,
    Role,
    SnapshotMeta,
)
from tests.consensus.raft.network import Network, configuration
from tests.consensus.raft.single import answers, append, flush, lead, node, only

THREE = configuration((1, 2, 3))


def change(index: int, term: int, *names: int) -> Entry:
    """An entry that makes these the voters."""
    return Entry(index, term, Kind.CONFIGURATION, configuration(names).encode())


def leader(core: type[Raft] = Raft, learners: tuple[int, ...] = ()) -> Raft:
    """A leader of three that committed in its term."""
    raft = lead(node(learners=learners, core=core), 2)
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 1))
    return raft


def voters(raft: Raft) -> tuple[int, ...]:
    """Those that count for this node."""
    return raft.members.voters


@pytest.mark.parametrize("size", range(1, 8))
def test_any_two_majorities_share_a_voter(size: int) -> None:
    """5.2, 4.1: by trying all of them, also of configurations that differ by one voter."""
    nodes = range(size)

    def majorities(of: range) -> list[set[int]]:
        found = [set(c) for k in range(len(of) + 1) for c in itertools.combinations(of, k)]
        return [one for one in found if has_quorum(len(one), len(of))]

    for one, other in itertools.product(majorities(nodes), majorities(range(size + 1))):
        assert one & other


@pytest.mark.parametrize("size", range(1, 6))
def test_the_value_of_a_quorum_is_the_largest_that_a_majority_reaches(size: int) -> None:
    """Figure 2: there exists an N such that a majority of matchIndex[i] >= N, the slow way."""
    for values in itertools.product(range(4), repeat=size):
        naive = max(n for n in range(4) if 2 * sum(value >= n for value in values) > size)
        assert quorum_value(values) == naive


def test_nobody_has_a_quorum_of_nobody() -> None:
    assert not has_quorum(0, 0)
    assert quorum_value(()) == 0


def test_a_configuration_is_its_bytes() -> None:
    held = Configuration((Member(1, "ä:1"), Member(2, "b", False), Member(2**63 - 1, "")))
    assert Configuration.decode(held.encode()) == held


@pytest.mark.parametrize(
    "data",
    [b"", b"\x01", THREE.encode()[:-1], THREE.encode() + b"x", b"\x02" + THREE.encode()[1:]],
)
def test_other_bytes_are_no_configuration(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a configuration"):
        Configuration.decode(data)


@pytest.mark.parametrize("ids", [(2, 1), (1, 1), (0,), (2**63,)])
def test_members_are_ordered_and_distinct(ids: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ordered by id"):
        Configuration(tuple(Member(node, "x") for node in ids))


def test_a_configuration_holds_from_the_moment_it_is_appended() -> None:
    """6: a server always uses the latest configuration in its log, committed or not."""
    raft = node(1, term=1)
    answers(raft, append((1, 1), [change(2, 1, 1, 2, 3, 4)], term=1))
    assert (raft.members.voters, raft.log.commit) == ((1, 2, 3, 4), 0)


def test_a_configuration_that_is_truncated_is_undone() -> None:
    """4.1: a server must be prepared to fall back to the previous configuration."""
    raft = node(1, term=1)
    answers(raft, append((1, 1), [change(2, 1, 1, 2, 3, 4), change(3, 1, 1, 2)], term=1))
    assert voters(raft) == (1, 2)
    answers(raft, Append(2, 1, 2, 2, 1, (Entry(3, 2, Kind.NOOP),), 0))
    assert voters(raft) == (1, 2, 3, 4)
    answers(raft, Append(2, 1, 2, 1, 1, (Entry(2, 2, Kind.NOOP),), 0))
    assert (voters(raft), raft.members.index) == ((1, 2, 3), 0)


def test_a_restart_finds_the_latest_configuration() -> None:
    network = Network()
    network.elect(1)
    network[1].propose_config(Remove(3))
    network.settle()
    network.crash(2)
    network.restart(2)
    assert network[2].members.voters == (1, 2)


def test_each_place_of_the_log_has_its_configuration() -> None:
    """5.1: a snapshot takes the last one at or before its index, not the newest."""
    members = Membership(SnapshotMeta(10, 1, THREE), [change(12, 1, 1, 2), change(14, 1, 1, 2, 5)])
    found = {index: members.at(index).voters for index in (10, 11, 12, 13, 14, 99)}
    assert found == {
        10: (1, 2, 3),
        11: (1, 2, 3),
        12: (1, 2),
        13: (1, 2),
        14: (1, 2, 5),
        99: (1, 2, 5),
    }
    members.compact(SnapshotMeta(13, 1, members.at(13)))
    assert (members.at(13).voters, members.voters) == ((1, 2), (1, 2, 5))


def test_a_learner_catches_up_and_is_promoted() -> None:
    """4.2.1: a new server first joins as a non-voting member."""
    network = Network()
    network.elect(1)
    network.propose("a", "b")
    network.add(4)
    network[1].propose_config(AddLearner(4, "four"))
    network.tick(4)
    assert network.states() == ["a b"] * 4
    assert voters(network[1]) == (1, 2, 3)
    network[1].propose_config(Promote(4))
    network.settle()
    assert voters(network[1]) == (1, 2, 3, 4)
    network.isolate(3)
    network.propose("c")
    network.tick(4)
    assert network.nodes[4].state == b"a\nb\nc\n"


def test_a_new_member_gets_a_snapshot_where_the_log_begins_later() -> None:
    network = Network()
    network.elect(1)
    network.propose("a", "b")
    network.nodes[1].snapshot()
    network.add(4)
    network[1].propose_config(AddLearner(4, "four"))
    network.tick(10)
    assert network.nodes[4].state == b"a\nb\n"
    assert network[4].members.configuration == network[1].members.configuration


def test_a_learner_is_promoted_only_with_all_that_is_committed() -> None:
    """4.2.1: else the cluster may wait for it, and commit nothing meanwhile."""
    raft = leader(learners=(4,))
    with pytest.raises(Busy, match="lacks"):
        raft.propose_config(Promote(4))
    answers(raft, AppendReply(4, 1, 1, True, 1))
    raft.propose_config(Promote(4))
    assert raft.members.voters == (1, 2, 3, 4)


def test_a_learner_never_stands() -> None:
    raft = node(voters=(2, 3), learners=(1,))
    for _ in range(100):
        raft.tick()
    raft.campaign()
    assert (raft.role, raft.term, flush(raft)) == (Role.FOLLOWER, 0, [])


def test_a_node_votes_although_it_does_not_know_the_candidate() -> None:
    """4.1: a server processes requests without consulting its own configuration, which may lag
    behind; what counts is the candidate's."""
    raft = node(1)
    assert only(answers(raft, VoteRequest(9, 1, 2, 2, 1))) == VoteReply(1, 9, 2, granted=True)


def test_a_node_follows_a_leader_it_does_not_know() -> None:
    """4.1: the same for entries."""
    raft = node(1)
    reply = only(answers(raft, Append(9, 1, 2, 1, 1, (change(2, 2, 1, 2, 9),), 0)))
    assert reply == AppendReply(1, 9, 2, True, 2)
    assert (raft.leader, raft.members.voters) == (9, (1, 2, 9))


def test_one_change_is_under_way_at_a_time(core: type[Raft]) -> None:
    """4.1: the next may begin when the one before is committed."""
    raft = leader(core)
    raft.propose_config(AddLearner(4, "x"))
    with pytest.raises(Busy):
        raft.propose_config(AddLearner(5, "x"))
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 2))
    raft.propose_config(AddLearner(5, "x"))


def test_no_change_before_an_entry_of_the_own_term_is_committed(core: type[Raft]) -> None:
    """4.1, as corrected in 2015: else two changes of different leaders can elect two leaders."""
    raft = lead(node(1, core=core), 2)
    flush(raft)
    with pytest.raises(Busy):
        raft.propose_config(Remove(3))
    answers(raft, AppendReply(2, 1, 2, True, 2))
    raft.propose_config(Remove(3))


def test_no_change_while_leadership_is_being_transferred() -> None:
    raft = leader()
    raft.transfer(3)
    with pytest.raises(Busy):
        raft.propose_config(Remove(3))


@pytest.mark.parametrize(
    "wrong",
    [
        AddLearner(2, "x"),
        AddLearner(4, "x"),
        AddLearner(0, "x"),
        AddLearner(2**63, "x"),
        AddLearner(5, ""),
        AddLearner(5, "x" * 256),
        Promote(2),
        Promote(9),
        Remove(9),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(wrong: Change) -> None:
    raft = leader(learners=(4,))
    with pytest.raises(ChangeRefused):
        raft.propose_config(wrong)
    assert raft.members.index == 0


def test_the_last_voter_cannot_be_removed() -> None:
    raft = node(voters=(1,), learners=(2,))
    raft.campaign()
    flush(raft)
    with pytest.raises(ChangeRefused):
        raft.propose_config(Remove(1))


def test_only_a_leader_changes_members() -> None:
    with pytest.raises(NotLeader):
        node().propose_config(Remove(3))


def test_a_leader_that_removes_itself_does_not_count_itself(core: type[Raft]) -> None:
    """4.2.2: it replicates entries but does not count itself in majorities."""
    raft = leader(core)
    raft.propose_config(Remove(1))
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 2))
    assert (raft.role, raft.log.commit) == (Role.LEADER, 1)
    answers(raft, AppendReply(3, 1, 1, True, 2))
    assert raft.log.commit == 2


def test_a_leader_that_removed_itself_steps_down_and_hands_over() -> None:
    """4.2.2: once its removal is committed; the others need not wait for a timeout."""
    network = Network()
    network.elect(1)
    network[1].propose_config(Remove(1))
    network.settle()
    assert network[1].role is Role.FOLLOWER
    assert network.has_leader
    assert network.leader.id in {2, 3}
    network.propose("a")
    network.tick(50)
    assert network[1].role is Role.FOLLOWER
    assert network.leader.members.voters == (2, 3)


def test_a_removed_node_stands_as_long_as_its_removal_needs_its_log(core: type[Raft]) -> None:
    """4.2.2, figure 4.6: of two nodes only the removed one has the entry that removes it; nobody
    else can win, and it wins without its own vote."""
    network = Network((1, 2), core=core)
    network.elect(1)
    network.cut((1, 2))
    network[1].propose_config(Remove(1))
    network.settle()
    network.crash(1)
    network.restart(1)
    assert voters(network[1]) == (2,)
    network.heal()
    network.tick(100)
    assert network.leader.id == 2
    assert voters(network[2]) == (2,)
    assert network[1].role is not Role.LEADER


def test_a_node_whose_removal_is_committed_does_not_stand() -> None:
    """4.2.2: then nobody needs it."""
    raft = node(1, term=1)
    answers(raft, append((1, 1), [change(2, 1, 2, 3)], term=1, commit=2))
    for _ in range(100):
        raft.tick()
    assert (raft.role, raft.term) == (Role.FOLLOWER, 1)


def test_a_removed_node_disturbs_nobody(core: type[Raft]) -> None:
    """4.2.3: it hears no heartbeats, so it times out; its requests are not heard."""
    network = Network(core=core)
    network.elect(1)
    network[1].propose_config(Remove(3))
    network.settle()
    assert network[3].members.voters == (1, 2, 3)
    network.tick(100)
    assert network[3].role is not Role.FOLLOWER
    for pre in (False, True):
        network.send([VoteRequest(3, to, 99, 99, 99 - 1, pre) for to in (1, 2)])
    network.send([Heartbeat(3, to, 99, 0, 0) for to in (1, 2)])
    network.send([AppendReply(3, 1, 99, False, 0), VoteReply(3, 1, 99, granted=False)])
    network.settle()
    network.tick(100)
    assert (network.leader.id, network.leader.term) == (1, 1)


def test_a_removed_node_with_an_old_log_moves_no_term_after_the_leader_is_gone() -> None:
    """4.2.3: what could not win is not believed of a stranger."""
    raft = node(1, 2, voters=(1, 2))
    answers(raft, VoteRequest(3, 1, 50, 1, 1))
    assert raft.term == 2
    answers(raft, VoteRequest(2, 1, 50, 1, 1))
    assert raft.term == 50


def test_a_removed_peer_is_sent_nothing() -> None:
    raft = leader()
    raft.propose_config(Remove(3))
    for _ in range(10):
        raft.tick()
    assert {m.to for m in flush(raft)} == {2}


def test_removing_a_voter_may_complete_a_quorum() -> None:
    """4.1: the new configuration is used at once."""
    raft = lead(node(voters=(1, 2, 3, 4)), 2, 3)
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 1), AppendReply(3, 1, 1, True, 1))
    raft.propose_config(Remove(4))
    flush(raft)
    answers(raft, AppendReply(2, 1, 1, True, 2))
    assert raft.log.commit == 2
