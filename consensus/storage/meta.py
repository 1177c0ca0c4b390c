"""The one row that says where a store stands: who it is, its term and vote, where its log ends.

It is written by every transaction and has a CRC-32 of its own. It also has the running checksum of
the log's last entry, in which every entry before it takes part: a log that was put together from
older and newer pages does not match it.
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from consensus.raft.types import (
    BootState,
    Configuration,
    Entry,
    HardState,
    Index,
    NodeId,
    SnapshotMeta,
    Term,
)
from consensus.storage.errors import Broken, UnknownFormat
from consensus.storage.store import Identity, Seen
from contracts.quick import quick

_VERSION = 1
_HEAD = struct.Struct(">B8QI")
_SNAPSHOT = struct.Struct(">QQQIII")
_PEERS = struct.Struct(">I")
_PEER = struct.Struct(">QQQ")
_CRC = struct.Struct(">I")
_ENTRY = struct.Struct(">QQB")


@quick
@dataclass(frozen=True, slots=True)
class Mark:
    """A place in the log and the running checksum there."""

    index: Index
    term: Term
    chain: int


@quick
@dataclass(frozen=True, slots=True)
class Meta:
    """Where a store stands after its transaction `seq`. `last`: its last entry, or its snapshot if
    the log is empty; `anchor`: the running checksum at the snapshot."""

    identity: Identity
    seq: int
    hard: HardState
    last: Mark
    snapshot: SnapshotMeta
    anchor: int

    @property
    def base(self) -> Mark:
        """What the first entry follows."""
        return Mark(self.snapshot.index, self.snapshot.term, self.anchor)


@dataclass(frozen=True, slots=True)
class Contents:
    """All that a database holds."""

    meta: Meta
    peers: Mapping[NodeId, Seen]
    entries: list[Entry]

    @property
    def boot(self) -> BootState:
        """What a core starts from."""
        return BootState(self.meta.hard, self.meta.snapshot, self.entries)


def chain(entry: Entry, before: int) -> int:
    """The running CRC-32 at an entry, from the one before it."""
    head = _ENTRY.pack(entry.index, entry.term, entry.kind)
    return zlib.crc32(entry.data, zlib.crc32(head, before))


def encode_rest(snapshot: SnapshotMeta, anchor: int, peers: Mapping[NodeId, Seen]) -> bytes:
    """What changes rarely: `encode` takes it as it is."""
    configuration = snapshot.configuration.encode()
    size, crc = snapshot.size, snapshot.crc
    parts = [
        _SNAPSHOT.pack(snapshot.index, snapshot.term, size, crc, anchor, len(configuration)),
        configuration,
        _PEERS.pack(len(peers)),
    ]
    parts += [_PEER.pack(node, seen.incarnation, seen.seq) for node, seen in peers.items()]
    return b"".join(parts)


def encode(meta: Meta, rest: bytes) -> bytes:
    """The row, big-endian: version (1 byte); cluster, node, incarnation, seq, term, vote (0 for
    none), index and term of the last entry (8 each), running checksum (4); `rest`; the
    CRC-32 of all that (4)."""
    who, hard, last = meta.identity, meta.hard, meta.last
    ids = (who.cluster, who.node, who.incarnation)
    vote = hard.vote or 0
    head = (_VERSION, *ids, meta.seq, hard.term, vote, last.index, last.term, last.chain)
    body = _HEAD.pack(*head) + rest
    return body + _CRC.pack(zlib.crc32(body))


def decode(row: bytes) -> tuple[Meta, dict[NodeId, Seen]]:
    """What `encode` made; `Broken` for any other bytes, `UnknownFormat` for another version's."""
    body, crc = row[: -_CRC.size], row[-_CRC.size :]
    if crc != _CRC.pack(zlib.crc32(body)) or not body:
        raise Broken("the checksum of the meta row is wrong")
    if body[0] != _VERSION:
        raise UnknownFormat(f"its meta row is of format {body[0]}, this version knows {_VERSION}")
    try:
        return _decode(body)
    except (struct.error, ValueError) as error:
        raise Broken(f"the meta row means nothing: {error}") from error


def _decode(body: bytes) -> tuple[Meta, dict[NodeId, Seen]]:
    _, cluster, node, incarnation, seq, term, vote, index, last_term, last_chain = (
        _HEAD.unpack_from(body)
    )
    place = _HEAD.size
    at, at_term, size, crc, anchor, length = _SNAPSHOT.unpack_from(body, place)
    place += _SNAPSHOT.size
    configuration = Configuration.decode(body[place : place + length])
    place += length + _PEERS.size
    (count,) = _PEERS.unpack_from(body, place - _PEERS.size)
    peers = {}
    for one in range(count):
        other, its_incarnation, its_seq = _PEER.unpack_from(body, place + one * _PEER.size)
        peers[other] = Seen(its_incarnation, its_seq)
    meta = Meta(
        Identity(cluster, node, incarnation),
        seq,
        HardState(term, vote or None),
        Mark(index, last_term, last_chain),
        SnapshotMeta(at, at_term, configuration, size, crc),
        anchor,
    )
    return meta, peers
