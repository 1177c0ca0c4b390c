"""Why the core refuses what its own node asks of it. What peers send never raises."""

from consensus.raft.types import NodeId
from contracts.errors import MusterError


class NotLeader(MusterError):
    """Only a leader does this; `leader` is who that is, as far as this node knows."""

    retryable = True

    def __init__(self, leader: NodeId | None) -> None:
        known = "no leader is known" if leader is None else f"the leader is node {leader}"
        super().__init__(
            "this node does not lead the ledger",
            details=known,
            actions=("ask the leader", "wait for an election if there is none"),
        )
        self.leader = leader


class Busy(MusterError):
    """Not now: too much is under way, or what must come first has not happened yet."""

    retryable = True

    def __init__(self, details: str) -> None:
        super().__init__("the ledger is busy", details=details, actions=("try again shortly",))


class NoSpace(MusterError):
    """The disk of the leader has too little room; nothing was written."""

    retryable = True

    def __init__(self) -> None:
        super().__init__(
            "the disk of the ledger's leader is almost full",
            details="nothing new is accepted before there is room again",
            actions=("make room on the disk", "compact the ledger", "move the leadership"),
        )


class ChangeRefused(MusterError):
    """A change of members or leader that cannot be made, however often it is asked for."""

    def __init__(self, details: str) -> None:
        super().__init__(
            "the members of the ledger cannot be changed like that",
            details=details,
            actions=("see the members with `muster ledger status`",),
        )
