"""Exponential backoff with full jitter."""

import random
from statistics import mean

from hypothesis import given
from hypothesis import strategies as st

from bus.backoff import Backoff

backoffs = st.builds(Backoff, base=st.floats(0.001, 60.0), cap=st.floats(1.0, 3600.0))


@given(backoffs, st.integers(0, 10_000), st.integers())
def test_a_wait_lies_between_nothing_and_the_ceiling(
    backoff: Backoff, tries: int, seed: int
) -> None:
    """However many tries there were."""
    ceiling = backoff.ceiling(tries)
    assert 0 < ceiling <= backoff.cap
    assert 0.0 <= backoff.delay(tries, random.Random(seed)) <= ceiling


@given(backoffs, st.integers(0, 40))
def test_the_ceiling_doubles_up_to_the_cap(backoff: Backoff, tries: int) -> None:
    assert backoff.ceiling(tries + 1) == min(backoff.cap, 2 * backoff.base * 2.0**tries)


def test_waits_are_spread_over_the_whole_range() -> None:
    """Full jitter: uniform from nothing to the ceiling."""
    rng = random.Random(1)
    waits = [Backoff(base=1.0).delay(3, rng) for _ in range(2000)]
    assert min(waits) < 0.1
    assert max(waits) > 7.9
    assert abs(mean(waits) - 4.0) < 0.2
