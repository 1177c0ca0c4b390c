"""How many processes a role needs: fast up, slowly down, steady under a steady load."""

import random
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.fleet.replicas import Range
from workers.fleet.scaling import DOWN_AFTER, Past, Seen, decide, demand

LIMITS = Range(min=1, max=8)


class Fleet:
    """A role whose processes work off what arrives, a second at a time: a fluid model, to see
    what the policy does and not how fast anything is."""

    def __init__(self, limits: Range, *, mean_run: float = 1.0, concurrency: int = 8) -> None:
        self.limits = limits
        self.mean_run = mean_run
        self.concurrency = concurrency
        self.queue = 0.0
        self.past = Past(limits.min)
        self.now = 0.0
        self.wanted: list[int] = []

    def second(self, arriving: float) -> int:
        """Let one go by; how many are wanted then."""
        places = self.past.wanted * self.concurrency
        self.queue += arriving
        done = min(self.queue, places / self.mean_run)
        self.queue -= done
        running = places if self.queue >= 1 else min(places, round(done * self.mean_run))
        seen = Seen(self.now, int(self.queue), running, self.concurrency, self.mean_run)
        self.past, _ = decide(seen, self.past, self.limits)
        self.now += 1.0
        self.wanted.append(self.past.wanted)
        return self.past.wanted

    def run(self, seconds: int, rate: Callable[[int], float]) -> list[int]:
        """What was wanted in each of so many seconds."""
        return [self.second(rate(second)) for second in range(seconds)]


@pytest.mark.parametrize(
    ("waiting", "running", "mean_run", "places"),
    [
        (0, 0, None, 0.0),
        (0, 12, 1.0, 12.0),
        (100, 0, 1.0, 10.0),  # a hundred seconds of work in ten
        (100, 0, None, 10.0),  # nothing has ended yet: taken for a second each
        (1000, 8, 0.001, 8.1),
        (5, 0, 3600.0, 5.0),  # never more places than tasks
    ],
)
def test_places_that_are_needed(
    waiting: int, running: int, mean_run: float | None, places: float
) -> None:
    assert demand(Seen(0.0, waiting, running, 8, mean_run)) == pytest.approx(places)


def test_a_queue_that_grows_brings_as_many_as_the_arrivals_need() -> None:
    """Fifty a second of half a second each: twenty-five places, after two looks."""
    past = Past(1)
    for second, waiting in enumerate([0, 42, 84]):
        past, _ = decide(Seen(float(second), waiting, 4, 4, 0.5), past, LIMITS)
    assert past.wanted == 7


def test_a_wave_brings_many_and_they_go_when_it_is_over() -> None:
    fleet = Fleet(LIMITS)
    wanted = fleet.run(200, lambda second: 60.0 if 10 <= second < 100 else 1.0)
    assert wanted[:10] == [1] * 10
    assert max(wanted[:25]) == 8
    assert min(wanted[25:100]) >= 7
    assert wanted[-1] == 1
    assert all(after >= before for before, after in pairwise(wanted[:25]))


def test_down_only_after_the_whole_window() -> None:
    fleet = Fleet(LIMITS)
    fleet.run(20, lambda _: 60.0)
    peak = fleet.past.wanted
    assert peak == 8
    assert set(fleet.run(int(DOWN_AFTER) - 1, lambda _: 0.0)) == {peak}
    assert fleet.run(60, lambda _: 0.0)[-1] == 1


def test_from_none_a_waiting_task_brings_one_at_once() -> None:
    idle = Past(0)
    limits = Range(min=0, max=8)
    past, _ = decide(Seen(0.0, 1, 0, 8, None), idle, limits)
    assert past.wanted == 1


def test_down_to_none_when_nothing_was_to_do() -> None:
    fleet = Fleet(Range(min=0, max=4))
    fleet.run(5, lambda _: 10.0)
    assert fleet.run(60, lambda _: 0.0)[-1] == 0


def test_one_look_at_a_batch_that_is_gone_is_not_enough() -> None:
    past, _ = decide(Seen(0.0, 0, 0, 8, 1.0), Past(1), LIMITS)
    past, _ = decide(Seen(1.0, 500, 8, 8, 1.0), past, LIMITS)
    assert past.wanted == 1
    past, _ = decide(Seen(2.0, 0, 0, 8, 1.0), past, LIMITS)
    assert past.wanted == 1


def test_a_queue_depth_is_kept() -> None:
    limits = Range(min=1, max=8, queue_depth=100)
    past = Past(1, (), 1)
    for second in range(2):
        past, _ = decide(Seen(float(second), 350, 1, 8, 0.001), past, limits)
    assert past.wanted == 4


def test_limits_that_were_narrowed_hold_at_once() -> None:
    past, _ = decide(Seen(0.0, 0, 60, 8, 1.0), Past(8), Range(min=1, max=3))
    assert past.wanted == 3


@given(
    load=st.floats(0.0, 70.0),
    wavers=st.floats(0.0, 0.1),
    mean_run=st.floats(0.5, 20.0),
    seed=st.integers(0, 2**16),
)
def test_a_steady_load_never_flaps(load: float, wavers: float, mean_run: float, seed: int) -> None:
    """Whatever the load, wavering by a tenth: once it went down, it does not go up again."""
    rng = random.Random(seed)
    past = Past(LIMITS.min)
    wanted = []
    for second in range(300):
        busy = load * (1 + rng.uniform(-wavers, wavers))
        places = past.wanted * 8
        running, waiting = min(int(busy), places), max(0, int(busy) - places)
        seen = Seen(float(second), waiting, running, 8, max(10.0, mean_run))
        past, _ = decide(seen, past, LIMITS)
        wanted.append(past.wanted)
    went_down = False
    for before, after in pairwise(wanted):
        went_down = went_down or after < before
        assert not (went_down and after > before), wanted


def test_without_room_the_same_load_would_flap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the policy has the room for: a load at the edge of a number."""
    monkeypatch.setattr("workers.fleet.scaling.ROOM", 1.0)
    past, wanted = Past(1), []
    for second in range(40):
        running = 15 if second % 4 < 2 else 17
        past, _ = decide(Seen(float(second), 0, running, 8, 10.0), past, LIMITS, down_after=0.0)
        wanted.append(past.wanted)
    assert any(after < before for before, after in pairwise(wanted))
    assert any(after > before for before, after in pairwise(wanted[10:]))
