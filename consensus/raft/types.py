"""What the core is told and what it tells: entries, configurations, changes, where it stands.

Names follow Ongaro & Ousterhout 2014, "In Search of an Understandable Consensus Algorithm (Extended
Version)". Everything here is a value: nothing changes once it is made.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from itertools import pairwise
from typing import TypeAlias

from contracts.quick import quick

NodeId: TypeAlias = int
"""A random integer from 1 to 2^63 - 1, drawn when a node is made and never used again."""
Term: TypeAlias = int
"""0 before the first election, then rising; below 2^63."""
Index: TypeAlias = int
"""The place of an entry in the log: consecutive, 0 for "before any"; below 2^63."""

LIMIT = 1 << 63
"""What every id, term and index is below, so that it fits a signed 64-bit column."""


class Kind(IntEnum):
    """What the data of an entry is. The numbers are stored and sent: they never change."""

    NOOP = 0
    """Nothing: a leader begins its term with one (section 8)."""
    COMMAND = 1
    """A command of the state machine, opaque to the core."""
    CONFIGURATION = 2
    """An encoded `Configuration`."""


@quick
@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log."""

    index: Index
    term: Term
    kind: Kind
    data: bytes = b""


@quick
@dataclass(frozen=True, slots=True)
class HardState:
    """What a node must never forget (figure 2, "persistent state"): its term, and whom it voted for
    in that term."""

    term: Term = 0
    vote: NodeId | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the cluster. `address` is where its peers reach it; a member that is no voter is a
    learner, which gets the log and is counted for nothing."""

    id: NodeId
    address: str
    voter: bool = True


_HEAD = struct.Struct(">BH")
_MEMBER = struct.Struct(">QBH")
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Configuration:
    """The members of the cluster, ordered by id, each id once."""

    members: tuple[Member, ...] = ()

    def __post_init__(self) -> None:
        ids = [member.id for member in self.members]
        if any(not 0 < one < LIMIT for one in ids) or any(a >= b for a, b in pairwise(ids)):
            raise ValueError("members must be ordered by id, each once, from 1 to 2^63 - 1")

    @property
    def voters(self) -> tuple[NodeId, ...]:
        """Those whose votes and logs count."""
        return tuple(member.id for member in self.members if member.voter)

    def member(self, node: NodeId) -> Member | None:
        """The member of this id; None if there is none."""
        return next((member for member in self.members if member.id == node), None)

    def encode(self) -> bytes:
        """The data of a configuration entry; the same bytes for the same members.

        Big-endian: version (1 byte), count (2); for each id (8), voter (1), length of the address
        (2), address in UTF-8.
        """
        parts = [_HEAD.pack(_VERSION, len(self.members))]
        for member in self.members:
            address = member.address.encode()
            parts += [_MEMBER.pack(member.id, member.voter, len(address)), address]
        return b"".join(parts)

    @classmethod
    def decode(cls, data: bytes) -> "Configuration":
        """What `encode` made; `ValueError` for any other bytes."""
        try:
            version, count = _HEAD.unpack_from(data)
            place, members = _HEAD.size, []
            for _ in range(count):
                node, voter, length = _MEMBER.unpack_from(data, place)
                place += _MEMBER.size + length
                members.append(Member(node, data[place - length : place].decode(), bool(voter)))
            found = cls(tuple(members))
        except (struct.error, UnicodeDecodeError) as error:
            raise ValueError(f"not a configuration: {error}") from error
        if version != _VERSION or found.encode() != data:
            raise ValueError("not a configuration: another version, or bytes that mean nothing")
        return found


@dataclass(frozen=True, slots=True)
class SnapshotMeta:
    """A snapshot without its bytes: what it replaces, and how its bytes are known to be whole.

    `index` and `term` are of the last entry in it, `configuration` the last one at or before that
    index; `size` in bytes and `crc` (CRC-32) are of the state machine's bytes. A `size` of 0 stands
    for the state machine's beginning: so starts a log that nothing precedes, whose first index may
    be any.
    """

    index: Index = 0
    term: Term = 0
    configuration: Configuration = Configuration()
    size: int = 0
    crc: int = 0


@dataclass(frozen=True, slots=True)
class BootState:
    """What storage holds when a node starts. The entries follow the snapshot without a gap; a new
    node of a new cluster has only a snapshot of size 0 with the first configuration, the same on
    each of them; one that is to join has nothing at all."""

    hard: HardState = HardState()
    snapshot: SnapshotMeta = SnapshotMeta()
    entries: Sequence[Entry] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RaftConfig:
    """How one node behaves. Times are in ticks, sizes in bytes.

    `election_ticks`: a follower waits for this long to twice as long, drawn anew each time, or for
    exactly `timeout_ticks` where a test gives it. `max_inflight` and `max_inflight_bytes` limit
    what is sent to a peer and not answered, `max_append_bytes` one message (an entry larger than
    that travels alone), `max_uncommitted_bytes` what a leader accepts ahead of the quorum.
    """

    id: NodeId
    election_ticks: int = 10
    heartbeat_ticks: int = 2
    pre_vote: bool = True
    check_quorum: bool = True
    max_inflight: int = 64
    max_inflight_bytes: int = 4 << 20
    max_append_bytes: int = 256 << 10
    max_uncommitted_bytes: int = 16 << 20
    chunk_bytes: int = 256 << 10
    timeout_ticks: int | None = None

    def __post_init__(self) -> None:
        sizes = (self.max_inflight, self.max_inflight_bytes, self.max_append_bytes)
        if min(*sizes, self.max_uncommitted_bytes, self.chunk_bytes, self.heartbeat_ticks) < 1:
            raise ValueError("sizes and ticks of a node must be positive")
        if self.election_ticks <= self.heartbeat_ticks or not 0 < self.id < LIMIT:
            raise ValueError("elections must be rarer than heartbeats, ids from 1 to 2^63 - 1")


@dataclass(frozen=True, slots=True)
class AddLearner:
    """Let a new node get the log."""

    id: NodeId
    address: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Let a learner that has caught up vote."""

    id: NodeId


@dataclass(frozen=True, slots=True)
class Remove:
    """Let a member, voter or learner, be none any more; its id never comes back."""

    id: NodeId


Change: TypeAlias = AddLearner | Promote | Remove


@dataclass(frozen=True, slots=True)
class Lost:
    """A read that got no answer, for leadership was lost: to be asked of `leader`, if known."""

    leader: NodeId | None


class Role(StrEnum):
    """What a node is in its term."""

    FOLLOWER = "follower"
    PRECANDIDATE = "precandidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Peer:
    """How a leader sees another member. `match`: known to be durable there; `next`: sent next;
    `mode`: probe, replicate or snapshot; `active`: heard since the last check of the quorum;
    `space`: it reported room on its disk; `snapshot`: the index of the one that is being sent, so
    that the node keeps its bytes."""

    id: NodeId
    voter: bool
    match: Index
    next: Index
    mode: str
    active: bool
    space: bool
    inflight: int
    snapshot: Index | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Where a core stands: for people, metrics and invariants. `durable`: the last entry on disk
    here; `handed`: the last one given out by `committed`; `peers` only of a leader."""

    id: NodeId
    role: Role
    term: Term
    vote: NodeId | None
    leader: NodeId | None
    snapshot: Index
    last: Index
    durable: Index
    commit: Index
    handed: Index
    configuration: Configuration
    configuration_index: Index
    transferee: NodeId | None
    space: bool
    peers: tuple[Peer, ...]
