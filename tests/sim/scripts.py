"""Histories that chance rarely finds, played step by step; every event is looked at.

Each takes the core to play it with: the right one comes through, and the one that breaks the rule
breaks an invariant by its name.
"""

import zlib
from typing import cast

from consensus.raft.core import Raft
from consensus.raft.messages import Append, HeartbeatReply, SnapChunk
from consensus.raft.types import Role
from tests.consensus.raft.invariants import Invariants, must
from tests.consensus.raft.network import Carried, Network
from tests.consensus.raft.test_classics import cluster


def figure_8(core: type[Raft]) -> None:
    """Section 5.4.2, figure 8: an entry of term 2 reaches a majority in term 4, and S5 is elected
    after that."""
    network = cluster((1, 2), (1,), (1,), (1,), (1, 3), term=3, core=core, one_at_a_time=True)

    def of_its_own_term(packet: object) -> bool:
        """Entries of term 4 reach no log that the one of term 2 has reached."""
        if not isinstance(packet, Append) or network[packet.to].log.last != 2:
            return False
        return any(entry.term == 4 for entry in packet.entries)

    network.lost = of_its_own_term
    network.isolate(5)
    network.cut((1, 4), (4, 1))
    network.elect(1)
    network.tick(4, 1)
    network.crash(1)
    network.heal()
    for _ in range(2):
        for name in (2, 3, 4, 5):
            network.tick_idle(name)
        network[5].campaign()
        network.settle()
    assert network.leader.id == 5


def short_append(core: type[Raft]) -> None:
    """Section 5.3: a late Append matches up to 2, its commit index is above that, and behind 2 the
    follower has what an earlier leader wrote."""
    network = cluster((1, 2, 2), (1, 2, 3), (1, 2, 3), term=3, core=core)
    network.isolate(1)
    network.elect(2)
    leader = network[2]
    second = leader.log.entries(2, 2, 0)[0]
    late = Append(2, 1, leader.term, 1, 1, (second,), leader.log.commit)
    network.deliver(late)
    network.heal()
    network.tick(4)
    assert network[1].log.commit == leader.log.commit


def deposed_leader_reads(core: type[Raft]) -> None:
    """Section 8: a leader that does not know that there is another one is asked for a read."""
    network, _ = _deposed(core)
    _ask(network)
    network.work(network.nodes[1])


def late_echo(core: type[Raft]) -> None:
    """Dissertation, 6.4: the same, and an echo arrives that was under way since before."""
    network, late = _deposed(core)
    _ask(network)
    network.deliver(late)
    network.work(network.nodes[1])


def _deposed(core: type[Raft]) -> tuple[Network, HeartbeatReply]:
    """Node 1 led, is cut off and does not know that node 2 leads now; an old echo to it is late."""
    network = cluster((), (), (), core=core)
    network.elect(1)
    late = HeartbeatReply(2, 1, network[1].term, 0)
    network.isolate(1)
    network.elect(2)
    network.propose("a")
    return network, late


def _ask(network: Network) -> None:
    cast("Invariants", network.check).asks(7)
    network[1].read_index(7)


def late_snapshot(core: type[Raft]) -> None:
    """Section 7: a snapshot up to 3 reaches a follower that has acknowledged 4."""
    network = cluster((), (), (), core=core)
    network.isolate(3)
    network.elect(1)
    network.propose("a")
    first, second = network.nodes[1], network.nodes[2]
    for command in (b"b", b"c"):
        first.raft.propose(command)
        network.work(first)
    before, after = network.messages
    network.messages = []
    network.deliver(before)
    network.work(second)
    for reply in network.messages:
        network.deliver(reply)
    network.messages = []
    network.work(first)
    state, meta = first.state, first.snapshot()
    network.deliver(after)
    network.settle()
    assert (meta.index, first.raft.log.commit, second.raft.log.commit) == (3, 4, 2)
    chunk = SnapChunk(1, 2, first.raft.term, meta, 0, len(state), len(state), zlib.crc32(state))
    network.deliver(Carried(chunk, state))
    network.settle()
    network.crash(1)
    network.heal()
    network.elect(2)


def returns_from_a_partition(core: type[Raft]) -> None:
    """Dissertation, 9.6: a node that was cut off for long comes back, and nobody notices."""
    network = cluster((), (), (), core=core)
    for node in network.nodes.values():
        node.raft.cfg = type(node.raft.cfg)(id=node.raft.id)
    network.elect(1)
    term = network[1].term
    network.isolate(3)
    network.tick(100)
    network.heal()
    network.tick(30)
    still = network[1].role is Role.LEADER and network[1].term == term
    must(still, "no-disruption", term, network[1].status())
