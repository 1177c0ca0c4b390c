"""Exponential backoff: how waits grow, and how they are spread."""

import math
import random
from statistics import mean

import pytest
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


@given(st.floats(1.0, 10.0), st.floats(0.0, 1.0), st.integers(0, 10_000), st.integers())
def test_waits_grow_by_the_factor_and_are_spread_as_told(
    factor: float, jitter: float, tries: int, seed: int
) -> None:
    backoff = Backoff(base=2.0, cap=100.0, factor=factor, jitter=jitter)
    longest = min(100.0, 2.0 * math.exp(min(700.0, tries * math.log(factor))))
    assert backoff.ceiling(tries) == pytest.approx(longest)
    wait = backoff.delay(tries, random.Random(seed))
    assert (1.0 - jitter) * longest - 1e-6 <= wait <= longest + 1e-6


def test_without_jitter_a_wait_is_what_it_says() -> None:
    backoff = Backoff(base=1.0, cap=50.0, factor=3.0, jitter=0.0)
    rng = random.Random(1)
    assert [backoff.delay(tries, rng) for tries in range(5)] == pytest.approx([1, 3, 9, 27, 50])
