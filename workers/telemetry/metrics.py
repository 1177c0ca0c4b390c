"""The figures of a process as Prometheus reads them: all counted where they happened.

`prometheus_client` is imported when somebody asks for the first time.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from bus.backend import Lag, Lane, LaneName
from workers.telemetry.tally import BOUNDS, Histogram, Tallies, Tally

if TYPE_CHECKING:
    from prometheus_client.core import Metric

_TASK = ("role", "lane", "tenant")

_COUNTERS: Sequence[tuple[str, str, Callable[[Tally], int]]] = (
    ("muster_tasks_started", "Handlers called.", lambda t: t.started),
    ("muster_tasks_succeeded", "Tasks that came to a result.", lambda t: t.succeeded),
    ("muster_tasks_retried", "Runs that failed and whose tasks come back.", lambda t: t.retried),
    ("muster_tasks_snoozed", "Runs put off without using an attempt.", lambda t: t.snoozed),
    ("muster_tasks_cancelled", "Tasks that somebody stopped.", lambda t: t.cancelled),
    ("muster_tasks_returned", "Runs given back unfinished.", lambda t: t.returned),
    ("muster_leases_lost", "Deliveries whose lease ended first.", lambda t: t.lost),
)
_LAG: Sequence[tuple[str, Callable[[Lag], int | None]]] = (
    ("waiting", lambda lag: lag.waiting),
    ("delayed", lambda lag: lag.delayed),
    ("leased", lambda lag: lag.leased),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleFigures:
    """What the worker of one role has counted. `settling` is over all its lanes and tenants."""

    role: str
    tallies: Tallies
    settling: Histogram
    pull_errors: int
    running: int
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a process tells. `lag`: by group, of those that could be asked; `lag_errors`: how often
    one could not. `untold`: events dropped, by why. `spans`: by what became of them, None where
    none are made."""

    worker: Mapping[str, str]
    roles: Sequence[RoleFigures] = ()
    lag: Mapping[str, Mapping[Lane, Lag]]
    lag_errors: int = 0
    untold: Mapping[str, int] = field(default_factory=dict)
    spans: Mapping[str, int] | None = None


def text(figures: Figures) -> bytes:
    """The page of `/metrics`, text format 0.0.4. With them go those of the process, and whatever
    else the process has registered with `prometheus_client`."""
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest

    ours = CollectorRegistry(auto_describe=False)
    ours.register(_Collector(figures))
    return generate_latest(ours) + generate_latest(REGISTRY)


class _Collector:
    """Gives the families of `figures`."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def describe(self) -> Sequence["Metric"]:
        """Names nothing: there is nothing else in this registry."""
        return ()

    def collect(self) -> Iterator["Metric"]:
        """All of them."""
        figures = self._figures
        yield from _of_tasks(figures.roles)
        yield from _of_roles(figures.roles)
        yield from _of_process(figures)
        yield _of_lag(figures.lag)


def _of_tasks(roles: Sequence[RoleFigures]) -> Iterator["Metric"]:
    from prometheus_client.core import CounterMetricFamily

    tallies = [
        ((r.role, lane, tenant), tally)
        for r in roles
        for (lane, tenant), tally in r.tallies.items()
    ]
    for name, said, count in _COUNTERS:
        family = CounterMetricFamily(name, said, labels=_TASK)
        for labels, tally in tallies:
            family.add_metric(labels, count(tally))
        yield family
    failed = CounterMetricFamily(
        "muster_tasks_failed", "Tasks that became dead letters.", labels=(*_TASK, "reason")
    )
    for labels, tally in tallies:
        for reason, count_ in tally.failed.copy().items():
            failed.add_metric((*labels, reason), count_)
    yield failed
    waits = [(labels, tally.wait) for labels, tally in tallies]
    runs = [(labels, tally.run) for labels, tally in tallies]
    said = "Seconds from when a task was published, or due, until it started."
    yield _histogram("muster_task_wait_seconds", said, _TASK, waits)
    yield _histogram("muster_task_run_seconds", "Seconds that runs took.", _TASK, runs)


def _of_roles(roles: Sequence[RoleFigures]) -> Iterator["Metric"]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    running = GaugeMetricFamily(
        "muster_tasks_running", "Handlers that run, waiting for others included.", labels=("role",)
    )
    slots = GaugeMetricFamily("muster_slots", "Tasks that may run at once.", labels=("role",))
    errors = CounterMetricFamily(
        "muster_pull_errors", "Pulls that the broker refused or did not answer.", labels=("role",)
    )
    for figures in roles:
        running.add_metric((figures.role,), figures.running)
        slots.add_metric((figures.role,), figures.slots)
        errors.add_metric((figures.role,), figures.pull_errors)
    settling = [((figures.role,), figures.settling) for figures in roles]
    said = "Seconds from a run's end until it was safe."
    yield from (running, slots, errors)
    yield _histogram("muster_settle_seconds", said, ("role",), settling)
    yield _dead_letters(roles)


def _dead_letters(roles: Sequence[RoleFigures]) -> "Metric":
    from prometheus_client.core import CounterMetricFamily

    family = CounterMetricFamily(
        "muster_dead_letters", "Dead letters that were put away.", labels=("role", "reason")
    )
    for figures in roles:
        counts: dict[str, int] = {}
        for tally in figures.tallies.values():
            for reason, count in tally.failed.copy().items():
                counts[reason] = counts.get(reason, 0) + count
        for reason, count in counts.items():
            family.add_metric((figures.role, reason), count)
    return family


def _of_process(figures: Figures) -> Iterator["Metric"]:
    from prometheus_client.core import CounterMetricFamily, InfoMetricFamily

    yield InfoMetricFamily("muster_worker", "This process.", value=dict(figures.worker))
    untold = CounterMetricFamily(
        "muster_events_untold", "Events that were dropped, by why.", labels=("because",)
    )
    for why, count in figures.untold.items():
        untold.add_metric((why,), count)
    yield untold
    yield CounterMetricFamily(
        "muster_lag_errors",
        "Times the broker could not be asked for lag.",
        value=figures.lag_errors,
    )
    if figures.spans is not None:
        spans = CounterMetricFamily(
            "muster_spans", "Spans, by what became of them.", labels=("became",)
        )
        for became, count in figures.spans.items():
            spans.add_metric((became,), count)
        yield spans


def _of_lag(lag: Mapping[str, Mapping[Lane, Lag]]) -> "Metric":
    """What the broker cannot say is left out."""
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(
        "muster_lag_tasks",
        "Tasks of a group at the broker, of the whole fleet: the same from every process.",
        labels=("group", "lane", "state"),
    )
    for group, lanes in lag.items():
        for name in LaneName:
            for state, count in _LAG:
                counts = [count(each) for lane, each in lanes.items() if lane.name == name]
                known = [number for number in counts if number is not None]
                if known and len(known) == len(counts):
                    family.add_metric((group, name, state), sum(known))
    return family


def _histogram(
    name: str,
    said: str,
    labels: Sequence[str],
    found: Sequence[tuple[tuple[str, ...], Histogram]],
) -> "Metric":
    from prometheus_client.core import HistogramMetricFamily

    family = HistogramMetricFamily(name, said, labels=labels)
    bounds = [*map(str, BOUNDS), "+Inf"]
    for values, histogram in found:
        counts = list(zip(bounds, accumulate(histogram.counts.copy()), strict=True))
        if counts[-1][1]:
            family.add_metric(values, counts, histogram.total)
    return family
