"""What a node counts, and how it shows where it stands."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from consensus.raft.types import Index, NodeId, Role, Status, Term


@dataclass(slots=True)
class Counters:
    """Plain counts since the process began; `slowest_write_ms` is of one transaction."""

    ticks: int = 0
    stalls: int = 0
    """Ticks that came so late that others were left out."""
    elections_won: int = 0
    leaders_seen: int = 0
    commands: int = 0
    """Of clients, proposed."""
    postponed: int = 0
    """Of clients, not proposed: too much was under way, or no room on the disk."""
    moved: int = 0
    """Of clients, sent to another node."""
    reads: int = 0
    due: int = 0
    """Commands of the leader's own, proposed."""
    dismissed: int = 0
    applied: int = 0
    writes: int = 0
    slowest_write_ms: int = 0
    snapshots: int = 0
    """Made here."""
    restored: int = 0
    """Of a leader, put in place here."""
    chunks_sent: int = 0
    chunks_staged: int = 0
    appends_refused: int = 0
    """Appends that were not taken because the disk is almost full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeStatus:
    """Where a node stands: for people, metrics and tests.

    `ready`: it leads and takes commands. `clock` in ms is the ledger's. `counts` are those of
    `Counters`, and how many of each are connected or wait. `lonely`: roles with auctions that wait
    because nobody bids for them. `space_free` in bytes.
    """

    id: NodeId
    cluster: int
    incarnation: int
    address: str
    role: Role
    ready: bool
    term: Term
    leader: NodeId | None
    leader_address: str
    commit: Index
    applied: Index
    snapshot: Index
    last: Index
    seq: int
    cluster_version: int
    clock: int
    members: tuple[Mapping[str, Any], ...]
    space_free: int
    space_enough: bool
    ballast: int
    lonely: Mapping[str, int]
    auctions: int
    sessions: int
    counts: Mapping[str, int] = field(default_factory=dict)


def members_shown(status: Status) -> tuple[Mapping[str, Any], ...]:
    """The members with what their leader knows of them; ids as text, as JSON needs them."""
    peers = {peer.id: peer for peer in status.peers}
    shown = []
    for member in status.configuration.members:
        one: dict[str, Any] = {
            "id": str(member.id),
            "address": member.address,
            "voter": member.voter,
        }
        if (peer := peers.get(member.id)) is not None:
            one |= {"match": peer.match, "mode": peer.mode, "active": peer.active}
            one |= {"space": peer.space}
        shown.append(one)
    return tuple(shown)
