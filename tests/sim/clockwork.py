"""Virtual time: what is to happen, in order. Nothing waits, nothing runs beside anything else."""

import heapq
from collections.abc import Callable
from typing import Any

MS = 1000
"""Times are integer microseconds."""
SECOND = 1000 * MS


class Clockwork:
    """The events of one run; those of the same moment happen in the order they were planned."""

    def __init__(self) -> None:
        self.now = 0
        self.events = 0
        self._count = 0
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []

    def after(self, delay: int, act: Callable[..., None], *args: Any) -> None:
        """Let `act` happen in `delay` microseconds."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, act, args))

    def run(self, until: int, enough: Callable[[], bool] | None = None) -> None:
        """Let all happen up to the moment `until`, or until it is `enough`."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, act, args = heapq.heappop(queue)
            self.events += 1
            act(*args)
            if enough is not None and enough():
                return
        self.now = until

    def wall(self) -> float:
        """Seconds, as `contracts.clock.Clock` has them."""
        return self.now / SECOND

    def monotonic(self) -> float:
        """The same: there is one time."""
        return self.now / SECOND

    async def sleep(self, seconds: float) -> None:
        """Nobody sleeps in a simulation: `after` plans what is to come."""
        raise NotImplementedError
