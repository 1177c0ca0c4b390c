"""Histories that random runs rarely find: the figures of the paper and the accidents others had."""

import pytest

from consensus.raft.core import Raft
from consensus.raft.messages import Append, AppendReply, VoteReply, VoteRequest
from consensus.raft.types import BootState, HardState, NodeId, Role, SnapshotMeta, Term
from tests.consensus.raft.invariants import Invariants
from tests.consensus.raft.network import Network, configuration
from tests.consensus.raft.single import answers, entries, flush, lead, log_terms, node

LEADER = (1, 1, 1, 4, 4, 5, 5, 6, 6, 6)
FOLLOWERS: dict[str, tuple[Term, ...]] = {
    "a": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "b": (1, 1, 1, 4),
    "c": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "e": (1, 1, 1, 4, 4, 4, 4),
    "f": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}


def boot(terms: tuple[Term, ...], term: Term, voters: tuple[NodeId, ...]) -> BootState:
    """A disk with this log."""
    return BootState(HardState(term), SnapshotMeta(0, 0, configuration(voters)), entries(*terms))


def cluster(
    *logs: tuple[Term, ...],
    term: Term = 0,
    core: type[Raft] = Raft,
    one_at_a_time: bool = False,
) -> Network:
    """Nodes 1, 2, … with these logs, all in `term`; every event is checked."""
    voters = tuple(range(1, len(logs) + 1))
    options = {"pre_vote": False, "max_append_bytes": 1 if one_at_a_time else 1 << 18}
    network = Network((), core=core, options=options)
    for name, terms in zip(voters, logs, strict=True):
        network.add(name, boot(terms, term or max(terms, default=0), voters))
    network.check = Invariants(network)
    return network


@pytest.mark.parametrize("follower", FOLLOWERS)
def test_figure_7_every_follower_is_brought_to_the_leaders_log(
    follower: str, core: type[Raft]
) -> None:
    """5.3, figure 7: missing entries, extra entries, and both."""
    terms = FOLLOWERS[follower]
    network = cluster(LEADER, terms, LEADER, term=7, core=core)
    network.cut((2, 3), (3, 2))
    network.elect(1)
    network.tick(4)
    assert log_terms(network[2]) == [*LEADER, 8]
    assert network.nodes[2].state == network.nodes[1].state


def test_figure_7_all_at_once() -> None:
    """5.3, figure 7: the leader for term 8 with all six followers."""
    network = cluster(LEADER, *FOLLOWERS.values(), term=7)
    network.elect(1)
    network.tick(4)
    assert {tuple(log_terms(network[name])) for name in network.nodes} == {(*LEADER, 8)}


def test_figure_8_an_entry_on_a_majority_is_not_committed_if_its_term_is_old(
    core: type[Raft],
) -> None:
    """5.4.2, figure 8: S1 brings an entry of term 2 to a majority in term 4 and crashes before one
    of its own term gets there: S5 is elected and overwrites it."""
    network = cluster((1, 2), (1,), (1,), (1,), (1, 3), term=3, core=core, one_at_a_time=True)

    def of_its_own_term(packet: object) -> bool:
        """Entries of term 4 reach no log that the one of term 2 has reached."""
        new = packet.entries if isinstance(packet, Append) else ()
        return any(entry.term == 4 for entry in new) and network[packet.to].log.last == 2  # type: ignore[attr-defined]

    network.lost = of_its_own_term
    network.isolate(5)
    network.cut((1, 4), (4, 1))
    network.elect(1)
    network.tick(4, 1)
    assert [log_terms(network[n]) for n in (1, 2, 3, 4)] == [[1, 2, 4], [1, 2], [1, 2], [1]]
    assert network[1].log.commit == 0
    network.crash(1)
    network.heal()
    for _ in range(2):  # in term 4 nobody has a vote left
        for name in (2, 3, 4, 5):
            network.tick_idle(name)
        network[5].campaign()
        network.settle()
    assert network.leader.id == 5
    assert {tuple(log_terms(network[name])) for name in (2, 3, 4, 5)} == {(1, 3, 5)}


def test_figure_8_with_an_entry_of_its_own_term_nothing_can_overwrite_it() -> None:
    """5.4.2, figure 8 (e): then S5 cannot win."""
    network = cluster((1, 2), (1,), (1,), (1,), (1, 3), term=3)
    network.isolate(5)
    network.elect(1)
    assert network[1].log.commit == 3
    network.crash(1)
    network.heal()
    for _ in range(5):
        for name in (2, 3, 4, 5):
            network.tick_idle(name)
        network[5].campaign()
        network.settle()
    assert not network.has_leader


def test_a_short_append_that_is_late_deletes_nothing_that_was_acknowledged(
    core: type[Raft],
) -> None:
    """5.3: an old message of the same leader, shorter than the log, arrives after newer ones."""
    network = cluster((), (), (), core=core)
    network.elect(1)
    network.isolate(3)
    for command in (b"a", b"b"):
        network[1].propose(command)
        network.work(network.nodes[1])
    late = next(m for m in network.messages if isinstance(m, Append))
    network.settle()
    assert (network[1].log.commit, network[2].log.commit) == (3, 1)
    network.deliver(late)
    network.settle()
    assert (network[2].log.last, network.nodes[2].disk.last) == (3, 3)


def test_answers_of_an_earlier_leadership_are_not_believed() -> None:
    """Stale replies: an acknowledgement of an earlier term says nothing about this one."""
    raft = lead(node(1, 1), 2)
    raft.step(AppendReply(3, 1, 2, True, 3))
    answers(raft, Append(2, 1, 3, 2, 1, entries(3, after=2), 0))
    lead(raft, 2)
    flush(raft)
    answers(raft, AppendReply(3, 1, 2, True, 4), AppendReply(3, 1, 3, True, 4))
    assert (raft.term, raft.log.commit) == (4, 0)
    answers(raft, AppendReply(3, 1, 4, True, 4))
    assert raft.log.commit == 4


def test_a_write_that_was_lost_in_a_crash_was_never_acknowledged(core: type[Raft]) -> None:
    """What an answer depends on survives: the log and the vote, of every node in turn."""
    network = cluster((), (), (), core=core)
    network.elect(1)
    network.propose("a")
    network.nodes[2].hangs = network.nodes[3].hangs = True
    network.propose("b")
    assert network[1].log.commit == 2
    for name in (2, 3):
        network.crash(name)
        network.nodes[name].hangs = False
        network.restart(name)
    network.tick(10)
    assert network.states() == ["a b"] * 3


def test_a_node_that_forgets_its_vote_could_elect_two_leaders() -> None:
    """Vote after restart: the disk has it before the answer left."""
    network = cluster((), (), ())
    network.cut((1, 3), (3, 1))
    network[1]._stand(pre=False)
    network.work(network.nodes[1])
    for packet in [m for m in network.messages if m.to == 2]:
        network.deliver(packet)
    network.messages.clear()
    network.work(network.nodes[2])
    assert network.messages == [VoteReply(2, 1, 1, granted=True)]
    network.crash(2)
    network.restart(2)
    network.send([VoteRequest(3, 2, 1, 0, 0)])
    network.settle()
    assert (network[1].role, network[2].vote) == (Role.LEADER, 1)
    assert network[3].role is Role.FOLLOWER


def test_an_old_leader_cannot_commit_what_a_new_one_overwrites() -> None:
    """5.4.3: two sides of a partition, then healed: one history."""
    network = cluster((), (), (), (), ())
    network.elect(1)
    network.propose("a")
    network.isolate(1, 2)
    network[1].propose(b"lost")
    network.settle()
    network.tick(25, 3, 4, 5)
    network.propose("b")
    assert network[1].log.commit == 2
    network.heal()
    network.tick(60)
    network.propose("c")
    network.tick(4)
    assert network.states() == ["a b c"] * 5
