"""What a client and a node of the ledger say to each other."""

from dataclasses import dataclass

from consensus.ledger.answers import Answer
from consensus.ledger.commands import Command
from consensus.raft.types import Index, NodeId
from contracts.auctions import Auction, Opening, Won
from contracts.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class Ask:
    """A command of a client: `number` tells its questions apart, `seq` those of its session."""

    client: NodeId
    number: int
    command: Command
    session: int = 0
    seq: int = 0
    acked_below: int = 0


@quick
@dataclass(frozen=True, slots=True)
class Look:
    """A read of one auction that must not be stale. `token` is used for one node and once."""

    client: NodeId
    number: int
    token: int
    key: str


@quick
@dataclass(frozen=True, slots=True)
class Hello:
    """A session is connected here, and wants to hear again what it has to know."""

    client: NodeId
    session: int


@quick
@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a command, applied at `index`."""

    number: int
    index: Index
    answer: Answer


@quick
@dataclass(frozen=True, slots=True)
class Seen:
    """The answer to a read; None where the ledger does not know the key."""

    number: int
    auction: Auction | None


@quick
@dataclass(frozen=True, slots=True)
class Moved:
    """Nothing was done here, as far as this node knows: ask `leader`, or later."""

    number: int
    leader: NodeId | None


@quick
@dataclass(frozen=True, slots=True)
class Told:
    """What happened to a bidder."""

    one: Opening | Won


Question = Ask | Look | Hello
Reply = Answered | Seen | Moved | Told
