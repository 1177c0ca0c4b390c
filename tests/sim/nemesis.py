"""What goes wrong, when, and for how long: drawn from the seed, undone after a while."""

from collections.abc import Callable
from typing import Any

from consensus.raft.types import NodeId
from tests.sim.clockwork import MS, SECOND
from tests.sim.folders import Folders
from tests.sim.operator import Operator
from tests.sim.options import ELECTION
from tests.sim.process import NEWEST, Room

DAY_MS = 86_400_000


class Nemesis(Folders):
    """Lets one fault of the seed's kinds happen about every `options.every`."""

    def __init__(self, world: Any, operator: Operator) -> None:
        super().__init__(world, operator)
        self.quiet = False
        self._acts: dict[str, Callable[[], bool]] = {
            "one-way cut": self._cut,
            "partition": self._partition,
            "client cut": self._cut_client,
            "crash one": lambda: self._crash(1),
            "crash most": lambda: self._crash(len(self._nodes()) // 2 + 1),
            "crash all": lambda: self._crash(len(self._nodes())),
            "slow disk": self._slow,
            "hanging disk": self._hang,
            "full disk": self._fill,
            "failing disk": self._fail,
            "bit flip": self._flip,
            "old folder": self._old_folder,
            "copied folder": self._copy_folder,
            "clock jump": self._jump,
            "freeze": self._freeze,
            "lost chunk": self._lose_chunks,
            "membership": self._change,
            "replacement": self._replace,
            "transfer": self._transfer,
            "older release": self._change_release,
            "bus away": lambda: self._away("bus_away"),
            "store away": lambda: self._away("store_away"),
            "drain": self._drain,
            "client crash": self._crash_client,
        }
        self.kinds = [kind for kind in world.options.faults if kind in self._acts]

    def start(self) -> None:
        """Begin."""
        self._plan()

    def _plan(self) -> None:
        delay = int(self.rng.expovariate(1.0) * self.world.options.every) + 1
        self.world.clockwork.after(delay, self._strike)

    def _strike(self) -> None:
        if self.quiet or not self.kinds:
            return
        kind = self.rng.choice(self.kinds)
        if self._acts[kind]():
            self.world.happened(kind)
        self._plan()

    def _cut(self) -> bool:
        ids = [node.id for node in self._nodes()]
        if len(ids) < 2:
            return False
        one, other = self.rng.sample(ids, 2)
        return self._cut_for([(one, other)])

    def _partition(self) -> bool:
        ids = [node.id for node in self._nodes()]
        side = set(self.rng.sample(ids, self.rng.randrange(1, len(ids)))) if len(ids) > 1 else set()
        pairs = [(a, b) for a in ids for b in ids if (a in side) != (b in side)]
        return self._cut_for(pairs)

    def _cut_for(self, pairs: list[tuple[NodeId, NodeId]]) -> bool:
        if not pairs:
            return False
        self.world.links.cut(pairs)
        self._later(ELECTION // 2, 4 * ELECTION, self.world.links.mend, pairs)
        return True

    def _cut_client(self) -> bool:
        """A client reaches a node no more, or does not hear it, or both."""
        client, node = self.rng.choice(self.world.mortals).caller.id, self._aim()
        if node is None:
            return False
        pairs = [(client, node.id), (node.id, client)]
        return self._cut_for(self.rng.choice([pairs, pairs[:1], pairs[1:]]))

    def _crash(self, count: int) -> bool:
        up = self._up()
        if not up or len(up) < min(count, 2):
            return False
        aimed = self._aim()
        first = [aimed] if aimed is not None else []
        others = [node for node in up if node not in first]
        self.rng.shuffle(others)
        for node in [*first, *others][:count]:
            node.crash()
            self._later(50 * MS, 2 * SECOND, node.start)
        return True

    def _slow(self) -> bool:
        node = self._aim()
        if node is None:
            return False
        node.slow = self.rng.choice([10, 50])
        self._later(200 * MS, 2 * SECOND, setattr, node, "slow", 1)
        return True

    def _hang(self) -> bool:
        node = self._aim()
        if node is None:
            return False
        node.hangs_until = self.world.clockwork.now + self.rng.randrange(
            ELECTION // 2, 3 * ELECTION
        )
        return True

    def _fill(self) -> bool:
        """Little room, which the node can tell; or none, which it notices by an error."""
        node = self._aim()
        if node is None:
            return False
        node.room = self.rng.choice([Room.LITTLE, Room.LITTLE, Room.NONE])
        self._later(300 * MS, 2 * SECOND, setattr, node, "room", Room.ENOUGH)
        self._later(2 * SECOND, 3 * SECOND, node.start)
        return True

    def _fail(self) -> bool:
        """The next write ends the process; somebody starts it again."""
        node = self._aim()
        if node is None:
            return False
        node.fails = True
        self._later(ELECTION, 4 * ELECTION, node.start)
        return True

    def _jump(self) -> bool:
        node = self._aim()
        if node is None:
            return False
        node.jump_ms += self.rng.choice([DAY_MS, -DAY_MS, 1000])
        return True

    def _freeze(self) -> bool:
        node = self._aim()
        if node is None:
            return False
        node.freeze()
        self._later(100 * MS, 4 * ELECTION, node.thaw)
        return True

    def _lose_chunks(self) -> bool:
        self.world.links.lose_chunks = 0.5
        self._later(SECOND, 3 * SECOND, setattr, self.world.links, "lose_chunks", 0.0)
        return False

    def _change(self) -> bool:
        leader = self.operator.leader()
        if leader is None or self.operator.plans:
            return False
        members = leader.raft.members.configuration.members
        if len(members) > self.world.options.nodes or (len(members) > 3 and self._coin()):
            self.operator.remove(self.rng.choice(members).id)
        elif len(members) < 7:
            self.operator.replace(None)
        return True

    def _replace(self) -> bool:
        leader = self.operator.leader()
        if leader is None or self.operator.plans:
            return False
        self.operator.replace(self.rng.choice(leader.raft.members.configuration.members).id)
        return True

    def _transfer(self) -> bool:
        nodes = self._up()
        if nodes:
            self.operator.transfer(self.rng.choice(nodes).id)
        return False

    def _change_release(self) -> bool:
        """A rolling upgrade, or somebody takes it back."""
        node = self._aim()
        if node is None:
            return False
        node.crash()
        release = self.rng.choice([NEWEST - 1, NEWEST, NEWEST])
        self._later(50 * MS, 500 * MS, node.run_release, release)
        return True

    def _away(self, what: str) -> bool:
        """The bus, or the key-value store, answers nobody for a while."""
        setattr(self.world.shop, what, True)
        self._later(50 * MS, SECOND, setattr, self.world.shop, what, False)
        return True

    def _drain(self) -> bool:
        self.rng.choice(self.world.workers).drain()
        return True

    def _crash_client(self) -> bool:
        client = self.rng.choice(self.world.mortals)
        client.crash()
        self._later(10 * MS, SECOND, client.start)
        return True

    def _coin(self) -> bool:
        return bool(self.rng.random() < 0.5)
