"""Counting that every task pays for, and that no tenant can make grow without bounds."""

import asyncio
import threading
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed

from bus.backend import HIGH, Lag, Lane, LaneName
from contracts.events import Kind
from workers.engine.counts import FOLD, Counts
from workers.telemetry.metrics import Figures, RoleFigures, text
from workers.telemetry.tally import BOUNDS, OTHER, Histogram, Tenants


def test_a_histogram_has_each_value_in_the_first_bucket_that_holds_it() -> None:
    histogram = Histogram()
    for seconds in (-1.0, 0.0, BOUNDS[0], BOUNDS[0] + 1e-9, 1e9):
        histogram.add(seconds)
    assert histogram.counts == [3, 1, *[0] * (len(BOUNDS) - 2), 1]
    assert histogram.total == pytest.approx(1e9 + 0.002)


def test_the_first_tenants_have_figures_of_their_own_and_the_rest_are_one() -> None:
    counts = Counts(Tenants(2))
    for number in range(100):
        for _ in range(2):
            counts.begun(("high", f"t{number}", None))
    counts.begun(("high", "", None))
    found = {tenant: tally.started for (_, tenant), tally in counts.tallies.items()}
    assert found == {"t0": 2, "t1": 2, OTHER: 196, "": 1}


def test_tenants_are_named_alike_in_every_role_of_a_process() -> None:
    tenants = Tenants(1)
    first, other = Counts(tenants), Counts(tenants)
    first.begun(("high", "a", None))
    assert len(first.tallies) == 1
    other.begun(("high", "b", None))
    other.begun(("high", "a", None))
    assert {tenant for _, tenant in other.tallies} == {OTHER, "a"}


def test_no_tenant_has_a_series_of_its_own_where_none_is_wanted() -> None:
    counts = Counts(Tenants(0))
    counts.begun(("high", "a", None))
    assert {tenant for _, tenant in counts.tallies} == {OTHER}


def test_names_of_any_kind_come_through_the_text() -> None:
    r"""A tenant is whoever publishes: quotes, line ends and \ are no way out of a label."""
    odd = 'a"b\\c\nd{e="f"} é'
    counts = Counts(Tenants(5))
    for _ in range(3):
        counts.begun(("high", odd, 0.1))
    lag = {Lane(LaneName.LOW, 1): Lag(2, None, 1), Lane(LaneName.LOW, 2): Lag(3, 1, 1)}
    figures = RoleFigures(
        role="role",
        tallies=counts.tallies,
        settling=counts.settling,
        pull_errors=0,
        running=0,
        slots=1,
    )
    page = text(Figures(worker={"fleet": "f"}, roles=[figures], lag={"role": lag})).decode()
    samples = [sample for family in parsed(page) for sample in family.samples]
    started = [s for s in samples if s.name == "muster_tasks_started_total"]
    assert [(s.labels["tenant"], s.value) for s in started] == [(odd, 3)]
    told = {s.labels["state"]: s.value for s in samples if s.name == "muster_lag_tasks"}
    assert told == {"waiting": 5, "leased": 2}, "a sum of what is not known is not known"


def test_every_name_says_what_it_counts_and_in_which_unit() -> None:
    """As Prometheus asks: a prefix, base units, a line of help. And each is documented."""
    counts = Counts(Tenants(5))
    counts.begun(("high", "a", 1.0))
    counts.ended(("high", "a", "failed", "crash", 1.0, 1.0))
    figures = RoleFigures(
        role="role",
        tallies=counts.tallies,
        settling=counts.settling,
        pull_errors=1,
        running=1,
        slots=1,
    )
    told = Figures(
        worker={},
        roles=[figures],
        lag={"role": {HIGH: Lag(1, 1, 1)}},
        untold={"away": 1},
        spans={"sent": 1},
    )
    ours = [family for family in parsed(text(told).decode()) if family.name.startswith("muster_")]
    documented = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text(encoding="utf-8")
    for family in ours:
        kind = {"counter": "_total"}.get(family.type, "")
        assert f"`{family.name}{kind}`" in documented, family.name
        assert family.documentation.endswith("."), family.name
        assert family.samples, family.name
        if family.type == "histogram":
            assert family.name.endswith("_seconds")


async def test_notes_are_folded_once_whoever_looks_and() -> None:
    """By many threads at once while they are taken."""
    counts = Counts(Tenants(5))
    done = threading.Event()

    def look() -> list[int]:
        seen = []
        while not done.is_set():
            seen.append(counts.succeeded)
        return seen

    looking = [asyncio.create_task(asyncio.to_thread(look)) for _ in range(3)]
    await asyncio.sleep(0)
    for _ in range(20 * FOLD):
        counts.begun(("high", "a", 0.1))
        counts.ended(("high", "a", Kind.SUCCEEDED, "", 0.1, 0.1))
    done.set()
    for seen in await asyncio.gather(*looking):
        assert seen == sorted(seen)
    (tally,) = counts.tallies.values()
    assert tally.started == tally.succeeded == sum(tally.run.counts) == 20 * FOLD
    assert sum(counts.settling.counts) == 20 * FOLD


def test_notes_nobody_asks_for_do_not_pile_up() -> None:
    counts = Counts(Tenants(5))
    for _ in range(3 * FOLD):
        counts.begun(("high", "a", None))
        counts.ended(("high", "a", "lost", "", None, None))
    assert len(counts._begun) + len(counts._ended) < 2 * FOLD
