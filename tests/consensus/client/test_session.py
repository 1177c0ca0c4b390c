"""The numbers of a session: each command keeps its own until nobody waits for its answer."""

import pytest

from consensus.client.session import Session
from consensus.ledger.sessions import WINDOW


def test_numbers_are_acknowledged_only_up_to_the_first_that_is_waited_for() -> None:
    session = Session(1, b"")
    first, second, third = session.take(), session.take(), session.take()
    session.release(second)
    assert session.acked_below == first
    session.release(first)
    assert session.acked_below == third
    session.release(third)
    assert session.acked_below == third + 1


def test_the_window_is_full_until_the_oldest_is_answered() -> None:
    session = Session(1, b"")
    taken = [session.take() for _ in range(WINDOW)]
    assert session.full
    session.release(taken[-1])
    assert session.full
    with pytest.raises(ValueError, match="full"):
        session.take()
    session.release(taken[0])
    assert session.take() == taken[-1] + 1
    assert session.full
