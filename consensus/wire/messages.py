"""What nodes say to each other as bytes: one byte for what it is, then its fields in their order.

All numbers are big-endian and unsigned, 8 bytes for ids, terms, indexes, offsets and lengths, and
below 2^63; truths are one byte, 0 or 1. Each message has one encoding, and only that is read.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from operator import attrgetter
from types import MappingProxyType
from typing import TypeAlias

from consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    Message,
    SnapChunk,
    SnapReply,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from consensus.raft.types import LIMIT, Configuration, Entry, Kind, SnapshotMeta
from consensus.wire.errors import Unreadable
from contracts.quick import quick


@quick
@dataclass(frozen=True, slots=True)
class Parcel:
    """A message on its way. `seq` is the highest durable one of the sender's storage, so that who
    hears it knows what this node can never again have less than; `data` are the bytes of a
    SnapChunk, empty for all else."""

    message: Message
    seq: int = 0
    data: bytes = b""


_Flat: TypeAlias = type[
    VoteRequest | VoteReply | AppendReply | Heartbeat | HeartbeatReply | SnapReply | TimeoutNow
]
_APPEND, _CHUNK = 3, 7
_FLAT: Mapping[int, _Flat] = MappingProxyType(
    {
        1: VoteRequest,
        2: VoteReply,
        4: AppendReply,
        5: Heartbeat,
        6: HeartbeatReply,
        8: SnapReply,
        9: TimeoutNow,
    }
)
"""The numbers are sent: they never change. 3 and 7 are Append and SnapChunk."""


class _Form:
    """How a message of numbers and truths is laid out, read from its dataclass."""

    def __init__(self, tag: int, of: _Flat) -> None:
        kinds = ["?" if field.type in {bool, "bool"} else "Q" for field in fields(of)]
        self.tag = tag
        self.make: Callable[..., Message] = of
        self.values: Callable[[object], tuple[int, ...]] = attrgetter(*(f.name for f in fields(of)))
        self.struct = struct.Struct(">QB" + "".join(kinds))
        widths = [1 if kind == "?" else 8 for kind in kinds]
        starts = [9 + sum(widths[:place]) for place in range(len(widths))]
        self.truths = [at for at, width in zip(starts, widths, strict=True) if width == 1]

    def encode(self, parcel: Parcel) -> bytes:
        """The parcel's bytes; it has no data."""
        return self.struct.pack(parcel.seq, self.tag, *self.values(parcel.message))

    def decode(self, data: bytes) -> Parcel:
        """What `encode` made."""
        seq, _, *values = self.struct.unpack(data)
        if max(values) >= LIMIT or any(data[place] > 1 for place in self.truths):
            raise Unreadable("a number or a truth of a message is out of its range")
        return Parcel(self.make(*values), seq)


_FORMS: Mapping[int, _Form] = MappingProxyType({tag: _Form(tag, of) for tag, of in _FLAT.items()})
_FORM_OF: Mapping[type, _Form] = MappingProxyType({of: _FORMS[tag] for tag, of in _FLAT.items()})
_HEAD = struct.Struct(">QB")
_APPENDED = struct.Struct(">QBQQQQQQI")
"""seq, tag, sender, to, term, prev_index, prev_term, commit, count of entries"""
_ENTRY = struct.Struct(">QBI")
"""term, kind, length: of each entry, before the data of them all. Their indexes follow
prev_index and are not sent."""
_CHUNKED = struct.Struct(">QBQQQQQIQQQI")
"""seq, tag, sender, to, term, index, term of the snapshot, crc, size, offset, length, bytes of the
configuration"""
_KINDS = tuple(Kind)


def encode(parcel: Parcel) -> bytes:
    """The bytes of a parcel.

    `ValueError` for what no core says: numbers out of their range, entries that do not follow each
    other, data that are not as long as the chunk says.
    """
    try:
        return _encode(parcel)
    except (struct.error, AttributeError) as error:
        raise ValueError(f"not a message of the ledger: {error}") from error


def _encode(parcel: Parcel) -> bytes:
    message = parcel.message
    if isinstance(message, Append):
        return _encode_append(message, parcel.seq)
    if isinstance(message, SnapChunk):
        return _encode_chunk(message, parcel)
    return _FORM_OF[type(message)].encode(parcel)


def _encode_append(m: Append, seq: int) -> bytes:
    heads, data, index = [], [], m.prev_index
    for entry in m.entries:
        index += 1
        if entry.index != index:
            raise ValueError(f"entry {entry.index} stands where {index} belongs")
        heads.append(_ENTRY.pack(entry.term, entry.kind, len(entry.data)))
        data.append(entry.data)
    return b"".join(
        (
            _APPENDED.pack(
                seq,
                _APPEND,
                m.sender,
                m.to,
                m.term,
                m.prev_index,
                m.prev_term,
                m.commit,
                len(heads),
            ),
            *heads,
            *data,
        )
    )


def _encode_chunk(m: SnapChunk, parcel: Parcel) -> bytes:
    if len(parcel.data) != m.length:
        raise ValueError(f"a chunk of {m.length} bytes came with {len(parcel.data)}")
    meta, members = m.meta, m.meta.configuration.encode()
    head = _CHUNKED.pack(
        parcel.seq,
        _CHUNK,
        *(m.sender, m.to, m.term, meta.index, meta.term, meta.crc, meta.size),
        *(m.offset, m.length, len(members)),
    )
    return b"".join((head, members, parcel.data))


def decode(data: bytes) -> Parcel:
    """What `encode` made; `Unreadable` for any other bytes."""
    try:
        seq, tag = _HEAD.unpack_from(data)
        if seq >= LIMIT:
            raise Unreadable("the seq of a message is out of its range")
        if tag == _APPEND:
            return _decode_append(data)
        if tag == _CHUNK:
            return _decode_chunk(data)
        return _FORMS[tag].decode(data)
    except KeyError as error:
        raise Unreadable(f"there is no message of kind {error}") from error
    except (struct.error, ValueError, IndexError) as error:
        raise Unreadable(f"a message is cut, too long or out of range: {error}") from error


def _decode_append(data: bytes) -> Parcel:
    seq, _, *values, count = _APPENDED.unpack_from(data)
    start = _APPENDED.size + count * _ENTRY.size
    entries = _entries(data, start, values[3])
    if max(*values, values[3] + count) >= LIMIT:
        raise Unreadable("a number of an Append is out of its range")
    sender, to, term, prev_index, prev_term, commit = values
    return Parcel(Append(sender, to, term, prev_index, prev_term, entries, commit), seq)


def _entries(data: bytes, start: int, index: int) -> tuple[Entry, ...]:
    """The entries whose data begin at `start` and end where `data` ends; where one of their heads
    is missing, `start` lies behind that."""
    found, at = [], start
    for term, kind, length in _ENTRY.iter_unpack(data[_APPENDED.size : start]):
        index += 1
        end = at + length
        if term >= LIMIT:
            raise Unreadable("the term of an entry is out of its range")
        found.append(Entry(index, term, _KINDS[kind], data[at:end]))
        at = end
    if at != len(data):
        raise Unreadable("the entries of an Append are longer or shorter than it")
    return tuple(found)


def _decode_chunk(data: bytes) -> Parcel:
    seq, _, *values, members = _CHUNKED.unpack_from(data)
    sender, to, term, index, of, crc, size, offset, length = values
    at = _CHUNKED.size + members
    if max(values) >= LIMIT or len(data) - at != length or offset + length > size:
        raise Unreadable("a SnapChunk is cut, or a number in it is out of its range")
    configuration = Configuration.decode(data[_CHUNKED.size : at])
    meta = SnapshotMeta(index, of, configuration, size, crc)
    return Parcel(SnapChunk(sender, to, term, meta, offset, length), seq, data[at:])
