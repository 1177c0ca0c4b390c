"""Fewer tasks at once while the machine is short of memory or processor: the policy, pure.

A worker that starts what it has no memory for is killed, and everything it runs with it; one that
starts what it has no processor for renews its leases late. What runs is left alone; there are half
as many places as run, then half of those, and they come back by doubling.
"""

from dataclasses import dataclass, replace
from enum import Enum

SHORT_MEMORY = 0.90
AMPLE_MEMORY = 0.80
"""Parts of the memory that may be used, by this process's control group or the machine: from the
first on it is short, up to the second it is ample. What lies between changes nothing."""

SHORT_STALL = 20.0
AMPLE_STALL = 5.0
"""Percent of the last ten seconds in which some process waited for memory (PSI, `some avg10` in
Linux `Documentation/accounting/psi.rst`)."""

BUSY = 90.0
"""Percent of the last ten seconds in which some process waited for a processor. A busy machine is
no trouble in itself: only together with an event loop that is late."""

LATE = 0.5
IN_TIME = 0.25
"""Seconds by which the event loop is late."""

LASTS = 3.0
"""Seconds for which the processor must be short, over several looks: one long pause is none."""

STEP = 2.0
"""Seconds between two steps down: what was halved shows only after a while."""

CALM = 4.0
"""Seconds for which there must be ample room before a step up."""


LOOK = 1.0
SOONEST = 0.1
"""Seconds between two looks: at most, and at least however fast memory fills."""

NEAR = 0.5
LOOK_NEAR = 0.2
"""From this part of the memory on, and seconds between two looks then: it may begin to fill."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The machine at a moment. `memory`: the used part; `memory_stall` and `cpu_stall` in percent,
    None where the system does not tell; `late`: seconds, of the event loop."""

    at: float
    memory: float
    memory_stall: float | None = None
    cpu_stall: float | None = None
    late: float = 0.0


@dataclass(frozen=True, slots=True)
class State:
    """`cause`: what there was too little of when places were lowered; empty while all are there.
    `stepped`: when they were changed; since when things are as they are, None: they are not."""

    cause: str = ""
    stepped: float = float("-inf")
    busy_since: float | None = None
    calm_since: float | None = None


class Step(Enum):
    """What to do with the places."""

    NONE = "none"
    LOWER = "lower"
    RAISE = "raise"


def decide(sample: Sample, state: State) -> tuple[State, Step]:
    """The state after `sample`, and what to do. When every place is there again, `relieved`."""
    state = replace(
        state,
        busy_since=_since(state.busy_since, sample.at, so=_is_busy(sample)),
        calm_since=_since(state.calm_since, sample.at, so=_is_calm(sample, state.cause)),
    )
    cause = _short_of(sample, state)
    if cause and sample.at - state.stepped >= STEP:
        return replace(state, cause=cause, stepped=sample.at, calm_since=None), Step.LOWER
    calm = state.calm_since is not None and sample.at - state.calm_since >= CALM
    if state.cause and calm:
        return replace(state, stepped=sample.at, calm_since=sample.at), Step.RAISE
    return state, Step.NONE


def until_next(before: Sample | None, now: Sample) -> float:
    """Seconds until the next look: half the time in which memory is short if it goes on filling as
    it did between these two."""
    most = LOOK if now.memory < NEAR else LOOK_NEAR
    if before is None or now.memory <= before.memory or now.at <= before.at:
        return most
    rate = (now.memory - before.memory) / (now.at - before.at)
    return min(most, max(SOONEST, (SHORT_MEMORY - now.memory) / rate / 2))


def relieved(state: State) -> State:
    """The state once every place is there again."""
    return replace(state, cause="")


def lowered(places: int, running: int) -> int:
    """Half of what runs: with as many as run, memory is short. One at least."""
    return max(1, min(places, running) // 2)


def raised(places: int, full: int) -> int:
    """Twice as many, as far as there are."""
    return min(full, 2 * places)


def _short_of(sample: Sample, state: State) -> str:
    if sample.memory >= SHORT_MEMORY or (sample.memory_stall or 0.0) >= SHORT_STALL:
        return "memory"
    lasted = state.busy_since is not None and sample.at - state.busy_since >= LASTS
    return "cpu" if lasted else ""


def _is_busy(sample: Sample) -> bool:
    return sample.late >= LATE and (sample.cpu_stall is None or sample.cpu_stall >= BUSY)


def _is_calm(sample: Sample, cause: str) -> bool:
    """A loop that is late says nothing about memory."""
    ample = sample.memory <= AMPLE_MEMORY and (sample.memory_stall or 0.0) <= AMPLE_STALL
    return ample and (cause != "cpu" or sample.late <= IN_TIME)


def _since(before: float | None, now: float, *, so: bool) -> float | None:
    if not so:
        return None
    return now if before is None else before
