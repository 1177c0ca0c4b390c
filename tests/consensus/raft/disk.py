"""A disk that holds exactly what a Ready asks for, and refuses one that asks for nonsense."""

from consensus.raft.ready import Ready
from consensus.raft.types import BootState, Entry, HardState, Index, SnapshotMeta


class Disk:
    """What survives a crash of one node."""

    def __init__(self, boot: BootState) -> None:
        self.hard: HardState = boot.hard
        self.snapshot: SnapshotMeta = boot.snapshot
        self.entries: dict[Index, Entry] = {entry.index: entry for entry in boot.entries}

    def write(self, ready: Ready) -> None:
        """One transaction, in the order that `Ready` promises."""
        if ready.snapshot is not None:
            assert ready.snapshot.index > self.snapshot.index, "a snapshot goes back"
            self.snapshot = ready.snapshot
            self.entries = {i: e for i, e in self.entries.items() if i > self.snapshot.index}
        if ready.truncate_from is not None:
            self.entries = {i: e for i, e in self.entries.items() if i < ready.truncate_from}
        for entry in ready.entries:
            assert entry.index == self.last + 1, f"{entry.index} does not follow {self.last}"
            self.entries[entry.index] = entry
        if ready.hard is not None:
            assert ready.hard.term >= self.hard.term, "a term goes back"
            same = ready.hard.term == self.hard.term and self.hard.vote is not None
            assert not same or ready.hard.vote == self.hard.vote, "a vote is changed"
            self.hard = ready.hard
        assert self.last == self.snapshot.index + len(self.entries), "a gap"

    @property
    def last(self) -> Index:
        """The last index there is."""
        return max(self.entries, default=self.snapshot.index)

    def has(self, index: Index, term: int) -> bool:
        """Whether the entry, or a snapshot over it, is here."""
        if index <= self.snapshot.index:
            return True
        return index in self.entries and self.entries[index].term == term

    def boot(self) -> BootState:
        """What a node finds here when it starts."""
        entries = [self.entries[index] for index in sorted(self.entries)]
        return BootState(self.hard, self.snapshot, tuple(entries))
