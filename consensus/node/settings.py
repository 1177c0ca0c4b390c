"""How one node is run."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from consensus.ledger.entries import NEWEST
from consensus.node.halting import leave
from consensus.storage import store
from consensus.transport.limits import Limits
from consensus.wire.keys import Keys

MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """`address` is where peers and clients reach the node, and where it listens unless `listen`
    says another `host:port`. `halt` is called when the node cannot go on: it must not return where
    the process serves others than this node.

    Ticks: 25 ms, heartbeats every 2, elections after 10 to 20: with them a failover takes 0.6 to
    0.75 s at the 99th percentile of a simulation, and 0.9 to 1.3 s with ticks of 50 ms.

    A snapshot is made at each index that `snapshot_every` divides, the same on every node, so that
    the nodes can compare them; and where entries of more than `snapshot_bytes` wait for one. The
    log before it goes when all members that answer are past it, or after `patience_s`. `silence_ms`
    without a word of a bidder's connection, or the shortest lease where that is longer, and the
    bidder is dismissed. `newest` is the highest version of the cluster that this node follows.
    """

    folder: Path
    address: str
    keys: Keys
    listen: str = ""
    tick_ms: int = 25
    heartbeat_ticks: int = 2
    election_ticks: int = 10
    snapshot_every: int = 50_000
    snapshot_bytes: int = 64 * MIB
    patience_s: float = 10.0
    silence_ms: int = 15_000
    newest: int = NEWEST
    transport: Limits = field(default_factory=Limits)
    storage: store.Limits = field(default_factory=store.Limits)
    tls_listen: ssl.SSLContext | None = None
    tls_dial: ssl.SSLContext | None = None
    halt: Callable[[BaseException], None] = leave

    def __post_init__(self) -> None:
        if min(self.tick_ms, self.snapshot_every, self.snapshot_bytes, self.silence_ms) < 1:
            raise ValueError("times and sizes of a node must be positive")

    @property
    def election_s(self) -> float:
        """The shortest time after which a node stands for election."""
        return self.election_ticks * self.tick_ms / 1000
