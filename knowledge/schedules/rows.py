"""A schedule as it is kept."""

from dataclasses import dataclass

from knowledge.schedules.ticks import Misfire, Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A task to be published by the clock. Times are UTC epoch seconds.

    `payload` is JSON text; `deadline` counts in seconds from each tick's publishing; `budget` in
    micro-dollars. `next`: the tick that comes, None when none does. `last`: the latest tick that
    was published, of `fired`. `error`: why the tick that is due could not be published yet; it is
    tried again at `due`.
    """

    name: str
    topic: str
    payload: str
    timing: Timing
    misfire: Misfire = Misfire.ONCE
    tenant: str
    priority: str
    deadline: float | None = None
    budget: int | None = None
    made: float
    next: float | None
    due: float | None = None
    paused: bool = False
    last: float | None = None
    fired: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """What was decided about a schedule that was claimed: so many ticks were published, `last` the
    latest; `next` comes."""

    name: str
    next: float | None
    last: float | None
    fired: int


@dataclass(frozen=True, slots=True)
class PutOff:
    """A schedule whose tick could not be published; it is tried again at `due`."""

    name: str
    due: float
    error: str
