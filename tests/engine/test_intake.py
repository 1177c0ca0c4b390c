"""How much to pull: pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.intake import HORIZON, MOST_AHEAD, Ask, MovingMean, ask

slots = st.integers(1, 100)
queued = st.integers(0, 600)
means = st.none() | st.floats(0.0, 10.0)


@given(slots, st.integers(0, 100), queued, means)
def test_free_places_are_asked_for_but_for_what_waits_here(
    size: int, free: int, waiting: int, mean: float | None
) -> None:
    free = min(free, size)
    found = ask(slots=size, free=free, queued=waiting, mean_run=mean)
    assert found.free == max(0, free - waiting)
    assert found.ahead >= 0


@given(slots, queued, means)
def test_no_more_is_read_ahead_than_starts_within_the_horizon(
    size: int, waiting: int, mean: float | None
) -> None:
    found = ask(slots=size, free=0, queued=waiting, mean_run=mean)
    assert found.ahead + waiting <= max(MOST_AHEAD, waiting)
    if mean is None or mean >= HORIZON:
        assert found.ahead == 0
    elif found.ahead:
        assert (found.ahead + waiting) * mean / size <= HORIZON + 1e-9


def test_short_runs_are_read_ahead_and_long_ones_are_not() -> None:
    assert ask(slots=8, free=0, queued=0, mean_run=0.001).ahead == MOST_AHEAD
    assert ask(slots=8, free=0, queued=0, mean_run=0.05).ahead == 16
    assert ask(slots=8, free=0, queued=0, mean_run=0.2).ahead == 0
    assert ask(slots=8, free=8, queued=0, mean_run=None).ahead == 0


def test_a_role_of_one_attempt_is_never_read_ahead() -> None:
    """14: what merely waits in a worker that dies would have lost its only attempt."""
    assert ask(slots=8, free=0, queued=0, mean_run=0.001, attempts=1) == Ask(free=0, ahead=0)
    assert ask(slots=8, free=3, queued=0, mean_run=0.001, attempts=1) == Ask(free=3, ahead=0)


def test_the_mean_moves_towards_what_comes() -> None:
    assert MovingMean().value is None
    mean = MovingMean()
    mean.add(10.0)
    first = mean.value
    for _ in range(200):
        mean.add(1.0)
    last = mean.value
    assert first == 10.0
    assert last == pytest.approx(1.0, abs=0.01)
