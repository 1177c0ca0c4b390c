"""Every message has one encoding, that one is read back, and nothing else is."""

import struct
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consensus.raft.messages import Append, Heartbeat, Message, SnapChunk, TimeoutNow, VoteReply
from consensus.raft.types import Configuration, Entry, Kind, Member, SnapshotMeta
from consensus.wire.errors import Unreadable
from consensus.wire.messages import Parcel, decode, encode
from tests.consensus.wire.words import appends, chunks, parcels

APPEND = Append(1, 2, 3, 4, 5, (Entry(5, 3, Kind.COMMAND, b"ab"), Entry(6, 3, Kind.NOOP)), 4)
MEMBERS = Configuration((Member(1, "a:1"), Member(2, "b:2", voter=False)))
CHUNK = Parcel(SnapChunk(1, 2, 3, SnapshotMeta(9, 2, MEMBERS, 10, 77), 4, 3), 5, b"xyz")


@given(parcels)
def test_what_was_encoded_is_read_back(parcel: Parcel) -> None:
    assert decode(encode(parcel)) == parcel


def test_every_message_of_the_core_has_an_encoding() -> None:
    for kind in get_args(Message):
        made = {Append: Parcel(APPEND), SnapChunk: CHUNK}
        parcel = made.get(kind) or Parcel(kind(**dict.fromkeys(kind.__slots__, 1)))
        assert type(decode(encode(parcel)).message) is kind


def test_the_encoding_never_changes() -> None:
    """Nodes of two releases run beside each other."""
    assert encode(Parcel(VoteReply(1, 2, 3, granted=True, pre=False), 9)).hex() == (
        "0000000000000009020000000000000001000000000000000200000000000000030100"
    )
    assert encode(Parcel(APPEND, 9)).hex() == (
        "0000000000000009"
        "03"
        "0000000000000001"
        "0000000000000002"
        "0000000000000003"
        "0000000000000004"
        "0000000000000005"
        "0000000000000004"
        "00000002"
        "0000000000000003"
        "01"
        "00000002"
        "0000000000000003"
        "00"
        "00000000"
        "6162"
    )
    assert (
        encode(CHUNK).hex()
        == (
            "0000000000000005"
            "07"
            "0000000000000001"
            "0000000000000002"
            "0000000000000003"
            "0000000000000009"
            "0000000000000002"
            "0000004d"
            "000000000000000a"
            "0000000000000004"
            "0000000000000003" + f"{len(MEMBERS.encode()):08x}"
        )
        + MEMBERS.encode().hex()
        + b"xyz".hex()
    )


@given(st.binary(max_size=200))
@example(b"")
@example(encode(Parcel(APPEND))[:-1])
@example(encode(CHUNK)[:-1])
def test_garbage_is_unreadable_and_nothing_else(data: bytes) -> None:
    try:
        parcel = decode(data)
    except Unreadable:
        return
    assert encode(parcel) == data


@given(parcels, st.data())
def test_a_changed_message_is_unreadable_or_another_one(
    parcel: Parcel, data: st.DataObject
) -> None:
    """Nothing that is read has a second encoding."""
    whole = bytearray(encode(parcel))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))] + data.draw(st.binary(max_size=4)))
    for changed in (bytes(whole), cut):
        try:
            read = decode(changed)
        except Unreadable:
            continue
        assert encode(read) == changed


@given(appends(), st.integers(0, 255))
def test_an_entry_of_an_unknown_kind_is_unreadable(append: Append, kind: int) -> None:
    entries = (*append.entries, Entry(append.prev_index + len(append.entries) + 1, 1, Kind.NOOP))
    data = bytearray(encode(Parcel(replace(append, entries=entries))))
    place = 61 + 13 * (len(entries) - 1) + 8
    data[place] = kind
    if kind in set(Kind):
        assert decode(bytes(data)).message.entries[-1].kind == kind  # type: ignore[union-attr]
    else:
        with pytest.raises(Unreadable):
            decode(bytes(data))


def test_a_count_of_entries_that_are_not_there_takes_no_memory() -> None:
    data = bytearray(encode(Parcel(APPEND)))
    data[57:61] = struct.pack(">I", (1 << 32) - 1)
    with pytest.raises(Unreadable):
        decode(bytes(data))


def test_entries_with_a_gap_are_never_sent() -> None:
    """Their indexes are not sent: a gap would be closed by whoever reads it."""
    gap = replace(APPEND, entries=(Entry(5, 3, Kind.NOOP), Entry(7, 3, Kind.NOOP)))
    with pytest.raises(ValueError, match="entry 7 stands where 6"):
        encode(Parcel(gap))


@given(chunks())
def test_a_chunk_never_comes_with_another_number_of_bytes(parcel: Parcel) -> None:
    with pytest.raises(ValueError, match="chunk"):
        encode(replace(parcel, data=parcel.data + b"x"))


@pytest.mark.parametrize("number", [-1, 1 << 64])
def test_a_number_out_of_its_range_is_never_sent(number: int) -> None:
    with pytest.raises(ValueError, match="not a message"):
        encode(Parcel(Heartbeat(1, 2, number, 0, 0)))


@pytest.mark.parametrize("at", [0, 9, 17, 25])
def test_a_number_that_fits_no_column_is_unreadable(at: int) -> None:
    data = bytearray(encode(Parcel(TimeoutNow(1, 2, 3))))
    data[at] = 0x80
    with pytest.raises(Unreadable):
        decode(bytes(data))


def test_a_truth_that_is_neither_is_unreadable() -> None:
    data = bytearray(encode(Parcel(VoteReply(1, 2, 3, granted=True))))
    data[33] = 2
    with pytest.raises(Unreadable):
        decode(bytes(data))
