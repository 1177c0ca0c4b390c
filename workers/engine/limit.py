"""A time limit on a run, cheaper than a general one: every task pays for it."""

import asyncio
from types import TracebackType
from typing import Self

SOON = 0.05
"""Seconds after which runs that have not ended get a timer of their own: most need none."""


class TimeLimit:
    """Cancels the running `task` (found if not given, which takes longer) `seconds` after the
    block was entered, and raises `TimeoutError` instead. `expired` tells a time limit from a
    `TimeoutError` of the block's own. With `timers` its timer is set only when the block lasts.

    Cancellations are counted as `asyncio.timeout` does (Python 3.11, `Lib/asyncio/timeouts.py`), so
    that a cancellation from outside at the same moment is not swallowed.
    """

    __slots__ = ("_before", "_due", "_handle", "_seconds", "_task", "_timers", "expired")

    def __init__(
        self,
        seconds: float,
        task: asyncio.Task[None] | None = None,
        timers: "Timers | None" = None,
    ) -> None:
        self.expired = False
        self._seconds = seconds
        self._task = task
        self._timers = timers
        self._handle: asyncio.TimerHandle | None = None
        self._before = 0
        self._due = 0.0

    def __enter__(self) -> Self:
        task = self._task = self._task or asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit needs a task to cancel")
        self._before = task.cancelling()
        loop = task.get_loop()
        self._due = loop.time() + self._seconds
        if self._timers is None or self._seconds <= SOON:
            self.arm(loop)
        else:
            self._timers.add(self, loop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        task, self._task = self._task, None
        if self._handle is not None:
            self._handle.cancel()
        if not self.expired or task is None:
            return
        ours = task.uncancel() <= self._before
        if ours and kind is not None and issubclass(kind, asyncio.CancelledError):
            raise TimeoutError from error

    def arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Set the timer, unless the block was left."""
        if self._task is not None:
            self._handle = loop.call_at(self._due, self._expire)

    def _expire(self) -> None:
        if self._task is not None:
            self.expired = True
            self._task.cancel()


class Timers:
    """Sets the timers of time limits that are still needed after `SOON` seconds, all at once."""

    def __init__(self) -> None:
        self._new: list[TimeLimit] = []

    def add(self, limit: TimeLimit, loop: asyncio.AbstractEventLoop) -> None:
        """`limit` was entered."""
        if not self._new:
            loop.call_later(SOON, self._arm, loop)
        self._new.append(limit)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        entered, self._new = self._new, []
        for limit in entered:
            limit.arm(loop)
