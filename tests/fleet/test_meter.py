"""Rates made of the counts that workers show: they come, go, and count from zero again."""

from dataclasses import replace

import pytest

from workers.fleet.meter import Meter, Rates, quantile, summed
from workers.fleet.presence import Alive
from workers.telemetry.tally import BOUNDS

ONE = Alive(role="coder", worker="w1", pid=1, host="h", since=0.0, at=0.0, concurrency=8)


def noted(*looks: tuple[float, list[Alive]], window: float = 10.0) -> Meter:
    """A meter that looked at these moments."""
    meter = Meter(window=window)
    for now, workers in looks:
        meter.note(workers, now, wall=1000.0 + now)
    return meter


def test_a_rate_is_the_mean_between_the_looks() -> None:
    later = replace(ONE, succeeded=20, failed=4, again=2, cancelled=1, running=3)
    rates = noted((0.0, [replace(ONE, running=1)]), (10.0, [later])).rates("coder")
    assert rates == Rates(started=2.9, succeeded=2.0, failed=0.4, again=0.2, cancelled=0.1)


def test_what_was_counted_before_the_first_look_is_no_rate() -> None:
    old = replace(ONE, succeeded=1_000_000)
    meter = noted((0.0, [old]))
    assert meter.rates("coder") is None
    meter.note([old], 2.0, wall=1002.0)
    assert meter.rates("coder") == Rates(0.0, 0.0, 0.0, 0.0, 0.0)


def test_a_worker_that_is_started_meanwhile_counts_from_zero() -> None:
    """One that was there before and is only seen now does not: its past is no rate."""
    new = replace(ONE, worker="w2", since=1001.0, succeeded=10)
    assert _succeeded(noted((0.0, [ONE]), (2.0, [ONE, new]))) == 5.0
    old = replace(new, since=10.0)
    assert _succeeded(noted((0.0, [ONE]), (2.0, [ONE, old]))) == 0.0


def test_what_a_worker_did_before_it_went_stays_counted() -> None:
    done = replace(ONE, succeeded=10)
    assert _succeeded(noted((0.0, [ONE]), (5.0, [done]), (10.0, []))) == 1.0


def test_only_the_last_seconds_count() -> None:
    busy = replace(ONE, succeeded=100)
    looks = [(0.0, [ONE]), *((float(n), [busy]) for n in range(1, 30))]
    assert _succeeded(noted(*looks)) == 0.0
    assert _succeeded(noted(*looks[:6])) == 20.0


def test_roles_are_told_apart() -> None:
    other = replace(ONE, role="writer", worker="w9")
    meter = noted((0.0, [ONE, other]), (2.0, [replace(ONE, succeeded=4), other]))
    assert _succeeded(meter) == 2.0
    writer = meter.rates("writer")
    assert writer is not None
    assert writer.succeeded == 0.0
    assert meter.rates("nobody") is None


def test_processor_time_is_a_share_of_processors() -> None:
    meter = noted((0.0, [replace(ONE, cpu=1.0)]))
    assert meter.cpu("w1") is None
    meter.note([replace(ONE, cpu=4.0)], 2.0, wall=1002.0)
    assert meter.cpu("w1") == 1.5
    assert meter.cpu("w2") is None


def test_times_of_the_last_seconds_are_told_by_buckets() -> None:
    before, after = [0] * (len(BOUNDS) + 1), [0] * (len(BOUNDS) + 1)
    before[0], after[0], after[3] = 50, 53, 1
    looks = [(0.0, [replace(ONE, runs=tuple(before))]), (2.0, [replace(ONE, runs=tuple(after))])]
    meter = noted(*looks)
    assert (quantile(meter.runs("coder"), 0.5), quantile(meter.runs("coder"), 0.99)) == (
        BOUNDS[0],
        BOUNDS[3],
    )
    assert quantile(meter.waits("coder"), 0.5) is None


def test_buckets_of_another_version_say_nothing() -> None:
    meter = noted((0.0, [ONE]), (2.0, [replace(ONE, runs=(7, 7), succeeded=2)]))
    assert quantile(meter.runs("coder"), 0.5) is None
    assert _succeeded(meter) == 1.0


def test_buckets_of_several_are_summed() -> None:
    assert summed([[1, 2], [3, 4]]) == (4, 6)
    assert summed([]) == ()


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_above_the_last_bound_nothing_is_known(share: float) -> None:
    counts = [0] * len(BOUNDS) + [3]
    assert quantile(counts, share) == float("inf")


def _succeeded(meter: Meter) -> float:
    rates = meter.rates("coder")
    assert rates is not None
    return rates.succeeded
