"""How much one connection, and all of them, may take."""

from collections.abc import Mapping
from dataclasses import dataclass

from consensus.wire.hello import Party


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes, counts and seconds; the same on every node, for what one sends another must read.

    `peer_bytes`: one message between nodes, so that a command must be some hundred bytes smaller;
    `client_bytes`: one request, answer or push. `requests` of one client are worked on at the same
    time; more wait unread. `unsent_bytes`: what may wait for a reader before it is too slow and
    loses its connection. `queue_messages` and `queue_bytes` wait for one peer.

    `strangers` may be about to introduce themselves, each for `hello_s`: a whole fleet, when the
    leader it was connected to is gone.

    `dial_s` to open a connection; `hello_s` until both sides have welcomed each other; `stall_s`
    without the other side taking anything; `grace_s` for last words; a message that waited for
    `stale_s` for a connection is not worth sending: an election may have passed.
    """

    hello_bytes: int = 1024
    peer_bytes: int = 4 << 20
    client_bytes: int = 256 << 10
    requests: int = 128
    subscriptions: int = 16
    unsent_bytes: int = 4 << 20
    queue_messages: int = 4096
    queue_bytes: int = 16 << 20
    strangers: int = 512
    peers: int = 64
    workers: int = 2048
    operators: int = 32
    dial_s: float = 2.0
    hello_s: float = 5.0
    stall_s: float = 5.0
    grace_s: float = 2.0
    stale_s: float = 1.0

    def connections(self) -> Mapping[Party, int]:
        """How many connections speakers of each kind may have."""
        return {
            Party.PEER: self.peers,
            Party.WORKER: self.workers,
            Party.OPERATOR: self.operators,
        }
