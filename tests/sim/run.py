"""Runs of seeds: what came of each, and of all of them together."""

import statistics
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.sim.options import FAULTS, draw
from tests.sim.world import Build, World

MEDIAN_EVENTS = 3_000
MEDIAN_ACKED = 30
SHARE_OF_FAULT = 0.10
SHARE_OF_CHANGE = 0.30
CHANGES = ("snapshot install", "membership change")
TURNS = ("run while the ledger was away", "drained")
"""What the fleet does of itself, and must have done as often as a fault strikes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of a seed. `broken` is the invariant that did not hold, by its name; `error` all
    that is known of it."""

    seed: int
    nodes: int
    events: int
    acked: int
    counts: Counter[str]
    seconds: float
    options: str
    broken: str = ""
    error: str = ""

    def kept(self) -> dict[str, Any]:
        """As a line of JSON says it; nobody needs the options of a seed that holds."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        return {**plain, "options": self.options if self.broken else ""}

    @classmethod
    def of(cls, kept: dict[str, Any]) -> "Result":
        """What `kept` made."""
        return cls(**{**kept, "counts": Counter(kept["counts"])})


def nodes_of(seed: int) -> int:
    """Of three seeds two have three nodes, one has five."""
    return 5 if seed % 3 == 2 else 3


def play(seed: int, build: Build | None = None, nodes: int | None = None) -> Result:
    """Play a seed. Whatever goes wrong is in the result."""
    options = draw(seed, nodes or nodes_of(seed))
    world = World(options, build or Build())
    began, broken, error = time.perf_counter(), "", ""
    try:
        world.live()
    except Exception as found:  # noqa: BLE001 - a run that stumbles is a finding, like one that fails
        broken, error = name_of(found), f"{type(found).__name__}: {found}"
    return Result(
        seed=seed,
        nodes=options.nodes,
        events=world.clockwork.events,
        acked=world.invariants.acks.count,
        counts=world.counts + world.links.seen,
        seconds=time.perf_counter() - began,
        options=str(options),
        broken=broken,
        error=error[:2000],
    )


def name_of(error: Exception) -> str:
    """The invariant that an error names; else what kind of error it is."""
    name = str(error).partition(":")[0] if isinstance(error, AssertionError) else ""
    return name or type(error).__name__


@dataclass
class Totals:
    """Of many seeds."""

    events: list[int] = field(default_factory=list)
    acked: list[int] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    seeds_with: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    failures: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """One more."""
        self.events.append(result.events)
        self.acked.append(result.acked)
        self.counts.update(result.counts)
        self.seeds_with.update(kind for kind, count in result.counts.items() if count)
        self.seconds += result.seconds
        if result.broken:
            self.failures.append(result)

    @property
    def seeds(self) -> int:
        """How many."""
        return len(self.events)

    def share(self, kind: str) -> float:
        """In which share of the seeds this happened."""
        return self.seeds_with[kind] / max(1, self.seeds)

    def too_easy(self) -> Iterator[str]:
        """What happened too rarely for the run to mean much."""
        if statistics.median(self.events) < MEDIAN_EVENTS:
            yield f"a median of {statistics.median(self.events)} events"
        if statistics.median(self.acked) < MEDIAN_ACKED:
            yield f"a median of {statistics.median(self.acked)} acknowledged commands"
        for kind in (*FAULTS, *TURNS, *CHANGES):
            if self.share(kind) < (SHARE_OF_CHANGE if kind in CHANGES else SHARE_OF_FAULT):
                yield f"{kind} in {self.share(kind):.0%} of the seeds"

    def lines(self) -> Iterator[str]:
        """What is told of a run."""
        rate = sum(self.events) / max(self.seconds, 1e-9)
        yield (
            f"{self.seeds} seeds, {sum(self.events)} events (median "
            f"{statistics.median(self.events):.0f}), {sum(self.acked)} acknowledged commands "
            f"(median {statistics.median(self.acked):.0f}), {rate:.0f} events/s in one process"
        )
        kinds = sorted({*FAULTS, *self.counts})
        told = [f"{kind} {self.counts[kind]} ({self.share(kind):.0%})" for kind in kinds]
        yield "how often, and in which share of the seeds: " + ", ".join(told)
        for failed in self.failures:
            yield f"seed {failed.seed}, {failed.nodes} nodes: {failed.error}"
            yield f"  options: {failed.options}"
            yield f"  again: make sim SEEDS=1 FROM={failed.seed}"
