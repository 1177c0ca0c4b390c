"""The operator: members come and go, one change at a time, and leadership is moved."""

from collections.abc import Iterator

from consensus.raft.errors import Busy, ChangeRefused, NoSpace, NotLeader
from consensus.raft.types import (
    AddLearner,
    Change,
    Configuration,
    Index,
    NodeId,
    Promote,
    Remove,
    Role,
)
from tests.sim.clockwork import MS
from tests.sim.service import Service
from tests.sim.surroundings import Surroundings

EVERY = 120 * MS
LONGEST = 60
"""A change that is refused so often is given up."""


def configurations(nodes: dict[NodeId, Service], commit: Index) -> Iterator[Configuration]:
    """All that may come to hold, as far as any node that is not lost knows: the last one that is
    committed, and those after it."""
    known = [one for n in nodes.values() if not n.lost for one in n.raft.members._known]
    last = max((index for index, held in known if index <= commit and held.voters), default=0)
    yield from (held for index, held in known if index >= last and held.voters)


def survives(held: Configuration, lost: set[NodeId]) -> bool:
    """Whether the voters that are not lost for ever are a majority."""
    return 2 * sum(1 for node in held.voters if node not in lost) > len(held.voters)


class Operator:
    """Does what a person would: replaces what is lost first, keeps a majority of working voters."""

    def __init__(self, world: Surroundings) -> None:
        self.world = world
        self.plans: list[list[Change]] = []
        self.spared: set[NodeId] = set()
        self.tries = 0

    def start(self) -> None:
        """Begin to work at its plans."""
        self._work()

    def replace(self, old: NodeId | None) -> None:
        """Bring a new node in, and take an old one out, if there is one to take."""
        new = self.world.new_node()
        plan: list[Change] = [AddLearner(new, f"node-{new}"), Promote(new)]
        self.plans.append([*plan, Remove(old)] if old else plan)

    def remove(self, node: NodeId) -> None:
        """Take a member out."""
        self.plans.append([Remove(node)])

    def transfer(self, to: NodeId) -> None:
        """Move leadership."""
        leader = self.leader()
        if leader is not None and leader.id != to:
            leader.handle(leader.life, self._transfer, leader, to)

    def _transfer(self, leader: Service, to: NodeId) -> None:
        try:
            leader.raft.transfer(to)
            self.world.happened("transfer")
        except (NotLeader, Busy, ChangeRefused):
            return

    def leader(self) -> Service | None:
        """The leader of the highest term that can be reached."""
        nodes = self.world.nodes.values()
        up = [n for n in nodes if not n.down and not n.frozen and n.raft.role is Role.LEADER]
        found: Service | None = max(up, key=lambda node: int(node.raft.term), default=None)
        return found

    def _work(self) -> None:
        self.world.clockwork.after(EVERY, self._work)
        leader = self.leader()
        if self.plans and leader is not None:
            leader.handle(leader.life, self._next, leader)

    def _next(self, leader: Service) -> None:
        if not self.plans:
            return
        plan = self.plans[0]
        while plan and self._is_done(leader, plan[0]):
            plan.pop(0)
            self.tries = 0
        if not plan or self.tries >= LONGEST:
            self.plans.pop(0)
            self.tries = 0
            return
        self.tries += 1
        try:
            after = leader.raft.members.changed(plan[0])
            if survives(after, self.lost()):
                leader.raft.propose_config(plan[0])
        except (NotLeader, Busy, NoSpace):
            return
        except ChangeRefused:
            self.plans.pop(0)

    def lost(self) -> set[NodeId]:
        """Nodes that will never be back, or not before all is over (`spared`)."""
        return self.spared | {node.id for node in self.world.nodes.values() if node.lost}

    def _is_done(self, leader: Service, change: Change) -> bool:
        if leader.raft.members.index > leader.raft.log.commit:
            return False
        member = leader.raft.members.configuration.member(change.id)
        match change:
            case AddLearner():
                return member is not None
            case Promote():
                return member is not None and member.voter
            case Remove():
                return member is None
