"""The generic cell rate algorithm, as a pure function: when tasks of a limited rate may start.

Source: ITU-T I.371 (03/2004), Annex A, the virtual scheduling form; the same thing as a "leaky
bucket as a meter". Its state is one time, the *theoretical arrival time* of the next task at an
even pace. A task that comes up to `tolerance` before that time conforms. Here a task that comes
earlier is not dropped: it is told when it will conform, and the bucket counts it as started then.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bucket:
    """One start per `interval` seconds in the long run; `burst` at once after a pause.

    In any window of `t` seconds there are at most `burst + t / interval` starts.
    """

    interval: float
    burst: int = 1

    @property
    def tolerance(self) -> float:
        """Seconds that a start may lie before its even pace."""
        return (self.burst - 1) * self.interval


def reserve(
    bucket: Bucket, state: float | None, now: float, count: int
) -> tuple[Sequence[float], float]:
    """Slots for `count` tasks that ask at `now`, and the state afterwards.

    `state` is what the last call returned, None for a bucket never used. The slots are in order,
    none before `now`; times in UTC epoch seconds.
    """
    at = now if state is None else max(state, now)
    slots = []
    for _ in range(count):
        slots.append(max(now, at - bucket.tolerance))
        at += bucket.interval
    return slots, at
