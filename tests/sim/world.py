"""A whole cluster with its clients, its operator and whatever goes wrong, from one seed."""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from consensus.ledger.answers import Answer
from consensus.ledger.commands import KeepAlive
from consensus.ledger.entries import decode
from consensus.ledger.ledger import Ledger
from consensus.raft.core import Raft
from consensus.raft.types import BootState, Entry, Index, Kind, NodeId, Role, SnapshotMeta
from tests.consensus.raft.invariants import must
from tests.consensus.raft.network import configuration
from tests.sim.caller import Caller, Request
from tests.sim.clockwork import SECOND, Clockwork
from tests.sim.disk import Disk
from tests.sim.fleet import Worker
from tests.sim.greeting import Greeter
from tests.sim.invariants import ClusterInvariants
from tests.sim.linearizable import History, linearizable
from tests.sim.links import Links
from tests.sim.nemesis import Nemesis
from tests.sim.operator import Operator, configurations, survives
from tests.sim.options import ELECTION, Options
from tests.sim.pokers import Poker
from tests.sim.process import NEWEST, Room
from tests.sim.service import Service
from tests.sim.shop import Shop
from tests.sim.steps import Steps

PROGRESS = 20 * ELECTION
"""After it is healed a cluster has so long to do a new command, and all that clients wait for."""

ENDS = 120 * SECOND
"""And every task has an end after so long."""


@dataclass(frozen=True, slots=True)
class Build:
    """What the world is made of; a test breaks one part of it on purpose."""

    core: type[Raft] = Raft
    ledger: Callable[[], Ledger] = Ledger
    disk: Callable[[BootState], Disk] = Disk
    steps: type[Steps] = Steps
    worker: type[Worker] = Worker
    greeter: type[Greeter] = Greeter
    node: type[Service] = Service


class World:
    """One run. `live` plays it; any invariant that does not hold raises."""

    def __init__(self, options: Options, build: Build) -> None:
        self.options = options
        self.core, self.ledger, self.greeter = build.core, build.ledger, build.greeter
        self._disk, self._node = build.disk, build.node
        self.rng = random.Random(f"world {options.seed} {options.nodes}")
        self.clockwork = Clockwork()
        self.links = Links(self.clockwork, self.rng, options)
        self.nodes: dict[NodeId, Service] = {}
        self.clients: dict[NodeId, Any] = {}
        self.history = History()
        self.counts: Counter[str] = Counter()
        if any(skew != 1000 for skew in options.skews):
            self.happened("skew")
        self.pokes = True
        self.heard_at: dict[tuple[NodeId, NodeId, int], int] = {}
        self.ghosts: dict[int, tuple[int, frozenset[tuple[NodeId, int]]]] = {}
        self._token = 0
        self.invariants = ClusterInvariants(self)
        voters = range(1, options.nodes + 1)
        meta = SnapshotMeta(index=options.first_index, configuration=configuration(voters))
        for node in voters:
            self._add(node, BootState(snapshot=meta))
        self.shop = Shop(self, build.steps, self.invariants.watch)
        self.workers = [
            build.worker(self, self.shop, number + 1) for number in range(options.workers)
        ]
        self.pokers = [Poker(self, number + 1) for number in range(options.clients)]
        self.mortals: list[Any] = [*self.pokers, *self.workers]
        self.operator = Operator(self)
        self.nemesis = Nemesis(self, self.operator)

    def _add(self, node: NodeId, boot: BootState) -> None:
        self.nodes[node] = self._node(self, node, boot, self._disk(boot))

    def new_node(self) -> NodeId:
        """Start a node that knows nothing, under an id that nobody had."""
        node = max(self.nodes) + 1
        self._add(node, BootState())
        return node

    def release(self) -> int:
        if "older release" not in self.options.faults:
            return NEWEST
        return self.rng.choice([NEWEST - 1, NEWEST])

    def read_token(self) -> int:
        self._token += 1
        self.invariants.asks(self._token)
        return self._token

    def believed(self, node: Service, peer: NodeId, incarnation: int) -> None:
        known, now = self.nodes[peer], self.clockwork.now
        self.heard_at[node.id, peer, incarnation] = now
        if known.doubted_by is not None and incarnation == known.incarnation:
            must(node.id not in known.doubted_by, "no-way-back", node.id, peer)
        until, knowing = self.ghosts.get(incarnation, (0, frozenset()))
        must(now > until or (node.id, node.life) not in knowing, "one-life", node.id, peer)

    def ghost(self, node: Service, until: int, knowing: frozenset[tuple[NodeId, int]]) -> Service:
        """A copy of a node's folder is started beside it; `knowing`, nodes in this life, have
        just heard the node: they must not believe the copy before the moment `until`."""
        boot = node.disk.image.boot()
        made = self._node(self, node.id, boot, node.disk.copy())
        made.doubted_by = frozenset()
        self.ghosts[made.incarnation] = until, knowing
        return made

    def touched(self, node: Service) -> None:
        self.invariants(node)

    def applied(self, node: Service, entry: Entry, answer: Answer | None) -> None:
        if not self.invariants.took(node, entry, answer):
            return
        if answer is not None:
            self.shop.heard(decode(entry.data), answer)
        elif entry.kind is Kind.CONFIGURATION:
            self.happened("membership change")

    def restored(self, node: Service) -> None:
        self.invariants.state(node)

    def acked(self, client: Any, seq: int, index: Index, answer: Answer) -> None:
        self.invariants.acks.acked(client.session, seq, index, answer)

    def happened(self, kind: str) -> None:
        self.counts[kind] += 1

    def live(self) -> None:
        """Whatever goes wrong, then what leaves recovery possible, then what clients saw."""
        self.operator.start()
        self.nemesis.start()
        for number in range(self.options.tasks):
            at = self.rng.randrange(self.options.chaos * 2 // 3)
            self.clockwork.after(at, self.shop.add, number)
        self.clockwork.run(self.options.chaos)
        self.heal()
        if self._may_recover():
            self.recover()
        else:
            must(self.options.ruin, "recovery-possible", self.operator.lost())
            self.happened("ruin")
        self.judge()

    def heal(self) -> None:
        """From here on little goes wrong: some loss, and a minority that may stay down."""
        self.nemesis.quiet = True
        self.links.calm(self.rng.choice([0.0, 0.02]))
        if self.rng.random() < 0.3:
            self._spare_a_minority()
        for node in self.nodes.values():
            node.slow, node.hangs_until, node.fails, node.room = 1, 0, False, Room.ENOUGH
            node.thaw()
            if node.id in self.operator.spared:
                node.crash()
            elif node.release < NEWEST:
                node.run_release(NEWEST)
            else:
                node.start()

    def _may_recover(self) -> bool:
        """Whether every configuration that may hold has a majority of voters that are not lost."""
        lost, held = self.operator.lost(), [*configurations(self.nodes, self.invariants.commit)]
        return bool(held) and all(survives(one, lost) for one in held)

    def _spare_a_minority(self) -> None:
        """Some nodes stay down that every configuration can do without; the operator knows it."""
        held = [*configurations(self.nodes, self.invariants.commit)]
        nodes = [node for node in self.nodes if node not in self.operator.lost()]
        self.rng.shuffle(nodes)
        for node in nodes[: len(nodes) // 2]:
            lost = self.operator.lost() | {node}
            if all(survives(one, lost) for one in held):
                self.operator.spared.add(node)

    def recover(self) -> None:
        """Within 20 election timeouts a new client's command is done, whatever load there is; and
        from then on, as no more is asked than it can do, everything that any client was waiting
        for when the cluster was healed, and all members have it."""
        healed, new = self.clockwork.now, Caller(self, -1, "afterwards")
        owed = [(c, r) for c in self.clients.values() for r in c.open.values()]
        done: list[Any] = []
        new.begin(lambda: new.call(KeepAlive(), done.append))
        for mortal in self.mortals:
            mortal.start()
        for worker in self.workers:
            worker.calm = True
        self.shop.bus_away = self.shop.store_away = False
        self.clockwork.run(healed + PROGRESS, lambda: bool(done))
        must(bool(done), "progress", self.options.seed, [n.raft.status() for n in self.up()])
        self.pokes = False
        now = self.clockwork.now
        self.clockwork.run(now + PROGRESS, lambda: _is_served(owed))
        must(_is_served(owed), "served", [(c.name, r) for c, r in owed])
        commit, now = self.invariants.commit, self.clockwork.now
        self.clockwork.run(now + PROGRESS, lambda: self._all_have(commit))
        must(self._all_have(commit), "catches-up", [n.raft.status() for n in self.up()])
        self.clockwork.run(self.clockwork.now + ENDS, self.shop.all_ended)
        self.shop.judge()

    def up(self) -> list[Service]:
        """Nodes that run."""
        return [node for node in self.nodes.values() if not node.down]

    def _all_have(self, index: Index) -> bool:
        leader = self.operator.leader()
        if leader is None or leader.raft.role is not Role.LEADER:
            return False
        members = [self.nodes[m.id] for m in leader.raft.members.configuration.members]
        return all(node.applied >= index for node in members if not node.down and not node.lost)

    def judge(self) -> None:
        """What was done is what was answered, and could have happened one after the other."""
        self.invariants.replayed(self.ledger)
        for key, operations in self.history.operations.items():
            must(linearizable(operations), "linearizable", key, operations)


def _is_served(owed: list[tuple[Caller, Request]]) -> bool:
    """Whether each of these was answered, or nobody waits any more; what was is off the list."""
    while owed and (owed[-1][0].gone or owed[-1][1].number not in owed[-1][0].open):
        owed.pop()
    return not owed
