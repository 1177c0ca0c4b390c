"""A node's disk: what a transaction made durable survives, what was under way may or may not.

It behaves as storage does: transactions go to a log that is folded into the database now and then;
a flipped bit in that log reads back as a *shorter* log, without an error; one in the database is
found by its checksum. Each transaction has a number, and the highest one stands in a file beside.
"""

import random
from dataclasses import replace

from consensus.raft.ready import Ready
from consensus.raft.types import BootState, Entry, HardState, Index, NodeId, SnapshotMeta
from tests.consensus.raft.invariants import must

FOLDED = 32
"""Transactions after which the log is folded into the database."""


class Image:
    """What transactions have made of an empty disk."""

    def __init__(self, boot: BootState) -> None:
        self.hard: HardState = boot.hard
        self.snapshot: SnapshotMeta = boot.snapshot
        self.entries: list[Entry] = list(boot.entries)

    def write(self, ready: Ready) -> None:
        """One transaction, in the order that `Ready` promises."""
        if ready.snapshot is not None:
            index = ready.snapshot.index
            must(index > self.snapshot.index, "snapshot-forward", index, self.snapshot.index)
            del self.entries[: index - self.snapshot.index]
            self.snapshot = ready.snapshot
        if ready.truncate_from is not None:
            del self.entries[max(0, ready.truncate_from - self.snapshot.index - 1) :]
        if ready.entries:
            first = ready.entries[0].index
            must(first == self.last + 1, "log-continuous", first, self.last)
            self.entries += ready.entries
        if ready.hard is not None:
            self._keep(ready.hard)

    def _keep(self, hard: HardState) -> None:
        must(hard.term >= self.hard.term, "monotonic-term", hard, self.hard)
        same = hard.term == self.hard.term and self.hard.vote is not None
        must(not same or hard.vote == self.hard.vote, "monotonic-vote", hard, self.hard)
        self.hard = hard

    @property
    def last(self) -> Index:
        """The last index there is."""
        return self.snapshot.index + len(self.entries)

    def has(self, index: Index, term: int) -> bool:
        """Whether the entry, or a snapshot over it, is here."""
        place = index - self.snapshot.index - 1
        return place < 0 or (place < len(self.entries) and self.entries[place].term == term)

    def boot(self) -> BootState:
        """What a node finds here when it starts."""
        return BootState(self.hard, self.snapshot, tuple(self.entries))


class Disk:
    """What survives a crash. `files` are the bytes of snapshots by their index, `peers` the highest
    number of a transaction that was heard of each peer."""

    def __init__(self, boot: BootState) -> None:
        self.first = boot.snapshot
        self.image = Image(boot)
        self.files: dict[Index, bytes] = {}
        self.peers: dict[NodeId, int] = {}
        self.seq = 0
        self.high_water = 0
        self._base = Image(boot)
        self._log: list[Ready] = []
        self._found: tuple[Image, int] | None = None
        self._rotten = False

    @property
    def hard(self) -> HardState:
        """Term and vote as they are on the disk."""
        return self.image.hard

    def has(self, index: Index, term: int) -> bool:
        """Whether the entry, or a snapshot over it, is durable here."""
        return self.image.has(index, term)

    def commit(self, ready: Ready) -> None:
        """A transaction is durable, and its number in the file beside."""
        self.image.write(ready)
        self._log.append(ready)
        self.seq += 1
        self.high_water = self.seq
        if len(self._log) >= FOLDED:
            for one in self._log:
                self._base.write(one)
            self._log.clear()

    def copy(self) -> "Disk":
        """What a backup of the folder holds, or a second machine that was cloned."""
        made = type(self)(self.image.boot())
        made.files, made.peers = dict(self.files), dict(self.peers)
        made.first = self.first
        made.seq = made.high_water = self.seq
        return made

    def sweep(self, *needed: Index | None) -> None:
        """Delete the bytes of snapshots that nothing needs."""
        kept = {self.image.snapshot.index, self._base.snapshot.index, *needed}
        for index in [index for index in self.files if index not in kept]:
            if index < self.image.snapshot.index:
                del self.files[index]

    def flip(self, rng: random.Random) -> None:
        """A bit flips while the node is down: in the log of transactions, if there is one."""
        if not self._log:
            self._rotten = True
            return
        kept = rng.randrange(len(self._log))
        image = Image(self._base.boot())
        for ready in self._log[:kept]:
            image.write(ready)
        self._found = image, self.seq - len(self._log) + kept

    def open(self) -> BootState | None:
        """What a node starts with; None where the folder is refused, now and for ever."""
        if self._rotten:
            return None
        if self._found is not None:
            if self._goes_back(self._found[1]):
                return None
            self.image, self.seq = self._found
            self._base, self._log, self._found = Image(self.image.boot()), [], None
        return self.image.boot()

    def _goes_back(self, seq: int) -> bool:
        """Whether the database is older than the file beside it says."""
        return seq < self.high_water


class ForgetsVote(Disk):
    """Breaks a rule on purpose: term and vote are not written down together."""

    def open(self) -> BootState | None:
        boot = super().open()
        return boot and replace(boot, hard=HardState(boot.hard.term))


class IgnoresHighWater(Disk):
    """Breaks a rule on purpose: nobody looks at the file beside the database."""

    def _goes_back(self, seq: int) -> bool:  # noqa: ARG002
        return False
