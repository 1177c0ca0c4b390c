"""Random lives of a cluster: anything that can go wrong, in any order, drawn from one seed."""

import random
from collections.abc import Callable

from consensus.raft.core import Raft
from consensus.raft.errors import Busy, ChangeRefused, NotLeader
from consensus.raft.types import AddLearner, Change, NodeId, Promote, Remove, Role
from tests.consensus.raft.invariants import Invariants
from tests.consensus.raft.network import Network, Node

ELECTION = 5


class Chaos:
    """One seed. `run` lets things go wrong, `heal` lets the cluster recover."""

    def __init__(self, seed: int, core: type[Raft] = Raft) -> None:
        self.rng = random.Random(seed)
        voters = range(1, self.rng.choice([3, 3, 5]) + 1)
        self.next_id = len(voters) + 1
        self.options: dict[str, int | bool] = {
            "election_ticks": ELECTION,
            "heartbeat_ticks": 1,
            "chunk_bytes": self.rng.choice([7, 1000]),
            "max_append_bytes": self.rng.choice([40, 1000]),
            "max_inflight": self.rng.choice([1, 4]),
            "pre_vote": self.rng.random() < 0.8,
            "check_quorum": self.rng.random() < 0.8,
        }
        self.network = Network(voters, seed=seed, core=core, options=self.options)
        self.invariants = Invariants(self.network)
        self.network.check = self.invariants
        self.number = 0
        self.loss = self.rng.choice([0.0, 0.05, 0.2])
        self.doubles = self.rng.choice([0.0, 0.1])
        self.menu = self._menu()

    def _menu(self) -> tuple[list[Callable[[], None]], list[int]]:
        offered: list[tuple[Callable[[], None], int]] = [
            (self._tick, self.rng.choice([30, 60])),
            (self._deliver, 150),
            (self._work, self.rng.choice([30, 100])),
            (self._write, 20),
            (self._finish, 20),
            (self._send, 20),
            (self._apply, 20),
            (self._propose, 25),
            (self._read, 5),
            (self._crash, self.rng.choice([0, 1, 2])),
            (self._start, 8),
            (self._cut, self.rng.choice([0, 1, 2])),
            (self._mend, 3),
            (self._compact, self.rng.choice([0, 3])),
            (self._change, self.rng.choice([0, 3])),
            (self._transfer, self.rng.choice([0, 2])),
            (self._space, self.rng.choice([0, 1])),
            (self._unreachable, 1),
        ]
        return [event for event, _ in offered], [weight for _, weight in offered]

    def run(self, events: int) -> None:
        """So many events, any of them."""
        for event in self.rng.choices(*self.menu, k=events):
            event()

    def heal(self) -> None:
        """Let nothing go wrong any more; then a command is committed on every member."""
        net = self.network
        net.heal()
        for node in net.nodes.values():
            if node.down:
                node.start()
            node.raft.report_space(free=True)
        for _ in range(20 * ELECTION):
            net.tick()
            if net.has_leader and net.leader._transferee is None:
                break
        net.tick(2 * ELECTION)
        index, _ = net.leader.propose(b"last")
        net.tick(8 * ELECTION)
        for member in net.leader.members.configuration.members:
            assert net.nodes[member.id].applied >= index, f"node {member.id} is parked"

    def _any(self) -> Node:
        nodes = [node for node in self.network.nodes.values() if not node.down]
        return self.rng.choice(nodes or [*self.network.nodes.values()])

    def _leader(self) -> Node | None:
        nodes = self.network.nodes.values()
        leaders = [n for n in nodes if n.raft.role is Role.LEADER and not n.down]
        return self.rng.choice(leaders) if leaders else None

    def _tick(self) -> None:
        node = self._any()
        if not node.down:
            node.raft.tick()
            self.network.check(node)

    def _deliver(self) -> None:
        messages = self.network.messages
        if messages:
            place = min(int(self.rng.expovariate(0.5)), len(messages) - 1)
            message = messages.pop(place)
            if self.rng.random() < self.doubles:
                messages.append(message)
            if self.rng.random() >= self.loss:
                self.network.deliver(message)

    def _work(self) -> None:
        self.network.work(self._any())

    def _send(self) -> None:
        node = self._any()
        if not node.down:
            self.network.send(node.take())

    def _write(self) -> None:
        node = self._any()
        if not node.down:
            node.begin_write()

    def _finish(self) -> None:
        node = self._any()
        if not node.down:
            self.network.send(node.finish_write())
            self.network.check(node)

    def _apply(self) -> None:
        node = self._any()
        if not node.down:
            node.apply(self.rng.choice([1, 100]))
            self.network.check(node)

    def _propose(self) -> None:
        node = self._leader()
        if node is not None and node.raft.space:
            self.number += 1
            try:
                node.raft.propose(f"c{self.number}".encode())
            except Busy:
                return

    def _read(self) -> None:
        self.number += 1
        self.invariants.asks(self.number)
        node = self._any()
        if not node.down:
            node.raft.read_index(self.number)

    def _crash(self) -> None:
        node = self._any()
        if node.down:
            return
        if self.rng.random() < 0.5:
            node.begin_write()
            if node.flight is not None and self.rng.random() < 0.5:
                node.disk.write(node.flight)  # durable, and the node never knew
        self.network.crash(node.raft.id)

    def _start(self) -> None:
        down = [node for node in self.network.nodes.values() if node.down]
        if down:
            self.rng.choice(down).start()

    def _cut(self) -> None:
        nodes = [*self.network.nodes]
        one = self.rng.choice(nodes)
        if self.rng.random() < 0.5:
            self.network.isolate(one)
        else:
            self.network.cut((one, self.rng.choice(nodes)))

    def _mend(self) -> None:
        self.network.cuts.clear()

    def _compact(self) -> None:
        node = self._any()
        log = node.raft.log
        if not node.down and log.handed == node.applied > log.snapshot.index:
            node.snapshot()

    def _change(self) -> None:
        node = self._leader()
        if node is None or not node.raft.space:
            return
        try:
            node.raft.propose_config(self._draw_change(node.raft))
        except (Busy, ChangeRefused, NotLeader):
            return

    def _draw_change(self, raft: Raft) -> Change:
        members = raft.members.configuration.members
        learners = [member.id for member in members if not member.voter]
        if learners and self.rng.random() < 0.7:
            return Promote(self.rng.choice(learners))
        if len(members) < 5 and self.rng.random() < 0.6:
            return AddLearner(self._new_node(), "new")
        return Remove(self.rng.choice(members).id)

    def _new_node(self) -> NodeId:
        self.next_id += 1
        self.network.add(self.next_id)
        return self.next_id

    def _transfer(self) -> None:
        node = self._leader()
        if node is not None:
            try:
                node.raft.transfer(self.rng.choice([*self.network.nodes]))
            except (Busy, ChangeRefused):
                return

    def _space(self) -> None:
        self._any().raft.report_space(free=self.rng.random() < 0.7)

    def _unreachable(self) -> None:
        self._any().raft.report_unreachable(self.rng.choice([*self.network.nodes]))
