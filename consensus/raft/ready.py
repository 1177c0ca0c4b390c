"""What the core asks of storage."""

from collections.abc import Sequence
from dataclasses import dataclass

from consensus.raft.messages import Message
from consensus.raft.types import Entry, HardState, Index, SnapshotMeta
from contracts.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class Ready:
    """What storage must make durable, all in ONE transaction, and what may be sent only then.

    In this order:

    1. `snapshot`, if any: it becomes the snapshot of record; every entry at or below its index is
       deleted. Its bytes are durable before the transaction begins: the node wrote them when it
       compacted, or staged them chunk by chunk and flushes them now.
    2. `truncate_from`, if any: every entry at or above it is deleted. A snapshot that replaces the
       log comes with `truncate_from` = its index + 1.
    3. `entries` are added. They follow the last entry left, or the snapshot, without a gap, and
       meet no entry that is still there.
    4. `hard`, if any, replaces term and vote.

    After the commit (which is an fsync) the node calls `advance(seq)`, sends what that returns
    (`after`, less what a newer term overtook), and if the snapshot's index is above what its state
    machine has applied, restores the state machine from it, all before it asks for `committed`.
    There is no other Ready until then. One with nothing but `after` needs no transaction. If
    anything fails the node must stop: the core is not to be used any more, and nothing is tried
    twice. `seq` counts from 1 in each life of a core.
    """

    seq: int
    hard: HardState | None
    truncate_from: Index | None
    entries: Sequence[Entry]
    snapshot: SnapshotMeta | None
    after: Sequence[Message]
