"""Commands as bytes: one way to write each, and no bytes that do harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.ledger import entries
from consensus.ledger.commands import (
    Cancel,
    Command,
    Join,
    KeepAlive,
    Open,
    OpenSession,
    PlaceBid,
    RaiseVersion,
    Tick,
)
from consensus.ledger.encoding import Signed
from consensus.ledger.entries import (
    KINDS,
    MAX_STAMP,
    Entry,
    UnknownCommand,
    check,
    decode,
    encode,
    is_of_leader,
)
from consensus.ledger.ledger import Ledger
from contracts.errors import InvalidValue
from tests.consensus.ledger.commands import ENTRIES

_OPEN = Open("k", "review", 100, 1000, 3, bytes(32))


@given(ENTRIES)
def test_what_is_written_is_read_again(entry: Entry) -> None:
    assert decode(encode(entry)) == entry


@given(ENTRIES, ENTRIES)
def test_two_commands_have_two_encodings(one: Entry, other: Entry) -> None:
    assert (encode(one) == encode(other)) == (one == other)


@given(st.binary(max_size=200) | st.sampled_from(sorted(KINDS)).map(lambda kind: bytes([kind])))
def test_garbage_raises_the_one_error(data: bytes) -> None:
    _read_or_refuse(data)


@given(ENTRIES, st.data())
def test_an_entry_with_a_byte_changed_is_another_one_or_none(
    entry: Entry, data: st.DataObject
) -> None:
    written = bytearray(encode(entry))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))
    found = _read_or_refuse(bytes(written))
    assert found != entry


@given(ENTRIES, st.data())
def test_an_entry_that_was_cut_or_has_more_behind_it_is_none(
    entry: Entry, data: st.DataObject
) -> None:
    written = encode(entry)
    with pytest.raises(UnknownCommand):
        decode(written[: data.draw(st.integers(0, len(written) - 1))])
    with pytest.raises(UnknownCommand):
        decode(written + data.draw(st.binary(min_size=1, max_size=9)))


def _read_or_refuse(data: bytes) -> Entry | None:
    try:
        found = decode(data)
    except UnknownCommand:
        return None
    assert encode(found) == data
    return found


@given(st.lists(ENTRIES, max_size=8))
def test_no_command_of_any_range_breaks_the_ledger(several: list[Entry]) -> None:
    ledger = Ledger(newest=1 << 64)
    for index, entry in enumerate(several, 1):
        try:
            ledger.apply(index, encode(entry))
        except UnknownCommand:  # the version was raised by one of them: the others are unknown
            continue
    twin = Ledger(newest=1 << 64)
    twin.restore(ledger.snapshot())
    assert twin.hash() == ledger.hash()


def test_the_bytes_of_entries_stay_what_they_are() -> None:
    """A log that one release wrote is read by the next."""
    assert encode(Entry(1, Tick())).hex() == "850000000000000001"
    assert encode(Entry(2, Cancel("k"), 7, 3, 1)).hex() == (
        "0b0000000000000002000000000000000700000000000000030000000000000001" + "00016b"
    )
    assert encode(Entry(3, PlaceBid("k", 1, Signed(-2), 5, b"why"), 7, 3, 1)).hex() == (
        "050000000000000003000000000000000700000000000000030000000000000001"
        "00010000000000000001fffffffffffffffe00000000000000050003" + "6b776879"
    )
    assert encode(Entry(4, Join("r", ("a", "b"), 2), 7, 3, 1)).hex() == (
        "020000000000000004000000000000000700000000000000030000000000000001"
        "000100030000000000000002" + "72610a62"
    )


@pytest.mark.parametrize(
    "command",
    [
        OpenSession(bytes(15), "ann"),
        OpenSession(bytes(16), ""),
        Join("review", ("b", "a"), 1),
        Join("review", ("a", "a"), 1),
        Join("review", ("a\nb",), 1),
        Join("review", ("x" * 65,), 1),
        Open("", "review", 100, 1000, 3, bytes(32)),
        Open("k", "review", 100, 1000, 3, bytes(31)),
        PlaceBid("k", 1, Signed(1), 1, bytes(513)),
        PlaceBid("k", 1, Signed(1), 1 << 63, b""),
    ],
)
def test_what_would_be_refused_is_said_before(command: Command) -> None:
    with pytest.raises(InvalidValue):
        check(command)


def test_what_no_entry_can_hold_is_said_before() -> None:
    for entry in (
        Entry(MAX_STAMP, Tick()),
        Entry(-1, Tick()),
        Entry(0, KeepAlive(), -1, 0, 0),
        Entry(0, Cancel("k" * 70_000), 1, 0, 0),
        Entry(0, Cancel("\ud800"), 1, 0, 0),
    ):
        with pytest.raises(InvalidValue):
            encode(entry)


def test_clients_commands_are_told_from_the_leaders() -> None:
    own = {cls.__name__ for cls in KINDS.values() if is_of_leader(cls.__new__(cls))}
    leaders = {"Close", "Expire", "ExpireSessions", "Dismiss", "Tick", "RaiseVersion", "Attest"}
    assert own == leaders


def test_a_command_is_known_from_its_version_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "SINCE", {Open: 2})
    data = encode(Entry(0, _OPEN, 1, 0, 0))
    with pytest.raises(UnknownCommand, match="does not know"):
        decode(data, 1)
    assert decode(data, 2).command == _OPEN


def test_a_node_stops_before_what_it_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "SINCE", {Open: 2})
    ledger = Ledger(newest=2)
    ledger.apply(1, encode(Entry(5, OpenSession(bytes(16), "ann"))))
    before = ledger.hash()
    opening = encode(Entry(9, _OPEN, 1, 0, 0))
    with pytest.raises(UnknownCommand):
        ledger.apply(2, opening)
    with pytest.raises(UnknownCommand):
        ledger.apply(2, b"\xff")
    assert ledger.hash() == before
    ledger.apply(2, encode(Entry(9, RaiseVersion(2))))
    ledger.apply(3, opening)
    assert "k" in ledger.state.tasks


def test_a_node_stops_before_a_version_it_cannot_follow() -> None:
    ledger = Ledger(newest=2)
    before = ledger.hash()
    with pytest.raises(UnknownCommand, match="version 3"):
        ledger.apply(1, encode(Entry(9, RaiseVersion(3))))
    assert ledger.hash() == before


def test_the_version_is_only_raised() -> None:
    ledger = Ledger(newest=5)
    for index, version in enumerate((3, 2, 3, 5, 1), 1):
        ledger.apply(index, encode(Entry(9, RaiseVersion(version))))
    assert ledger.state.version == 5
