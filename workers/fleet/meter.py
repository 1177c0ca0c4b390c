"""How much a fleet does per second, made of the counts that its workers show. Pure."""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from workers.fleet.presence import Alive
from workers.telemetry.tally import BOUNDS

WINDOW = 10.0
"""Seconds over which a rate is the mean: workers show their counts once a second at most."""


@dataclass(frozen=True, slots=True)
class Rates:
    """Of one role, tasks per second. `started`: runs begun; `again`: they come back."""

    started: float
    succeeded: float
    failed: float
    again: float
    cancelled: float


@dataclass(frozen=True, slots=True)
class _Counts:
    """Sums since some moment; of a role they never fall."""

    succeeded: int = 0
    failed: int = 0
    again: int = 0
    cancelled: int = 0
    runs: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    waits: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)

    @classmethod
    def of(cls, one: Alive) -> "_Counts":
        """What a worker shows; buckets of another version say nothing."""
        fit = [
            told if len(told) == len(BOUNDS) + 1 else (0,) * (len(BOUNDS) + 1)
            for told in (one.runs, one.waits)
        ]
        return cls(one.succeeded, one.failed, one.again, one.cancelled, *fit)

    @property
    def ended(self) -> int:
        return self.succeeded + self.failed + self.again + self.cancelled

    def plus(self, other: "_Counts") -> "_Counts":
        return self._with(other, 1)

    def minus(self, other: "_Counts") -> "_Counts":
        return self._with(other, -1)

    def _with(self, other: "_Counts", sign: int) -> "_Counts":
        return _Counts(
            self.succeeded + sign * other.succeeded,
            self.failed + sign * other.failed,
            self.again + sign * other.again,
            self.cancelled + sign * other.cancelled,
            tuple(a + sign * b for a, b in zip(self.runs, other.runs, strict=True)),
            tuple(a + sign * b for a, b in zip(self.waits, other.waits, strict=True)),
        )


@dataclass(frozen=True, slots=True)
class _Look:
    """What was known at one moment: per role the sums so far, and how many run."""

    at: float
    sums: Mapping[str, _Counts]
    running: Mapping[str, int]
    cpu: Mapping[str, float]


class Meter:
    """Follows the counts of workers that come, go and count from zero again. `note` what is there
    each time it is looked at; `now` is any clock that does not go back."""

    def __init__(self, *, window: float = WINDOW) -> None:
        self._window = window
        self._last: dict[tuple[str, str], _Counts] = {}
        self._looks: deque[_Look] = deque()

    def note(self, workers: Sequence[Alive], now: float, *, wall: float) -> None:
        """What they show now. `wall`: the same moment as their `since` tells it: whoever is older
        than the first look has counted before it."""
        sums = dict(self._looks[-1].sums) if self._looks else {}
        known, self._last = self._last, {}
        for one in workers:
            key, counts = (one.role, one.worker), _Counts.of(one)
            before = known.get(key)
            if before is None and (not self._looks or one.since < wall - self._age(now)):
                before = counts
            sums[one.role] = sums.get(one.role, _Counts()).plus(counts.minus(before or _Counts()))
            self._last[key] = counts
        running = {role: sum(o.running for o in workers if o.role == role) for role in sums}
        cpu = {one.worker: one.cpu for one in workers}
        self._looks.append(_Look(now, sums, running, cpu))
        while len(self._looks) > 2 and self._looks[1].at <= now - self._window:
            self._looks.popleft()

    def _age(self, now: float) -> float:
        """Seconds since the look before this one."""
        return now - self._looks[-1].at

    def rates(self, role: str) -> Rates | None:
        """Over the last seconds; None before the second look at this role."""
        between = self._between(role)
        if between is None:
            return None
        change, seconds, began = between
        return Rates(
            max(0, change.ended + began) / seconds,
            change.succeeded / seconds,
            change.failed / seconds,
            change.again / seconds,
            change.cancelled / seconds,
        )

    def runs(self, role: str) -> tuple[int, ...]:
        """How long the runs of the last seconds took: counts by `BOUNDS`."""
        between = self._between(role)
        return between[0].runs if between else ()

    def waits(self, role: str) -> tuple[int, ...]:
        """How long tasks had waited before them."""
        between = self._between(role)
        return between[0].waits if between else ()

    def cpu(self, worker: str) -> float | None:
        """Processors a worker has used on the mean; None before its second look."""
        found = [(look.at, look.cpu[worker]) for look in self._looks if worker in look.cpu]
        if len(found) < 2 or found[-1][0] <= found[0][0]:
            return None
        (first, before), (last, after) = found[0], found[-1]
        return max(0.0, after - before) / (last - first)

    def _between(self, role: str) -> tuple[_Counts, float, int] | None:
        looks = [look for look in self._looks if role in look.sums]
        if len(looks) < 2 or looks[-1].at <= looks[0].at:
            return None
        first, last = looks[0], looks[-1]
        began = last.running.get(role, 0) - first.running.get(role, 0)
        return last.sums[role].minus(first.sums[role]), last.at - first.at, began


def summed(counts: Iterable[Sequence[int]]) -> tuple[int, ...]:
    """Bucket by bucket; empty where there is nothing to sum."""
    return tuple(map(sum, zip(*counts, strict=True)))


def quantile(counts: Iterable[int], share: float) -> float | None:
    """The bound below which `share` of the counted lie, in seconds: infinite above the last
    bound, None where nothing was counted."""
    found = list(counts)
    whole = sum(found)
    if not whole:
        return None
    seen = 0
    for number, count in enumerate(found):
        seen += count
        if seen >= share * whole:
            return BOUNDS[number] if number < len(BOUNDS) else float("inf")
    return float("inf")
