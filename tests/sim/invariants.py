"""What must hold of a whole cluster after every event. Each raises by its name."""

from typing import Any

from consensus.ledger.answers import Answer
from consensus.ledger.commands import Command, RaiseVersion
from consensus.ledger.entries import decode
from consensus.ledger.ledger import Ledger
from consensus.raft.types import Entry, Index, Kind, NodeId, Term
from tests.consensus.raft.invariants import Invariants, must
from tests.sim.clockwork import MS
from tests.sim.process import NEWEST
from tests.sim.promises import Acknowledged, AuctionWatch
from tests.sim.service import Service

FASTEST = 3
"""A ledger's clock may run so many times as fast as time: it moves by two ticks at most for each
tick of a machine, whose clock may be a tenth too fast."""


class ClusterInvariants(Invariants):
    """Those of the core, and what replicas, clients and the ledger's clock must show."""

    def __init__(self, world: Any) -> None:
        super().__init__(world)
        self.world = world
        self.watch = AuctionWatch()
        self.acks = Acknowledged()
        self.log: dict[Index, Entry] = {}
        self.hashes: dict[Index, bytes] = {}
        self.clock = 0

    def holds(self, node: NodeId, index: Index, term: Term) -> bool:
        """A node that is not believed any more votes for nobody else: what it had, it keeps."""
        found = self.world.nodes[node]
        return bool(found.trusted.has(index, term))

    def took(self, node: Service, entry: Entry, answer: Answer | None) -> bool:
        """A node applied an entry: the first to do so says what all others must answer. Whether
        this is the first."""
        fresh = entry.index not in self.log
        first = self.log.setdefault(entry.index, entry)
        must(first == entry, "state-machine-safety", node.id, first, entry)
        if answer is None:
            return fresh
        if fresh:
            self._clock(node)
            self._version(node, decode(entry.data).command)
            self.acks.applied(entry.index, answer)
            self.watch.saw(entry.index, decode(entry.data), answer)
        known = self.acks.answers[entry.index]
        must(known == answer, "replicas-agree", node.id, entry.index, known, answer)
        return fresh

    def __call__(self, node: Service) -> None:  # type: ignore[override]
        super().__call__(node)
        version = node.ledger.state.version
        must(node.down or version <= node.release, "version-followed", node.id, version)

    def _version(self, node: Service, command: Command) -> None:
        """The version is raised only to what every member has run."""
        if isinstance(command, RaiseVersion):
            for member in node.raft.configuration_at(node.raft.log.handed).members:
                run = self.world.nodes[member.id].newest_run
                must(run >= command.version, "raise-allowed", member.id, run, command.version)

    def _clock(self, node: Service) -> None:
        clock = node.ledger.state.clock
        must(clock >= self.clock, "clock-forward", node.id, clock, self.clock)
        limit = FASTEST * self.world.clockwork.now // MS + 1000
        must(clock <= limit, "clock-bound", node.id, clock, limit)
        self.clock = clock

    def state(self, node: Service) -> None:
        """A state was made or restored at an index: it is the same everywhere."""
        found = node.ledger.hash()
        known = self.hashes.setdefault(node.applied, found)
        must(known == found, "replicas-agree", node.id, node.applied)

    def replayed(self, make: Any) -> None:
        """All that was ever applied, applied once more: every node that is up has that state."""
        again: Ledger = make()
        again.newest = NEWEST
        by_index = sorted(self.log)
        for index in by_index:
            entry = self.log[index]
            if entry.kind is Kind.COMMAND:
                answer = again.apply(index, entry.data)
                must(answer == self.acks.answers[index], "replay", index, answer)
            for node in [n for n in self.world.nodes.values() if not n.down and n.applied == index]:
                must(node.ledger.hash() == again.hash(), "replay", node.id, index)
        first = by_index[0] if by_index else 0
        must(by_index == [*range(first, first + len(by_index))], "no-gap")
