"""A node's memory as plain Python, and what a core may ask of it, drawn at random."""

import random
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from consensus.raft.ready import Ready
from consensus.raft.types import (
    Configuration,
    Entry,
    HardState,
    Index,
    Kind,
    Member,
    NodeId,
    SnapshotMeta,
)
from consensus.storage.meta import Contents
from consensus.storage.opening import open_store
from consensus.storage.record import Bootstrap, write_record
from consensus.storage.sqlite import SqliteStore
from consensus.storage.store import Limits, Seen, Store

CLUSTER, NODE = 77, 1001
FIRST = 1_700_000_000_000
MEMBERS = tuple(Member(NODE + one, f"node-{one}:7400") for one in range(3))
FIRST_MEMBERS = Configuration(MEMBERS)
RECORD = Bootstrap(CLUSTER, NODE, FIRST_MEMBERS, FIRST)
SMALL = Limits(floor=0, ballast=0, margin=0, checkpoint=64 << 10)


@dataclass
class Model:
    """What a store must hold, by the words of `Ready` alone."""

    hard: HardState = field(default_factory=HardState)
    snapshot: SnapshotMeta = RECORD.snapshot
    entries: list[Entry] = field(default_factory=list)
    used: set[NodeId] = field(default_factory=lambda: {one.id for one in MEMBERS})

    @property
    def last(self) -> Index:
        return self.snapshot.index + len(self.entries)

    @property
    def last_term(self) -> int:
        return self.entries[-1].term if self.entries else self.snapshot.term

    def apply(self, ready: Ready) -> None:
        if ready.snapshot is not None:
            self.snapshot = ready.snapshot
            self.entries = [one for one in self.entries if one.index > ready.snapshot.index]
            self.used |= {one.id for one in ready.snapshot.configuration.members}
        if ready.truncate_from is not None:
            self.entries = [one for one in self.entries if one.index < ready.truncate_from]
        for entry in ready.entries:
            assert entry.index == self.last + 1
            self.entries.append(entry)
            if entry.kind is Kind.CONFIGURATION:
                self.used |= {one.id for one in Configuration.decode(entry.data).members}
        self.hard = ready.hard or self.hard

    def state(self) -> tuple[object, ...]:
        """All of it, as a value."""
        return self.hard, self.snapshot, tuple(self.entries), frozenset(self.used)


def state_of(contents: Contents) -> tuple[object, ...]:
    """The same of what a database holds."""
    meta = contents.meta
    used = frozenset({meta.identity.node, *contents.peers})
    return meta.hard, meta.snapshot, tuple(contents.entries), used


def state_in(store: Store) -> tuple[object, ...]:
    """The same of a store that was just opened."""
    boot = store.boot
    used = frozenset({store.identity.node, *store.peers})
    return boot.hard, boot.snapshot, tuple(boot.entries), used


def commands(first: Index, count: int, term: int = 1, size: int = 20) -> tuple[Entry, ...]:
    """So many commands, all different."""
    return tuple(
        Entry(index, term, Kind.COMMAND, f"{index} {term} ".encode().ljust(size, b"."))
        for index in range(first, first + count)
    )


def ready(
    *entries: Entry,
    hard: HardState | None = None,
    cut: Index | None = None,
    snapshot: SnapshotMeta | None = None,
) -> Ready:
    """What a core asks of storage, without what does not concern it."""
    return Ready(1, hard, cut, entries, snapshot, ())


def meta_for(
    data: bytes,
    index: Index,
    term: int,
    configuration: Configuration = RECORD.snapshot.configuration,
) -> SnapshotMeta:
    """The snapshot of which these are the bytes."""
    return SnapshotMeta(index, term, configuration, len(data), zlib.crc32(data))


@dataclass(frozen=True)
class Drawn:
    """A Ready, and the bytes of its snapshot; `staged` if they come from a leader."""

    ready: Ready
    data: bytes = b""
    staged: bool = False

    def write(self, store: Store) -> int:
        """Hand it to a store as a node does."""
        meta = self.ready.snapshot
        if meta is not None and self.staged:
            half = len(self.data) // 2
            store.stage(meta, 0, self.data[:half])
            store.stage(meta, half, self.data[half:])
        elif meta is not None:
            store.save_snapshot(meta, self.data)
        return store.write(self.ready)


def draw(model: Model, rng: random.Random) -> Drawn:
    """One of all the things a core may ask for, where the store is as `model`."""
    hard = _hard(model.hard, rng)
    term = (hard or model.hard).term
    kind = rng.random()
    snapshot, cut, data = None, None, b""
    last, last_term = model.last, model.last_term
    if kind < 0.1 and model.entries:
        at = rng.choice(model.entries)
        data = rng.randbytes(rng.randrange(3000))
        snapshot = meta_for(data, at.index, at.term)
    elif kind < 0.15:
        data = rng.randbytes(rng.randrange(3000))
        last = model.snapshot.index + rng.randrange(1, len(model.entries) + 9)
        last_term = term
        snapshot, cut = meta_for(data, last, term), last + 1
    elif kind < 0.3 and model.entries:
        cut = rng.choice(model.entries).index
        last, last_term = cut - 1, model.snapshot.term
        if last > model.snapshot.index:
            last_term = model.entries[last - model.snapshot.index - 1].term
    entries = [
        _entry(last + 1 + one, rng.randint(last_term, term), rng) for one in range(_few(rng))
    ]
    entries.sort(key=lambda one: one.term)
    entries = [Entry(last + 1 + n, one.term, one.kind, one.data) for n, one in enumerate(entries)]
    if not entries and snapshot is None and cut is None and hard is None:
        hard = HardState(term + 1)
    return Drawn(Ready(1, hard, cut, entries, snapshot, ()), data, staged=cut is not None)


def _few(rng: random.Random) -> int:
    return rng.choice((0, 1, 1, 1, 2, 3, 5, 20))


def _hard(hard: HardState, rng: random.Random) -> HardState | None:
    kind = rng.random()
    if kind < 0.15:
        return HardState(hard.term + rng.randint(1, 3), rng.choice((None, NODE, NODE + 1)))
    if kind < 0.25 and hard.vote is None and hard.term:
        return HardState(hard.term, NODE + 2)
    return None


def _entry(index: Index, term: int, rng: random.Random) -> Entry:
    kind = rng.choice((Kind.COMMAND, Kind.COMMAND, Kind.COMMAND, Kind.NOOP, Kind.CONFIGURATION))
    data = rng.randbytes(rng.choice((0, 10, 200, 200, 5000)))
    if kind is Kind.CONFIGURATION:
        more = Member(NODE + 3 + rng.randrange(40), "later:1", voter=False)
        data = Configuration((*MEMBERS, more)).encode()
    return Entry(index, term, kind, data)


def begin(folder: Path, record: Bootstrap = RECORD) -> Path:
    """A folder that a node can begin in."""
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder, record)
    return folder


@contextmanager
def opened(folder: Path, incarnation: int = 1, limits: Limits = SMALL) -> Iterator[SqliteStore]:
    """The store in a folder, closed at the end unless it stopped."""
    store = open_store(folder, incarnation=incarnation, limits=limits)
    try:
        yield store
    finally:
        store.close()


def image(folder: Path, to: Path) -> Path:
    """What is on disk of a store that may be open, as the end of its process leaves it."""
    shutil.copytree(folder, to)
    return to


def seen(peers: Mapping[NodeId, Seen]) -> dict[NodeId, tuple[int, int]]:
    """What was heard of whom."""
    return {node: (one.incarnation, one.seq) for node, one in peers.items() if one.incarnation}
