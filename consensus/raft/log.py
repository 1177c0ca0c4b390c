"""The log of one node in memory, and how much of it is on disk, committed and handed out.

Nothing here decides: who may append, truncate or commit is `replication`'s matter.
"""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from consensus.raft.types import Entry, Index, SnapshotMeta, Term

OVERHEAD = 24
"""Bytes counted for an entry beside its data, about what index, term, kind and length take."""

_term = attrgetter("term")


def size_of(entry: Entry) -> int:
    """The bytes that an entry counts in every limit."""
    return len(entry.data) + OVERHEAD


class Log:
    """Entries `first` to `last`, which follow `snapshot`.

    `durable`: entries up to here are on disk; `commit`: up to here they are committed; `handed`: up
    to here they were given to the state machine. What storage does not know yet is `unsaved`.
    """

    def __init__(self, snapshot: SnapshotMeta, entries: Sequence[Entry]) -> None:
        self.snapshot = snapshot
        self._entries = list(entries)
        _check_follows(snapshot, self._entries)
        self.durable: Index = self.last
        self.commit: Index = snapshot.index
        self.handed: Index = snapshot.index
        self._asked: Index = self.last  # up to here storage was asked to save
        self._cut: Index | None = None  # from here on storage is to delete
        self._new_snapshot = False
        self._flight: tuple[Index, Index] = (self.last, snapshot.index)

    @property
    def first(self) -> Index:
        """The index of the first entry that is or would be there."""
        return self.snapshot.index + 1

    @property
    def last(self) -> Index:
        """The index of the last entry, or of the snapshot."""
        return self.snapshot.index + len(self._entries)

    @property
    def last_term(self) -> Term:
        """The term of the last entry, or of the snapshot."""
        return self._entries[-1].term if self._entries else self.snapshot.term

    def term_at(self, index: Index) -> Term | None:
        """The term of the entry at `index`; None where that is not known any more or not yet."""
        place = index - self.first
        if place == -1:
            return self.snapshot.term
        return self._entries[place].term if 0 <= place < len(self._entries) else None

    def entries(self, low: Index, high: Index, max_bytes: int) -> Sequence[Entry]:
        """The entries from `low` to `high` inclusive, as many as fit, at least one if any."""
        start = max(low - self.first, 0)
        stop = min(high, self.last) - self.snapshot.index
        if stop - start <= 1:
            return self._entries[start:stop]
        left = max_bytes
        for place in range(start, stop):
            left -= len(self._entries[place].data) + OVERHEAD
            if left < 0 and place > start:
                return self._entries[start:place]
        return self._entries[start:stop]

    def bytes_between(self, low: Index, high: Index) -> int:
        """What the entries from `low` to `high` inclusive count; those that are gone count 0."""
        start = max(low - self.first, 0)
        return sum(map(size_of, self._entries[start : max(high - self.snapshot.index, 0)]))

    def last_of_term(self, index: Index, term: Term) -> tuple[Index, Term]:
        """The last place at or before `index` whose term is at most `term`, and its term; what
        two logs may agree on where one of them is known to end so (section 5.3, the note on fewer
        rejections). The place of the snapshot if there is none."""
        stop = min(max(index - self.snapshot.index, 0), len(self._entries))
        place = bisect_right(self._entries, term, 0, stop, key=_term)
        return self.snapshot.index + place, self.term_at(self.snapshot.index + place) or 0

    def append(self, entries: Sequence[Entry]) -> None:
        """Add what follows the last entry."""
        self._entries.extend(entries)

    def truncate(self, index: Index) -> None:
        """Forget every entry at or above `index`, which is above the commit index."""
        del self._entries[index - self.first :]
        if index <= self._asked:
            self._cut_from(index)

    def install(self, meta: SnapshotMeta) -> None:
        """Let a snapshot replace the whole log. Nothing is handed out until storage has it."""
        self.snapshot = meta
        self._entries.clear()
        self._cut_from(meta.index + 1)
        self._asked = self.commit = meta.index
        self._new_snapshot = True

    def compact(self, meta: SnapshotMeta) -> None:
        """Let a snapshot of the own state machine stand for the entries up to it, which were
        handed out; `ValueError` if they were not or `meta` is of another log."""
        if meta.index > self.handed or self.term_at(meta.index) != meta.term:
            raise ValueError("a log is compacted up to an entry of its own that was handed out")
        del self._entries[: meta.index - self.snapshot.index]
        self.snapshot = meta
        self._new_snapshot = True

    def _cut_from(self, index: Index) -> None:
        self._cut = index if self._cut is None else min(index, self._cut)
        self._asked = min(self._asked, index - 1)
        self.durable = min(self.durable, index - 1)

    @property
    def unsaved(self) -> bool:
        """Whether there is something storage was not asked to save."""
        return self._asked < self.last or self._new_snapshot or self._cut is not None

    def take_unsaved(self) -> tuple[SnapshotMeta | None, Index | None, Sequence[Entry]]:
        """Snapshot, place of truncation and entries, for storage to save in this order. Then
        `saved` is called before this is called again."""
        snapshot = self.snapshot if self._new_snapshot else None
        entries = self._entries[self._asked - self.snapshot.index :]
        cut = self._cut
        self._asked, self._cut, self._new_snapshot = self.last, None, False
        self._flight = (self._asked, self.snapshot.index if snapshot else 0)
        return snapshot, cut, entries

    def saved(self) -> None:
        """What was taken last is durable, but for what was truncated since."""
        last, snapshot = self._flight
        self.durable = last if self._cut is None else min(last, self._cut - 1)
        self.handed = max(self.handed, snapshot)

    def hand_out(self, limit: Index, max_bytes: int) -> Sequence[Entry]:
        """The next entries up to `limit` for the state machine, each once, as many as fit."""
        if self.handed < self.snapshot.index or limit <= self.handed:
            return ()
        found = self.entries(self.handed + 1, limit, max_bytes)
        self.handed += len(found)
        return found


def _check_follows(snapshot: SnapshotMeta, entries: Sequence[Entry]) -> None:
    index, term = snapshot.index, snapshot.term
    for entry in entries:
        if entry.index != index + 1 or entry.term < term:
            raise ValueError(f"entry {entry.index} does not follow {index} of term {term}")
        index, term = entry.index, entry.term
