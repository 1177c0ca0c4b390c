"""Figures that change by steps, states that follow each other, and how old what was seen of them
was."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf

Window = tuple[float, float]
"""When somebody asked and when he had the answer, UTC epoch seconds."""


class Steps:
    """A number over time, from 0 on; made of changes: when, and by how much."""

    def __init__(self, changes: Iterable[tuple[float, int]]) -> None:
        ordered = sorted(changes)
        self._times = [at for at, _ in ordered]
        self._values = [0, *accumulate(by for _, by in ordered)]

    def between(self, window: Window) -> Sequence[int]:
        """Every value it had in the window, both ends included."""
        first = bisect_left(self._times, window[0])
        return self._values[first : bisect_right(self._times, window[1]) + 1]

    def distances(self, window: Window) -> list[float]:
        """How far each change lies from the window, outside of it."""
        return [far for at in self._times if (far := _far(at, window)) > 0]


def age(seen: int, low: Steps, high: Steps, window: Window) -> float:
    """Seconds from the window to the nearest moments between which the figure passed what was
    `seen`: 0 if it did so within the window. `low` and `high` are its bounds, where the truth is
    not known better. Infinite if it never did."""
    for far in sorted({0.0, *low.distances(window), *high.distances(window)}):
        wider = (window[0] - far, window[1] + far)
        if min(low.between(wider)) <= seen <= max(high.between(wider)):
            return far
    return inf


@dataclass(frozen=True, slots=True)
class Turn:
    """From when on a state holds."""

    since: float
    state: str


def state_age(seen: str, turns: Sequence[Turn], window: Window) -> float:
    """Seconds from the window to the nearest moment in which the state was the one that was seen;
    0 within it. Infinite if it never was."""
    ends = [*(turn.since for turn in turns[1:]), inf]
    spans = zip(turns, ends, strict=True)
    found = [_apart((t.since, end), window) for t, end in spans if t.state == seen]
    return min(found, default=inf)


def _far(at: float, window: Window) -> float:
    return max(window[0] - at, at - window[1], 0.0)


def _apart(one: Window, other: Window) -> float:
    return max(one[0] - other[1], other[0] - one[1], 0.0)
