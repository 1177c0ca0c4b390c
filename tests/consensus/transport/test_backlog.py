"""What waits for a peer: bounded, the oldest lost first, one chunk at a time."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.raft.messages import SnapChunk
from consensus.raft.types import SnapshotMeta
from consensus.transport.backlog import Backlog
from consensus.transport.limits import Limits
from consensus.wire.errors import TooLarge
from consensus.wire.messages import Parcel, decode
from tests.consensus.transport.speaking import append, heartbeat

LIMITS = Limits(queue_messages=5, queue_bytes=1000, peer_bytes=500)


def chunk(offset: int, size: int = 10) -> Parcel:
    meta = SnapshotMeta(9, 2, size=1000, crc=1)
    return Parcel(SnapChunk(2, 1, 3, meta, offset, size), 11, b"c" * size)


def emptied(backlog: Backlog) -> list[Parcel]:
    return [decode(backlog.take()) for _ in range(len(backlog))]


def test_what_waits_leaves_in_its_order() -> None:
    backlog = Backlog(LIMITS)
    for round_ in range(4):
        backlog.put(heartbeat(round_), 0.0)
    assert emptied(backlog) == [heartbeat(round_) for round_ in range(4)]
    assert (len(backlog), backlog.bytes, backlog.dropped) == (0, 0, 0)


def test_the_oldest_is_lost_and_counted_where_there_are_too_many() -> None:
    backlog = Backlog(LIMITS)
    for round_ in range(8):
        backlog.put(heartbeat(round_), 0.0)
    assert backlog.dropped == 3
    assert emptied(backlog) == [heartbeat(round_) for round_ in range(3, 8)]


def test_the_oldest_are_lost_where_there_are_too_many_bytes() -> None:
    backlog = Backlog(LIMITS)
    for index in range(1, 5):
        backlog.put(append(index, 300), 0.0)
    assert backlog.dropped == 2
    assert emptied(backlog) == [append(3, 300), append(4, 300)]


def test_only_the_newest_chunk_waits() -> None:
    backlog = Backlog(LIMITS)
    for parcel in (chunk(0), heartbeat(1), chunk(10), heartbeat(2)):
        backlog.put(parcel, 0.0)
    assert backlog.dropped == 1
    assert emptied(backlog) == [heartbeat(1), chunk(10), heartbeat(2)]
    backlog.put(chunk(20), 0.0)
    backlog.take()
    backlog.put(chunk(30), 0.0)
    assert backlog.dropped == 1, "the one before had left"


def test_what_waited_too_long_is_lost() -> None:
    backlog = Backlog(LIMITS)
    for round_ in range(4):
        backlog.put(heartbeat(round_), float(round_))
    backlog.expire(1.0)
    assert backlog.dropped == 2
    assert emptied(backlog) == [heartbeat(2), heartbeat(3)]


def test_what_no_peer_reads_is_never_sent() -> None:
    backlog = Backlog(LIMITS)
    with pytest.raises(TooLarge):
        backlog.put(append(1, 500), 0.0)
    with pytest.raises(ValueError, match="chunk"):
        backlog.put(replace(chunk(0), data=b""), 0.0)
    assert (len(backlog), backlog.bytes, backlog.dropped) == (0, 0, 0)


@given(st.lists(st.one_of(st.none(), st.integers(0, 400), st.just("chunk")), max_size=60))
def test_it_never_holds_more_than_it_may_and_forgets_nothing(steps: list[int | str | None]) -> None:
    backlog, put, taken = Backlog(LIMITS), 0, 0
    for index, step in enumerate(steps, start=1):
        if step is None:
            if backlog:
                backlog.take()
                taken += 1
            continue
        backlog.put(append(index, step) if isinstance(step, int) else chunk(index), 0.0)
        put += 1
        assert len(backlog) <= 5
        assert backlog.bytes <= 1000
    assert put == taken + backlog.dropped + len(backlog)
    left = emptied(backlog)
    assert sum(isinstance(parcel.message, SnapChunk) for parcel in left) <= 1
    assert backlog.bytes == 0
