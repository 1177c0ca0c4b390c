"""What nodes and clients need of the world that they are in."""

import random
from collections.abc import Callable
from typing import Any, Protocol

from consensus.ledger.answers import Answer
from consensus.ledger.ledger import Ledger
from consensus.raft.core import Raft
from consensus.raft.types import Entry, Index, NodeId
from tests.sim.clockwork import Clockwork
from tests.sim.greeting import Greeter
from tests.sim.linearizable import History
from tests.sim.links import Links
from tests.sim.options import Options


class Surroundings(Protocol):
    """The world of a run, as those in it see it."""

    clockwork: Clockwork
    links: Links
    rng: random.Random
    options: Options
    nodes: dict[NodeId, Any]
    clients: dict[NodeId, Any]
    history: History
    ledger: Callable[[], Ledger]
    core: type[Raft]
    greeter: type[Greeter]
    pokes: bool

    def new_node(self) -> NodeId:
        """Start a node that knows nothing, under an id that nobody had."""

    def release(self) -> int:
        """What a new node runs."""

    def read_token(self) -> int:
        """A name for one question to one node; what is committed now must be seen."""

    def believed(self, node: Any, peer: NodeId, incarnation: int) -> None:
        """A node acts on what this life of a peer says."""

    def touched(self, node: Any) -> None:
        """Something happened to a node: whatever must always hold is looked at now."""

    def applied(self, node: Any, entry: Entry, answer: Answer | None) -> None:
        """A node applied an entry."""

    def restored(self, node: Any) -> None:
        """A node took its state from a snapshot."""

    def acked(self, client: Any, seq: int, index: Index, answer: Answer) -> None:
        """A client heard that its command is done."""

    def happened(self, kind: str) -> None:
        """Something worth counting."""
