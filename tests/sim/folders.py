"""What goes wrong with the folders of nodes: bits flip, old ones come back, copies are started."""

from collections.abc import Callable, Iterator
from typing import Any

from consensus.raft.types import BootState, Configuration, NodeId
from tests.sim.clockwork import MS
from tests.sim.disk import Disk
from tests.sim.operator import Operator, configurations, survives
from tests.sim.service import Service

COPY = 200 * MS
"""For so long a copy of a folder runs beside the original: half an election timeout."""


class Targets:
    """Whom a fault may strike."""

    def __init__(self, world: Any, operator: Operator) -> None:
        self.world = world
        self.rng = world.rng
        self.operator = operator

    def _nodes(self) -> list[Service]:
        return [node for node in self.world.nodes.values() if not node.lost]

    def _up(self) -> list[Service]:
        return [node for node in self._nodes() if not node.down]

    def _later(self, low: int, high: int, undo: Callable[..., None], *args: Any) -> None:
        self.world.clockwork.after(self.rng.randrange(low, high), undo, *args)

    def _aim(self) -> Service | None:
        """A node that is up; the leader more often than others."""
        leader = self.operator.leader()
        if leader is not None and self.rng.random() < 0.4:
            return leader
        up = self._up()
        return self.rng.choice(up) if up else None


class Folders(Targets):
    """Faults that cost a node its folder; it is replaced under a new id."""

    def __init__(self, world: Any, operator: Operator) -> None:
        super().__init__(world, operator)
        self._backups: dict[NodeId, Disk] = {}

    def _flip(self) -> bool:
        """A crash, and a bit that is not what it was; where it would cost a majority only if the
        cluster need not recover."""
        node = self._aim()
        if node is None or not self._may_lose(node):
            return False
        node.crash()
        node.disk.flip(self.rng)
        node.start()
        self.world.touched(node)
        self._lose(node)
        return True

    def _may_lose(self, node: Service) -> bool:
        """Whether the cluster recovers without this node, or need not."""
        lost = self.operator.lost() | {node.id}
        recovers = all(
            survives(held, lost)
            for held in configurations(self.world.nodes, self.world.invariants.commit)
        )
        return recovers or self._may_ruin()

    def _configurations(self) -> Iterator[Configuration]:
        return configurations(self.world.nodes, self.world.invariants.commit)

    def _lose(self, node: Service) -> None:
        """Whatever was planned with a node is not, but that it is replaced."""
        self.operator.plans = [
            plan for plan in self.operator.plans if not any(c.id == node.id for c in plan)
        ]
        self.operator.replace(node.id)

    def _old_folder(self) -> bool:
        """A node comes back with the backup of its folder, or with none and its id; and everybody
        who may count it has heard of more than is in there."""
        node, backup = self._aim(), self._backups.popitem() if self._backups else None
        for one in self._up():
            self._backups[one.id] = one.disk.copy()
        if node is None or not self.world.options.hello or not self._may_lose(node):
            return False
        old = Disk(BootState(snapshot=node.disk.first))
        if backup is not None and self.rng.random() < 0.7:
            node, old = self.world.nodes[backup[0]], backup[1]
        if node.lost or not self._may_lose(node) or not self._is_known_to_all(node, old.seq):
            return False
        node.crash()
        node.disk = old
        node.doubted_by = frozenset(one.id for one in self._members() if one is not node)
        node.start()
        self._lose(node)
        return True

    def _members(self) -> list[Service]:
        """Whoever is a member by any configuration that may come to hold."""
        held = {
            m.id
            for one in configurations(self.world.nodes, self.world.invariants.commit)
            for m in one.members
        }
        return [node for node in self._nodes() if node.id in held]

    def _is_known_to_all(self, node: Service, seq: int) -> bool:
        others = [one for one in self._members() if one is not node]
        return all(one.disk.peers.get(node.id, 0) > seq for one in others)

    def _copy_folder(self) -> bool:
        """A copy of a folder is started beside the original, which some have just heard."""
        node = self._aim()
        if node is None or node.frozen or not self.world.options.hello:
            return False
        now, heard_at = self.world.clockwork.now, self.world.heard_at
        knowing = frozenset(
            (one.id, one.life)
            for one in self._up()
            if heard_at.get((one.id, node.id, node.incarnation), -COPY) >= now - COPY // 2
        )
        if not knowing:
            return False
        ghost = self.world.ghost(node, now + COPY + COPY // 2, knowing)
        ghost.raft.campaign()
        self.world.clockwork.after(COPY, ghost.crash)
        return True

    def _may_ruin(self) -> bool:
        options = self.world.options
        return bool(options.ruin and self.world.clockwork.now > options.chaos // 2)
