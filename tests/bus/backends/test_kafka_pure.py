"""What the Kafka backend decides without asking anybody: addresses, records, what a pull takes."""

import random
import struct
from dataclasses import replace

import pytest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from bus.backend import HIGH, MAX_BODY, MAX_HEADERS, NORMAL, RETRY, Lane, Message, Turn
from bus.backends.kafka import records, unread
from bus.backends.kafka.address import parsed
from bus.backends.kafka.choosing import Waiting, choose
from bus.backends.kafka.crowd import Crowd
from bus.backends.kafka.examine import dangers
from bus.backends.kafka.log import Found
from bus.backends.kafka.names import lane_of, part_of, parts_for
from bus.backends.kafka.records import Logged
from bus.backends.kafka.shelf import Shelf
from contracts.errors import InvalidValue
from tests.bus.backends.kafka_fleet import foreign
from tests.bus.conformance.steps import task


def test_an_address_says_where_and_who_and_hides_the_password() -> None:
    found = parsed("kafkas://me:p%40ss@one:1234,two?partitions=4&login=scram-sha-256")
    assert found.hosts == (("one", 1234), ("two", 9092))
    assert (found.user, found.password, found.login) == ("me", "p@ss", "SCRAM-SHA-256")
    assert (found.protocol, found.partitions) == ("SASL_SSL", 4)
    assert "p@ss" not in repr(found)
    assert found.shown == "kafkas://me:***@one:1234,two"
    assert parsed("kafka://one").protocol == "PLAINTEXT"


@pytest.mark.parametrize(
    "url", ["kafka://", "kafka://h:no", "kafka://h?partitions=0", "kafka://h?x=1", "kafka://h?x"]
)
def test_an_address_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(InvalidValue):
        parsed(url)


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
    st.binary(max_size=50),
    st.dictionaries(_TEXT.filter(lambda name: name != records.HEADER), _TEXT, max_size=5),
    st.sampled_from([None, "g"]),
    st.integers(0, 15),
)
def test_a_record_is_read_as_it_was_written(
    id_: str, body: bytes, headers: dict[str, str], group: str | None, slice_: int
) -> None:
    lane = Lane(HIGH.name, slice_)
    sent = Message(id_, 0, "work.a", body, headers, lane, group=group)
    (batch,) = records.batches([sent])
    (found,) = records.read(3, batch, 0)
    assert (found.part, found.offset, found.key) == (3, 0, records.kept_key(sent.key()))
    assert found.message == sent
    assert records.from_row(records.to_meta(sent), body) == sent


def test_batches_are_cut_below_what_a_topic_takes() -> None:
    great = replace(
        task("a"),
        body=random.Random(1).randbytes(MAX_BODY),
        headers={"h": "v" * (MAX_HEADERS - 1)},
    )
    sent = [great, task("b"), great, *(task(f"t{n}") for n in range(3000))]
    cut = list(records.batches(sent))
    assert all(len(batch) <= 1 << 20 for batch in cut)
    ids = [each.message.id for batch in cut for each in records.read(0, batch, 0)]
    assert ids == [m.id for m in sent]


def test_a_record_of_a_foreign_publisher_is_a_message_without_an_id() -> None:
    """Whatever its key and headers are; two of them have different keys."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    builder.append(0, 0, b"\xff\x00", None, [("x", None), ("y", b"\xff")])
    builder.append(1, 0, b"\xff\x00", b"hello", [("muster", b"nonsense")])
    first, second = records.read(0, bytes(builder.build()), 0)
    assert (first.message.id, first.message.body, dict(first.message.headers)) == (
        "",
        b"",
        {"x": "", "y": "\\xff"},
    )
    assert (second.message.id, second.message.body) == ("", b"hello")
    assert first.key != second.key


def test_a_name_of_a_header_that_is_no_text_holds_up_nothing() -> None:
    """The record is a message with that name written out; those around it are as they are."""
    (ours,) = records.batches([task("a"), task("b")])
    strange = foreign(("aX", b"1"), ("b", None), count=3)
    found = list(records.read(0, strange + ours, 0))
    assert [each.offset for each in found] == [0, 1, 2, 0, 1]
    assert [each.message.id for each in found] == ["", "", "", "a", "b"]
    assert [each.message.body for each in found[:3]] == [b"", b"v", b"vv"]
    assert dict(found[0].message.headers) == {"a\\xff": "1", "b": ""}
    assert found[0].time == 0.007


@given(
    st.lists(st.tuples(st.text(max_size=10), st.none() | st.binary(max_size=200)), max_size=4),
    st.integers(1, 70),
)
def test_records_are_read_without_the_library_as_with_it(
    headers: list[tuple[str, bytes | None]], count: int
) -> None:
    for codec in (0, 1):
        builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
        for number in range(count):
            builder.append(number, 1000 + number, b"k", b"v" * number, headers)
        batch = bytes(builder.build())
        theirs = [
            (r.offset, r.timestamp, r.key, r.value, r.headers) for r in records._records(batch)
        ]
        ours = [
            (r.offset, r.timestamp, r.key, r.value, [*r.headers]) for r in unread.records(batch)
        ]
        assert ours == theirs


def test_a_batch_in_an_unknown_coding_is_as_many_messages_that_say_nothing() -> None:
    batch = bytearray(foreign(count=3))
    struct.pack_into(">h", batch, 21, 4)  # zstd
    (after,) = records.batches([task("a")])
    found = list(records.read(0, bytes(batch) + after, 0))
    assert [(each.offset, each.message.body) for each in found[:3]] == [
        (0, b""),
        (1, b""),
        (2, b""),
    ]
    assert [each.message.id for each in found] == ["", "", "", "a"]


@given(st.binary(max_size=300), st.integers(61, 80))
def test_no_bytes_of_a_batch_keep_what_follows_from_being_read(noise: bytes, kept: int) -> None:
    batch = bytearray(foreign(("a", b"b"), count=2)[:kept] + noise)
    struct.pack_into(">i", batch, 8, len(batch) - 12)
    (after,) = records.batches([task("a")])
    assert [each.message.id for each in records.read(0, bytes(batch) + after, 0)][-1] == "a"


def test_every_slot_lies_in_one_lane_whatever_the_cut() -> None:
    for slices in range(1, 17):
        lanes = [
            Lane(name, number) for name in (HIGH.name, NORMAL.name) for number in range(slices)
        ]
        parts = [p for lane in lanes for p in parts_for(lane, 16, slices)]
        assert len(parts) == len(set(parts)) == 32
    assert parts_for(RETRY, 16, 1) == ()
    assert lane_of(part_of(NORMAL.name, 5)) is NORMAL.name


def logged(part: int, first: int, count: int) -> list[Logged]:
    places = range(first, first + count)
    return [Logged(part, n, 0.0, task(f"{part}-{n}"), f"{part}-{n}", 2) for n in places]


def test_a_shelf_gives_what_follows_and_asks_for_what_is_missing() -> None:
    shelf = Shelf()
    assert shelf.missing(0, 5) is None
    shelf.put({0: 5}, {0: Found((), 9)})
    assert shelf.missing(0, 5) == 5
    shelf.put({0: 5}, {0: Found(logged(0, 5, 3), 9)})
    assert [each.offset for each in shelf.waiting(0, 6)] == [6, 7]
    assert shelf.missing(0, 6) is None
    assert shelf.missing(0, 8) == 8
    shelf.put({0: 8}, {0: Found(logged(0, 8, 1), 9)})
    assert [each.offset for each in shelf.waiting(0, 8)] == [8]
    assert shelf.missing(0, 9) is None
    shelf.put({0: 20}, {0: Found((), 21)})
    assert shelf.missing(0, 20) == 20


def test_what_was_read_twice_is_on_a_shelf_once() -> None:
    """By two that ask beside each other; what is no record, such as the end of a transaction, is
    read once, too."""
    shelf = Shelf()
    shelf.put({0: 5}, {0: Found(logged(0, 5, 3), 9)})
    shelf.put({0: 6}, {0: Found(logged(0, 6, 3), 10, upto=10)})
    assert [each.offset for each in shelf.waiting(0, 5)] == [5, 6, 7, 8]
    assert shelf.missing(0, 10) is None
    assert shelf.place(0, 10) == 10


def test_a_shelf_never_leaves_anything_out() -> None:
    """Hand-overs may stand anywhere, also before what was read."""
    shelf = Shelf()
    shelf.put({0: 5}, {0: Found(logged(0, 5, 3), 9)})
    assert list(shelf.waiting(0, 2)) == []
    assert shelf.missing(0, 2) == 2
    shelf.put({0: 2}, {0: Found(logged(0, 2, 7), 9)})
    assert len(shelf.waiting(0, 2)) == 7


def test_a_shelf_goes_on_where_the_log_begins() -> None:
    """What lay before was deleted by somebody else."""
    shelf = Shelf()
    shelf.put({0: 2}, {0: Found((), 9, True, 7)})
    assert shelf.missing(0, 2) == 7
    shelf.put({0: 7}, {0: Found(logged(0, 7, 2), 9)})
    assert [each.offset for each in shelf.waiting(0, 2)] == [7, 8]
    assert shelf.missing(0, 9) is None


def test_a_pull_takes_rows_before_records_and_no_more_than_its_turns() -> None:
    waiting = {
        NORMAL: Waiting({0: 2}, {1: logged(1, 0, 3), 4: logged(4, 0, 3)}),
        RETRY: Waiting({0: 5}, {}),
    }
    turns = [Turn((RETRY,), 2), Turn((NORMAL, RETRY), 20)]
    chosen = choose(turns, 9, waiting)
    assert [(c.lane, dict(c.rows), [r.offset for r in c.records]) for c in chosen] == [
        (RETRY, {0: 2}, []),
        (NORMAL, {0: 2}, [0, 1]),
        (RETRY, {0: 3}, []),
    ]


_SAFE = {"flush.messages": "1", "retention.ms": "-1", "retention.bytes": "-1"}


@pytest.mark.parametrize(
    ("values", "copies", "names"),
    [
        ({}, 1, []),
        ({"flush.messages": "9223372036854775807"}, 1, ["one replica"]),
        ({"flush.messages": "9223372036854775807"}, 3, ["min.insync.replicas"]),
        ({"min.insync.replicas": "2"}, 3, []),
        ({"unclean.leader.election.enable": "true"}, 1, ["unclean leader election"]),
        ({"retention.ms": "604800000"}, 1, ["retention"]),
        ({"cleanup.policy": "compact"}, 1, ["retention"]),
    ],
)
def test_settings_that_break_a_promise_are_named(
    values: dict[str, str], copies: int, names: list[str]
) -> None:
    found = list(dangers("muster.f.g.1", {**_SAFE, **values}, copies))
    assert [danger.name for danger in found] == names
    assert all("muster.f.g.1" in danger.do for danger in found)


def test_who_loses_holds_back_and_who_wins_does_not() -> None:
    """One alone never; one of ten up to about ten times as long as a hand-over takes."""
    crowd = Crowd(random.Random(1))
    assert (crowd.others, crowd.delay()) == (0.0, 0.0)
    for number in range(1000):
        crowd.won(0.002) if number % 10 == 0 else crowd.lost()
    assert 4.0 <= crowd.others <= 20.0
    assert 0.004 < max(crowd.delay() for _ in range(100)) <= 0.04
    for _ in range(60):
        crowd.won(0.002)
    assert crowd.others < 0.1
    for _ in range(1000):
        crowd.lost()
    assert crowd.others == 100.0


def test_who_has_never_won_holds_back_as_well() -> None:
    crowd = Crowd(random.Random(1))
    for _ in range(100):
        crowd.lost(0.002)
    assert 0.05 < max(crowd.delay() for _ in range(100)) <= 0.1


def test_who_wins_every_time_tells_others_once_one_of_them_has_complained() -> None:
    crowd = Crowd(random.Random(1))
    told = [crowd.tells]
    crowd.complained()
    for _ in range(1001):
        told.append(crowd.tells)
        crowd.won(0.002)
    assert told == [False, *[True] * 1000, False]
    assert [crowd.complains() for _ in range(100)].count(True) == 2
