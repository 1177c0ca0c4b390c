"""What a node needs of its storage: the protocol, and the words of it.

Everything here is synchronous, and one thread at a time may call it: a node has one thread that
writes. Beside that one another thread may call `saw` and `read_snapshot`, ask for `space`, and read
`identity`, `seq` and `peers`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from consensus.raft.ready import Ready
from consensus.raft.types import BootState, Entry, Index, NodeId, SnapshotMeta
from contracts.quick import quick

ClusterId: TypeAlias = int
"""A random integer from 1 to 2^63 - 1, drawn when a cluster is made."""

MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a store belongs to. `incarnation` is a random integer from 1 to 2^63 - 1, drawn anew each
    time the folder is opened: two processes that run copies of a folder differ in it."""

    cluster: ClusterId
    node: NodeId
    incarnation: int


@quick
@dataclass(frozen=True, slots=True)
class Seen:
    """What another id was last heard with; zeros for one that was only named by a configuration.
    Every id that is known here was used: it is never given to a new node."""

    incarnation: int = 0
    seq: int = 0


@quick
@dataclass(frozen=True, slots=True)
class Staged:
    """How many bytes of a snapshot are here without a gap, and their CRC-32."""

    length: int
    crc: int


@dataclass(frozen=True, slots=True)
class Space:
    """Room on the disk in bytes. Below `floor` nothing new is proposed; what is left lets votes,
    entries under way and a compaction through. `ballast`: what an operator can let go."""

    free: int
    floor: int
    ballast: int

    @property
    def enough(self) -> bool:
        """Whether new entries may be proposed, and leadership be taken."""
        return self.free >= self.floor


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes. `floor` and `ballast`: see `Space`. `margin`: left free by snapshots that are
    saved or staged. `checkpoint`: written to the write-ahead log before it is folded into the
    database, which bounds its size and the time of a start."""

    floor: int = 64 * MIB
    ballast: int = 64 * MIB
    margin: int = MIB
    checkpoint: int = 4 * MIB


@dataclass(frozen=True, slots=True)
class Verified:
    """What was read and found whole."""

    seq: int
    entries: int
    entry_bytes: int
    snapshot_bytes: int


class Store(Protocol):
    """The memory of one node.

    After any error of a write or a flush `Stopped` is raised by this and every later call, and the
    process must end: an implementation never tries anything again. `NoSpace` is raised before
    anything was written and stops nothing.
    """

    @property
    def identity(self) -> Identity: ...

    @property
    def boot(self) -> BootState:
        """What a core starts from: what is durable. Cheap until the first `write`, which lets go of
        what was read at the start; then it reads everything again."""
        ...

    @property
    def seq(self) -> int:
        """How many transactions are durable. It never falls, over all lives of the folder."""
        ...

    @property
    def snapshot(self) -> SnapshotMeta:
        """The snapshot of record."""
        ...

    @property
    def peers(self) -> Mapping[NodeId, Seen]:
        """Every other id this node ever knew, and what it was last heard with."""
        ...

    def write(self, ready: Ready) -> int:
        """Make all of it durable in one transaction, in the order `Ready` demands; `seq` after it,
        which is another number than that of the Ready. One that saves nothing takes none.

        Term, vote, snapshot and log never go back: a Ready that would let them stops the store, and
        so does a snapshot that was neither saved nor staged as a whole.
        """
        ...

    def saw(self, node: NodeId, incarnation: int, seq: int) -> None:
        """Note what a peer says of itself in its hello and its replies. Durable with the next
        transaction. Raises `PeerWentBack` for a `seq` below the highest that was seen of this id:
        then nothing of it may be believed."""
        ...

    def write_peers(self) -> int:
        """Make durable what `saw` noted, before the hello of a peer is answered; `seq` then."""
        ...

    def save_snapshot(self, meta: SnapshotMeta, data: bytes) -> None:
        """Make the bytes of the own state machine durable. The log is compacted by the Ready that
        `compact(meta)` of the core leads to. Raises `NoSpace`, and `ValueError` for bytes that are
        not those of `meta`."""
        ...

    def stage(self, meta: SnapshotMeta, offset: int, data: bytes) -> Staged:
        """Put a part of a leader's snapshot where the staging of `meta` ends, if `offset` is there,
        and tell how far it goes now. There is one staging: a first part of another snapshot takes
        its place. One that is whole and wrong is thrown away. It is flushed by the `write` that
        installs it, and does not outlive the process. Raises `NoSpace`."""
        ...

    def read_snapshot(self, meta: SnapshotMeta, offset: int, length: int) -> bytes:
        """Bytes of the snapshot of record, or of an older one that was not dropped; fewer at its
        end. `LookupError` if that snapshot is not here (any more)."""
        ...

    def drop_snapshots(self, keep: Sequence[Index]) -> None:
        """Remove what is not of record, not saved since, and not at an index of `keep`: what is
        being sent. A start removes all but the one of record."""
        ...

    def entries(self, first: Index, stop: Index, max_bytes: int) -> list[Entry]:
        """Entries from `first` to before `stop`, at least one, then no more than `max_bytes` of
        data; `LookupError` where `first` is not in the log."""
        ...

    def space(self) -> Space:
        """Room on the disk now: to be told to the core before each round of proposals."""
        ...

    def let_ballast_go(self) -> None:
        """Give the system what is held back, so that an operator can compact on a full disk."""
        ...

    def shrink(self) -> None:
        """Give the system what compaction made free, and take the ballast again if there is room:
        it blocks for as long as it takes to move the end of the database."""
        ...

    def verify(self) -> Verified:
        """Read everything and check every checksum; `Damaged` if anything is wrong, and then the
        store has stopped."""
        ...

    def backup(self, target: Path) -> None:
        """Write a consistent copy into the new folder `target`. It cannot be opened as the folder
        of a node: see `backup.restore`. Raises `BackupRefused` where `target` exists."""
        ...

    def close(self) -> None:
        """End it; nothing is lost by not doing so."""
        ...
