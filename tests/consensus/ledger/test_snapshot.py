"""A ledger that goes on from its snapshot is the same ledger."""

from contextlib import suppress
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.ledger.answers import Opened
from consensus.ledger.commands import Cancel, Complete, KeepAlive, Open, RaiseVersion, Renew, Tick
from consensus.ledger.entries import Entry, UnknownCommand, encode
from consensus.ledger.ledger import Ledger
from consensus.ledger.rounds import KEPT_BYTES, KEPT_MS
from consensus.ledger.snapshot import BadSnapshot
from tests.consensus.ledger.crowds import HASH, Crowd

K = TypeVar("K")
V = TypeVar("V")


def _busy() -> Crowd:
    """Every kind of thing there is in a state."""
    crowd = Crowd(10, slots=2)
    crowd.open("open")
    crowd.bids("open", b"why")
    award = crowd.award("awarded", b"why not")
    done = crowd.award("completed")
    crowd.say(crowd.sessions.index(done.session), Complete("completed", done.token, HASH))
    crowd.open("cancelled")
    crowd.say(1, Cancel("cancelled"))
    assert award.token
    return crowd


def test_a_state_has_one_form() -> None:
    ledger = _busy().ledger
    twin = Ledger()
    twin.restore(ledger.snapshot())
    assert twin.state == ledger.state
    assert twin.snapshot() == ledger.snapshot()
    assert twin.hash() == ledger.hash()


def test_an_empty_ledger_has_a_snapshot_too() -> None:
    ledger = Ledger()
    ledger.restore(Ledger().snapshot())
    assert ledger.snapshot().hex() == "01" + "0000000000000001" + "00" * 16 + "00" * 12


def test_the_order_in_which_things_came_is_in_no_snapshot() -> None:
    crowd = _busy()
    for seq in (20, 19):
        entry = Entry(5, KeepAlive(), crowd.sessions[3], seq, 0)
        crowd.ledger.apply(crowd.index + 40 - seq, encode(entry))
    before, state = crowd.ledger.snapshot(), crowd.ledger.state
    state.tasks = _turned(state.tasks)
    state.sessions = _turned(state.sessions)
    state.bidders = {role: _turned(bidders) for role, bidders in state.bidders.items()}
    for session in state.sessions.values():
        session.answers = _turned(session.answers)
    for task in state.tasks.values():
        task.bids = _turned(task.bids)
    assert crowd.ledger.snapshot() == before


def _turned(found: dict[K, V]) -> dict[K, V]:
    return dict(reversed(found.items()))


def test_a_command_that_comes_again_after_a_restore_is_answered_again() -> None:
    crowd = Crowd(1)
    first = Entry(5, Open("k", "review", 100, 1000, 3, HASH), crowd.sessions[0], 9, 0)
    answer = crowd.ledger.apply(20, encode(first))
    ledger = Ledger()
    ledger.restore(crowd.ledger.snapshot())
    assert ledger.apply(21, encode(first)) == answer == Opened(20, 1_100)


def test_an_award_outlives_a_restore_with_its_token() -> None:
    crowd = Crowd(1)
    award = crowd.award("k")
    ledger = Ledger()
    ledger.restore(crowd.ledger.snapshot())
    crowd.ledger = ledger
    assert type(crowd.say(0, Renew("k", award.token))).__name__ == "Renewed"
    assert ledger.agenda.due(crowd.now + 1_000)


@given(st.binary(max_size=300))
def test_garbage_is_refused(data: bytes) -> None:
    ledger = _busy().ledger
    before = ledger.hash()
    with pytest.raises(BadSnapshot):
        ledger.restore(data)
    assert ledger.hash() == before


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_byte_that_changed_raises_the_one_error_or_none(at: int, flip: int) -> None:
    data = bytearray(_busy().ledger.snapshot())
    data[at % len(data)] ^= flip
    with suppress(BadSnapshot, UnknownCommand):
        Ledger().restore(bytes(data))


def test_a_cut_snapshot_is_refused() -> None:
    data = _busy().ledger.snapshot()
    for end in range(len(data)):
        with pytest.raises(BadSnapshot):
            Ledger().restore(data[:end])
    with pytest.raises(BadSnapshot):
        Ledger().restore(data + b"\0")


def test_a_snapshot_of_a_version_that_cannot_be_followed_stops_the_node() -> None:
    """Else a node of an older release would go on by its own rules, and differ from the others."""
    newer, older = Ledger(newest=2), Ledger(newest=1)
    newer.apply(1, encode(Entry(9, RaiseVersion(2))))
    before = older.snapshot()
    with pytest.raises(UnknownCommand):
        older.restore(newer.snapshot())
    assert older.snapshot() == before


def test_entries_that_were_applied_are_not_applied_again() -> None:
    ledger = Ledger()
    ledger.apply(7, encode(Entry(1, Tick())))
    with pytest.raises(ValueError, match="applied already"):
        ledger.apply(7, encode(Entry(2, Tick())))
    assert ledger.state.clock == 1


def test_what_a_quiet_night_left_is_forgotten_bit_by_bit() -> None:
    crowd = Crowd(1)
    for number in range(150):
        crowd.open(f"k{number:03}")
        crowd.say(0, Cancel(f"k{number:03}"))
    crowd.now += KEPT_MS
    left = []
    for _ in range(4):
        crowd.lead(Tick())
        left.append(len(crowd.ledger.state.tasks))
    assert left == [86, 22, 0, 0]
    assert crowd.ledger.state.tasks == {}


def test_bids_of_ended_tasks_take_no_more_than_their_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consensus.ledger.rounds.KEPT_BYTES", 10_000)
    crowd = Crowd(8, slots=100)
    for number in range(10):
        award = crowd.award(f"k{number}", bytes(400))
        crowd.say(
            crowd.sessions.index(award.session), Complete(f"k{number}", award.token, bytes(32))
        )
        crowd.now += 1
    kept = [key for key, task in crowd.ledger.state.tasks.items() if task.closed]
    assert kept == ["k8", "k9"]
    assert KEPT_BYTES == 16 * 1024 * 1024
    twin = Ledger()
    twin.restore(crowd.ledger.snapshot())
    crowd.now += KEPT_MS
    twin.apply(crowd.index + 1, encode(Entry(crowd.now, Tick())))
    crowd.lead(Tick())
    assert twin.hash() == crowd.ledger.hash()
