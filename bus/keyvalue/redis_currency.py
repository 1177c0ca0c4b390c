"""How current a Redis watch is, told from beats that one process of the fleet sends to all.

A beat is a message of the server with the server's time, on the connection that tells changes: all
that was put before it has been told before it. How the server's time lies to ours is known from
beats that this process has sent itself: the server took its time after we had asked. So a beat that
is read late, because this process stood still, is not taken for a recent one.
"""

from bus.keyvalue.protocol import Current
from contracts.clock import Clock

_MARGIN = 0.005
"""Seconds by which two clocks may drift apart between two comparisons."""

OLD = 20.0
"""Seconds after which the clocks are compared again."""


class Currency:
    """The moment up to which everything has been told."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._base: tuple[Current, int] | None = None
        self._told = Current(float("-inf"), float("-inf"))
        self.doubtful = True

    def now(self) -> Current:
        """This moment."""
        return Current(self._clock.monotonic(), self._clock.wall())

    def compare(self, before: Current, theirs: int) -> None:
        """The server took its time `theirs`, milliseconds, after we asked at `before`."""
        self._base = (before, theirs)
        self.doubtful = False

    def beat(self, theirs: int) -> Current | None:
        """A beat of this time of the server was read: the moment that is known by now, if any.
        `doubtful` tells that the clocks should be compared."""
        if self._base is None:
            return None
        at, base = self._base
        passed = (theirs - base) / 1000 - _MARGIN
        now = self.now()
        if at.monotonic + passed > now.monotonic or at.wall + passed > now.wall:
            self.doubtful = True  # the server's clock was set forward
            return None
        if passed > OLD or now.monotonic - (at.monotonic + passed) > 1.0:
            self.doubtful = True
        self._told = Current(
            max(self._told.monotonic, at.monotonic + passed), max(self._told.wall, at.wall + passed)
        )
        return self._told
