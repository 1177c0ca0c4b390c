"""What a leader knows of another member, and how much it may send there."""

from collections import deque
from enum import StrEnum

from consensus.raft.types import Index, NodeId, Peer, SnapshotMeta

MOST_DOUBLINGS = 2
"""A chunk is sent again at least every 4 election timeouts."""


class Mode(StrEnum):
    """How a leader sends to a peer."""

    PROBE = "probe"
    """One Append at a time, until it is known where the logs match."""
    REPLICATE = "replicate"
    """Many at a time, each taken for received as it is sent."""
    SNAPSHOT = "snapshot"
    """Chunks of a snapshot, one at a time, and no entries."""


class Progress:
    """One peer. `match`: known to be durable there; `next`: the first entry not yet sent;
    `active`: it was heard since the last check of the quorum; `space`: its disk has room; `round`:
    the last round it echoed; `ask`: an Append is due although there may be nothing to send."""

    __slots__ = (
        "_bytes", "_idle", "_match_before", "_resent", "_sent", "active", "ask", "chunk_due",
        "id", "match", "mode", "next", "offset", "round", "snapshot", "space",
    )  # fmt: skip

    def __init__(self, node: NodeId, next_: Index) -> None:
        self.id = node
        self.match: Index = 0
        self.next: Index = next_
        self.active = False
        self.space = True
        self.round = 0
        self.mode = Mode.PROBE
        self.ask = True
        self.snapshot: SnapshotMeta | None = None
        self.offset = 0
        self.chunk_due = False
        self._sent: deque[tuple[Index, int]] = deque()
        self._bytes = 0
        self._idle = 0
        self._resent = 0
        self._match_before: Index = 0

    def probe(self, next_: Index) -> None:
        """Find out where the logs match, from `next_` on downwards."""
        self._enter(Mode.PROBE, next_)
        self.ask = True

    def replicate(self) -> None:
        """The logs match at `match`: send what follows."""
        self._enter(Mode.REPLICATE, self.match + 1)

    def send_snapshot(self, meta: SnapshotMeta) -> None:
        """Send a snapshot from its beginning."""
        self._enter(Mode.SNAPSHOT, meta.index + 1)
        self.snapshot, self.chunk_due = meta, True

    def _enter(self, mode: Mode, next_: Index) -> None:
        self.mode, self.next, self.ask = mode, next_, False
        self.snapshot, self.offset, self.chunk_due = None, 0, False
        self._idle = self._resent = 0
        self._sent.clear()
        self._bytes = 0

    def may_send(self, last: Index, max_inflight: int, max_bytes: int) -> bool:
        """Whether entries up to `last` wait to be sent and the limits of what is under way (in
        messages and in bytes) leave room."""
        if self.mode is not Mode.REPLICATE or self.next > last:
            return False
        return len(self._sent) < max_inflight and self._bytes < max_bytes

    def sent(self, last: Index, size: int) -> None:
        """An Append up to `last` with `size` bytes of entries was sent."""
        self.ask = False
        if self.mode is Mode.REPLICATE and last >= self.next:
            self.next = last + 1
            self._sent.append((last, size))
            self._bytes += size

    def accepted(self, index: Index) -> bool:
        """The logs match up to `index`, durable there; whether that is news."""
        while self._sent and self._sent[0][0] <= index:
            self._bytes -= self._sent.popleft()[1]
        news = index > self.match
        self.match = max(self.match, index)
        self.next = max(self.next, self.match + 1)
        return news

    def rejection_counts(self, rejected: Index) -> bool:
        """Whether a rejection answers what was sent last, and not something long settled."""
        if self.mode is Mode.PROBE:
            return rejected == self.next - 1
        return self.mode is Mode.REPLICATE and self.match < rejected < self.next

    def heartbeat_echoed(self, last: Index) -> None:
        """It answers. What was sent may be lost where nothing moved since the last answer."""
        if self.mode is Mode.PROBE:
            self.ask = True
        elif self.mode is Mode.REPLICATE and self.match < last:
            self.ask = self.match == self._match_before
        self._match_before = self.match

    def staged(self, size: int) -> None:
        """It has `size` bytes of the snapshot; the next chunk is due if that is another place."""
        if self.snapshot is not None and size != self.offset:
            self._idle = self._resent = 0
            if size < self.snapshot.size:
                self.offset, self.chunk_due = size, True

    def wait(self, ticks: int, patience: int) -> None:
        """`ticks` passed; a chunk that moved nothing for `patience` ticks is due again, then after
        twice as long each time: a slow link is not filled with the same bytes."""
        if self.mode is Mode.SNAPSHOT:
            self._idle += ticks
            if self._idle >= patience << self._resent:
                self._idle, self.chunk_due = 0, True
                self._resent = min(self._resent + 1, MOST_DOUBLINGS)

    def peer(self, *, voter: bool) -> Peer:
        """As others may see it."""
        snapshot = None if self.snapshot is None else self.snapshot.index
        return Peer(
            self.id,
            voter,
            self.match,
            self.next,
            self.mode.value,
            self.active,
            self.space,
            len(self._sent),
            snapshot,
        )
