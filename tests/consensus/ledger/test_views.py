"""What can be read of auctions, and what bidders are told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consensus.ledger import answers
from consensus.ledger.answers import Finished, Refused, error_of, pack_answer, unpack_answer
from consensus.ledger.commands import Cancel, Leave
from contracts.auctions import ERRORS, BidShown, Fenced, Opening, Phase, Refusal, Won
from tests.consensus.ledger.crowds import Crowd


def test_those_who_were_asked_are_told_and_the_winner_too() -> None:
    crowd = Crowd(3)
    crowd.open("k")
    told = crowd.ledger.take_told()
    assert sorted(one.session for one in told) == sorted(crowd.sessions)
    assert told[0] == Opening(told[0].session, "k", "review", 1, 1_100)
    crowd.bids("k")
    assert crowd.ledger.take_told() == []
    award = crowd.lead(crowd.ledger.agenda.due(crowd.now)[0])
    assert isinstance(award, answers.Awarded)
    assert crowd.ledger.take_told() == [Won(award.session, "k", "review", crowd.index, 2_000)]
    assert crowd.ledger.take_told() == []


def test_who_connects_again_hears_of_what_is_open_and_of_its_awards() -> None:
    crowd = Crowd(1, slots=5)
    award = crowd.award("won")
    crowd.open("answered")
    crowd.bids("answered")
    crowd.open("open")
    session = crowd.sessions[0]
    assert crowd.ledger.views.waiting_for(session) == [
        Opening(session, "open", "review", 1, 1_100),
        Won(session, "won", "review", award.token, 2_000),
    ]
    crowd.say(0, Leave("review"))
    assert crowd.ledger.views.live_awards(session, "review") == 1
    assert crowd.ledger.views.waiting_for(99) == []


def test_the_bids_of_the_last_round_are_readable_after_the_end() -> None:
    crowd = Crowd(2)
    crowd.award("k", b"parts")
    crowd.say(0, Cancel("k"))
    shown = crowd.ledger.views.auction("k")
    assert shown
    assert shown.phase is Phase.CANCELLED
    assert shown.last_round
    assert shown.last_round.asked == 2
    assert sorted(bid.worker for bid in shown.last_round.bids) == ["w0", "w1"]
    assert shown.last_round.bids[0] == BidShown(
        shown.last_round.bids[0].worker, False, 1, 0, b"parts"
    )


def test_auctions_are_listed_in_pages() -> None:
    crowd = Crowd(1)
    for key in ("b", "c", "a"):
        crowd.open(key)
    views = crowd.ledger.views
    assert [auction.key for auction in views.auctions(limit=2)] == ["a", "b"]
    assert [auction.key for auction in views.auctions(after="b")] == ["c"]


def test_a_session_is_found_by_its_nonce() -> None:
    crowd = Crowd(2)
    assert crowd.ledger.views.session_of((1).to_bytes(16, "big")) == crowd.sessions[1]
    assert crowd.ledger.views.session_of(bytes(15)) is None


@pytest.mark.parametrize("refusal", list(Refusal))
def test_every_refusal_has_its_error(refusal: Refusal) -> None:
    error = error_of(Refused(refusal, Phase.OPEN, 2), "renew k")
    assert type(error) is ERRORS[refusal]
    assert error.refusal is refusal
    assert "renew k" in error.message
    assert "round 2" in error.details


def test_a_fenced_worker_must_not_try_again() -> None:
    assert not Fenced.retryable


@given(st.binary(max_size=60))
def test_bytes_that_are_no_answer_are_refused(data: bytes) -> None:
    try:
        found = unpack_answer(data)
    except ValueError:
        return
    assert pack_answer(found) == data


def test_answers_are_read_as_they_were_written() -> None:
    for answer in (
        Finished(Phase.COMPLETED, 7),
        Refused(Refusal.FENCED, 2, 1),
        answers.Alive(("a", "b")),
        answers.Awarded(7, 1, "w", 9),
        answers.Left(),
    ):
        assert unpack_answer(pack_answer(answer)) == answer
