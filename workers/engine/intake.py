"""How much to pull: a pure function of free places, what waits here and how long runs take."""

from dataclasses import dataclass

HORIZON = 0.1
"""Seconds within which what is read ahead is expected to start."""

MOST_AHEAD = 500
"""Deliveries held unstarted at most, however short the runs are."""

LEAST_AHEAD = 50
"""Fewer than this are not worth a question of their own while every place is taken."""

MOST_UNSETTLED = 1000
"""Runs that have ended but are not settled yet. A broker that settles more slowly than handlers
run slows the pulling down; nothing piles up here under lease."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What to pull: `free` to start at once, `ahead` to start soon."""

    free: int
    ahead: int


def ask(
    *,
    slots: int,
    free: int,
    queued: int,
    mean_run: float | None,
    unsettled: int = 0,
    attempts: int = 2,
) -> Ask:
    """What a role with `slots` places, `free` of them, `queued` unstarted deliveries and
    `unsettled` ended ones pulls.

    `mean_run` is the moving mean of run times in seconds; before the first run nothing is read
    ahead, nor where a place does not change hands within the horizon. A role of one attempt is
    never read ahead: what merely waits here when this process dies has lost it.
    """
    if unsettled >= MOST_UNSETTLED:
        return Ask(free=0, ahead=0)
    ahead = 0
    if attempts > 1 and mean_run is not None and mean_run < HORIZON:
        starts = int(slots * HORIZON / max(mean_run, 1e-6))
        ahead = max(0, min(starts, MOST_AHEAD) - max(0, queued - free))
    return Ask(free=max(0, free - queued), ahead=ahead)


class MovingMean:
    """Exponentially weighted mean: each value moves it by a tenth of the difference."""

    def __init__(self, weight: float = 0.1) -> None:
        self._weight = weight
        self.value: float | None = None

    def add(self, value: float) -> None:
        """Take one more value into account."""
        old = self.value
        self.value = value if old is None else old + self._weight * (value - old)
