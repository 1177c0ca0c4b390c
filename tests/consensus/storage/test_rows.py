"""The meta row, the high-water file and the running checksum: read as written, or not at all."""

import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.raft.types import Configuration, Entry, HardState, Kind, Member, SnapshotMeta
from consensus.storage.highwater import SIZE, HighWater
from consensus.storage.meta import Mark, Meta, chain, decode, encode, encode_rest
from consensus.storage.store import Identity, Seen
from tests.consensus.storage.crashes import water
from tests.consensus.storage.readies import NODE, commands

U63 = st.integers(0, (1 << 63) - 1)
ID = st.integers(1, (1 << 63) - 1)
U32 = st.integers(0, (1 << 32) - 1)


@st.composite
def metas(draw: st.DrawFn) -> Meta:
    ids = sorted(draw(st.sets(ID, max_size=4)))
    members = tuple(Member(one, draw(st.text(max_size=9)), draw(st.booleans())) for one in ids)
    return Meta(
        Identity(draw(ID), draw(ID), draw(ID)),
        draw(U63),
        HardState(draw(U63), draw(st.none() | ID)),
        Mark(draw(U63), draw(U63), draw(U32)),
        SnapshotMeta(draw(U63), draw(U63), Configuration(members), draw(U63), draw(U32)),
        draw(U32),
    )


@given(metas(), st.dictionaries(ID, st.builds(Seen, U63, U63), max_size=4))
def test_a_meta_row_is_read_as_written(meta: Meta, peers: dict[int, Seen]) -> None:
    row = encode(meta, encode_rest(meta.snapshot, meta.anchor, peers))
    assert decode(row) == (meta, peers)


@given(metas(), st.data())
def test_a_meta_row_with_a_wrong_bit_or_cut_off_is_none(meta: Meta, data: st.DataObject) -> None:
    row = bytearray(encode(meta, encode_rest(meta.snapshot, meta.anchor, {})))
    cut = data.draw(st.integers(0, len(row) - 1))
    bit = data.draw(st.integers(0, len(row) * 8 - 1))
    with pytest.raises(ValueError, match="checksum"):
        decode(bytes(row[:cut]))
    row[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ValueError, match="checksum"):
        decode(bytes(row))


@given(st.binary(max_size=300))
def test_what_only_has_a_right_checksum_is_no_meta_row(body: bytes) -> None:
    body = b"\x01" + body
    try:
        meta, peers = decode(body + struct.pack(">I", zlib.crc32(body)))
    except ValueError:
        return
    assert encode(meta, encode_rest(meta.snapshot, meta.anchor, peers))[:-4] == body


def test_a_running_checksum_covers_all_of_an_entry_and_all_before_it() -> None:
    entry = Entry(5, 2, Kind.COMMAND, b"data")
    others = (
        chain(Entry(6, 2, Kind.COMMAND, b"data"), 7),
        chain(Entry(5, 3, Kind.COMMAND, b"data"), 7),
        chain(Entry(5, 2, Kind.NOOP, b"data"), 7),
        chain(Entry(5, 2, Kind.COMMAND, b"dat4"), 7),
        chain(entry, 8),
    )
    assert chain(entry, 7) == chain(entry, 7)
    assert chain(entry, 7) not in others


def test_the_checksums_on_disk_are_for_ever() -> None:
    """A release that reckons them otherwise would refuse the folders of the one before it."""
    last = 0
    for entry in commands(1, 3):
        last = chain(entry, last)
    assert last == 0x9789E3EB
    meta = Meta(Identity(1, 2, 3), 4, HardState(5, 6), Mark(7, 8, 9), SnapshotMeta(10, 11), 12)
    row = encode(meta, encode_rest(meta.snapshot, meta.anchor, {13: Seen(14, 15)}))
    assert (len(row), row[-4:].hex()) == (140, "8ea5102d")
    assert water(9).hex() == ("6d7573746572000100000000000003e9000000000000000900000000396803eb")


def test_a_high_water_only_rises(tmp_path: Path) -> None:
    mark = HighWater.begin(tmp_path / "mark", NODE)
    assert (mark.node, mark.seq) == (NODE, 0)
    mark.rise(5)
    assert mark.read() == 5
    for lower in (5, 4, 0):
        with pytest.raises(ValueError, match="lowered"):
            mark.rise(lower)
    mark.close()
    again = HighWater(tmp_path / "mark")
    assert (again.node, again.seq) == (NODE, 5)
    again.close()
    assert (tmp_path / "mark").stat().st_size == SIZE


@pytest.mark.parametrize("data", [b"", bytes(32), water(5)[:-1], water(5) + b"x"], ids=repr)
def test_what_is_no_high_water_is_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "mark").write_bytes(data)
    with pytest.raises(ValueError, match="high-water"):
        HighWater(tmp_path / "mark")
