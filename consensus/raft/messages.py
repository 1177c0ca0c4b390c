"""What nodes say to each other: one frozen dataclass for each thing that can be said.

Every message names who sends it (`sender`), whom it is for (`to`) and the sender's `term`. Messages
may be lost, doubled, delayed and reordered; whoever reads them from a network checks only types.
"""

from dataclasses import dataclass
from typing import TypeAlias

from consensus.raft.types import Entry, Index, NodeId, SnapshotMeta, Term
from contracts.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class VoteRequest:
    """Asks for a vote (figure 2, RequestVote), or with `pre` whether one would be given in `term`,
    which nobody has entered yet (dissertation, section 9.6). `transfer`: the leader asked for this
    election, so that it may disturb that leader (section 4.2.3)."""

    sender: NodeId
    to: NodeId
    term: Term
    last_index: Index
    last_term: Term
    pre: bool = False
    transfer: bool = False


@quick
@dataclass(frozen=True, slots=True)
class VoteReply:
    """Answers a VoteRequest. A granted `pre` repeats the term of the request; all else carries the
    term of the sender."""

    sender: NodeId
    to: NodeId
    term: Term
    granted: bool
    pre: bool = False


@quick
@dataclass(frozen=True, slots=True)
class Append:
    """Entries that follow `prev_index` (figure 2, AppendEntries); none to ask whether the logs
    match there. `commit` is the sender's."""

    sender: NodeId
    to: NodeId
    term: Term
    prev_index: Index
    prev_term: Term
    entries: tuple[Entry, ...]
    commit: Index


@quick
@dataclass(frozen=True, slots=True)
class AppendReply:
    """Answers Append, and a snapshot that is in place.

    Accepted: the log of the sender is durable and equal to the leader's up to `index`. Rejected:
    there is no entry at `rejected` of the term asked about; the logs may match at `index`, where
    the sender has one of `hint_term`, and above it they do not. A node of a higher term answers a
    leader of a lower one with a rejection, so that it steps down. `space`: the disk has room.
    """

    sender: NodeId
    to: NodeId
    term: Term
    accepted: bool
    index: Index
    rejected: Index = 0
    hint_term: Term = 0
    space: bool = True


@quick
@dataclass(frozen=True, slots=True)
class Heartbeat:
    """There is a leader. `commit` is at most what the receiver is known to have; `round` counts
    what leader asked its quorum for reads (dissertation, section 6.4)."""

    sender: NodeId
    to: NodeId
    term: Term
    commit: Index
    round: int


@quick
@dataclass(frozen=True, slots=True)
class HeartbeatReply:
    """Answers a Heartbeat, in its round. `space`: the disk has room."""

    sender: NodeId
    to: NodeId
    term: Term
    round: int
    space: bool = True


@quick
@dataclass(frozen=True, slots=True)
class SnapChunk:
    """A part of a snapshot: `length` bytes from `offset`; the last one ends at `meta.size`.

    The core has no bytes. The node that sends one adds the bytes; the node that gets one puts them
    where its staging of `meta` ends, if `offset` is there, and hands the message to its core with
    `staged`, how many bytes of `meta` it has without a gap, and `staged_crc`, their CRC-32. Both
    are facts of the receiver: they are not sent. A staging that is whole and does not match
    `meta.crc` is thrown away: `staged` is 0 then.
    """

    sender: NodeId
    to: NodeId
    term: Term
    meta: SnapshotMeta
    offset: int
    length: int
    staged: int = 0
    staged_crc: int = 0


@quick
@dataclass(frozen=True, slots=True)
class SnapReply:
    """Of the snapshot at `index` the sender has `staged` bytes: the next chunk starts there."""

    sender: NodeId
    to: NodeId
    term: Term
    index: Index
    staged: int


@quick
@dataclass(frozen=True, slots=True)
class TimeoutNow:
    """The leader wants the receiver to stand for election at once (section 3.10)."""

    sender: NodeId
    to: NodeId
    term: Term


Message: TypeAlias = (
    VoteRequest
    | VoteReply
    | Append
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | SnapChunk
    | SnapReply
    | TimeoutNow
)
