"""Notices that this process stood still, so that a lease is never counted from too late.

A message that arrived while the process was stopped (SIGSTOP, a suspended machine, a handler
that blocked the loop) was handed out when it came, not when it is read.
"""

import asyncio

from contracts.clock import Clock


class Pulse:
    """Looks at both clocks every `period` seconds of the event loop's time."""

    def __init__(self, clock: Clock, period: float) -> None:
        self._clock = clock
        self._period = period
        self._last = (clock.monotonic(), clock.wall())
        self._doubt: tuple[float, float] | None = None
        self._doubt_until = 0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._last = (self._clock.monotonic(), self._clock.wall())
        self._timer = asyncio.get_running_loop().call_later(self._period, self._beat)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()

    def arrival(self) -> tuple[float, float]:
        """Monotonic and wall time at which what is being read now had arrived at the latest."""
        now = (self._clock.monotonic(), self._clock.wall())
        if self._doubt is not None:
            return self._doubt
        return self._last if self._stalled(now) else now

    def _stalled(self, now: tuple[float, float]) -> bool:
        return max(now[0] - self._last[0], now[1] - self._last[1]) > 2 * self._period

    def _beat(self) -> None:
        now = (self._clock.monotonic(), self._clock.wall())
        if self._stalled(now):
            # What waits in the socket is read before the next beats are over.
            self._doubt = self._last
            self._doubt_until = 2
        elif self._doubt is not None:
            self._doubt_until -= 1
            if self._doubt_until <= 0:
                self._doubt = None
        self._last = now
        self._timer = asyncio.get_running_loop().call_later(self._period, self._beat)
