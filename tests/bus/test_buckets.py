"""The generic cell rate algorithm: tables, and the bound in every window."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.buckets import Bucket, reserve

EPSILON = 1e-6


def slots_of(
    bucket: Bucket, asks: Sequence[tuple[float, int]], state: float | None = None
) -> list[float]:
    """What these asks, each at a time and for so many, are given one after another."""
    found: list[float] = []
    for now, count in asks:
        slots, state = reserve(bucket, state, now, count)
        found += slots
    return found


def most_in_a_window(times: Sequence[float], seconds: float) -> int:
    """The most of `times` that lie within any window of `seconds`."""
    ordered = sorted(times)
    return max(sum(t <= u < t + seconds for u in ordered) for t in ordered)


@pytest.mark.parametrize(
    ("burst", "asks", "slots"),
    [
        (1, [(0, 1)], [0]),
        (1, [(0, 3)], [0, 2, 4]),
        (1, [(0, 1), (1, 1), (9, 1)], [0, 2, 9]),
        (3, [(0, 5)], [0, 0, 0, 2, 4]),
        (3, [(0, 5), (2, 1), (20, 4)], [0, 0, 0, 2, 4, 6, 20, 20, 20, 22]),
        (2, [(0, 2), (1, 1), (4, 2)], [0, 0, 2, 4, 6]),
        (2, [(10, 1), (3, 1)], [10, 10]),  # a clock that is behind
    ],
)
def test_slots_follow_the_rate_and_the_burst(
    burst: int, asks: Sequence[tuple[float, int]], slots: Sequence[float]
) -> None:
    """One in two seconds."""
    assert slots_of(Bucket(2.0, burst), asks) == slots


asked = st.lists(
    st.tuples(st.floats(0.0, 3.0, allow_nan=False), st.integers(1, 5)), min_size=1, max_size=30
)


def times_of(steps: Sequence[tuple[float, int]]) -> list[tuple[float, int]]:
    """Steps of time as moments that never go back."""
    now, found = 0.0, []
    for step, count in steps:
        now += step
        found.append((now, count))
    return found


@given(asked, st.floats(0.01, 2.0), st.integers(1, 10), st.floats(0.01, 20.0))
def test_no_window_has_more_than_burst_and_rate(
    steps: Sequence[tuple[float, int]], interval: float, burst: int, window: float
) -> None:
    slots = slots_of(Bucket(interval, burst), times_of(steps))
    assert most_in_a_window(slots, window - EPSILON) <= burst + window / interval + EPSILON


@given(asked, st.floats(0.01, 2.0), st.integers(1, 10))
def test_no_slot_lies_before_it_was_asked_for_and_none_is_given_away(
    steps: Sequence[tuple[float, int]], interval: float, burst: int
) -> None:
    """While tasks wait, slots follow each other at the rate: none is left out."""
    asks = times_of(steps)
    slots = slots_of(Bucket(interval, burst), asks)
    moments = [now for now, count in asks for _ in range(count)]
    assert all(slot >= now for slot, now in zip(slots, moments, strict=True))
    waiting = [(a, b) for a, b, now in zip(slots, slots[1:], moments[1:], strict=False) if b > now]
    assert all(b - a <= interval + EPSILON for a, b in waiting)


@given(asked, st.floats(0.01, 2.0), st.integers(1, 10))
def test_asking_together_or_one_by_one_is_the_same(
    steps: Sequence[tuple[float, int]], interval: float, burst: int
) -> None:
    asks = times_of(steps)
    one_by_one = [(now, 1) for now, count in asks for _ in range(count)]
    bucket = Bucket(interval, burst)
    assert slots_of(bucket, asks) == slots_of(bucket, one_by_one)
