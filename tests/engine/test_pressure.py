"""Fewer places while memory or processor is short, and how they come back."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.gauges import Gauges
from workers.engine.pressure import (
    CALM,
    LASTS,
    LOOK,
    LOOK_NEAR,
    SHORT_MEMORY,
    SOONEST,
    STEP,
    Sample,
    State,
    Step,
    decide,
    lowered,
    raised,
    relieved,
    until_next,
)


def run(samples: list[Sample], state: State | None = None) -> tuple[State, list[Step]]:
    """The state after all of them, and what was to be done on the way."""
    now, steps = state or State(), list[Step]()
    for sample in samples:
        now, step = decide(sample, now)
        steps += [step] if step is not Step.NONE else []
    return now, steps


def looks(
    count: int, memory: float, *, at: float = 0.0, stall: float | None = None, late: float = 0.0
) -> list[Sample]:
    """One look a second."""
    return [Sample(at + n, memory, 0.0, stall, late) for n in range(count)]


def test_short_memory_lowers_the_places_at_once_and_again_while_it_lasts() -> None:
    state, steps = run(looks(1, 0.95))
    assert (state.cause, steps) == ("memory", [Step.LOWER])
    _, steps = run(looks(int(3 * STEP), 0.95))
    assert steps == [Step.LOWER] * 3


def test_there_are_half_as_many_places_as_run() -> None:
    assert lowered(8, 8) == 4
    assert lowered(16, 7) == 3  # with seven, memory is short already
    assert lowered(4, 8) == 2
    assert lowered(1, 0) == 1
    assert (raised(3, 16), raised(12, 16)) == (6, 16)


def test_waiting_for_memory_counts_as_short() -> None:
    state, _ = run([Sample(0.0, 0.1, memory_stall=30.0)])
    assert state.cause == "memory"


def test_between_short_and_ample_nothing_changes() -> None:
    state, _ = run(looks(1, 0.95))
    assert run(looks(60, 0.85, at=1.0), state)[1] == []


def test_they_come_back_step_by_step_once_there_is_ample_room() -> None:
    state, _ = run(looks(1, 0.95))
    state, steps = run(looks(int(CALM), 0.5, at=10.0), state)
    assert steps == []
    state, steps = run(looks(int(CALM), 0.5, at=10.0 + CALM), state)
    assert steps == [Step.RAISE]
    assert run(looks(60, 0.5, at=20.0), relieved(state))[1] == []


def test_a_loop_that_is_late_does_not_keep_memory_short() -> None:
    state, _ = run(looks(1, 0.95))
    assert run(looks(int(CALM) + 2, 0.5, at=10.0, late=0.4), state)[1] == [Step.RAISE]
    busy, _ = run(looks(int(LASTS) + 1, 0.1, late=2.0))
    assert run(looks(60, 0.1, at=10.0, late=0.4), busy)[1] == []
    assert run(looks(int(CALM) + 2, 0.1, at=10.0, late=0.1), busy)[1] == [Step.RAISE]


@pytest.mark.parametrize(
    ("stall", "late", "steps"),
    [
        (99.0, 0.0, 0),  # busy, and in time
        (10.0, 2.0, 0),  # a handler blocks the loop: nobody is short of anything
        (99.0, 2.0, 1),
        (None, 2.0, 1),  # a system that does not tell
    ],
)
def test_a_busy_machine_counts_only_when_the_loop_is_late(
    stall: float | None, late: float, steps: int
) -> None:
    state, done = run(looks(int(LASTS) + 1, 0.1, stall=stall, late=late))
    assert done == [Step.LOWER] * steps
    assert state.cause == ("cpu" if steps else "")


def test_one_long_pause_is_no_pressure() -> None:
    """A process that was stopped for a minute finds itself late once."""
    pause = Sample(63.0, 0.1, 0.0, 99.0, 60.0)
    assert run([*looks(3, 0.1), pause, *looks(3, 0.1, at=64.0)])[1] == []


@given(level=st.floats(0.0, 1.0), wavers=st.floats(0.0, 0.04), seed=st.integers(0, 999))
def test_a_steady_level_never_goes_down_and_up_again(
    level: float, wavers: float, seed: int
) -> None:
    rng = random.Random(seed)
    used = [min(1.0, max(0.0, level + rng.uniform(-wavers, wavers))) for _ in range(120)]
    _, steps = run([Sample(float(second), part) for second, part in enumerate(used)])
    assert Step.RAISE not in steps


def test_the_machine_tells() -> None:
    gauges = Gauges()
    assert 0.0 < gauges.memory() <= 1.0
    for what in ("memory", "cpu"):
        stall = gauges.stall(what)
        assert stall is None or 0.0 <= stall <= 100.0
    assert gauges.stall("nonsense") is None


def test_memory_that_fills_fast_is_looked_at_before_it_is_short() -> None:
    """A third of it each second, from a seventh on: a look a second would come too late."""
    before, seen = None, Sample(at=0.0, memory=0.15)
    while seen.memory < SHORT_MEMORY:
        wait = until_next(before, seen)
        assert SOONEST <= wait <= LOOK
        before, seen = seen, Sample(at=seen.at + wait, memory=seen.memory + wait * 0.33)
    assert seen.memory < SHORT_MEMORY + 0.04


@pytest.mark.parametrize(
    ("then", "now", "wait"),
    [(0.3, 0.3, LOOK), (0.1, 0.101, LOOK), (0.8, 0.7, LOOK_NEAR), (0.6, 0.601, LOOK_NEAR)],
)
def test_memory_that_does_not_fill_is_looked_at_by_how_near_it_is(
    then: float, now: float, wait: float
) -> None:
    assert until_next(Sample(at=0.0, memory=then), Sample(at=1.0, memory=now)) == wait
