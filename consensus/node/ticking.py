"""Ticks: regular, and never several at once."""

import asyncio
from collections.abc import Callable

from consensus.node.counting import Counters


class Ticker:
    """Calls `tick` every so many milliseconds of the event loop's clock. After a stall of the
    process it calls once, however many were missed: a node that stood still has not waited."""

    def __init__(self, tick_ms: int, tick: Callable[[], None], counters: Counters) -> None:
        self._every = tick_ms / 1000
        self._tick = tick
        self._counters = counters
        self._loop = asyncio.get_running_loop()
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin."""
        self._due = self._loop.time() + self._every
        self._handle = self._loop.call_at(self._due, self._fire)

    def stop(self) -> None:
        """End."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _fire(self) -> None:
        now = self._loop.time()
        self._due += self._every
        if self._due <= now:
            self._counters.stalls += 1
            self._due = now + self._every
        self._handle = self._loop.call_at(self._due, self._fire)
        self._counters.ticks += 1
        self._tick()
