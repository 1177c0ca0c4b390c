"""Counts of what became of tasks: plain numbers."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from contracts.events import Kind

BOUNDS = (0.001, 0.005, 0.02, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
"""Upper bounds of the buckets of a histogram, in seconds: from a no-op to the longest agent."""

OTHER = "other"
"""Stands for every tenant beyond those that have figures of their own."""


LOST, RETURNED = "lost", "returned"
"""Ends of runs that no event tells: the lease ended first; given back unfinished."""

_NAMES = MappingProxyType(
    {
        **{
            kind: kind.value
            for kind in (Kind.SUCCEEDED, Kind.RETRIED, Kind.SNOOZED, Kind.CANCELLED)
        },
        LOST: "lost",
        RETURNED: "returned",
    }
)


_FAILED = Kind.FAILED


class Histogram:
    """How often something took how long. `counts` has one bucket per bound, and one above all."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def add(self, seconds: float) -> None:
        """Count one; less than nothing, which clocks of two machines may tell, is nothing."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        if seconds > 0.0:
            self.total += seconds


@dataclass(slots=True, eq=False)
class Tally:
    """What became of the tasks of one role, lane and tenant in this process. `started`: handlers
    called; the others are ends of runs, also of those whose handler was never called. `returned`:
    given back unfinished; `lost`: their lease ended first. `failed` is by reason."""

    started: int = 0
    succeeded: int = 0
    retried: int = 0
    snoozed: int = 0
    cancelled: int = 0
    returned: int = 0
    lost: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    wait: Histogram = field(default_factory=Histogram)
    run: Histogram = field(default_factory=Histogram)

    def add(self, became: str, reason: str = "") -> None:
        """Count one end by its kind, a failure by its reason."""
        if became == _FAILED:
            self.failed[reason] += 1
        else:
            name = _NAMES[became]
            setattr(self, name, getattr(self, name) + 1)


class Tenants:
    """The names by which tenants are counted: the first `most` that come have their own."""

    def __init__(self, most: int = 50) -> None:
        self._most = most
        self._names: dict[str, str] = {}

    def name(self, tenant: str) -> str:
        """The tenant's own name, or `OTHER`. Bytes that are no task have no tenant."""
        if not tenant:
            return tenant
        known = self._names.get(tenant)
        if known is None:
            if len(self._names) >= self._most:
                return OTHER
            known = self._names[tenant] = tenant
        return known


Tallies = Mapping[tuple[str, str], Tally]
"""By lane and tenant."""
