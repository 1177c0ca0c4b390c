"""How many processes a role needs: a pure function of what waits and runs, and of its own past.

By Little's law, what runs on average is the rate of arrivals times the length of a run: as many
places are needed, and more while a backlog is worked off. What arrives is what runs now and by how
much the queue grows. Up at once, down only when it was too
much for a whole window: a load that wavers by a tenth never makes the number go up again after it
went down (`tests/fleet/test_scaling.py` shows both).
"""

from dataclasses import dataclass
from math import ceil

from workers.fleet.replicas import Range

WITHIN = 10.0
"""Seconds in which a backlog shall be worked off, apart from runs that take longer themselves."""

DOWN_AFTER = 30.0
"""Seconds for which fewer must have been enough before any is stopped."""

ROOM = 0.8
"""The part of its places that a smaller number may need: the rest is room for what wavers."""

UNKNOWN_RUN = 1.0
"""Seconds a run is taken for before the first one has ended."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A role at one moment. `waiting`: tasks that could start; `running`: places in use;
    `concurrency`: places of one process; `mean_run`: seconds, None before the first run ended.
    `at` rises by seconds."""

    at: float
    waiting: int
    running: int
    concurrency: int
    mean_run: float | None


@dataclass(frozen=True, slots=True)
class Past:
    """`wanted` since the last decision. `enough`: for each look of the window, when it was and
    how many would have been enough with room; `before`: what the last look asked for, `seen`: what
    it saw."""

    wanted: int
    enough: tuple[tuple[float, int], ...] = ()
    before: int | None = None
    seen: Seen | None = None


def decide(
    seen: Seen, past: Past, limits: Range, *, down_after: float = DOWN_AFTER
) -> tuple[Past, str]:
    """What is wanted from now on, and why.

    More are wanted when two looks in a row ask for them, from none at once: one look may fall on a
    batch that is gone a moment later.
    """
    places = demand(seen, growth(seen, past.seen))
    needed = limits.clip(_processes(seen, places, limits))
    enough = limits.clip(_processes(seen, places / ROOM, limits))
    begin = seen.at - down_after
    window = (*((at, n) for at, n in past.enough if at >= begin), (seen.at, enough))
    full = past.enough != () and past.enough[0][0] <= begin
    wanted = limits.clip(past.wanted)
    sure = min(needed, needed if past.before is None or not wanted else past.before)
    if sure > wanted:
        wanted, window = sure, ()
    elif full and (most := max(n for _, n in window)) < wanted:
        wanted = most
    return Past(wanted, window, needed, seen), _why(seen, places)


def growth(seen: Seen, before: Seen | None) -> float:
    """By how many tasks a second the queue grows."""
    if before is None or seen.at <= before.at:
        return 0.0
    return max(0.0, (seen.waiting - before.waiting) / (seen.at - before.at))


def demand(seen: Seen, growing: float = 0.0) -> float:
    """Places that are needed: for what runs, for what arrives beyond that (`growing`, in tasks a
    second), and for what waits as far as it shall run at once to be worked off within `WITHIN`
    seconds. Never more than there are tasks."""
    run = UNKNOWN_RUN if seen.mean_run is None else seen.mean_run
    more = seen.waiting * min(1.0, run / WITHIN) + growing * run
    return seen.running + min(float(seen.waiting), more)


def _processes(seen: Seen, places: float, limits: Range) -> int:
    """As many as have so many places, and one at least while there is anything to do."""
    by_depth = ceil(seen.waiting / limits.queue_depth) if limits.queue_depth else 0
    by_places = ceil(places / max(1, seen.concurrency) - 1e-9)
    return max(by_places, by_depth, int(bool(seen.waiting or seen.running)))


def _why(seen: Seen, places: float) -> str:
    busy = f"{seen.waiting} wait, {seen.running} run"
    if seen.mean_run is not None:
        busy += f" ({seen.mean_run:.2g} s each)"
    return f"{busy}: {places:.1f} places of {seen.concurrency} each"
